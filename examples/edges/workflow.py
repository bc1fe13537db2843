"""The kind ``edges``: a chord of tiles, whose body joins them into a picture."""

from __future__ import annotations

import base64
from typing import Any

from celery import chord
from pydantic import BaseModel, Field

from coordinator import job
from coordinator.app import app
from coordinator.errors import InvalidParams
from examples.edges.picture import Picture, edges_of


class Edges(BaseModel):
    """Parameters of ``edges``."""

    source: str = Field(description="a picture: binary PGM, on storage that every worker sees")
    destination: str = Field(description="where the edges go: a PNG file")
    tile: int = Field(default=64, ge=8, description="pixels along the side of a tile")


@app.task
def tile_edges(source: str, box: list[int]) -> str:
    """Return the edges of one tile; a value that is recorded is never worked out again."""
    found = edges_of(Picture.read(source), (box[0], box[1], box[2], box[3]))
    return base64.b85encode(found).decode()


@app.task
def joined(
    tiles: list[str], boxes: list[list[int]], width: int, height: int, destination: str
) -> dict[str, Any]:
    """Put the tiles where they belong. Runs again harmlessly: it writes the same file."""
    pixels = bytearray(width * height)
    for tile, (left, top, right, bottom) in zip(tiles, boxes, strict=True):
        rows, across = base64.b85decode(tile), right - left
        for number in range(bottom - top):
            start = (top + number) * width + left
            pixels[start : start + across] = rows[number * across : (number + 1) * across]
    Picture(width, height, bytes(pixels)).write_png(destination)
    return {"picture": destination, "tiles": len(tiles), "edge_pixels": sum(p > 128 for p in pixels)}


@job("edges", params=Edges)
def edges(p: Edges) -> Any:
    """Find the edges of an image, by overlapping tiles."""
    try:
        picture = Picture.read(p.source)
    except (OSError, ValueError) as error:
        raise InvalidParams(str(error), errors=[f"source: {error}"]) from error
    boxes = [
        [left, top, min(left + p.tile, picture.width), min(top + p.tile, picture.height)]
        for top in range(0, picture.height, p.tile)
        for left in range(0, picture.width, p.tile)
    ]
    return chord(
        [tile_edges.s(p.source, box) for box in boxes],
        joined.s(boxes, picture.width, picture.height, p.destination),
    )
