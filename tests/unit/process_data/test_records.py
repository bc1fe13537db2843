from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.process_data.records import delimiters_outside_quotes, fields, open_field, scan

# A bare CR is left out: there Python's module refuses to go on, and here it is text.
RAW_CSV = st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "a", "é", '""', '"a"']), max_size=24).map("".join)


def records_of(text: bytes) -> list[list[str]]:
    found, start = [], 0
    for end in scan(text, ",", is_last=True).ends.tolist():
        record = text[start:end]
        while record[:1] == b"\n" or record[:2] == b"\r\n":
            record = record[1:] if record[:1] == b"\n" else record[2:]
        found.append([value.decode() for value in fields(record, ",")])
        start = end
    return found


@settings(max_examples=400, deadline=None)
@given(RAW_CSV)
def test_scan_finds_the_records_of_the_csv_module_when_text_is_arbitrary(text: str) -> None:
    """Record ends and fields are those of Python's csv module, stray quotes and all."""
    found = scan(text.encode(), ",", is_last=True)
    if not found.is_open:
        assert records_of(text.encode()) == [row for row in csv.reader(io.StringIO(text, newline="")) if row]


@settings(max_examples=200, deadline=None)
@given(RAW_CSV)
def test_delimiters_are_those_between_fields_when_quotes_are_plain(text: str) -> None:
    """Counting delimiters outside quotes tells how many fields there are in all."""
    found = scan(text.encode(), ",", is_last=True)
    if found.is_plain and not found.is_open:
        counted = delimiters_outside_quotes(text.encode()[: found.consumed], ",")
        assert counted == sum(len(row) - 1 for row in records_of(text.encode()))


@settings(max_examples=200, deadline=None)
@given(RAW_CSV, st.integers(0, 40))
def test_scan_of_two_pieces_finds_the_same_ends_when_cut_anywhere(text: str, at: int) -> None:
    """A buffer that stops in mid-record leaves the rest for the next look."""
    whole = text.encode()
    at = min(at, len(whole))
    first = scan(whole[:at], ",", is_last=False)
    rest = scan(whole[first.consumed :], ",", is_last=True)
    ends = [*first.ends.tolist(), *(rest.ends + first.consumed).tolist()]
    assert ends == scan(whole, ",", is_last=True).ends.tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'a,5" pipe\nb,c\n', [["a", '5" pipe'], ["b", "c"]]),
        (b'"a\nb",c\r\n\r\nd,e', [["a\nb", "c"], ["d", "e"]]),
        (b'"a" b,c\n', [["a b", "c"]]),
        (b"a,b\rc\n", [["a", "b\rc"]]),
        (b"", []),
        (b"\n\n\r\n", []),
    ],
)
def test_scan_finds_records_when_text_is_awkward(text: bytes, expected: list[list[str]]) -> None:
    """Stray quotes, quoted line breaks, blank lines and a lone CR don't break rows."""
    assert records_of(text) == expected


def test_scan_says_open_when_a_quote_is_never_closed() -> None:
    """A record that swallows the rest of the file is told apart, with its field."""
    text = b'a,b\nc,"d\ne,f\n'
    found = scan(text, ",", is_last=True)
    assert (found.is_open, found.consumed, open_field(text[found.consumed :], ",")) == (True, 4, 2)
