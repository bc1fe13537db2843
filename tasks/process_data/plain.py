"""Values as figures are told: JSON that every reader reads, the same however the input is cut.

JSON has no NaN, no infinity and no year 10,000: those are told as missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .casts import as_text

if TYPE_CHECKING:
    import polars as pl


def plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Values that Python and JSON can say, and whose order is that of what they become there."""
    import polars as pl

    if dtype.is_float():
        # Minus zero is zero; which one stands for a group would depend on the rows' order.
        return pl.when(value == 0).then(0.0).when(value.is_finite()).then(value).cast(dtype)
    if isinstance(dtype, pl.Date | pl.Datetime):
        if getattr(dtype, "time_zone", None):
            value = value.dt.convert_time_zone("UTC")  # local times don't sort where clocks are put back
        return pl.when(value.dt.year().is_between(1, 9999)).then(value)
    if dtype in (pl.Categorical, pl.Enum, pl.Time, pl.Duration, pl.Binary):
        return as_text(value, dtype)
    return value
