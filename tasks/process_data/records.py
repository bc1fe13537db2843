"""Where records truly end in CSV text, and what fields they hold, as Python's ``csv`` module reads it.

A quote opens a field only at the field's start; inside, line breaks and
delimiters are text and a doubled quote is one. Records end at LF or CRLF; blank
lines are no records. Where every quote stands at a field's edge ("plain"), ends
are found at memory speed by counting quotes before each line break; elsewhere
("odd", as in ``5" pipe``) record by record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Offsets = npt.NDArray[np.int64]
    Bytes = npt.NDArray[np.uint8]

LF, CR, QUOTE = 10, 13, 34
PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at a buffer, which starts at a record's start, found."""

    ends: Offsets  # the offset after each record, blank lines left out
    consumed: int  # bytes up to the last record's (or blank line's) end
    is_plain: bool  # no blank line, no odd quote
    is_open: bool = False  # the rest is a record whose quote is not closed


def scan(buffer: bytes, delimiter: str | None, *, is_last: bool) -> Scan:
    """Find where records end.

    Arguments:
        buffer: text that starts where a record starts.
        delimiter: what separates fields, or None where quotes mean nothing (JSON Lines).
        is_last: the text ends here, so what follows the last line break is a record too.
    """
    import numpy as np

    text = np.frombuffer(buffer, np.uint8)
    breaks = np.flatnonzero(text == LF)
    is_plain, is_open = True, False
    if delimiter is None or b'"' not in buffer:
        ends = breaks + 1
    else:
        quotes = np.flatnonzero(text == QUOTE)
        is_plain = _quotes_stand_at_edges(text, quotes, ord(delimiter))
        if is_plain:
            ends = breaks[np.searchsorted(quotes, breaks) & 1 == 0] + 1
            is_open = bool(len(quotes) & 1)
        else:
            ends, is_open = _ends_one_by_one(buffer, delimiter)
    if is_last and not is_open and (len(ends) == 0 or ends[-1] < len(buffer)) and buffer:
        ends = np.append(ends, len(buffer))
    consumed = int(ends[-1]) if len(ends) else 0
    kept = ends[~_are_blank(text, ends)]
    return Scan(kept, consumed, is_plain and len(kept) == len(ends), is_open)


def delimiters_outside_quotes(buffer: bytes, delimiter: str) -> int:
    """Count the delimiters that separate fields in a plain buffer."""
    import numpy as np

    text = np.frombuffer(buffer, np.uint8)
    if b'"' not in buffer:
        return sum(int(np.count_nonzero(piece == ord(delimiter))) for piece in _pieces(text))
    count, is_inside = 0, False
    for piece in _pieces(text):
        before = np.cumsum(piece == ord(delimiter), dtype=np.int32)
        quotes = np.flatnonzero(piece == QUOTE)
        at_quotes = before[quotes].astype(np.int64)
        signs = np.where(np.arange(len(quotes)) % 2 == is_inside, 1, -1)
        # Outside stretches end at an opening quote and start again at a closing one.
        count += int((at_quotes * signs).sum())
        is_inside ^= bool(len(quotes) & 1)
        count += 0 if is_inside else int(before[-1])
    return count


def fields(record: bytes, delimiter: str) -> list[bytes]:
    """The fields of one record, its line break still on or not."""
    text = record[:-1] if record.endswith(b"\n") else record
    text = text.removesuffix(b"\r")
    found, at, pattern = [], 0, _field_pattern(delimiter)
    while True:
        match = pattern.match(text, at)
        quoted, rest, bare, closing = match.groups()  # type: ignore[union-attr]
        found.append(bare if quoted is None else quoted.replace(b'""', b'"') + rest)
        if not closing:
            return found
        at = match.end()  # type: ignore[union-attr]


def open_field(record: bytes, delimiter: str) -> int:
    """The number, from 1, of the field whose quote is never closed in a record that goes on to the end."""
    number, at, pattern = 1, 0, _field_pattern(delimiter)
    while record[at : at + 1] != b'"' or pattern.match(record, at).group(1) is not None:  # type: ignore[union-attr]
        match = pattern.match(record, at)
        if not match or not match.group(4):
            break
        number, at = number + 1, match.end()
    return number


def _pieces(text: Bytes) -> list[Bytes]:
    """Pieces whose scratch arrays stay in the processor's cache."""
    return [text[start : start + PIECE_BYTES] for start in range(0, len(text), PIECE_BYTES)]


def _quotes_stand_at_edges(text: Bytes, quotes: Offsets, delimiter: int) -> bool:
    """Whether counting tells inside from outside: quotes open at a field's start, close at its end."""
    import numpy as np

    opening, closing = quotes[0::2], quotes[1::2]
    before = text[opening[1:] - 1] if opening[0] == 0 else text[opening - 1]
    if not np.all((before == delimiter) | (before == LF) | (before == QUOTE)):
        return False
    inner = closing[closing < len(text) - 1]
    after = text[inner + 1]
    if not np.all((after == delimiter) | (after == LF) | (after == QUOTE) | (after == CR)):
        return False
    returns = inner[after == CR] + 2
    # A CR at the very end of the buffer may be half a CRLF: the next look, with more text, will tell.
    return bool(np.all(text[returns[returns < len(text)]] == LF))


def _are_blank(text: Bytes, ends: Offsets) -> Any:
    import numpy as np

    if len(ends) == 0:
        return np.zeros(0, bool)
    starts = np.concatenate([[0], ends[:-1]])
    lengths = ends - starts
    first = text[starts]
    return ((lengths == 1) & ((first == LF) | (first == CR))) | (
        (lengths == 2) & (first == CR) & (text[ends - 1] == LF)
    )


def _ends_one_by_one(buffer: bytes, delimiter: str) -> tuple[Offsets, bool]:
    import numpy as np

    pattern, at = _record_pattern(delimiter), 0
    ends: list[int] = []
    while match := pattern.match(buffer, at):
        if not match.group(1):
            return np.array(ends, np.int64), False  # The buffer's end, in or after a closed field.
        at = match.end()
        ends.append(at)
    return np.array(ends, np.int64), True


@cache
def _record_pattern(delimiter: str) -> re.Pattern[bytes]:
    mark = re.escape(delimiter).encode()
    field = rb'(?:"(?:[^"]++|"")*+"[^%b\n]*+|(?!")[^%b\n]*+)' % (mark, mark)
    return re.compile(rb"%b(?:%b%b)*+(\n|\Z)" % (field, mark, field))


@cache
def _field_pattern(delimiter: str) -> re.Pattern[bytes]:
    mark = re.escape(delimiter).encode()
    return re.compile(rb'(?:"((?:[^"]++|"")*+)"([^%b]*+)|([^%b]*+))(%b|\Z)' % (mark, mark, mark))
