"""How fast the data-quality gate is, and how much memory its workers take.

Compares, on one generated CSV and in one run, two worker processes (one polars
thread each) that survey, clean, merge and publish, with one process in which
polars uses all cores to do the same work: read as text, cast, check every rule,
set invalid rows aside with every reason, write Parquet, sum up.

    python -m benchmarks.process_data                       1 GB, goal: ratio at most 1.3
    python -m benchmarks.process_data --size-mb 2000 --only workers    peak memory, goal: 600 MB a worker
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

STATES = ["open", "paid", "void", "sent"]
HEADER = "id,day,state,amount,quantity,country,note,email,score,flag\n"
EMAIL = r"[^@]+@[^@]+\.[a-z]+"
RULES: dict[str, Any] = {
    "columns": {
        "id": {"type": "integer", "required": True},
        "day": {"type": "date"},
        "state": {"allowed": STATES},
        "amount": {"type": "number", "min": 0},
        "quantity": {"type": "integer", "min": 0},
        "email": {"pattern": EMAIL},
        "score": {"type": "number"},
        "flag": {"type": "boolean"},
    },
    "derived": {"total": "amount * quantity"},
    "row_rules": {"not_too_large": "total < 490000"},
    "summary": {
        "group_by": ["country"],
        "aggregates": {"n": "COUNT(*)", "total": "SUM(total)", "mean": "AVG(amount)", "from": "MIN(day)"},
    },
}


def write_csv(path: Path, size_bytes: int) -> None:
    """Rows of ten columns, about 4 % of them invalid, the same on every run."""
    chance = random.Random(1)
    rows = [row(chance) for _ in range(100_000)]
    block = "".join(rows).encode()
    with path.open("wb") as file:
        file.write(HEADER.encode())
        while file.tell() < size_bytes:
            file.write(block)


def row(chance: random.Random) -> str:
    amount = f"{chance.random() * 1000:.2f}" if chance.random() > 0.01 else "n/a"
    fields = [
        chance.randrange(10**9),
        date(2020, 1, 1) + timedelta(days=chance.randrange(1500)),
        chance.choice(STATES) if chance.random() < 0.98 else "?",
        amount,
        chance.randrange(-2, 500),
        chance.choice(["DE", "FR", "IT", "ES", "PL", "US"]),
        f"some text {chance.randrange(10**6)}",
        f"cust-{chance.randrange(10**6):06d}@example.org",
        f"{chance.gauss(0, 1):.6f}",
        chance.choice(["true", "false"]),
    ]
    return ",".join(map(str, fields)) + "\n"


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def start_worker() -> None:
    import tasks.process_data.clean  # It sets polars up, so it comes first.  # noqa: F401, I001
    import numpy  # noqa: F401
    import polars  # noqa: F401


def clean_one(task: tuple[str, dict[str, Any]]) -> tuple[dict[str, Any], int, int, float]:
    from tasks.process_data.clean import clean
    from tasks.process_data.workspace import Workspace

    started = cpu_s()
    cleaned = clean(Workspace(Path(task[0]), "bench"), task[1])
    return cleaned, os.getpid(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, cpu_s() - started


def gate_whole(source: str, output: str) -> tuple[list[dict[str, Any]], dict[str, float]]:
    from tasks.process_data.params import ProcessData
    from tasks.process_data.survey import survey
    from tasks.process_data.workspace import Workspace

    params = ProcessData(source=source, rules=RULES, destination=output)
    started = time.perf_counter()
    items = survey(params, Workspace(Path(output), "bench"))
    return items, {"survey": time.perf_counter() - started}


def publish_whole(output: str, cleaned: list[dict[str, Any]]) -> dict[str, Any]:
    from tasks.process_data.merge import merge
    from tasks.process_data.publish import publish
    from tasks.process_data.workspace import Workspace

    workspace = Workspace(Path(output), "bench")
    return publish(workspace, merge(workspace, cleaned))


def run_workers(source: Path, output: Path) -> dict[str, Any]:
    """All the steps on two worker processes that are up already, as real workers are."""
    with multiprocessing.get_context("spawn").Pool(2, start_worker) as pool:
        pool.map(abs, range(8), 1)
        started = time.perf_counter()
        items, times = pool.apply(gate_whole, (str(source), str(output)))
        done = pool.map(clean_one, [(str(output), item) for item in items], 1)
        result = pool.apply(publish_whole, (str(output), [each[0] for each in done]))
        wall_s = time.perf_counter() - started
    peaks = {pid: max(each[2] for each in done if each[1] == pid) for _, pid, _, _ in done}
    return {
        "wall_s": wall_s,
        "survey_s": times["survey"],
        "clean_cpu_s": sum(each[3] for each in done),
        "peak_mb": sorted(peaks.values()),
        "rows": result["rows"],
        "quarantined": result["quarantined"],
    }


def run_alone(source: Path, output: Path) -> dict[str, Any]:
    """One process, polars with all cores."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(alone, (str(source), str(output)))


