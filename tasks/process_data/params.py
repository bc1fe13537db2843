"""The parameters of ``process_data``: what the command line shows and the API accepts.

Pure: paths are made absolute when a request is made, since a worker may run in
another folder, and nothing is opened. What needs a look at the world is a check.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

PARTITION_BYTES = 64 * 1024 * 1024


class ProcessData(BaseModel):
    """Check every row of the source against the rules; publish the valid ones, set the others aside."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | list[str] = Field(
        description=(
            "CSV, JSON Lines or Parquet, plain or as .gz, .zst, .bz2 or .xz: a path, a glob, an fsspec URL, "
            "or a list of them"
        )
    )
    rules: str | dict[str, Any] = Field(
        description="rules as the path of a TOML or JSON file, or inline as an object"
    )
    destination: str = Field(
        description="folder for the output, missing or empty, on a disk that every worker sees"
    )
    format: Literal["auto", "csv", "jsonl", "parquet"] = Field(
        default="auto", description="the sources' format; auto goes by the file name's ending"
    )
    delimiter: str | None = Field(
        default=None,
        description=(
            "what separates CSV fields, an ASCII character or \\t; by default a comma, a tab in .tsv, "
            "or what a first line such as sep=; says"
        ),
    )
    encoding: str = Field(
        default="utf-8", description="the text encoding of CSV and JSON Lines, such as cp1252"
    )
    partition_bytes: int = Field(
        default=PARTITION_BYTES, ge=1, le=1 << 30, description="how much of a source one step reads, in bytes"
    )
    allow_empty: bool = Field(default=False, description="accept sources without a single row")

    @field_validator("source")
    @classmethod
    def _absolute_sources(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError("expected at least one path, glob or URL, got none")
        return _absolute(value) if isinstance(value, str) else [_absolute(each) for each in value]

    @field_validator("rules")
    @classmethod
    def _absolute_rules(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        return _absolute(value) if isinstance(value, str) else value

    @field_validator("destination")
    @classmethod
    def _absolute_destination(cls, value: str) -> str:
        path = value.removeprefix("file://")
        if "://" in path:
            # An object store has no atomic rename, and publishing rests on it.
            raise ValueError(
                f"expected a folder, got the URL {value!r}; name a folder that every worker sees"
            )
        return _absolute(path)

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        value = "\t" if value == r"\t" else value  # as shells leave it
        if value is not None and (len(value) != 1 or not value.isascii() or value in '"\r\n\0'):
            raise ValueError(
                f"expected one ASCII character other than a quote or a line break, got {value!r}"
            )
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)  # hex and the like are codecs, but not of text
            return codecs.lookup(value).name
        except (LookupError, ValueError):
            raise ValueError(
                f"expected a text encoding such as utf-8, cp1252 or utf-16, got {value!r}"
            ) from None


def _absolute(place: str) -> str:
    if not place.strip():
        raise ValueError("expected a path or URL, got an empty text")
    return place if "://" in place else str(Path(place).expanduser().absolute())
