"""What is said of parameters that don't fit."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, field_validator

from coordinator.errors import BatutaError, InvalidParams
from coordinator.registry import Kind
from coordinator.validation import validate, verdicts


class Cut(BaseModel):
    """Parameters with a validator of their own."""

    mark: str
    size: int = 1

    @field_validator("mark")
    @classmethod
    def _one(cls, value: str) -> str:
        if value == "long":
            raise ValueError("expected one letter, got 'long'")
        if not value:
            raise ValueError("expected one letter")
        return value


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"mark": "long"}, "mark: expected one letter, got 'long'"),
        ({"mark": ""}, "mark: expected one letter, got ''"),
        ({"mark": "x", "size": "much"}, "size: Input should be a valid integer"),
    ],
)
def test_parameter_is_told_once_with_what_was_got_when_it_does_not_fit(params, told):
    """What a validator of the kind says stands for itself."""
    with pytest.raises(InvalidParams) as caught:
        validate(Kind("cut", lambda _: None, Cut), params)
    (fault,) = caught.value.facts["errors"]
    assert fault.startswith(told) and fault.count("got") == 1 and "Value error" not in fault


def test_verdict_is_invalid_when_one_of_two_checks_of_a_name_refuses():
    """Tasks of two modules may be called alike; the answer of the last one stood for both."""
    flags = verdicts(["readable", "readable"], ["no such file", None], "x", "1")

    assert flags["readable"].reason == "no such file" and not flags["readable"].valid


@pytest.mark.parametrize("answer", [True, False, {"why": "no"}])
def test_check_is_named_when_its_answer_is_none_that_a_check_gives(answer):
    """A check that returns whether all is well failed its job for a bool that is not iterable."""
    with pytest.raises(BatutaError, match="check readable: expected None, or one or several reasons"):
        verdicts(["readable"], [answer], "x", "1")
