"""What a kind may be called."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from coordinator import registry
from coordinator.errors import SettingsError
from coordinator.state import parse_step_id
from coordinator.state.keys import step_id
from coordinator.states import new_job_id


class Nothing(BaseModel):
    """A kind without parameters."""


@pytest.mark.parametrize("name", ["orders:daily", "two words", "", "coordinator.mine", "ä", "x" * 101])
def test_kind_is_refused_when_its_name_can_begin_no_id(name, monkeypatch):
    """With a colon in it no step was known for one: its lease was not renewed, and it ran again elsewhere."""
    monkeypatch.setattr(registry, "_kinds", {})
    with pytest.raises(SettingsError, match="expected a name of up to 100 letters"):
        registry.job(name, params=Nothing)


def test_step_is_known_for_one_when_the_kind_has_any_name_that_it_may(monkeypatch):
    """The id says the job, and the job's id begins with the kind."""
    monkeypatch.setattr(registry, "_kinds", {})
    registry.job("orders.v2-daily_1", params=Nothing)(lambda _: None)

    job = new_job_id("orders.v2-daily_1")

    assert parse_step_id(step_id(job, "3/1", "clean[1]")) == (job, "3/1")
