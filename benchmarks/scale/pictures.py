"""The pictures of docs/explanation/scale.md."""

from __future__ import annotations

from typing import Any

from benchmarks.documents import COLOURS, picture
from benchmarks.scale.figures import HOSTS, SLOTS_A_HOST
from benchmarks.scale.model import Outcome

HOSTS_AXIS = f"hosts of {SLOTS_A_HOST} single-slot workers"


def body(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"


def draw_hosts(by_body: dict[float, dict[int, Outcome]]) -> None:
    """Steps/s over hosts, a line for each length of a step."""
    with picture("scale-hosts", width=8, height=4.2) as axes:
        for (seconds, outcomes), colour in zip(by_body.items(), COLOURS, strict=False):
            rates = [outcome.steps_per_s for outcome in outcomes.values()]
            axes.plot(list(outcomes), rates, "o-", color=colour, markersize=4)
            beside = {"xytext": (9, -7), "textcoords": "offset points"}
            axes.annotate(f"{body(seconds)} a step", (min(outcomes), rates[0]), color=colour, **beside)
        axes.set(xscale="log", yscale="log", xlabel=HOSTS_AXIS, ylabel="steps/s", ylim=(2, 15_000))
        axes.set(title="One RabbitMQ, one classic queue, one Redis (simulated)")
        _scale(axes)


def draw_sites(by_site: dict[str, dict[int, Outcome]], ceilings: dict[str, float]) -> None:
    """Steps/s over hosts, a line for each choice of servers; dotted, where its busiest part ends."""
    with picture("scale-sites", width=8, height=4.2) as axes:
        for (name, outcomes), colour in zip(by_site.items(), COLOURS, strict=False):
            rates = [outcome.steps_per_s for outcome in outcomes.values()]
            line = "o--" if name == "three nodes of Redis" else "o-"  # it lies on another
            axes.plot(list(outcomes), rates, line, color=colour, markersize=4, label=name)
            axes.axhline(ceilings[name], color=colour, linewidth=0.8, linestyle=":")
        axes.set(xscale="log", xlabel=HOSTS_AXIS, ylabel="steps/s", ylim=(0, None))
        axes.set(title="No-op steps: what more queues and more nodes of Redis change (simulated)")
        axes.legend(frameon=False, loc="upper left")
        _scale(axes)


def draw_model() -> None:
    """The way of a step: what it waits for."""
    with picture("scale-model", width=8, height=2.2) as axes:
        boxes = {
            "queue": (1.2, 1, "RabbitMQ\nqueue: one process\nthe rest: its cores"),
            "slot": (4.6, 1, "W × slots\nreceive, run, ack\na core each"),
            "redis": (8, 1, "Redis\none thread a node"),
        }
        for x, y, text in boxes.values():
            axes.text(
                x, y, text, ha="center", va="center", bbox={"boxstyle": "round,pad=0.6", "fc": "#eef4fa"}
            )
        arrows = (
            ((2.25, 1.25), (3.75, 1.25), "delivery"),
            ((3.75, 0.75), (2.25, 0.75), "ack, next"),
            ((5.45, 1.25), (7.15, 1.25), "begin, finish"),
            ((7.15, 0.75), (5.45, 0.75), ""),
        )
        for start, end, text in arrows:
            axes.annotate("", end, start, arrowprops={"arrowstyle": "->"})
            middle = (start[0] + end[0]) / 2
            axes.text(middle, start[1] + 0.1, text, ha="center")
        axes.text(
            4.6, 0.3, "each arrow takes the network's time; each part serves one at a time", ha="center"
        )
        axes.set(xlim=(0, 9.2), ylim=(0.2, 1.7))
        axes.axis("off")


def _scale(axes: Any) -> None:
    """Write the hosts, and whole numbers of steps, on axes that are logarithmic."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    axes.set_xticks(HOSTS, [str(hosts) for hosts in HOSTS])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="#dddddd", linewidth=0.6)
