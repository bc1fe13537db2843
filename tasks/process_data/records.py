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
MOST_ODD_QUOTES = 16  # in one buffer, before all the rest is read record by record


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
        ends, is_plain, is_open = _ends_with_quotes(buffer, text, breaks, delimiter)
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


def is_plain(buffer: bytes, ends: Offsets, delimiter: str) -> bool:
    """Whether whole records, which end where told, hold no blank line and no odd quote."""
    import numpy as np

    text = np.frombuffer(buffer, np.uint8)
    if b'"' in buffer:
        quotes = np.flatnonzero(text == QUOTE)
        if _first_odd_quote(text, quotes, ord(delimiter)) is not None:
            return False
    starts = np.concatenate([[0], ends[:-1]])
    first = text[starts]
    # A blank line is not among the ends, so it stands at the start of the record that follows.
    is_blank = (first == LF) | ((first == CR) & (text[np.minimum(starts + 1, len(text) - 1)] == LF))
    return not bool(is_blank.any()) and len(buffer) == int(ends[-1])


def delimiters_in_each(buffer: bytes, ends: Offsets, delimiter: str) -> Offsets:
    """Count the delimiters that separate fields in each record of a plain buffer."""
    import numpy as np

    text = np.frombuffer(buffer, np.uint8)
    places = np.flatnonzero(text == ord(delimiter))
    if b'"' in buffer:
        quotes = np.flatnonzero(text == QUOTE)
        places = places[np.searchsorted(quotes, places) & 1 == 0]
    return np.diff(np.searchsorted(places, ends), prepend=0)


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


def _ends_with_quotes(
    buffer: bytes, text: Bytes, breaks: Offsets, delimiter: str
) -> tuple[Offsets, bool, bool]:
    """Record ends, whether all quotes are plain, and whether the last record is open."""
    import numpy as np

    quotes, found, at = np.flatnonzero(text == QUOTE), [], 0
    for attempt in range(MOST_ODD_QUOTES):
        odd = _first_odd_quote(text, quotes, ord(delimiter))
        stop = len(text) if odd is None else int(quotes[odd])
        sure = breaks[: np.searchsorted(breaks, stop)]
        sure = sure[np.searchsorted(quotes, sure) & 1 == 0] + 1
        found.append(sure)
        if odd is None:
            return np.concatenate(found), attempt == 0, bool(len(quotes) & 1)
        # The record that holds an odd quote is read by itself; after it all is as at a start.
        start = int(sure[-1]) if len(sure) else at
        match = _record_pattern(delimiter).match(buffer, start)
        if match is None or not match.group(1):
            return np.concatenate(found), False, match is None
        at = match.end()
        found.append(np.array([at], np.int64))
        quotes = quotes[np.searchsorted(quotes, at) :]
        breaks = breaks[np.searchsorted(breaks, at) :]
    rest, is_open = _ends_one_by_one(buffer, at, delimiter)
    return np.concatenate([*found, rest]), False, is_open


def _first_odd_quote(text: Bytes, quotes: Offsets, delimiter: int) -> int | None:
    """The first quote that neither opens a field at its start nor closes one at its end, by its place."""
    import numpy as np

    opening, closing = quotes[0::2], quotes[1::2]
    is_odd = np.zeros(len(quotes), bool)
    before = text[opening - 1]  # For a quote at 0 this is another byte, but then it opens a field anyway.
    is_odd[0::2] = ~((before == delimiter) | (before == LF) | (before == QUOTE) | (opening == 0))
    after = text[np.minimum(closing + 1, len(text) - 1)]
    later = text[np.minimum(closing + 2, len(text) - 1)]
    # At the very end of the buffer nothing is odd yet: the next look, with more text, will tell.
    ends_line = (after == LF) | ((after == CR) & ((later == LF) | (closing + 2 >= len(text))))
    is_odd[1::2] = ~((after == delimiter) | ends_line | (after == QUOTE))
    return int(is_odd.argmax()) if is_odd.any() else None


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


def _ends_one_by_one(buffer: bytes, at: int, delimiter: str) -> tuple[Offsets, bool]:
    import numpy as np

    pattern = _record_pattern(delimiter)
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
