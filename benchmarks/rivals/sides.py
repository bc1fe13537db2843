"""What is measured: each side's packages and processes, and how much work it bears.

A ``Side`` runs in a virtual environment of its own (none: in this one). Its ``services``
come up first, then its ``workers``; both are arguments to that environment's Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CELERY = ("-m", "celery", "-A", "{app}", "worker", "-P", "prefork", "-c", "2", "--loglevel", "INFO")
CELERY_OPTIONS = ("--without-mingle", "--without-gossip")


def celery(app: str) -> tuple[str, ...]:
    return (*(part.format(app=app) for part in CELERY), *CELERY_OPTIONS)


@dataclass(frozen=True)
class Work:
    """How much work a side bears in one round, so that a run stays within minutes."""

    chains: tuple[int, ...] = (3, 100)
    short_chains: int = 20  # how often a chain of 3
    sizes: tuple[int, ...] = (100, 1000, 5000)
    submits: int = 100
    repeats: int = 3  # how often a chain of 100, and a join below 500


def most(works: Sequence[Work]) -> Work:
    """Return the work that holds each of these."""
    return Work(
        chains=tuple(sorted({length for work in works for length in work.chains})),
        sizes=tuple(sorted({size for work in works for size in work.sizes})),
    )


@dataclass(frozen=True)
class Side:
    """One side: how it is installed and started, what it bears."""

    name: str
    adapter: str
    workers: tuple[tuple[str, ...], ...]
    ready: str  # what each worker writes when it consumes …
    ready_times: int = 1  # … and how often
    pins: tuple[str, ...] = ()
    prepare: tuple[tuple[str, ...], ...] = ()
    services: tuple[tuple[str, ...], ...] = ()
    service_ready: str = ""
    needs_postgres: bool = False
    work: Work = Work()
    rounds: int = 5
    env: tuple[tuple[str, str], ...] = ()


PLAIN = Side(
    name="plain Celery",
    adapter="with_celery",
    workers=(celery("benchmarks.plain_app"),),
    ready=" ready.",
)
OURS = Side(
    name="Batuta",
    adapter="with_batuta",
    workers=(celery("coordinator.app"),),
    ready=" ready.",
    env=(("COORDINATOR_JOBS", "benchmarks.noop_tasks"),),
)
RIVALS = (
    Side(
        name="dramatiq",
        adapter="with_dramatiq",
        pins=("dramatiq[rabbitmq,redis]==2.2.1", "pika==1.4.4", "redis==8.1.0"),
        workers=(("-m", "dramatiq", "with_dramatiq", "--processes", "2", "--threads", "1"),),
        ready="Worker process is ready for action.",
        ready_times=2,
    ),
    Side(
        name="streaQ",
        adapter="with_streaq",
        pins=("streaq==7.2.0", "coredis==6.9.0"),
        workers=(("-m", "streaq", "run", "with_streaq:worker"),) * 2,
        ready="starting worker",
    ),
    Side(
        name="celery-director",
        adapter="with_director",
        pins=("celery-director==0.10.0", "setuptools<81"),
        prepare=(("with_director.py",), ("with_director.py", "upgrade")),
        env=(
            ("DIRECTOR_HOME", "{BENCH_HOME}"),
            ("DIRECTOR_BROKER_URI", "{BROKER_URL}"),
            ("DIRECTOR_RESULT_BACKEND_URI", "{REDIS_URL}"),
            ("DIRECTOR_DATABASE_URI", "{POSTGRES_URL}"),
        ),
        workers=(celery("director._auto:cel"),),
        ready=" ready.",
        needs_postgres=True,
        work=Work(sizes=(100, 1000), submits=30),
        rounds=3,
    ),
    Side(
        name="celery-dyrygent",
        adapter="with_dyrygent",
        pins=("celery-dyrygent==0.8.0", "celery[redis]==5.7.0", "kombu==5.7.0", "setuptools<81"),
        workers=(celery("with_dyrygent"),),
        ready=" ready.",
        work=Work(chains=(3,), short_chains=5, sizes=(100, 1000)),
        rounds=3,
    ),
    Side(
        name="DBOS",
        adapter="with_dbos",
        pins=("dbos==3.4.0", "psycopg[binary]==3.3.9"),
        workers=(("with_dbos.py",),) * 2,
        ready="ready.",
        needs_postgres=True,
        work=Work(sizes=(100, 1000)),
        rounds=3,
    ),
    Side(
        name="Prefect",
        adapter="with_prefect",
        pins=("prefect==3.8.8", "fastapi==0.140.0"),
        services=(("-m", "prefect", "server", "start", "--no-ui", "--port", "{BENCH_PORT}"),),
        env=(
            ("PREFECT_HOME", "{BENCH_HOME}"),
            ("PREFECT_API_URL", "http://127.0.0.1:{BENCH_PORT}/api"),
            ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
            ("PREFECT_LOGGING_LEVEL", "WARNING"),
        ),
        service_ready="Configure Prefect to communicate",
        workers=(("with_prefect.py",),) * 2,
        ready="ready.",
        work=Work(short_chains=5, sizes=(100,), submits=20, repeats=1),  # a join of 1,000 takes minutes
        rounds=3,
    ),
)
#: Who is measured in one run, of five minutes at most.
TOGETHER = (("dramatiq", "streaQ"), ("celery-director", "celery-dyrygent"), ("DBOS",), ("Prefect",))
