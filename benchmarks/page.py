"""The pages' tables and pictures, made from the kept table and nothing else.

Run it as ``python -m benchmarks.page``: it writes between the marks of ``docs/explanation/performance.md``
and ``docs/howto/many-items.md``, and the pictures of both. A test holds the pages to the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import plots
from benchmarks.documents import DOCS, with_made
from benchmarks.kept import PACKAGES, Kept
from benchmarks.rows.each import ALONE, BATCHED
from benchmarks.rows.row import FULL, Figures, column
from benchmarks.sides import PLAIN
from benchmarks.table import COLUMNS, cells, figure, lines_of

PERFORMANCE = DOCS / "explanation" / "performance.md"
MANY_ITEMS = DOCS / "howto" / "many-items.md"
SMALL = ("", "Measured at small sizes, beside other work: it shows that it works, not how fast it is.")


def performance(kept: Kept) -> str:
    """The table of every line, with what it was measured on."""
    where = kept.where
    dates = sorted({row["date"] for row in kept.rows.values()})
    packages = ", ".join(f"{name} {where[name]}" for name in PACKAGES)
    said = (
        f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))} on one machine with {where['cores']} "
        f"cores ({where['machine']}) for everything, Python {where['python']}, {packages}."
    )
    rule = "|---|" + "--:|" * (len(COLUMNS) - 2) + "---|"
    rows = [f"| {' | '.join(_marked(cells(line, small)))} |" for line, small in lines_of(kept)]
    found = [said, "", f"| {' | '.join(COLUMNS)} |", rule, *rows]
    return "\n".join([*found, *(SMALL if any(small for _, small in lines_of(kept)) else [])])


def _marked(row: tuple[str, ...]) -> Iterator[str]:
    """Make a missed target stand out."""
    for cell in row:
        yield "**no**" if cell == "no" else cell


def many_items(kept: Kept) -> str:
    """What items in batches cost: rates, and the memory of every process."""
    rounds, scale = kept.rounds("each"), kept.scale("each")
    lines = ["| | items/s, each round |", "|---|--:|"]
    named = (
        (f"plain Celery, one task per item ({scale.per_item:,} of them)", PLAIN),
        (f"an `each` with a step per item ({scale.per_item:,} of them)", ALONE),
        (f"in batches ({scale.items:,})", BATCHED),
    )
    lines += [f"| {words} | {_all(rounds, key)} |" for words, key in named]
    lines += ["", f"| resident, MiB, at the peak | of 1,000 items | of {scale.items:,} |", "|---|--:|--:|"]
    few, many = rounds[-1]["peak of 1,000"], rounds[-1]["peak"]
    lines += [f"| {name} | {few[name]:.1f} | {many[name]:.1f} |" for name in many]
    return "\n".join([*lines, *([] if scale.is_as(FULL) else SMALL)])


def _all(rounds: list[Figures], key: str) -> str:
    return ", ".join(figure(round(value)) for value in column(rounds, key))


def pages(kept: Kept) -> dict[Path, str]:
    """Each page's whole text, with what is made put between its marks."""
    made = {PERFORMANCE: performance, MANY_ITEMS: many_items}
    return {
        path: with_made(path.read_text(), make(kept), by="benchmarks.page") for path, make in made.items()
    }


def draw(kept: Kept) -> None:
    plots.targets([line for line, _ in lines_of(kept)])
    if any(name.startswith("join-") for name in kept.rows):
        plots.joins(kept)
    if "flat" in kept.rows:
        plots.flatness(kept)
    if each := kept.rounds("each"):
        plots.memory(each[-1]["memory"], kept.scale("each").items)


def main() -> None:
    kept = Kept()
    for path, text in pages(kept).items():
        path.write_text(text)
    draw(kept)


if __name__ == "__main__":
    main()
