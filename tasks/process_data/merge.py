"""Put the partitions' counts together: summary, report and manifest, ready to be published.

Reads only what the partition steps counted, one tally at a time, never rows, so
its memory doesn't grow with the input. Safe to run again: same tallies, same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .clean import source_schema
from .compiled import Compiled, compile_rules
from .errors import SourceError, TooManyInvalid
from .report import render
from .rules import Rules
from .summary import Groups
from .survey import SURVEY, Surveyed
from .tally import Tally
from .workspace import MANIFEST, Workspace, Written

FIRST_REASONS = 10
_MISFIT_RULES = ("row.fields", "row.json", "row.encoding")
SUMMARY, REPORT = "summary.json", "report.html"


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything that is known about the run once all partitions are clean."""

    rules: Rules
    compiled: Compiled
    sources: list[Surveyed]
    tally: Tally
    summary: dict[str, Any] | None

    @property
    def share(self) -> float:
        return self.tally.quarantined / self.tally.rows if self.tally.rows else 0.0


def merge(workspace: Workspace, cleaned: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge what the partition steps returned.

    Returns:
        the job's counts and the manifest to publish.
    Raises:
        TooManyInvalid: more rows are invalid than the rules accept; nothing is published.
        SourceError, DestinationError: with what to do.
    """
    cleaned = sorted(cleaned, key=lambda each: int(each["index"]))
    whole = _whole(workspace, cleaned)
    _refuse_too_many(whole, workspace)
    written = [Written(**each[kind]) for kind in ("part", "quarantine") for each in cleaned]
    written.append(workspace.write_json(SUMMARY, _summary(whole)))
    written.append(workspace.write(REPORT, render(whole)))
    manifest = workspace.write_json(MANIFEST, _manifest(whole, written))
    return {
        "rows": whole.tally.rows,
        "valid": whole.tally.valid,
        "quarantined": whole.tally.quarantined,
        "share": round(whole.share, 6),
        "parts": len(cleaned),
        "rules": whole.tally.rules,
        "first_reasons": whole.tally.first_rows[:FIRST_REASONS],
        "manifest": asdict(manifest),
    }


def _whole(workspace: Workspace, cleaned: list[dict[str, Any]]) -> Whole:
    shared = workspace.read_json(SURVEY)
    rules = Rules.model_validate(shared["rules"])
    sources = [Surveyed(**each) for each in shared["sources"]]
    compiled = compile_rules(rules, source_schema(sources[0], shared["columns"]))
    tally, groups = Tally(), Groups(rules, compiled.schema)
    for each in cleaned:
        found = workspace.read_json(each["tally"]["path"])
        tally.add(Tally(**found["tally"]))
        groups.add_json(found["groups"])
    # In the order of the rules, not of the rows that happened to break them first.
    order = [check.rule for check in compiled.checks]
    tally.rules = {rule: tally.rules[rule] for rule in [*order, *_MISFIT_RULES] if rule in tally.rules}
    if tally.rows != shared["rows"] or tally.rows != tally.valid + tally.quarantined:
        raise SourceError(
            f"expected {shared['rows']} rows, found {tally.valid} valid and "
            f"{tally.quarantined} set aside; report this"
        )
    return Whole(rules, compiled, sources, tally, groups.table())


def _refuse_too_many(whole: Whole, workspace: Workspace) -> None:
    if whole.share <= whole.rules.accepted_share:
        return
    reasons = "; ".join(
        f"{each['source']} row {each['row']}: {', '.join(each['reasons'])}"
        for each in whole.tally.first_rows[:3]
    )
    raise TooManyInvalid(
        f"expected at most {_percent(whole.rules.accepted_share)} invalid rows, found "
        f"{whole.tally.quarantined} of {whole.tally.rows} ({_percent(whole.share)}), first {reasons}; "
        f"nothing was published: see {workspace.path('quarantine')}, then correct the source or the rules"
    )


def _percent(share: float) -> str:
    """A share with two digits, or more where it would read as none at all."""
    told = f"{share:.2%}"
    return f"{100 * share:.2g}%" if share and told == "0.00%" else told


def _summary(whole: Whole) -> dict[str, Any]:
    tally = whole.tally
    counts = {
        "rows": tally.rows,
        "valid": tally.valid,
        "quarantined": tally.quarantined,
        "rules": tally.rules,
    }
    return counts if whole.summary is None else {**counts, "summary": whole.summary}


def _manifest(whole: Whole, written: list[Written]) -> dict[str, Any]:
    tally = whole.tally
    return {
        "kind": "process_data",
        "version": 1,
        "schema": [{"name": name, "type": str(kind)} for name, kind in whole.compiled.schema.items()],
        "sources": [
            {"name": each.name, "size_bytes": each.size_bytes, "rows": each.rows} for each in whole.sources
        ],
        "rows": tally.rows,
        "valid": tally.valid,
        "quarantined": tally.quarantined,
        "rules": tally.rules,
        "outputs": [asdict(each) for each in written],
    }
