"""Items that run in batches: where they come from, how batches are cut, what fails and what is steered."""

from __future__ import annotations

from collections import Counter

import pytest
from celery import chain

from coordinator import each
from coordinator.errors import InvalidRequest, JobFailed
from coordinator.states import State, StepState
from coordinator.stream import MOST_VALUES
from tests.facade import queue_of, running
from tests.flows import (
    add,
    after_file,
    as_text,
    count_to,
    double,
    joined,
    mark,
    mark_but_seven,
    numbers_by_page,
    odd_only,
    slowly,
    total,
    uneasy,
    wait_for_file,
    wide,
)
from tests.waiting import wait_until


def stream_of(coordinator, job: str, owner: str) -> dict[str, str]:
    """Return the fields of a stream in Redis."""
    state = coordinator.state_manager
    found = state.client.hgetall(state.keys.named(job, "s")[0])
    return {
        name.decode().removeprefix(f"{owner}:"): value.decode()
        for name, value in found.items()
        if name.decode().startswith(f"{owner}:")
    }


def test_items_run_in_batches_and_join_in_order_when_a_batch_size_is_given(coordinator, start_worker):
    """The join gets the results in the order of the items; an item counts as a step of the job."""
    start_worker()
    canvas = chain(count_to.s(25), each(double.s(), join=add.s([0]), batch=4, window=3))

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=20) == [*range(0, 50, 2), 0]
    status = coordinator.status(job)
    assert (status.steps_done, status.steps_total) == (28, 28)
    assert stream_of(coordinator, job, "1")["batches"] == "7"


def test_list_is_read_by_pages_when_it_is_long(coordinator, start_worker):
    """Batches that cross pages of 1,000 lose nothing, and the pages go with the last item."""
    start_worker()
    canvas = chain(count_to.s(2500), each(double.s(), batch=700))

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=20) == list(range(0, 5000, 2))
    state = coordinator.state_manager
    assert not [name for name in state.client.hkeys(state.keys.named(job, "v")[0]) if b"@" in name]


@pytest.mark.parametrize("items", [0, 1, 99, 100, 101, 250])
def test_parts_are_merged_in_order_when_combine_is_given(items, coordinator, start_worker):
    """A tree over batches of one: every size of the last group, with none and one included."""
    start_worker()
    canvas = each(as_text.s(), batch=1, combine=joined.s(), over=range(items))

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=60) == "".join(f"{n}," for n in range(items))
    state = coordinator.state_manager
    assert state.client.hlen(state.keys.named(job, "v")[0]) == 0


def test_lines_of_a_file_are_items_when_it_is_the_source(coordinator, start_worker, tmp_path):
    """Also a file that the step before names, whose last line has no end, with more lines than a page."""
    start_worker()
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"é{n}" for n in range(2345)))
    expected = [f"é{n}!" for n in range(2345)]

    given = coordinator.launch(each(add.s("!"), over={"lines": str(path)}))

    assert coordinator.wait(given, timeout_s=20) == expected


@pytest.mark.parametrize(("size", "end"), [(7, 40), (50, 40), (10, 0), (1000, 5000)])
def test_pages_are_read_as_they_are_needed_when_a_task_yields_them(size, end, coordinator, start_worker):
    """A task that yields pages is called page by page; nothing of a page is left when its items are done."""
    start_worker()
    canvas = each(double.s(), combine=total.s(), window=2, over=numbers_by_page.s(size, end))

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=30) == end * (end - 1)
    status = coordinator.status(job)
    assert status.steps_done == status.steps_total == end + 1
    state = coordinator.state_manager
    assert state.client.hlen(state.keys.named(job, "v")[0]) == 0


def test_next_page_waits_when_enough_items_are_left(coordinator, start_worker, tmp_path):
    """The source is read no further than fills the window."""
    start_worker()
    gate = tmp_path / "gate"
    canvas = each(after_file.s(str(gate)), batch=1, window=2, over=numbers_by_page.s(10, 100))
    job = coordinator.launch(canvas)
    wait_until(lambda: stream_of(coordinator, job, "0").get("done") == "3", what="the first items")

    assert stream_of(coordinator, job, "0")["pages"] == "1"
    assert stream_of(coordinator, job, "0")["flying"] == "2"

    gate.touch()
    assert coordinator.wait(job, timeout_s=60) == list(range(100))


def test_batches_grow_when_items_are_quick(coordinator, start_worker):
    """By measure: quick items come in few messages, from one item on."""
    start_worker()
    job = coordinator.launch(each(double.s(), combine=total.s(), window=2, over=range(20_000)))

    assert coordinator.wait(job, timeout_s=30) == 20_000 * 19_999
    assert int(stream_of(coordinator, job, "0")["batches"]) < 300


