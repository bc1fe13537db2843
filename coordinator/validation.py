"""From a request to a plan: parameters, checks, the gate and the work. Pure.

Owns what makes a request valid. Invariant: the plan of a kind with checks runs
them as a chord whose body is the gate, and no step of the work follows anything
but the gate.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Signature, chord
from kombu.utils.json import dumps
from pydantic import BaseModel, ValidationError

from coordinator.compiler import compile_phases
from coordinator.errors import BatutaError, BuilderFailed, InvalidParams, InvalidRequest
from coordinator.plan import PHASE_CHECK, PHASE_WORK, Plan
from coordinator.registry import Kind
from coordinator.states import Flag, new_job_id
from coordinator.values import written

GATE = "coordinator.gate"
#: The flag that tells whether the parameters fit the kind's model.
PARAMS_CHECK = "params"
_PLAIN_ID = re.compile(r"[A-Za-z0-9._/@+=-]{1,128}")


@dataclass(frozen=True, slots=True)
class Validated:
    """A request whose parameters fit, compiled."""

    params: dict[str, Any]
    params_hash: str
    plan: Plan
    flags: dict[str, Flag]


def validate(kind: Kind, params: Any, options: dict[str, Any] | None = None) -> Validated:
    """Fit the parameters to the kind's model and compile its checks and its work.

    Args:
        options: queue and priority of every step that has none of its own.

    Raises:
        InvalidParams: with one sentence for each fault, in ``facts["errors"]``.
        UnsupportedCanvas: the kind's builder returned what a plan can't express.
        BuilderFailed: it raised an error of its own.
    """
    model = _fitted(kind, params)
    document = model.model_dump(mode="json")
    try:
        written(document)
    except ValueError as error:
        raise InvalidRequest(f"expected parameters that are JSON values; {error}") from error
    digest = hash_of(document)
    phases = [(_built(kind, model), PHASE_WORK)]
    if kind.checks:
        phases.insert(0, (_checks(kind, document), PHASE_CHECK))
    flag = Flag(PARAMS_CHECK, True, params_hash=digest, version=kind.version)
    return Validated(document, digest, compile_phases(phases, defaults=options), {PARAMS_CHECK: flag})


def _built(kind: Kind, model: BaseModel) -> Any:
    try:
        return kind.builder(model)
    except BatutaError:
        raise  # its own look at the parameters
    except Exception as error:
        raise BuilderFailed(
            f"expected a canvas from the builder of {kind.name}, got {type(error).__name__}: {error}"
        ) from error


def rejected_flags(kind: Kind, params: Any, errors: list[str]) -> dict[str, Flag]:
    """Return the flag that says why the parameters don't fit."""
    flag = Flag(PARAMS_CHECK, False, "; ".join(errors), params_hash=hash_of(params), version=kind.version)
    return {PARAMS_CHECK: flag}


def verdicts(checks: list[str], answers: list[Any], digest: str, version: str) -> dict[str, Flag]:
    """Turn the answers of a kind's checks into flags; checks of one name have one, of all their reasons."""
    reasons: dict[str, list[Any]] = {}
    for check, answer in zip(checks, answers, strict=True):
        reasons.setdefault(check, []).extend(_reasons(check, answer))
    return {
        check: Flag(check, not said, "; ".join(map(str, said)), params_hash=digest, version=version)
        for check, said in reasons.items()
    }


def _reasons(check: str, answer: Any) -> list[Any]:
    if answer is None:
        return []
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, list):
        return answer
    raise BatutaError(
        f"check {check}: expected None, or one or several reasons why not, got {answer!r}; return those"
    )


def hash_of(document: Any) -> str:
    """Return the first 16 hex digits of the sha256 of a JSON value with sorted keys."""
    return hashlib.sha256(dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def job_id_for(kind: str, key: Any = None) -> str:
    """Return the id of the job that an idempotency key stands for, or a new one.

    A key of plain characters is the id itself. Any other is made plain, with a hash of all of it behind.
    """
    if key is None or key == "":
        return new_job_id(kind)
    if not isinstance(key, str | int):
        raise InvalidRequest(f"expected the key of a request to be text, got {type(key).__name__}")
    text = str(key)
    if _PLAIN_ID.fullmatch(text):
        return text
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:60].strip("-")
    return f"{slug or kind}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _fitted(kind: Kind, params: Any) -> Any:
    if not isinstance(params, Mapping):
        raise InvalidParams(
            f"expected the parameters of {kind.name} to be an object, got {type(params).__name__}",
            errors=[f"expected an object, got {type(params).__name__}"],
        )
    try:
        return kind.params.model_validate(dict(params))
    except ValidationError as error:
        faults = [_sentence(kind, fault) for fault in error.errors(include_url=False)]
        message = f"the parameters don't fit {kind.name}: " + "; ".join(faults)
        raise InvalidParams(message, errors=faults) from error


def _sentence(kind: Kind, fault: Any) -> str:
    name = ".".join(str(part)[:80] for part in fault["loc"]) or "parameters"
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, kind.params.model_fields, n=1)
        return f"{name}: there is no such parameter" + (f"; did you mean {near[0]}?" if near else "")
    field = kind.params.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
    # What a kind's own validator says stands for itself; pydantic would put "Value error, " before it.
    said = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
    is_told = fault["type"] == "missing" or ", got " in said
    found = "" if is_told else f", got {str(fault['input'])[:80]!r}"
    hint = f" ({field.description})" if field and field.description else ""
    return f"{name}: {said}{found}{hint}"


def _checks(kind: Kind, document: dict[str, Any]) -> Any:
    names = [check.name.rpartition(".")[2] for check in kind.checks]
    gate = Signature(GATE, kwargs={"checks": names, "digest": hash_of(document), "version": kind.version})
    return chord([check.s(document) for check in kind.checks], gate)
