"""The destination folder: a private place to work in, atomic writes, and what is published.

Layout: ``.batuta/<job>/`` holds everything until ``publish`` renames the output
into the destination; ``manifest.json`` comes last, so a folder without one holds
no finished run. Every file is written under a temporary name and renamed, so a
killed step leaves nothing that a later one could mistake for whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from .errors import DestinationError

PRIVATE = ".batuta"
MANIFEST = "manifest.json"
LOCK = "publisher"
FILE_MODE = 0o644  # a temporary file is its owner's alone; what is published is for all to read


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was written."""

    path: str  # relative to the workspace and, once published, to the destination
    size_bytes: int
    sha256: str


class Growing:
    """A file that is being written; its size and sha256 are kept as it grows."""

    def __init__(self, workspace: Workspace, name: str, file: IO[bytes]) -> None:
        self._workspace = workspace
        self._name = name
        self._file = file
        self._sha256 = hashlib.sha256()
        self._size_bytes = 0

    def write(self, content: bytes) -> None:
        """Write some more."""
        with told_apart(self._workspace.destination):
            self._file.write(content)
        self._sha256.update(content)
        self._size_bytes += len(content)

    def finish(self, temporary: Path, path: Path) -> None:
        """Close the file and give it its name."""
        with told_apart(self._workspace.destination):
            self._file.close()
            temporary.chmod(FILE_MODE)
            temporary.replace(path)

    def drop(self) -> None:
        """Close the file whatever is still to be written."""
        with suppress(OSError):
            self._file.close()

    @property
    def written(self) -> Written:
        return Written(self._name, self._size_bytes, self._sha256.hexdigest())


@dataclass(frozen=True, slots=True)
class Workspace:
    """One job's private folder under its destination."""

    destination: Path
    job_id: str

    @property
    def folder(self) -> Path:
        # A job id may be any key that the user chose, slashes and dots too.
        return self.destination / PRIVATE / ("job-" + quote(self.job_id, safe="@+="))

    def create(self) -> None:
        """Make the folder. Idempotent."""
        with told_apart(self.destination):
            self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, content: bytes) -> Written:
        """Write a file whole or not at all; the same content gives the same file, however often."""
        with self.growing(name) as file:
            file.write(content)
        return file.written

    @contextmanager
    def growing(self, name: str) -> Iterator[Growing]:
        """A file to write piece by piece; it gets its name when the block ends without an error."""
        path = self.path(name)
        with told_apart(self.destination):
            if not self.folder.is_dir():
                raise DestinationError(
                    f"{self.folder}: expected this job's working folder, found none; "
                    "it was published or removed meanwhile"
                )
            path.parent.mkdir(exist_ok=True)
            number, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".tmp")
        growing = Growing(self, name, os.fdopen(number, "wb"))
        try:
            yield growing
            growing.finish(Path(temporary), path)
        except BaseException:
            growing.drop()
            with suppress(OSError):
                Path(temporary).unlink()
            raise

    def write_json(self, name: str, value: Any) -> Written:
        return self.write(name, as_json(value))

    def read_json(self, name: str) -> Any:
        try:
            return json.loads(self.path(name).read_bytes())
        except FileNotFoundError:
            raise DestinationError(
                f"{self.path(name)}: expected what an earlier step wrote, found nothing; "
                "run the job again from its survey step, on a disk that every worker sees"
            ) from None

    def remove(self) -> None:
        """Take the private folder away. Idempotent."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()


def as_json(value: Any) -> bytes:
    """A JSON document as it is written to a file."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def sha256_of(path: Path) -> str:
    """A file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def told_apart(destination: Path) -> Iterator[None]:
    """Turn what a file system refuses into an error that says what to do."""
    try:
        yield
    except OSError as error:
        where = getattr(error, "filename", None) or destination
        advice = {
            errno.ENOSPC: "free some space there, then retry the job",
            errno.EDQUOT: "free some of the quota there, then retry the job",
            errno.EFBIG: "allow larger files there, then retry the job",
            errno.EROFS: "name a destination that can be written",
            errno.EACCES: "give the workers the right to write there, or name another destination",
            errno.EPERM: "give the workers the right to write there, or name another destination",
            errno.ENOTDIR: "name a destination that is a folder",
            errno.EEXIST: "name a destination that is a folder",
        }.get(error.errno or 0, "make it writable, then retry the job")
        why = (error.strerror or str(error)).lower()
        raise DestinationError(
            f"{destination}: expected to write there, but {why} ({where}); {advice}"
        ) from None
