"""Finding and opening sources: paths, globs and fsspec URLs.

Owns: what a name stands for. Leaves to ``unpacking`` what its bytes say, and to
``survey`` where it is cut. Nothing is ever skipped: what can't be read is an error.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from .errors import SourceError
from .params import ProcessData

Format = Literal["csv", "jsonl", "parquet"]
_ENDINGS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_PACKED_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz")


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
