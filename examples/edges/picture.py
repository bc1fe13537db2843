"""Pictures in grey, with nothing but Python: read PGM, find edges, write PNG. Pure but for the files."""

from __future__ import annotations

import math
import re
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

_HEADER = re.compile(rb"P5\s+(?:#.*\n\s*)*(\d+)\s+(\d+)\s+(\d+)\s")


@dataclass(frozen=True)
class Picture:
    """A picture in grey, a byte a pixel, row by row."""

    width: int
    height: int
    pixels: bytes

    @classmethod
    def read(cls, path: str) -> Picture:
        """Read a binary PGM file.

        Raises:
            ValueError: it is none.
        """
        blob = Path(path).read_bytes()
        match = _HEADER.match(blob)
        if match is None or int(match[3]) > 255:
            raise ValueError(f"expected a binary PGM picture (P5, at most 255), got {path}")
        width, height = int(match[1]), int(match[2])
        pixels = blob[match.end() : match.end() + width * height]
        if len(pixels) != width * height:
            raise ValueError(f"expected {width * height} pixels in {path}, got {len(pixels)}")
        return cls(width, height, pixels)

    def write_pgm(self, path: str) -> None:
        Path(path).write_bytes(b"P5\n%d %d\n255\n" % (self.width, self.height) + self.pixels)

    def write_png(self, path: str) -> None:
        rows = (self.pixels[y * self.width : (y + 1) * self.width] for y in range(self.height))
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 0, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
        chunks = [(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]
        Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))


def edges_of(picture: Picture, box: tuple[int, int, int, int]) -> bytes:
    """Return how steep the picture is (Sobel) at each pixel of a box: left, top, right, bottom.

    The pixels around the box are looked at too, so tiles overlap by one and fit together without a seam.
    """
    left, top, right, bottom = box
    width, last_x, last_y, pixels = picture.width, picture.width - 1, picture.height - 1, picture.pixels
    found = bytearray()
    for y in range(top, bottom):
        above, here, below = max(y - 1, 0) * width, y * width, min(y + 1, last_y) * width
        for x in range(left, right):
            w, e = max(x - 1, 0), min(x + 1, last_x)
            a, b, c = pixels[above + w], pixels[above + x], pixels[above + e]
            d, f = pixels[here + w], pixels[here + e]
            g, h, i = pixels[below + w], pixels[below + x], pixels[below + e]
            across = c + 2 * f + i - a - 2 * d - g
            down = g + 2 * h + i - a - 2 * b - c
            found.append(min(255, math.isqrt(across * across + down * down)))
    return bytes(found)


def shapes(width: int = 320, height: int = 240) -> Picture:
    """Return a picture of a disc, a frame and a slope."""
    pixels = bytearray()
    for y in range(height):
        for x in range(width):
            grey = 90 * x // width + 40
            if math.hypot(x - width / 3, y - height / 2) < height / 4:
                grey = 220
            elif width * 0.6 < x < width * 0.9 and height * 0.2 < y < height * 0.8:
                grey = 20 if (x // 20 + y // 20) % 2 else 180
            pixels.append(grey)
    return Picture(width, height, bytes(pixels))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


if __name__ == "__main__":
    shapes().write_pgm(sys.argv[1])
