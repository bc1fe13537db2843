"""SQL expressions that look at one row only.

Invariant: what compiles here gives the same value for a row whatever rows lie
beside it, so the output can't depend on how the input is cut. Functions that
aggregate, look at neighbours or at the clock are refused by name.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from .errors import RulesError

if TYPE_CHECKING:
    import polars as pl


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROW_FUNCTIONS = _words(
    "ABS ACOS ASIN ATAN ATAN2 BIT_LENGTH CAST CBRT CEIL CEILING COALESCE CONCAT CONCAT_WS COS DATE "
    "DATE_PART DEGREES DIV ENDS_WITH EXP EXTRACT FLOOR GREATEST IF IFNULL INITCAP LEAST LEFT LENGTH LN "
    "LOG LOG10 LOG1P LOG2 LOWER LTRIM MOD NORMALIZE NULLIF OCTET_LENGTH POW POWER RADIANS REGEXP_LIKE "
    "REPLACE REVERSE RIGHT ROUND RTRIM SIGN SIN SPLIT_PART SQRT STARTS_WITH STRPOS STRPTIME SUBSTR "
    "SUBSTRING TAN TRIM TRY_CAST UPPER"
)
_WORDS_BEFORE_A_BRACKET = _words(
    "AND OR NOT IN LIKE ILIKE RLIKE REGEXP BETWEEN WHEN THEN ELSE CASE IS AS FROM FOR XOR "
    "DECIMAL NUMERIC VARCHAR CHAR TIMESTAMP"
)
_NOT_ROW_LOCAL = _words(
    "SELECT OVER CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP NOW UNION WITH"
)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*")
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")


def compile_sql(place: str, sql: str) -> pl.Expr:
    """Compile a row-local SQL expression.

    Arguments:
        place: where in the rules it stands, for the message.
    Raises:
        RulesError: it does not parse, or looks at more than one row or at the clock.
    """
    import polars as pl

    _refuse_beyond_row(place, sql)
    try:
        return pl.sql_expr(sql)
    except pl.exceptions.PolarsError as error:
        raise RulesError(
            f"{place}: expected an SQL expression, found {sql!r}: {first_line(error)}; correct it"
        ) from None


def first_line(error: BaseException) -> str:
    """The first line of an error's message; polars adds advice for its own callers below it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # What is wrong with a regular expression stands below a picture of the place.
    return next((line for line in lines if line.startswith("error: ")), lines[0])


def _refuse_beyond_row(place: str, sql: str) -> None:
    bare = _LITERAL.sub(" ''", sql)
    for word in _WORD.findall(bare):
        if word.upper() in _NOT_ROW_LOCAL:
            raise RulesError(
                f"{place}: expected an expression on one row, found {word.upper()} in {sql!r}; take it out"
            )
    for name in _CALL.findall(bare):
        if name.upper() not in ROW_FUNCTIONS | _WORDS_BEFORE_A_BRACKET:
            near = difflib.get_close_matches(name.upper(), sorted(ROW_FUNCTIONS), 3)
            advice = (
                f"did you mean {' or '.join(near)}?"
                if near
                else f"use one of {', '.join(sorted(ROW_FUNCTIONS))}"
            )
            raise RulesError(
                f"{place}: {name.upper()} is not a function on one row, found in {sql!r}; {advice}"
            )