def alone(source: str, output: str) -> dict[str, Any]:
    os.environ.pop("POLARS_MAX_THREADS", None)
    import polars as pl

    Path(output).mkdir()
    started, used = time.perf_counter(), cpu_s()
    original = pl.read_csv(source, infer_schema=False).with_row_index("row", 1)
    typed, texts = cast(original), original.select(pl.all().name.prefix("text:"))
    work = pl.concat([typed, texts], how="horizontal")
    breaks = work.select(fail.fill_null(False).alias(name) for name, fail in fails().items())
    bad = breaks.select(pl.any_horizontal(pl.all())).to_series()
    write_valid(typed.filter(~bad).drop("row"), output)
    write_quarantine(pl.concat([original.filter(bad), breaks.filter(bad)], how="horizontal"), output)
    breaks.sum()
    texts.null_count()
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": cpu_s() - used,
        "threads": pl.thread_pool_size(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "rows": original.height,
        "quarantined": int(bad.sum()),
    }


def cast(original: pl.DataFrame) -> pl.DataFrame:
    """Give each column its type, and add what is derived; what does not fit is null."""
    import polars as pl

    column, flag = pl.col, pl.col("flag").str.to_lowercase()
    return original.with_columns(
        column("id", "quantity").cast(pl.Int64, strict=False),
        column("amount", "score").cast(pl.Float64, strict=False),
        column("day").str.to_date("%Y-%m-%d", strict=False),
        pl.when(flag.is_in(["true", "t", "yes", "y", "1"]))
        .then(True)
        .when(flag.is_in(["false", "f", "no", "n", "0"]))
        .then(False)
        .alias("flag"),
    ).with_columns(total=column("amount") * column("quantity"))


def fails() -> dict[str, pl.Expr]:
    """What breaks each rule: beside the typed columns are their texts, as ``text:NAME``."""
    import polars as pl

    column = pl.col
    return {
        f"{name}.type": column(name).is_null() & column(f"text:{name}").is_not_null()
        for name in ("id", "day", "amount", "quantity", "score", "flag")
    } | {
        "id.required": column("text:id").is_null(),
        "state.allowed": ~column("state").is_in(STATES),
        "amount.min": column("amount") < 0,
        "quantity.min": column("quantity") < 0,
        "email.pattern": ~column("email").str.contains(f"^(?:{EMAIL})$"),
        "not_too_large": column("total") >= 490000,
    }


def write_valid(valid: pl.DataFrame, output: str) -> None:
    """Write the valid rows, and their summary."""
    import polars as pl

    valid.write_parquet(f"{output}/valid.parquet", compression="zstd", compression_level=1)
    column = pl.col
    summary = valid.group_by("country").agg(
        orders=pl.len(), total=column("total").sum(), mean=column("amount").mean(), first=column("day").min()
    )
    summary.sort("country").write_json(f"{output}/summary.json")


def write_quarantine(marked: pl.DataFrame, output: str) -> None:
    """Write the invalid rows as they came, with every reason."""
    import polars as pl

    column = pl.col
    reasons = [
        pl.when(column(name)).then(pl.concat_str(pl.lit(f"{name}: found "), column(name.partition(".")[0])))
        if "." in name
        else pl.when(column(name)).then(pl.lit(name))
        for name in fails()
    ]
    values = pl.struct(HEADER.strip().split(","))
    found = marked.select("row", reasons=pl.concat_list(reasons).list.drop_nulls(), values=values)
    found.write_ndjson(f"{output}/quarantine.jsonl")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--size-mb", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=2, help="the best of so many counts")
    options.add_argument("--only", choices=["workers", "alone"])
    given = options.parse_args()
    figures: dict[str, Any] = {"size_mb": given.size_mb, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="batuta-bench-") as folder:
        source = Path(folder, "orders.csv")
        write_csv(source, given.size_mb * 1_000_000)
        runs = {"workers": run_workers, "alone": run_alone}
        wanted = [given.only] if given.only else list(runs)
        # In turn, so that whatever else the machine does falls on both.
        for name in wanted * given.rounds:
            found = runs[name](source, Path(folder, name))
            shutil.rmtree(Path(folder, name))
            if found["wall_s"] < figures.get(name, found)["wall_s"] or name not in figures:
                figures[name] = found
    if not given.only:
        if figures["workers"]["rows"] != figures["alone"]["rows"]:
            raise SystemExit("the two did not do the same work")
        figures["ratio"] = round(figures["workers"]["wall_s"] / figures["alone"]["wall_s"], 3)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