def test_batches_find_room_in_a_record_when_quick_items_have_large_results(coordinator, start_worker):
    """By measure: a batch that could not be recorded would fail its job at each retry."""
    start_worker(env={"COORDINATOR_RESULT_LIMIT_BYTES": "20000"})
    job = coordinator.launch(each(wide.s(), over=range(600), window=2))

    assert coordinator.wait(job, timeout_s=30) == ["x" * 500] * 600


def test_batches_stay_at_one_item_when_items_are_slow(coordinator, start_worker):
    """An item of 100 ms and more is a batch of its own."""
    start_worker()
    job = coordinator.launch(each(slowly.s(0.12), batch="auto", window=2, over=range(8)))

    assert coordinator.wait(job, timeout_s=30) == list(range(8))
    assert stream_of(coordinator, job, "0")["batches"] == "8"


@pytest.mark.parametrize("countdown", [0.01, -5], ids=["later", "before now"])
def test_item_is_tried_again_in_its_batch_when_it_asks_for_it(countdown, coordinator, start_worker, tmp_path):
    """Only that item runs again; its key is its own, whatever the batches are."""
    start_worker()
    runs = tmp_path / "runs"
    job = coordinator.launch(each(uneasy.s(str(runs), countdown), batch=3, over=range(4)))

    fences = [1, 1, 1, (1 << 20) + 1]  # those of the second batch are higher
    assert coordinator.wait(job, timeout_s=20) == [[n, f"0.uneasy[{n}]", fences[n]] for n in range(4)]
    assert Counter(runs.read_text().split()) == Counter(f"{n}:{r}" for n in range(4) for r in (0, 1))


def test_failed_items_are_left_out_and_listed_when_their_share_is_allowed(coordinator, start_worker):
    """The job succeeds, and each failed item is found with its error."""
    start_worker()
    job = coordinator.launch(each(odd_only.s(), join=total.s(), batch=3, allow_failed=0.5, over=range(10)))

    assert coordinator.wait(job, timeout_s=20) == 25
    failed = coordinator.failed_items(job)
    assert [item["item"] for item in failed] == [0, 2, 4, 6, 8]
    assert failed[1] == {"owner": "0", "item": 2, "type": "ValueError", "message": "2 is even"}
    listed = [step for step in coordinator.steps(job) if step.state == StepState.FAILED]
    assert [step.id for step in listed] == [f"{job}:0.odd_only[{n}]" for n in (0, 2, 4, 6, 8)]


def test_job_fails_when_more_items_fail_than_may(coordinator, start_worker):
    """Over the share, or with none, the job fails once and names an item's error."""
    start_worker()
    over = coordinator.launch(each(odd_only.s(), batch=5, allow_failed=0.3, over=range(10)))
    none = coordinator.launch(each(odd_only.s(), batch=5, over=range(1, 10)))

    with pytest.raises(JobFailed, match=r"items failed, 3 may; one of them: \d is even"):
        coordinator.wait(over, timeout_s=20)
    with pytest.raises(JobFailed, match=r"\d is even") as caught:
        coordinator.wait(none, timeout_s=20)
    assert caught.value.facts["error"]["type"] == "ValueError"
    assert "at item" in caught.value.facts["error"]["traceback"]
    assert Counter(alert["job"] for alert in coordinator.alerts()) == Counter([over, none])


def test_batch_fails_at_the_soft_time_limit_of_its_message_when_items_may_fail(coordinator, start_worker):
    """The limit is no fault of the item that it happens to meet."""
    start_worker(options=["--soft-time-limit", "1"])
    job = coordinator.launch(each(slowly.s(0.3), batch=9, allow_failed=1.0, over=range(9)))

    with pytest.raises(JobFailed, match="SoftTimeLimitExceeded"):
        coordinator.wait(job, timeout_s=20)


def test_failed_batch_runs_again_and_no_other_when_the_job_is_retried(coordinator, start_worker, tmp_path):
    """Retry keeps the batches that are recorded, and goes on with those that were not cut."""
    start_worker()
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    step = mark_but_seven.s(str(runs), str(gate))
    job = coordinator.launch(each(step, batch=4, window=1, join=total.s(), over=range(20)))
    with pytest.raises(JobFailed, match="7 is refused"):
        coordinator.wait(job, timeout_s=20)
    assert runs.read_text().split() == [*"0123456"]

    gate.touch()
    coordinator.retry(job)

    assert coordinator.wait(job, timeout_s=20) == 190
    again = Counter(runs.read_text().split()) - Counter(map(str, range(20)))
    assert again == Counter("456")
    status = coordinator.status(job)
    assert status.steps_done == status.steps_total == 22


