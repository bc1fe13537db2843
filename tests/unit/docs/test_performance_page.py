"""The pages say what was measured, and nothing else."""

from __future__ import annotations

from benchmarks.kept import Kept
from benchmarks.page import pages


def test_pages_show_the_kept_table_when_it_was_measured_again() -> None:
    """A figure on a page is the figure that is kept; ``python -m benchmarks.page`` writes them."""
    for path, text in pages(Kept()).items():
        assert path.read_text() == text, f"{path.name} is not what table.json says"
