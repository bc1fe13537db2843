"""The kind ``count_word``: checked before any work is sent, then a step for each page of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import chain
from pydantic import BaseModel, Field

from coordinator import each, job
from coordinator.app import app
from coordinator.errors import InvalidParams

LINES_A_PAGE = 40
LARGEST_BYTES = 100_000_000


class CountWord(BaseModel):
    """Parameters of ``count_word``."""

    source: str = Field(description="a text file in UTF-8, on storage that every worker sees")
    word: str = Field(min_length=1, description="the word to count")


@app.task
def readable(params: dict[str, Any]) -> str | None:
    """A check looks at the world and returns None, or why not."""
    try:
        with Path(params["source"]).open(encoding="utf-8") as file:
            file.read(4096)
    except (OSError, UnicodeDecodeError) as error:
        return f"source: expected a text file that can be read, got {params['source']}: {error}"
    return None


@app.task
def not_too_large(params: dict[str, Any]) -> None:
    """A check may also raise InvalidParams; any other exception fails the job instead of rejecting it."""
    source = Path(params["source"])
    if source.exists() and source.stat().st_size > LARGEST_BYTES:
        raise InvalidParams(f"source: expected at most {LARGEST_BYTES} bytes, got {source.stat().st_size}")


@app.task
def pages(source: str) -> list[str]:
    lines = Path(source).read_text(encoding="utf-8").splitlines()
    return [" ".join(lines[at : at + LINES_A_PAGE]) for at in range(0, len(lines), LINES_A_PAGE)]


@app.task
def count(page: str, word: str) -> int:
    return sum(part.strip(".,;:!?\"'()").casefold() == word.casefold() for part in page.split())


@app.task
def total(counts: list[int]) -> int:
    return sum(counts)


@job("count_word", params=CountWord, checks=[readable, not_too_large])
def count_word(p: CountWord) -> Any:
    """Count a word in a text, page by page."""
    return chain(pages.s(p.source), each(count.s(p.word), join=total.s()))