def test_all_items_run_again_when_the_job_is_retried_from_their_step(coordinator, start_worker, tmp_path):
    """``retry --from`` the each, or one of its batches: the stream is cut anew, under new numbers."""
    start_worker()
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    canvas = chain(
        count_to.s(10),
        each(mark.s(str(runs)), batch=4, window=2, combine=total.s()),
        wait_for_file.si(str(gate), 0.1),
    )
    job = coordinator.launch(canvas)
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)

    gate.write_text("ok")
    coordinator.retry(job, from_step="1/2")

    assert coordinator.wait(job, timeout_s=20) == "ok"
    assert Counter(runs.read_text().split()) == Counter({str(n): 2 for n in range(10)})
    status = coordinator.status(job)
    assert status.steps_done == status.steps_total == 13


def test_paused_stream_goes_on_when_resumed_and_obeys_its_limits_when_tuned(
    coordinator, start_worker, tmp_path
):
    """Paused: what runs finishes, nothing new starts. Tuned: the window is another at once."""
    start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(each(after_file.s(str(gate)), batch=1, window=1, over=range(40)))
    wait_until(lambda: stream_of(coordinator, job, "0").get("done") == "3", what="the first items")

    coordinator.tune(job, "0", window=5, batch=2)
    assert stream_of(coordinator, job, "0")["flying"] == "5"
    coordinator.pause(job)
    gate.touch()
    wait_until(lambda: not running(coordinator, job), what="running batches to finish")
    done = int(stream_of(coordinator, job, "0")["done"])
    assert done <= 3 + 1 + 2 * 2
    assert coordinator.status(job).state == State.PAUSED
    coordinator.resume(job)

    assert coordinator.wait(job, timeout_s=30) == list(range(40))
    assert stream_of(coordinator, job, "0")["batches"] == str(3 + 1 + 18)
    with pytest.raises(InvalidRequest, match="a window from 1 to 10,000"):
        coordinator.tune(job, "0", window=10**9)
    with pytest.raises(InvalidRequest, match="no batches"):
        coordinator.tune(job, "7", window=2)


def test_cancelled_stream_keeps_what_is_recorded_when_retried(coordinator, start_worker, tmp_path):
    """Cancel ends what runs; retry runs the rest."""
    start_worker()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    canvas = each(after_file.s(str(gate)), join=mark.s(str(runs)), batch=1, window=2, over=range(9))
    job = coordinator.launch(canvas)
    wait_until(lambda: stream_of(coordinator, job, "0").get("done") == "3", what="the first items")

    coordinator.cancel(job)
    gate.touch()
    state = coordinator.state_manager
    wait_until(lambda: not state.busy(job), what="what runs to finish")
    assert all(state.client.ttl(key) > 0 for key in state.keys.named(job, "m s v"))
    coordinator.retry(job)
    assert all(state.client.ttl(key) == -1 for key in state.keys.named(job, "m s v"))

    assert coordinator.wait(job, timeout_s=30) == list(range(9))
    assert len(runs.read_text().splitlines()) == 1


def test_batches_are_sent_again_when_the_queue_was_purged(coordinator, start_worker, tmp_path):
    """Messages of batches are found lost as those of any step."""
    worker = start_worker(concurrency=1)
    gate = tmp_path / "gate"
    job = coordinator.launch(each(after_file.s(str(gate)), batch=1, window=4, over=range(9)))
    wait_until(lambda: stream_of(coordinator, job, "0").get("done") == "3", what="the first items")
    worker.kill()
    with queue_of(coordinator) as queue:
        queue.purge()
    gate.touch()

    start_worker()

    assert coordinator.wait(job, timeout_s=30) == list(range(9))


def test_job_fails_with_advice_when_a_join_would_get_too_many_values(coordinator, start_worker):
    """No join is ever handed a million values."""
    start_worker()
    job = coordinator.launch(each(double.s(), join=total.s(), over=range(MOST_VALUES + 1)))

    with pytest.raises(JobFailed, match="give combine="):
        coordinator.wait(job, timeout_s=20)


@pytest.mark.parametrize("items", [2**63 - 1, 10**20])
def test_job_fails_with_advice_when_a_range_has_more_items_than_redis_counts(
    items, coordinator, start_worker
):
    """It would stand for ever: what was opened by half is never gone on with."""
    start_worker()
    job = coordinator.launch(each(double.s(), combine=total.s(), over=range(items)))

    with pytest.raises(JobFailed, match="at most 1,000,000,000,000 items"):
        coordinator.wait(job, timeout_s=20)
