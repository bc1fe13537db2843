"""``each``, ``race`` and ``replace`` wherever Celery lets something stand: all canvases side by side."""

from __future__ import annotations

import pytest
from celery import chain, chord, group

from coordinator import each, race
from tests.flows import add, count_to, double, odd_only, total
from tests.integration.racers import as_list, replaced, replaced_by_group, replaced_to

ITEMS = count_to.s(3)
PLACES = {
    "replaced link": (add.s(1, 1).set(link=replaced.s("chain")), 2),
    "replaced body": (chord([add.s(1, 1)], chain(total.s(), replaced.s("chord"))), 8),
    "replaced item": (chain(ITEMS, each(replaced.s("chain"), join=total.s())), 12),
    "replaced at the end of an item": (
        chain(ITEMS, each(chain(double.s(), replaced.s("chord")), join=total.s())),
        24,
    ),
    "replaced in a lane": (race(chain(add.s(1, 1), replaced.s("nested twice"))), 8),
    "replaced in a group": (group(replaced.s(1, "chord"), replaced.s(2, "chain")), [4, 8]),
    "replaced by a group": (chain(add.s(1, 2), replaced_by_group.s(), total.s()), 12),
    "replaced by a race": (chain(add.s(1, 1), replaced_to.s("race")), 4),
    "replaced by each": (chain(add.s(1, 2), replaced_to.s("each")), 6),
    "replaced by each in batches": (chain(add.s(1, 2), replaced_to.s("batched"), add.s(1)), 7),
    "replaced by a linked task": (chain(add.s(1, 2), replaced_to.s("linked"), add.s(1)), 7),
    "replaced by nothing": (chain(add.s(1, 2), replaced_to.s("empty")), []),
    "replaced by an immutable": (chain(add.s(1, 2), replaced_to.s("immutable"), add.s(1)), 3),
    "replaced by a dict": (chain(add.s(1, 2), replaced_to.s("dict"), add.s(1)), 7),
    "each in a header": (
        chord([each(double.s(), over=range(3)), add.s(1, 1)], as_list.s()),
        [[0, 2, 4], 2],
    ),
    "each in a race": (
        race(each(double.s(), over=range(3)), add.s(1, 1).set(countdown=60)),
        [0, 2, 4],
    ),
    "each in each": (
        chain(ITEMS, each(chain(count_to.s(), each(double.s(), join=total.s())), join=total.s())),
        2,
    ),
    "each after each": (
        chain(ITEMS, each(double.s()), each(double.s(), batch=2), each(add.s(1), join=total.s())),
        15,
    ),
    "linked each": (chain(ITEMS, each(double.s()).set(link=total.s())), [0, 2, 4]),
    "each of a linked task": (
        chain(ITEMS, each(double.s().set(link=double.s()), join=total.s())),
        6,
    ),
    "each with a canvas as join": (chain(ITEMS, each(double.s(), join=chain(total.s(), double.s()))), 12),
    "each with failures": (each(odd_only.s(), over=range(3), allow_failed=1.0), [1]),
}


def test_words_mean_the_same_wherever_they_stand(coordinator, start_worker):
    """Each job gives its value, and has done all of its steps."""
    start_worker(env={"COORDINATOR_JOBS": "tests.flows,tests.integration.racers"})
    jobs = {name: coordinator.launch(canvas) for name, (canvas, _) in PLACES.items()}

    found = {name: coordinator.wait(job, timeout_s=60) for name, job in jobs.items()}

    assert found == {name: value for name, (_, value) in PLACES.items()}
    status = {name: coordinator.status(job) for name, job in jobs.items()}
    assert {name for name, job in status.items() if job.steps_done != job.steps_total} == set()


@pytest.mark.parametrize("how", ["each", "batches", "replace"])
def test_steps_go_where_the_submit_says_when_they_come_about_at_run_time(how, coordinator, start_worker):
    """A queue and a priority of the whole job hold for what its steps grow, and for what that grows."""
    apart = f"{coordinator.settings.queue}-apart"
    start_worker(queues=[apart])

    job = coordinator.submit("grown", {"how": how}, queue=apart, priority=3).id

    assert coordinator.wait(job, timeout_s=20) == 6
