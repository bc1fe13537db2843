from __future__ import annotations

from collections import Counter

import pytest
from celery import chain

from coordinator import each
from coordinator.errors import JobFailed
from coordinator.states import State, StepState
from tests.flows import add, count_to, double, mark, total
from tests.waiting import wait_until


def test_items_run_in_batches_and_join_in_order_when_a_batch_size_is_given(coordinator, start_worker):
    """The join gets the results in the order of the items; an item counts as a step of the job."""
    start_worker()
    canvas = chain(count_to.s(25), each(double.s(), join=add.s([0]), batch=4, window=3))

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=20) == [*range(0, 50, 2), 0]
    status = coordinator.status(job)
    assert (status.steps_done, status.steps_total) == (28, 28)
