"""Finding and opening sources: paths, globs and fsspec URLs, plain or compressed.

Owns: what a name stands for, and reading it as plain UTF-8 bytes. Leaves to
``survey`` where it is cut. Nothing is ever skipped: what can't be read is an error.
"""

from __future__ import annotations

import bz2
import codecs
import glob
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from .errors import SourceError
from .params import ProcessData

BLOCK_BYTES = 1024 * 1024
PIECE_BYTES = 32 * 1024
Format = Literal["csv", "jsonl", "parquet"]
_ENDINGS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_PACKED_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz")
_MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
}
MAGIC_BYTES = 10


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read."""

    name: str  # how messages and output call it: its path below what the sources have in common
    place: str  # absolute path or URL
    format: Format
    delimiter: str
    encoding: str

    @property
    def is_local(self) -> bool:
        return "://" not in self.place


def find_sources(params: ProcessData) -> list[Source]:
    """The files that the request names, globs expanded in sorted order, each once.

    Raises:
        SourceError: a name stands for nothing, for a folder, or for no known format.
    """
    asked = [params.source] if isinstance(params.source, str) else params.source
    places = list(dict.fromkeys(found for each in asked for found in _expanded(each)))
    _refuse_twice(places)
    folder = _common_folder(places)
    return [
        Source(
            name=place.removeprefix(folder),
            place=place,
            format=_format(place, params),
            delimiter=params.delimiter or ("\t" if _bare_ending(place) == ".tsv" else ","),
            encoding=params.encoding,
        )
        for place in places
    ]


def open_source(place: str) -> IO[bytes]:
    """Open a path or URL for reading bytes as they are stored."""
    try:
        if "://" not in place:
            if Path(place).is_dir():
                raise SourceError(
                    f"{place}: expected a file, found a folder; name its files, such as {place}/*.csv"
                )
            if Path(place).exists() and not Path(place).is_file():
                # It is read several times, and opening a pipe waits for its writer.
                raise SourceError(f"{place}: expected a file, found a pipe or a device; write it to a file")
            return Path(place).open("rb")
        import fsspec

        return cast(IO[bytes], fsspec.open(place, "rb").open())
    except FileNotFoundError:
        raise SourceError(f"{place}: expected a file, found nothing there; check the name") from None
    except (OSError, ImportError, ValueError) as error:
        raise SourceError(
            f"{place}: expected a readable file, but {_why(error)}; check access to it"
        ) from None


def read_bytes(place: str) -> bytes:
    """The whole of a small file."""
    with open_source(place) as file:
        return file.read()


def size_and_change(place: str) -> list[Any]:
    """What shows that a source is unchanged: its size, and when it was written where that is known.

    Raises:
        SourceError: it is not there any more, or can't be asked.
    """
    try:
        if "://" not in place:
            found = Path(place).stat()
            return [found.st_size, str(found.st_mtime_ns)]
        import fsspec

        files, path = fsspec.core.url_to_fs(place)
        facts = files.info(path)
        return [facts.get("size"), str(facts.get("ETag") or facts.get("mtime") or "")]
    except OSError as error:
        raise SourceError(f"{place}: expected the file that was there, but {_why(error)}") from None


def needs_unpacking(source: Source) -> bool:
    """Whether its bytes can't be cut as they lie: compressed, or text in another encoding."""
    with open_source(source.place) as file:
        head = file.read(MAGIC_BYTES)
    is_text = source.format != "parquet" and source.encoding not in ("utf-8", "ascii", "utf-8-sig")
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
        if source.format != "parquet" and source.encoding not in ("utf-8", "ascii", "utf-8-sig"):
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
    decoder = codecs.getincrementaldecoder(source.encoding)()
    lines = 1
    try:
        for block in blocks:
            text = decoder.decode(block)
            lines += text.count("\n")
            yield text.encode("utf-8", "strict")
        yield decoder.decode(b"", final=True).encode("utf-8")
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError):
            lines += error.object[: error.start].decode(source.encoding, "ignore").count("\n")
        raise SourceError(
            f"{source.name}: expected {source.encoding} text, but line {lines} is not: "
            f"{getattr(error, 'reason', error)}; name its encoding"
        ) from None


def _packing(head: bytes) -> str | None:
    return next((name for name, magic in _MAGIC.items() if magic.match(head)), None)


def _refuse_twice(places: list[str]) -> None:
    """Refuse one file under two names, such as a link to the latest: each of its rows would count twice."""
    known: dict[str, str] = {}
    for place in places:
        file = place if "://" in place else os.path.realpath(place)
        first = known.setdefault(file, place)
        if first != place:
            raise SourceError(
                f"{place}: expected each file once, found {first} to be the same; name one of them"
            )


def _expanded(place: str) -> list[str]:
    if "://" in place:
        return _expanded_url(place)
    if Path(place).exists() or not glob.has_magic(place):
        return [place]
    # Path.glob takes no absolute pattern.
    matches = glob.glob(place, recursive=True)  # noqa: PTH207
    found = sorted(path for path in matches if not Path(path).is_dir())
    if not found:
        raise SourceError(f"{place}: expected files that match, found none; check the pattern")
    return found


def _expanded_url(place: str) -> list[str]:
    if not glob.has_magic(place):
        return [place]
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(place)
        found = sorted(files.unstrip_protocol(each) for each in files.glob(path))
    except (OSError, ImportError, ValueError) as error:
        raise SourceError(
            f"{place}: expected files that match, but {_why(error)}; check access to it"
        ) from None
    if not found:
        raise SourceError(f"{place}: expected files that match, found none; check the pattern")
    return found


def _common_folder(places: list[str]) -> str:
    """The folders, up to the last slash, that all places start with."""
    parts = [place.split("/")[:-1] for place in places]
    shared = 0
    while all(len(each) > shared and each[shared] == parts[0][shared] for each in parts):
        shared += 1
    return "".join(part + "/" for part in parts[0][:shared])


def _bare_ending(place: str) -> str:
    name = place.rpartition("/")[2].lower()
    for packed in _PACKED_ENDINGS:
        name = name.removesuffix(packed)
    return Path(name).suffix


def _format(place: str, params: ProcessData) -> Format:
    if params.format != "auto":
        return params.format
    found = _ENDINGS.get(_bare_ending(place))
    if found is None:
        if "://" not in place and Path(place).is_dir():
            raise SourceError(
                f"{place}: expected a file, found a folder; name its files, such as {place}/*.csv"
            )
        likely = "jsonl" if "json" in _bare_ending(place) else "csv"
        raise SourceError(
            f"{place}: expected a name that ends in {', '.join(_ENDINGS)}; "
            f"name the format, such as -p format={likely}"
        )
    return found


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
