from __future__ import annotations

import time
from typing import Any

import pytest
from celery import signature
from celery.exceptions import TimeoutError as CeleryTimeoutError
from hypothesis import HealthCheck, Phase, assume, given, seed, settings

from coordinator.errors import BatutaError
from tests.integration.conformance import shapes
from tests.integration.conformance.conftest import HUNG, SEED, TABLE, TRIED, Sides
from tests.integration.conformance.random_canvas import (
    LARGEST,
    canvas,
    has_three_groups,
    may_hang,
    size,
    trees,
)
from tests.integration.conformance.shapes import SHAPES, Shape
from tests.waiting import PATIENCE

NATIVE_S = 15 * PATIENCE
JOB_S = 15 * PATIENCE
#: A short run leaves out what Celery may not end.
FEW = 100


@pytest.fixture(scope="module")
def started(sides: Sides) -> dict[str, tuple[Any, Any]]:
    """Every shape, under way on both sides."""
    return {shape.name + shape.part: (_native(sides, shape), _job(sides, shape)) for shape in SHAPES}


def _native(sides: Sides, shape: Shape) -> Any:
    if shape.differs:
        return None
    shapes.side[0] = f"{sides.native.conf.task_default_queue}-side"
    built = shape.build()
    return (signature(built) if type(built) is dict else built).apply_async(shape.args, shape.kwargs)


def _job(sides: Sides, shape: Shape) -> str | BatutaError:
    shapes.side[0] = f"{sides.coordinator.settings.queue}-side"
    try:
        return sides.coordinator.launch(shape.build(), shape.args, shape.kwargs)
    except BatutaError as error:
        return error


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.part}: {shape.name}")
def test_job_gives_what_celery_gives_when_a_canvas_is_launched(shape: Shape, sides: Sides, started):
    """A canvas made durable means what it meant; where it does not, the suite says why."""
    native, job = started[shape.name + shape.part]

    if isinstance(job, BatutaError):
        raise job
    launched = sides.coordinator.wait(job, timeout_s=JOB_S)

    expected = shape.value if shape.differs else native.get(timeout=NATIVE_S)
    assert launched == expected
    TABLE.append((shape.part, shape.name, shape.differs or "="))


def test_random_canvases_give_what_celery_gives_when_launched(sides: Sides, request):
    """Whatever is nested in whatever, seeded: ``--canvases N`` tries that many."""
    number = request.config.getoption("--canvases")

    @seed(SEED)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(trees())
    def compare(tree: Any) -> None:
        assume(size(tree) <= LARGEST and not has_three_groups(tree))
        assume(number > FEW or not may_hang(tree))  # which costs 15 s each
        job = sides.coordinator.launch(canvas(tree))
        native = canvas(tree, is_flat=True).apply_async()
        launched = sides.coordinator.wait(job, timeout_s=JOB_S)
        try:
            value = native.get(timeout=NATIVE_S)
        except CeleryTimeoutError:  # the job has ended: it is Celery that does not
            HUNG.append(repr(canvas(tree, is_flat=True)))
            return
        assert launched == value, f"seed {SEED}, {tree!r}"
        TRIED["random canvases the same"] = TRIED.get("random canvases the same", 0) + 1

    began = time.monotonic()
    compare()
    TRIED["seconds for the random ones"] = round(time.monotonic() - began)
