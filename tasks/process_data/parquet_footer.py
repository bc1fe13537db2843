"""How many rows each row group of a Parquet file holds, read from the file's footer.

Only the few fields needed are read, from the compact Thrift encoding that the
Parquet format prescribes (FileMetaData: 4 row_groups; RowGroup: 2
total_byte_size, 3 num_rows), so that no second Parquet library is needed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, Any

MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group."""

    rows: int
    size_bytes: int  # uncompressed


def row_groups(file: IO[bytes]) -> list[RowGroup]:
    """Read the row groups of an open Parquet file.

    Raises:
        ValueError: it is no whole Parquet file.
    """
    size = file.seek(0, os.SEEK_END)
    if size < 12:
        raise ValueError(f"it has only {size} bytes")
    file.seek(size - 8)
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or length > size - 12:
        raise ValueError("its last bytes are not a Parquet footer")
    file.seek(size - 8 - length)
    try:
        footer = _Compact(file.read(length)).struct()
        return [RowGroup(rows=group[3], size_bytes=group[2]) for group in footer[4]]
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"its footer is damaged: {error}") from None


class _Compact:
    """A reader of Thrift's compact protocol: structs as dicts by field number."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            found[number] = self._value(head & 15)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind == _BYTE:
            return self._byte()
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            return self._list()
        if kind == _MAP:
            return self._map()
        return self.struct() if kind == _STRUCT else self._zigzag()

    def _list(self) -> list[Any]:
        head = self._byte()
        length, kind = head >> 4, head & 15
        length = self._varint() if length == 15 else length
        # In a list a boolean is a byte of its own.
        return [self._byte() if kind in (_TRUE, _FALSE) else self._value(kind) for _ in range(length)]

    def _map(self) -> list[Any]:
        length = self._varint()
        kinds = self._byte() if length else 0
        return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(length)]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _take(self, length: int) -> bytes:
        self._at += length
        return self._data[self._at - length : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
