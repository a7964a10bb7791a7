"""Check a file as a drop would, on a laptop: no server, no ledger, nothing loaded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.errors import ObjectRejectedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from tidegate.contracts import Contract
    from tidegate.contracts.registry import Registry
    from tidegate.stages.file_check import FileCheck

#: Rejections that a report shows.
FIRST = 20


@dataclass(kw_only=True)
class Verdict:
    """What would become of a file.

    `accepted` holds the rows that would be loaded, typed, with ``_record`` and ``_line`` in front:
    none when the file as a whole would be held. `rejected` holds one row for each rule that a
    record broke: ``record``, ``line``, ``offset``, ``column``, ``rule``, ``value``, ``message``,
    ``raw``. `report` is plain data, ready for JSON.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the file would be loaded whole."""
        return bool(self.report["verdict"] == "accepted")


def check(content: str | Path | bytes, contract: Contract | str | Path) -> Verdict:
    """Read, parse and check a file, or its bytes, against a contract.

    `contract` may also be the path of a Python file that declares one, or the name of a dataset of
    the project in the working folder.

    Normalization, lookups and the load are not tried: they need the references and the warehouse.
    Raises UsageError when there is no such file and ContractError when the contract can't work;
    whatever is wrong with the file itself is in the verdict.
    """
    import polars as pl

    from tidegate.contracts import Contract
    from tidegate.reading import LINE, RECORD, REJECTION_SCHEMA
    from tidegate.stages.file_check import check_file, too_bad
    from tidegate.stages.schema import file_columns

    if not isinstance(contract, Contract):
        contract = _declared(contract)
    source = content if isinstance(content, bytes) else _existing(Path(content))
    nothing = pl.DataFrame(schema={RECORD: pl.Int64, LINE: pl.Int64, **file_columns(contract)})
    rejected = [pl.DataFrame(schema=REJECTION_SCHEMA)]
    accepted = [nothing]
    checked: FileCheck | None = None
    try:
        checked = check_file(source, contract, manifest=_manifest(source, contract))
        for part in checked.parts():
            accepted.append(part.valid)
            rejected.append(part.rejections)
        problem = too_bad(contract, checked.rejected, checked.records, _commonest(rejected))
    except ObjectRejectedError as error:
        problem = error
    told = pl.concat(rejected)
    report = _report(contract, checked, told, problem)
    return Verdict(
        accepted=nothing if problem is not None else pl.concat(accepted),
        rejected=told,
        report={"file": str(content) if not isinstance(content, bytes) else None, **report},
    )


def find_contract(file: Path, registry: Registry) -> Contract:
    """The contract that a file would fall under, by its path or the end of it; UsageError says why none."""
    path = file.absolute().as_posix().lstrip("/")
    tails = [path]
    while "/" in tails[-1]:
        tails.append(tails[-1].partition("/")[2])
    matches = {contract.name: contract for tail in tails for contract in registry.match(tail)}
    if len(matches) == 1:
        return next(iter(matches.values()))
    known = ", ".join(sorted(contract.name for contract in registry)) or "none"
    said = "No data contract's keys match" if not matches else f"{', '.join(sorted(matches))} all match"
    msg = f"{said} {file}. Say which one with --contract; there are: {known}."
    raise UsageError(msg)


def _declared(named: str | Path) -> Contract:
    from tidegate.contracts.registry import load_contract, load_registry
    from tidegate.settings import load_settings

    if Path(named).suffix == ".py":
        return load_contract(Path(named))
    settings = load_settings()
    return load_registry(settings.contracts, settings.root)[str(named)]


def _existing(path: Path) -> Path:
    if not path.is_file():
        msg = f"{path} is {'a folder' if path.is_dir() else 'not there'}; name a file."
        raise UsageError(msg)
    return path


def _manifest(source: Path | bytes, contract: Contract) -> Callable[[], bytes] | None:
    if isinstance(source, bytes) or (key := contract.manifest_key(source.name)) is None:
        return None
    beside = source.parent / Path(key).name
    return beside.read_bytes if beside.is_file() else None


def _commonest(rejected: list[pl.DataFrame]) -> str:
    rules = Counter[str]()
    for frame in rejected:
        rules.update(dict(frame["rule"].value_counts().iter_rows()))
    return rules.most_common(1)[0][0] if rules else ""


def _report(
    contract: Contract,
    checked: FileCheck | None,
    rejected: pl.DataFrame,
    problem: ObjectRejectedError | None,
) -> dict[str, Any]:
    refused = checked.rejected if checked is not None else 0
    return {
        "dataset": contract.name,
        "contract_version": contract.version,
        "verdict": "held" if problem is not None else "rows rejected" if refused else "accepted",
        "rule": problem.rule if problem is not None else None,
        "reason": str(problem) if problem is not None else None,
        "rows_read": checked.records if checked is not None else 0,
        "rows_accepted": 0 if checked is None or problem is not None else checked.records - refused,
        "rows_rejected": refused,
        "lines": {kind.name.lower(): count for kind, count in sorted(checked.lines.items())}
        if checked
        else {},
        "dialect": checked.dialect if checked is not None else None,
        "reasons": _reasons(rejected),
        "rejections": rejected.head(FIRST).to_dicts(),
    }


def _reasons(rejected: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    counts = rejected.group_by("rule", "column", maintain_order=True).agg(pl.len().alias("rows"))
    return counts.sort("rows", descending=True, maintain_order=True).to_dicts()
