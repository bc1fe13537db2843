"""The table of the suite for the documents: ``python -m tests.integration.conformance.table > …``.

``tests/unit/docs`` compares it with the page; the suite itself is what makes it true.
"""

from __future__ import annotations

import sys

from tests.integration.conformance.shapes import SHAPES

HEAD = """\
# Conformance: each shape, natively and as a job

Every row is a canvas that `tests/integration/conformance` runs twice, on a plain Celery application and
through `Coordinator.launch`, with the same tasks on the same servers. `=` means that the two gave the same
value; elsewhere the reason why they don't stands in its place, and the suite checks the job's value against
the one that is declared. Random canvases (`pytest tests/integration/conformance --canvases 500`) come on top:
seeded, up to four levels deep and six wide. [What each shape means](canvas.md).
"""


def as_markdown() -> str:
    """Return the page."""
    cells = [(shape.part, shape.name.replace("|", "\\|"), shape.differs or "=") for shape in SHAPES]
    rows = [f"| {' | '.join(row)} |" for row in cells]
    same = sum(not shape.differs for shape in SHAPES)
    count = f"{len(SHAPES)} shapes: {same} give the same, {len(SHAPES) - same} differ as declared."
    table = ["| of Celery's guide | canvas | the job's value and Celery's |", "|---|---|---|", *rows]
    return "\n".join([HEAD, count, "", *table, ""])


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
