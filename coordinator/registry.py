"""Kinds of jobs, registered once by ``@job``. Pure.

Owns the table of kinds. Invariant: a name means one kind in a process.
Which modules register kinds is said by ``COORDINATOR_JOBS``; the app imports them.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from coordinator.errors import BatutaError, SettingsError, UnknownKind

if TYPE_CHECKING:
    from pydantic import BaseModel

#: The shipped jobs in the wheel: ``tasks``, their name in a checkout, is that of many a project's own.
SHIPPED = "batuta_tasks"
DEFAULT = "tasks"

NO_KINDS = "none; COORDINATOR_JOBS names the modules that register them"

#: It begins the ids of the kind's jobs, which stand in keys, step ids and addresses; ours are coordinator.…
_NAME = re.compile(r"(?!coordinator\.)[A-Za-z0-9._-]{1,100}")

Builder = TypeVar("Builder", bound=Callable[..., Any])

_kinds: dict[str, Kind] = {}


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of job."""

    name: str
    builder: Callable[[Any], Any]  # takes the validated parameters, returns a Celery canvas
    params: type[BaseModel]
    checks: tuple[Any, ...] = ()  # Celery tasks: each gets the parameters, returns None or reasons
    version: str = "1"
    doc: str = ""


def job(
    name: str, *, params: type[BaseModel], checks: Sequence[Any] = (), version: str = "1"
) -> Callable[[Builder], Builder]:
    """Register a builder of canvas as a kind of job.

    Args:
        name: the kind's name, as in ``submit NAME``: up to 100 letters, digits, ``.``, ``_`` and ``-``.
        params: a pydantic model; its field descriptions are shown by the command line.
        checks: Celery tasks that look at the world before any work is sent. Each is called with
            the parameters as one JSON object and returns None, or one or several reasons why not.
        version: said by each job of this kind, so that old and new can be told apart.

    Raises:
        SettingsError: another builder has that name, it is none, or ``params`` is no model.
    """
    from pydantic import BaseModel

    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"the kind {name!r}: expected a name of up to 100 letters, digits, . _ and -, which does not "
            "begin with coordinator.; rename it"
        )
    if not isinstance(params, type) or not issubclass(params, BaseModel) or params is BaseModel:
        raise SettingsError(
            f"the kind {name!r}: expected a subclass of pydantic's BaseModel as params, got {params!r}; "
            "a kind without parameters takes an empty one"
        )

    def register(builder: Builder) -> Builder:
        known = _kinds.get(name)
        if known and known.builder.__qualname__ != builder.__qualname__:
            raise SettingsError(
                f"the kind {name!r} is registered twice, by {known.builder.__module__} and "
                f"{builder.__module__}; give one of them another name"
            )
        _kinds[name] = Kind(name, builder, params, tuple(checks), version, (builder.__doc__ or "").strip())
        return builder

    return register


def kind(name: str) -> Kind:
    """Return the kind of that name.

    Raises:
        UnknownKind: with the nearest names.
    """
    try:
        return _kinds[name]
    except KeyError:
        near = difflib.get_close_matches(name, _kinds, n=3)
        hint = (
            f"did you mean {' or '.join(near)}?" if near else f"known kinds: {', '.join(kinds()) or NO_KINDS}"
        )
        raise UnknownKind(f"no kind is called {name[:80]!r}; {hint}", kind=name) from None


def kinds() -> list[str]:
    """Return the names of all kinds, sorted."""
    return sorted(_kinds)


def load(modules: Sequence[str]) -> None:
    """Import the modules that register kinds.

    Raises:
        SettingsError: a module can't be imported.
    """
    if modules and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in found(modules):
        with _told("COORDINATOR_JOBS", name):
            importlib.import_module(name)


def load_tasks(app: Any) -> None:
    """Import the modules that an application, if any, names (``include``) or finds (``autodiscover_tasks``).

    Raises:
        SettingsError: a module can't be imported.
    """
    if app is None:
        return
    with _told(f"the tasks of the application {app.main!r}", "one of them"):
        app.loader.import_default_modules()


@contextlib.contextmanager
def _told(named_by: str, name: str) -> Iterator[None]:
    """Turn what an import raises into an error that says where the module was named."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{named_by}: expected modules that can be imported, found no module {error.name!r}; "
            "start in the folder that holds it, or install it"
        ) from error
    except BatutaError:
        raise
    except Exception as error:
        raise SettingsError(
            f"{named_by}: expected modules that can be imported, but {name} raised "
            f"{type(error).__name__}: {error}",
            module=name,
        ) from error


def found(modules: Sequence[str]) -> list[str]:
    """Return the modules to import: where nothing is called ``tasks``, the default, what the wheel ships."""
    return [SHIPPED if name == DEFAULT and is_missing(name) else name for name in modules]


def is_missing(module: str) -> bool:
    """Whether no such module can be imported; a folder without an ``__init__.py`` is none."""
    if module in sys.modules:
        return False
    spec = importlib.util.find_spec(module)
    return spec is None or spec.origin is None
