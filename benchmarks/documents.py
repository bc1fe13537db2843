"""What the benchmarks write into the documents: a page between its marks, and SVG pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURES = DOCS / "pictures"
BLUE, GREY, RED = "#0b62a4", "#8a8a8a", "#c8412f"
COLOURS = (BLUE, "#d1495b", "#2e8b57", "#8a5fbf", "#c77700")


def with_made(page: str, made: str, *, by: str) -> str:
    """Return a page with what a module makes put between that module's marks."""
    start, end = f"<!-- made by {by} -->", "<!-- the end of what is made -->"
    before, starts, rest = page.partition(start)
    _, ends, after = rest.partition(end)
    assert starts and ends, f"expected the marks {start} and {end}, found no such place to write to"
    return f"{before}{start}\n\n{made}\n\n{end}{after}"


@contextmanager
def picture(name: str, *, width: float = 9, height: float = 4, columns: int = 1) -> Iterator[Any]:
    """Give axes to draw on (a row of them, where there are columns), and write them as a page's SVG.

    Texts stay text, and the file is the same for the same figures.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 10})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(width, height), sharey=True)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
    yield axes
    figure.tight_layout()
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)
