"""Kinds and their parameters: shown in tables and in ``submit KIND --help``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli import connection
from coordinator.cli.completion import kinds as complete_kinds
from coordinator.cli.options import common
from coordinator.cli.output import Column, one_line, show_json, show_rows, show_table
from coordinator.cli.session import Session, program_name
from coordinator.errors import BatutaError

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a kind, as its model's JSON schema tells it."""

    name: str
    type: str
    required: bool
    default: Any
    description: str

    @property
    def note(self) -> str:
        """What to know about leaving it out."""
        if self.required:
            return "required"
        return "optional" if self.default in (None, "") else f"default: {one_line(self.default, 40)}"


KIND_COLUMNS = (
    Column("KIND", lambda kind: kind["kind"]),
    Column("VERSION", lambda kind: kind["version"], spare=True),
    Column("DOES", lambda kind: kind["doc"], folds=True),
)
PARAM_COLUMNS = (
    Column("PARAMETER", lambda param: param.name),
    Column("TYPE", lambda param: param.type, folds=True),
    Column("", lambda param: param.note, spare=True, folds=True),
    Column("MEANING", lambda param: param.description, folds=True),
)


class KindCommand(click.Command):
    """A command whose ``KIND --help`` also lists that kind's parameters."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # --help is answered before KIND is read, so the words are kept for it.
        ctx.meta["words"] = [word for word in args if not word.startswith("-")]
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        kind = _named_kind(ctx.meta.get("words", []))
        if kind is None:
            with formatter.section("Kinds and their parameters"):
                formatter.write_text(f"{program_name()} kinds [KIND]")
            return
        with formatter.section(f"Parameters of {kind.name}, each given as -p NAME=VALUE"):
            formatter.write_dl([(p.name, f"{p.description} [{p.type}; {p.note}]") for p in params_of(kind)])


@click.command("kinds")
@click.argument("kind", metavar="[KIND]", required=False, shell_complete=complete_kinds)
@common
@click.pass_obj
def kinds_command(session: Session, kind: str | None) -> None:
    """List the kinds of job, or show the parameters of one."""
    registry = connection.loaded_registry()
    if kind is None:
        rows = [kind_row(registry.kind(name)) for name in registry.kinds()]
        show_rows(
            session, rows, KIND_COLUMNS, none="no kinds: COORDINATOR_JOBS names the modules that hold them"
        )
        return
    found = registry.kind(kind)
    params = params_of(found)
    if session.is_json:
        show_json(kind_row(found) | {"params": [asdict(param) for param in params]})
        return
    click.echo(f"{found.name}: {kind_row(found)['doc']}\n")
    show_table(session, params, PARAM_COLUMNS)
    needed = " ".join(f"-p {param.name}=…" for param in params if param.required)
    click.echo(f"\n{program_name()} run {found.name} {needed}".rstrip())


def kind_row(kind: Any) -> dict[str, str]:
    """Return a kind as ``kinds`` lists it."""
    lines = (kind.doc or "").strip().splitlines()
    return {"kind": kind.name, "version": kind.version, "doc": lines[0] if lines else ""}


def params_of(kind: Any) -> list[Param]:
    """Return the parameters of a kind, the required ones first."""
    schema = kind.params.model_json_schema()
    needed, definitions = schema.get("required", []), schema.get("$defs", {})
    params = [
        Param(name, _type_name(spec, definitions), name in needed, spec.get("default"), _meaning(spec))
        for name, spec in schema.get("properties", {}).items()
    ]
    return sorted(params, key=lambda param: not param.required)


def text_params(kind: Any) -> frozenset[str]:
    """Return the names of the parameters that take text only."""
    return frozenset(param.name for param in params_of(kind) if param.type in ("text", "text or nothing"))


def strange_params(kind: Any, names: Iterable[str]) -> list[str]:
    """Return a sentence for each name that the kind has no parameter of, with the one probably meant.

    pydantic leaves such names out without a word, unless its model forbids or allows them.
    """
    if kind.params.model_config.get("extra") == "allow":
        return []
    known = [param.name for param in params_of(kind)]
    known += [name for name in _other_names(kind.params) if name not in known]
    sentences = []
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
            sentences.append(f"{kind.name} has no parameter {name!r}; {meant}")
    return sentences


def _other_names(model: type[BaseModel]) -> list[str]:
    """Return the fields' own names and aliases: a JSON schema tells one name of each."""
    from pydantic import AliasChoices, AliasPath

    names = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        paths = [str(choice.path[0]) for choice in choices if isinstance(choice, AliasPath)]
        names += [name, *(choice for choice in choices if isinstance(choice, str)), *paths]
    return names


def _named_kind(words: list[str]) -> Any:
    if not words:
        return None
    try:
        registry = connection.loaded_registry()
        name = next((word for word in words if word in registry.kinds()), None)
        return registry.kind(name) if name else None
    except BatutaError:
        return None  # Help must be shown even where the settings can't be used.


def _meaning(spec: Mapping[str, Any]) -> str:
    return " ".join(str(spec.get("description", "")).split())


def _type_name(spec: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in spec:
        return _type_name(definitions.get(spec["$ref"].rpartition("/")[2], {}), definitions)
    if "enum" in spec:
        return " or ".join(map(str, spec["enum"]))
    if "const" in spec:
        return str(spec["const"])
    if "anyOf" in spec:
        return " or ".join(dict.fromkeys(_type_name(part, definitions) for part in spec["anyOf"]))
    if spec.get("type") == "array":
        items = _type_name(spec.get("items", {}), definitions)
        return f"list of {items.replace('number', 'numbers')}"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return (words | {"object": "object", "null": "nothing"}).get(str(spec.get("type")), "any JSON")
