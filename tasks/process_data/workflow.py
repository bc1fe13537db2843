"""The kind ``process_data``: its checks and its canvas."""

from __future__ import annotations

from typing import Any

from celery import chain

from coordinator import each, job

from .params import ProcessData
from .steps import (
    clean,
    columns_present,
    destination_free,
    merge,
    publish,
    readable,
    rules_compile,
    survey,
)


@job(
    "process_data",
    params=ProcessData,
    checks=[readable, rules_compile, columns_present, destination_free],
    version="1",
)
def process_data(params: ProcessData) -> Any:
    """Check every row of CSV, JSON Lines or Parquet against rules; publish valid rows, set others aside."""
    destination = params.destination
    return chain(
        survey.s(params.model_dump(mode="json")),
        each(clean.s(destination=destination), join=merge.s(destination=destination)),
        publish.s(destination=destination),
    )
