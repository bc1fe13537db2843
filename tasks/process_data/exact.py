"""Sums of floats that are exact, so that they don't depend on order, cuts or workers.

Each number is split, without error, over bins of 40 bits at fixed powers of two.
A bin's sum is an integer; integers add up exactly in any order; the total is
rounded once, at the end. (Compare Demmel and Nguyen's reproducible summation.)
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import polars as pl

BIN_BITS = 40
LOWEST_BIT = -1074  # of the smallest double

Bins = dict[int, int]  # the power of two of a bin's unit: how many of them


def binned(values: pl.Series) -> list[tuple[int, pl.Series]]:
    """Split finite floats over bins.

    Returns:
        for each bin that holds something its power of two and an integer for each value (nulls stay null).
    """
    import polars as pl

    rest = values
    bins: list[tuple[int, pl.Series]] = []
    while greatest := rest.abs().max():
        power = max(BIN_BITS * ((math.frexp(float(cast(float, greatest)))[1] - 1) // BIN_BITS), LOWEST_BIT)
        units = _scaled(rest, -power).cast(pl.Int64)
        bins.append((power, units))
        rest = rest - _scaled(units.cast(pl.Float64), power)
    return bins


def total(bins: Bins) -> Fraction:
    """The exact sum."""
    return sum((Fraction(units) * Fraction(2) ** power for power, units in bins.items()), Fraction(0))


def _scaled(values: pl.Series, power: int) -> pl.Series:
    """Times a power of two, in two exact halves where one factor would leave the doubles' range."""
    if abs(power) < 1000:
        return values * math.ldexp(1.0, power)
    half = power // 2
    return values * math.ldexp(1.0, half) * math.ldexp(1.0, power - half)
