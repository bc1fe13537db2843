"""The shipped job: a data-quality gate over CSV, JSON Lines and Parquet.

It reads sources in partitions, checks every row against declared rules, and
publishes typed Parquet parts, quarantined rows with every reason, a summary,
a report and a manifest. Importing this package is light: polars and numpy are
imported by the functions that need them.
"""

from __future__ import annotations

import os

# One thread a process: workers are the parallelism, and polars reads this once, at its first import.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
# Keep freed memory for 10 s: slices are alike, and asking the system anew for each takes a seventh
# of the time.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:10000")
