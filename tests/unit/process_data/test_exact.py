from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.process_data.exact import binned, total
from tasks.process_data.summary import _decimal


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64) | st.none(), max_size=30))
def test_bins_hold_the_exact_sum_when_floats_are_arbitrary(values: list[float | None]) -> None:
    """From the least subnormal to the greatest double, splitting over bins loses nothing."""
    import polars as pl

    bins = {
        power: sum(unit or 0 for unit in units.to_list())
        for power, units in binned(pl.Series(values, dtype=pl.Float64))
    }
    numbers = [value for value in values if value is not None]
    assert total(bins) == sum(map(Fraction, numbers))


def test_decimal_text_keeps_all_digits_when_units_are_many() -> None:
    """A decimal sum is written digit by digit, never rounded."""
    assert [_decimal(-5, 2), _decimal(10**40 + 1, 2), _decimal(7, 0)] == [
        "-0.05",
        "1" + "0" * 38 + ".01",
        "7",
    ]
