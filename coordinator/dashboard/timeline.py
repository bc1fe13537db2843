"""Draw when the attempts of a job ran, host by host. Pure.

Owns lanes, scale and marks. Invariant: the picture is no larger for a million
attempts than for a thousand: bars nearer than a pixel are one bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from coordinator.state.standing import Ran
from coordinator.states import Event

WIDTH, NAMES, RIGHT = 1280.0, 190.0, 26.0
LANE, LANE_GAP, HOST_GAP = 12.0, 3.0, 12.0
TOP, AXIS = 10.0, 26.0
MOST_LANES = 12
TICKS = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    21600,
    43200,
    86400,
)
#: Events that say why a step ran again.
MARKS = {
    "retry": "retry",
    "lease-lost": "lost",
    "lease-expired": "lost",
    "lease-returned": "retry",
    "redriven": "lost",
    "fenced": "lost",
    "step-failed": "failed",
}


@dataclass
class Bar:
    """One attempt, or several that are nearer to each other than a pixel."""

    start: float  # pixels
    end: float
    state: str
    title: str
    count: int = 1


@dataclass(frozen=True)
class Scale:
    """From milliseconds to pixels."""

    start_ms: int
    end_ms: int

    def x(self, at_ms: float) -> float:
        span = max(1, self.end_ms - self.start_ms)
        return NAMES + (WIDTH - NAMES - RIGHT) * min(1.0, max(0.0, (at_ms - self.start_ms) / span))


def timeline(ran: Sequence[Ran], events: Sequence[Event], now_ms: int) -> str:
    """Return the timeline as an ``<svg>`` element, or "" where nothing has run yet."""
    if not ran:
        return ""
    failed_at = {event.step: event.at_ms for event in events if event.event == "step-failed"}
    spans = [(attempt, _end(attempt, failed_at, now_ms)) for attempt in ran]
    marks = [event for event in events if _is_mark(event)]
    moments = [
        *(attempt.started_ms for attempt in ran),
        *(end for _, end in spans),
        *(m.at_ms for m in marks),
    ]
    scale = Scale(min(moments), max(moments))
    parts, y = [], TOP
    if marks:
        parts.append(_marks(marks, scale, y))
        y += LANE + HOST_GAP
    for host in sorted({attempt.worker for attempt in ran}):
        lanes = _lanes([pair for pair in spans if pair[0].worker == host], scale)
        parts.append(_host(host, lanes, y))
        y += len(lanes) * (LANE + LANE_GAP) - LANE_GAP + HOST_GAP
    return (
        f'<svg class="job-timeline" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="Timeline of attempts per host" viewBox="0 0 {WIDTH:.0f} {y + AXIS:.0f}">'
        f"{''.join(_axis(scale, y))}{''.join(parts)}</svg>"
    )


def _is_mark(event: Event) -> bool:
    """Whether an event says that something went wrong: a retry that came due as it should does not."""
    return event.event in MARKS and not event.is_due


def _end(attempt: Ran, failed_at: dict[str, int], now_ms: int) -> int:
    if attempt.ended_ms is not None:
        return max(attempt.ended_ms, attempt.started_ms)
    if attempt.state == "failed":
        return max(failed_at.get(attempt.key, attempt.started_ms), attempt.started_ms)
    return max(now_ms, attempt.started_ms)


def _lanes(spans: Iterable[tuple[Ran, int]], scale: Scale) -> list[list[Bar]]:
    """Put the attempts of a host one under the other where they ran side by side."""
    lanes: list[list[Bar]] = []
    free: list[int] = []  # when each lane is free, ms
    for attempt, end in sorted(spans, key=lambda pair: (pair[0].started_ms, pair[1])):
        number = next((n for n, at in enumerate(free) if at <= attempt.started_ms), len(free))
        if number == len(free) and len(free) < MOST_LANES:
            free.append(0)
            lanes.append([])
        number = min(number, len(free) - 1)
        free[number] = max(end, free[number])
        _put(lanes[number], attempt, end, scale)
    return lanes


def _put(lane: list[Bar], attempt: Ran, end_ms: int, scale: Scale) -> None:
    start, end = scale.x(attempt.started_ms), scale.x(end_ms)
    last = lane[-1] if lane else None
    is_short = end - start < 3
    if last and last.state == attempt.state and start - last.end < 1 and (is_short or last.count > 1):
        last.end = max(last.end, end)
        last.count += 1
        last.title = f"{last.count} attempts"
        return
    title = f"{attempt.key}, attempt {attempt.attempt}: {attempt.state}, {(end_ms - attempt.started_ms):,} ms"
    lane.append(Bar(start, end, attempt.state, title))


def _host(host: str, lanes: list[list[Bar]], y: float) -> str:
    bars = []
    for number, lane in enumerate(lanes):
        top = y + number * (LANE + LANE_GAP)
        for bar in lane:
            bars.append(
                f'<rect class="timeline-{bar.state}" x="{bar.start:.1f}" y="{top:.1f}" '
                f'width="{max(2.0, bar.end - bar.start):.1f}" height="{LANE:.0f}" rx="2">'
                f"<title>{escape(bar.title)}</title></rect>"
            )
    return f"{_name(host or 'unknown', y)}{''.join(bars)}"


def _marks(events: Sequence[Event], scale: Scale, y: float) -> str:
    found = []
    last_x = -10.0
    for event in events:
        x = scale.x(event.at_ms)
        if x - last_x < 2:  # on top of the one before
            continue
        last_x = x
        title = f"{event.event} {event.step}: {event.detail}"[:300]
        middle = y + LANE / 2
        found.append(
            f'<path class="timeline-mark timeline-mark-{MARKS[event.event]}" '
            f'd="M{x - 5:.1f} {middle}l5 -5l5 5l-5 5z"><title>{escape(title)}</title></path>'
        )
    return f"{_name('retries, losses', y)}{''.join(found)}"


def _name(text: str, y: float) -> str:
    short = text if len(text) <= 28 else f"{text[:13]}…{text[-14:]}"
    title = f"<title>{escape(text)}</title>"
    return f'<text class="timeline-name" x="0" y="{y + LANE - 2:.1f}">{title}{escape(short)}</text>'


def _axis(scale: Scale, y: float) -> Iterator[str]:
    span_s = max(0.001, (scale.end_ms - scale.start_ms) / 1000)
    step_s = next((tick for tick in TICKS if span_s / tick <= 8), 86400 * (1 + int(span_s / 86400 / 8)))
    for number in range(int(span_s / step_s) + 1):
        at = number * step_s
        x = scale.x(scale.start_ms + at * 1000)
        yield f'<path class="timeline-grid" d="M{x:.1f} {TOP}V{y:.1f}"/>'
        yield f'<text class="timeline-tick" x="{x:.1f}" y="{y + 14:.1f}">{_clock(at)}</text>'


def _clock(s: float) -> str:
    if s < 60:
        return f"{s:.3g} s"
    minutes, seconds = divmod(int(s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
