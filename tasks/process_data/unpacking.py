"""Reading a source as plain UTF-8 text, however it is packed and encoded.

Owns: compressed streams and other encodings. Nothing is ever skipped: what is truncated or
damaged is an error that says where. A byte that is none of the encoding that was named is none of
UTF-8 afterwards either, so that the row which holds it can be set aside.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

from .errors import SourceError
from .sources import Source, open_source

BLOCK_BYTES = 1024 * 1024
PIECE_BYTES = 32 * 1024
_MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
}
MAGIC_BYTES = 10
#: Encodings that need no other form: ASCII is none, for its bytes are to be looked at.
_AS_IT_LIES = ("utf-8", "utf-8-sig")
SHOWN = 80  # characters of a text, in a reason


def needs_unpacking(source: Source) -> bool:
    """Whether its bytes can't be cut as they lie: compressed, or text in another encoding."""
    with open_source(source.place) as file:
        head = file.read(MAGIC_BYTES)
    is_text = source.format != "parquet" and source.encoding not in _AS_IT_LIES
    return is_text or _packing(head) is not None or (source.format == "parquet" and not source.is_local)


def plain_blocks(source: Source) -> Iterator[bytes]:
    """The source's content in blocks, unpacked, as UTF-8 text (Parquet: as it is).

    Raises:
        SourceError: it is truncated, damaged, or not in the encoding that was named.
    """
    with open_source(source.place) as file:
        head = file.read(MAGIC_BYTES)
        blocks = _stored_blocks(head, file)
        packing = _packing(head)
        if packing is not None:
            blocks = _unpacked(source, blocks, packing)
        if source.format != "parquet" and source.encoding not in _AS_IT_LIES:
            blocks = _recoded(source, blocks)
        yield from blocks


def _stored_blocks(head: bytes, file: IO[bytes]) -> Iterator[bytes]:
    first = head + file.read(BLOCK_BYTES - len(head))
    while first:
        yield first
        first = file.read(BLOCK_BYTES)


def _unpacked(source: Source, blocks: Iterator[bytes], packing: str) -> Iterator[bytes]:
    """Unpack gzip or zstd, member after member; a stream that stops short is an error, never an early end."""
    unpacker, started, consumed_bytes = _unpacker(packing), False, 0
    for block in _pieces(blocks):
        consumed_bytes += len(block)
        while block:
            if not started and not block.strip(b"\0"):
                break  # Padding after the last member, as tapes and some tools leave.
            started = True
            try:
                yield unpacker.decompress(block)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, _zstd_error()) as error:
                raise SourceError(
                    f"{source.name}: expected {packing}, but it is damaged before byte "
                    f"{consumed_bytes}: {error}; get a whole copy"
                ) from None
            block = unpacker.unused_data if unpacker.eof else b""
            if unpacker.eof:
                unpacker, started = _unpacker(packing), False
    if started:
        raise SourceError(
            f"{source.name}: expected the end of its {packing} stream, "
            f"but it is truncated after {consumed_bytes} bytes; get a whole copy"
        )


def _pieces(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Small pieces, so that text which packs a thousand to one never unpacks into gigabytes at once."""
    for block in blocks:
        for start in range(0, len(block), PIECE_BYTES):
            yield block[start : start + PIECE_BYTES]


def _unpacker(packing: str) -> Any:
    if packing == "gzip":
        return zlib.decompressobj(wbits=31)
    if packing in ("bzip2", "xz"):
        return bz2.BZ2Decompressor() if packing == "bzip2" else lzma.LZMADecompressor()
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


def _zstd_error() -> type[Exception]:
    import zstandard

    return cast(type[Exception], zstandard.ZstdError)


def _recoded(source: Source, blocks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(source.encoding)("surrogateescape")
    lines = 1
    try:
        for block in blocks:
            text = decoder.decode(block)
            lines += text.count("\n")
            yield text.encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError):
            lines += error.object[: error.start].decode(source.encoding, "ignore").count("\n")
        raise SourceError(
            f"{source.name}: expected {source.encoding} text, but line {lines} is not: "
            f"{getattr(error, 'reason', error)}; name its encoding"
        ) from None


def shown(text: bytes) -> str:
    """Text for people, in which each byte that is none of its encoding stands as it was: ``caf\\xe9``."""
    try:
        letters = text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return text.decode("utf-8", "backslashreplace")
    escaped = (f"\\x{ord(each) - 0xDC00:02x}" if "\udc80" <= each <= "\udcff" else each for each in letters)
    return "".join(escaped).encode("utf-8", "backslashreplace").decode()


def not_text(text: bytes) -> str:
    """Why a row is set aside for what some text in it holds."""
    return f"expected UTF-8, or the encoding that was named (-p encoding=), found '{shown(text)[:SHOWN]}'"


def _packing(head: bytes) -> str | None:
    return next((name for name, magic in _MAGIC.items() if magic.match(head)), None)
