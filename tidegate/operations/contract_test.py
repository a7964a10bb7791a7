"""Today's contract over files that came before: what it would accept and refuse. Changes nothing."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.errors import RejectedError, UsageError
from tidegate.ledger import queries
from tidegate.operations.judge import Judged, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.contracts import Contract
    from tidegate.ledger import ObjectEntry
    from tidegate.operations.project import Project

_EXAMPLES = 10
#: Rules of later stages, which are not run here.
_LATER = ("lookup", "reference")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One object, then and now; in rows."""

    key: str
    version: str
    state: str
    contract_version: str | None
    accepted_before: int
    #: None: it was held before its rows were counted
    refused_before: int | None
    accepted_now: int
    refused_now: int
    newly_accepted: int
    newly_refused: int
    #: why the whole object would be held, or could not be read
    problem: str = ""


@dataclass(kw_only=True)
class Outcome:
    """What a contract would make of the objects that were tried."""

    dataset: str
    version: str
    objects: list[Tried] = field(default_factory=list)
    #: (column, rule) -> rows newly refused for it
    reasons: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    #: rows newly refused: key, record, column, rule, value, message
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def newly_accepted(self) -> int:
        return sum(one.newly_accepted for one in self.objects)

    @property
    def newly_refused(self) -> int:
        return sum(one.newly_refused for one in self.objects)


def try_contract(
    project: Project, dataset: str, *, last: int, quarantine: bool, limit: int | None = None
) -> Outcome:
    """Judge the newest loaded objects of a dataset, and those with something in quarantine.

    Reading and checking are run, steps and lookups are not. Raises UsageError when there is nothing
    to try, ContractError for an unknown dataset, RetryableError when the store is in the way.
    """
    contract = _without_manifest(project.registry[dataset])
    refused = _refused_records(project, dataset)
    entries = _choose(project, dataset, refused, last=last, quarantine=quarantine)[:limit]
    if not entries:
        msg = (
            f"No object of {dataset} was loaded or quarantined yet: there is nothing to try the contract on."
        )
        raise UsageError(msg)
    outcome = Outcome(dataset=dataset, version=contract.version)
    rules = project.ledger.ask(queries.broken_rules, [entry.object_id for entry in entries])
    with tempfile.TemporaryDirectory(prefix="tidegate-test-") as folder:
        for entry in entries:
            # An object that a later stage held had passed all that is checked here.
            held = entry.state == "quarantined" and rules.get(entry.object_id) not in _LATER
            mine = refused.get(entry.object_id, frozenset())
            _try(project, contract, entry, mine, Path(folder), outcome, held=held)
    return outcome


def _without_manifest(contract: Contract) -> Contract:
    """The contract without totals that stand in an object of their own, which may be gone by now."""
    if contract.totals is None or contract.totals.manifest is None:
        return contract
    return dataclasses.replace(contract, totals=None)


def _choose(
    project: Project, dataset: str, refused: dict[str, frozenset[int]], *, last: int, quarantine: bool
) -> list[ObjectEntry]:
    """Newest first, each once."""
    loaded = project.ledger.ask(queries.find, dataset=dataset, states=("loaded",))
    chosen = loaded[-last:] if last else []
    if quarantine:
        chosen += project.ledger.ask(queries.find, dataset=dataset, states=("quarantined",))
        chosen += [entry for entry in loaded if entry.object_id in refused]
    once = {entry.object_id: entry for entry in chosen}
    return sorted(once.values(), key=lambda entry: (entry.uploaded_at, entry.key), reverse=True)


def _refused_records(project: Project, dataset: str) -> dict[str, frozenset[int]]:
    """Object -> numbers of its records that are in quarantine now, for what is checked here."""
    later = ", ".join(f"'{rule}'" for rule in _LATER)
    sql = (
        "SELECT object_id, list(DISTINCT record) FROM tidegate.rejected_rows "  # noqa: S608 - a checked name
        f"WHERE dataset = '{dataset}' AND closed_at IS NULL AND rule NOT IN ({later}) GROUP BY object_id"
    )
    try:
        _, rows = project.warehouse.query(sql)
    except UsageError:
        return {}  # nothing was loaded yet
    return {object_id: frozenset(records) for object_id, records in rows}


def _try(
    project: Project,
    contract: Contract,
    entry: ObjectEntry,
    refused: frozenset[int],
    folder: Path,
    outcome: Outcome,
    *,
    held: bool,
) -> None:
    read = entry.rows_read
    accepted = 0 if held else (read or 0) - len(refused)
    refused_before = read if held else len(refused)
    file = folder / "object"
    try:
        project.store.fetch(entry.object, file)
        judged = judge(file, contract)
    except RejectedError as error:
        # It is no longer there to be read, which says nothing of the contract.
        outcome.objects.append(_untried(entry, accepted, refused_before, str(error)))
        return
    finally:
        file.unlink(missing_ok=True)
    now = _refused_now(judged)
    comparable = not held and judged.read == read and not judged.rule
    accepted_now = judged.accepted
    # A file held for its header is not read to the end: its rows are those that were counted.
    accepted + (refused_before or 0)
    if comparable:
        gained, lost = len(refused - now), len(now - refused)
    else:
        gained, lost = max(0, accepted_now - accepted), max(0, accepted - accepted_now)
    outcome.objects.append(
        Tried(
            key=entry.key,
            version=entry.version,
            state=entry.state,
            contract_version=entry.contract_version,
            accepted_before=accepted,
            refused_before=refused_before,
            accepted_now=accepted_now,
            refused_now=max(judged.rejected, accepted + (refused_before or 0))
            if judged.rule
            else judged.rejected,
            newly_accepted=gained,
            newly_refused=lost,
            problem=judged.reason,
        )
    )
    if lost:
        _note(outcome, entry, judged, now - refused if comparable else now, lost)


def _refused_now(judged: Judged) -> frozenset[int]:
    return frozenset(judged.rejections["record"].to_list())


def _untried(entry: ObjectEntry, accepted: int, refused: int | None, problem: str) -> Tried:
    return Tried(
        key=entry.key,
        version=entry.version,
        state=entry.state,
        contract_version=entry.contract_version,
        accepted_before=accepted,
        refused_before=refused,
        accepted_now=accepted,
        refused_now=refused or 0,
        newly_accepted=0,
        newly_refused=0,
        problem=f"not tried: {problem}",
    )


def _note(outcome: Outcome, entry: ObjectEntry, judged: Judged, records: frozenset[int], lost: int) -> None:
    rows: Sequence[dict[str, Any]] = judged.rejections.drop("offset", "raw").to_dicts()
    if judged.rule:
        outcome.reasons[None, judged.rule] += lost
    else:
        outcome.reasons.update((row["column"], row["rule"]) for row in rows if row["record"] in records)
    for row in rows:
        if row["record"] in records and len(outcome.examples) < _EXAMPLES:
            outcome.examples.append({"key": entry.key, **row})
