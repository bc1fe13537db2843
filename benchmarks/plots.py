"""The pictures of the kept table; each takes what is kept and writes one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.documents import BLUE, COLOURS, GREY, RED, picture
from benchmarks.kept import Kept
from benchmarks.resident import Sample
from benchmarks.rows.row import Line, column, middle
from benchmarks.servers import PREFORK, SINGLE
from benchmarks.sides import OURS, PLAIN

MARKS = (0.125, 0.25, 0.5, 1, 2, 4, 8)


def joins(kept: Kept) -> None:
    """Steps a second of every join, by size and shape; the thin line is from the least to the most."""
    names = sorted((name for name in kept.rows if name.startswith("join-")), key=lambda name: int(name[5:]))
    places = [(name, shape) for name in names for shape in (PREFORK, SINGLE)]
    with picture("joins", height=0.9 + 0.75 * len(places)) as axes:
        for row, (name, shape) in enumerate(places):
            for offset, side, colour in ((-0.19, PLAIN, GREY), (0.19, OURS, BLUE)):
                rates = column(kept.rounds(name), f"{side} | {shape}")
                _bar(axes, row + offset, rates, colour, side if row == 0 else None)
        axes.set_yticks(range(len(places)), [f"{int(name[5:]):,}, {shape}" for name, shape in places])
        axes.invert_yaxis()
        axes.set(xlabel="fan-out and join, steps/s (more is better)")
        axes.margins(x=0.12)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _bar(axes: Any, row: float, values: Sequence[float], colour: str, label: str | None) -> None:
    shown = middle(values)
    axes.barh(row, shown, height=0.36, color=colour, label=label)
    axes.plot([min(values), max(values)], [row, row], color="black", linewidth=1)
    axes.text(max(values), row, f"  {shown:,.0f}", va="center")


def targets(lines: Sequence[Line]) -> None:
    """How each figure stands to its target: right of the line it is reached, whatever its unit."""
    judged = [line for line in lines if line.target and line.unit not in ("", "%")]  # a count has no "times"
    with picture("targets", width=10, height=1 + 0.3 * len(judged)) as axes:
        for row, line in enumerate(judged):
            assert line.target is not None
            ratio = line.measured / line.target.limit
            better = ratio if line.target.is_least else 1 / ratio
            axes.barh(row, better - 1, left=1, height=0.7, color=BLUE if line.is_reached else RED)
            side = "left" if better >= 1 else "right"
            axes.text(
                better, row, f" {better:.{2 if better < 10 else 0}f} ", va="center", ha=side, fontsize=9
            )
        axes.set_yticks(range(len(judged)), [line.what for line in judged], fontsize=9)
        axes.invert_yaxis()
        axes.set(xscale="log", xlabel="times as good as the target (left of the line: missed)")
        axes.set_xticks(MARKS, [f"{mark:g}" for mark in MARKS])
        axes.minorticks_off()
        axes.axvline(1, color="black", linewidth=0.8)
        axes.margins(x=0.15, y=0.01)


def flatness(kept: Kept) -> None:
    """Steps a second by the size of the fan-out, with the 15 % that are allowed around the least size."""
    rounds = kept.rounds("flat")
    sizes = [int(size) for size in rounds[0]]
    rates = [column(rounds, str(size)) for size in sizes]
    middles = [middle(found) for found in rates]
    with picture("flat", width=7, height=3.2) as axes:
        axes.axhspan(middles[0] * 0.85, middles[0] * 1.15, color=GREY, alpha=0.2, label="± 15 %")
        axes.plot(sizes, middles, color=BLUE, marker="o", label=OURS)
        for size, found in zip(sizes, rates, strict=True):
            axes.plot([size, size], [min(found), max(found)], color="black", linewidth=1)
        axes.set(xscale="log", xlabel="steps of the join", ylabel="steps/s", ylim=(0, max(middles) * 1.3))
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.legend(frameon=False, loc="lower right")


def memory(samples: Sequence[Sample], items: int) -> None:
    """The resident memory of every process while a job of many items runs."""
    with picture("each-memory") as axes:
        for name, colour in zip([name for name in samples[0] if name != "at_s"], COLOURS, strict=False):
            axes.plot(
                [row["at_s"] for row in samples], [row[name] for row in samples], color=colour, label=name
            )
        axes.set(
            xlabel=f"seconds since the submit of {items:,} no-op items in batches", ylabel="MiB resident"
        )
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
