"""Validate: fetch an object, read it, and check every row against its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tidegate.contracts import Replace
from tidegate.errors import (
    ContractError,
    ObjectMissingError,
    ObjectOverwrittenError,
    ObjectRejectedError,
    RejectedError,
)
from tidegate.stages.check import check
from tidegate.stages.model import RECORD, REJECTION_SCHEMA, Verdict, VerdictState
from tidegate.stages.parse import parse
from tidegate.stages.read import HEAD_BYTES, read_header, read_rows
from tidegate.stages.schema import file_columns

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.contracts import Contract
    from tidegate.ledger import ClaimedObject
    from tidegate.objects import ObjectStore
    from tidegate.stages.staging import Staging

#: Objects above this size have their header looked at before they are fetched whole.
_LOOK_FIRST_BYTES = 64 * 1024 * 1024


def validate(claimed: ClaimedObject, contract: Contract, store: ObjectStore, staging: Staging) -> Verdict:
    """Fetch and check one object; its valid rows and its rejections are staged.

    Data errors become verdicts. Raises RetryableError when the store is in the way, and
    ContractError when the contract is.
    """
    raw = staging.path(staging.name(claimed.object.object_id, claimed.attempt, "raw.csv"))
    try:
        if (claimed.object.size or 0) > _LOOK_FIRST_BYTES:
            _check_header(store.head(claimed.object, HEAD_BYTES), contract)
        sha256 = store.fetch(claimed.object, raw)
    except ObjectOverwrittenError as error:
        return _verdict(claimed, contract, state=VerdictState.OVERWRITTEN, reason=str(error))
    except RejectedError as error:
        return _held(claimed, contract, error)
    try:
        return _validate_file(claimed, contract, raw, sha256, staging)
    except ObjectRejectedError as error:
        return _held(claimed, contract, error, content_sha256=sha256)
    finally:
        raw.unlink(missing_ok=True)


def _validate_file(
    claimed: ClaimedObject, contract: Contract, raw: Path, sha256: str, staging: Staging
) -> Verdict:
    with raw.open("rb") as file:
        header = _check_header(file.read(HEAD_BYTES), contract)
    valid, rejections, read = check_rows(raw, header, contract)
    rejected = rejections["record"].n_unique()
    if valid.height + rejected != read:
        msg = f"{read} rows read, but {valid.height} valid and {rejected} rejected; nothing is loaded."
        raise ContractError(f"Contract {contract.name!r} {contract.version}: {msg}")
    object_id, attempt = claimed.object.object_id, claimed.attempt
    rejected_file = None
    if rejected:
        rejected_file = staging.write(rejections, staging.name(object_id, attempt, "rejected.parquet"))
    counts = {"rows_read": read, "rows_valid": valid.height, "rows_rejected": rejected}
    problem = _too_bad(contract, rejections, rejected, read)
    if problem is not None:
        return _held(claimed, contract, problem, content_sha256=sha256, rejected=rejected_file, **counts)
    rows = staging.write(valid, staging.name(object_id, attempt, "validated.parquet"))
    return _verdict(
        claimed,
        contract,
        state=VerdictState.PASSED,
        content_sha256=sha256,
        rows=rows,
        rejected=rejected_file,
        **counts,
    )


def check_rows(path: Path, header: list[str], contract: Contract) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Valid rows, rejections, and how many records were read; needs no ledger and no store."""
    columns = file_columns(contract)
    text = read_rows(path, header, contract.dialect)
    parsed = parse(text.rows, columns, contract)
    broken = pl.concat([parsed.unread, check(parsed, contract)])
    valid = parsed.rows.filter(~pl.col(RECORD).is_in(broken["record"].implode()))
    rejections = pl.concat([text.damaged, _complete(broken)], how="vertical").sort(
        "record", maintain_order=True
    )
    return valid, rejections, text.rows.height + text.damaged.height


def _check_header(head: bytes, contract: Contract) -> list[str]:
    header = read_header(head, contract.dialect)
    expected = file_columns(contract)
    twice = sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in expected if name not in header]
    extra = [name for name in header if name not in expected]
    problems = [
        f"{what}: {', '.join(repr(name[:60]) for name in names[:20])}"
        for what, names in (("missing", missing), ("not expected", extra), ("more than once", twice))
        if names
    ]
    if problems:
        msg = f"The header does not fit contract {contract.name} {contract.version}: {'; '.join(problems)}."
        raise ObjectRejectedError(msg, rule="header")
    return header


def _complete(frame: pl.DataFrame) -> pl.DataFrame:
    missing = [
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in REJECTION_SCHEMA.items()
        if name not in frame.columns
    ]
    return frame.with_columns(missing).select(REJECTION_SCHEMA.keys())


def _too_bad(
    contract: Contract, rejections: pl.DataFrame, rejected: int, read: int
) -> ObjectRejectedError | None:
    if contract.budget.exceeded_by(rejected, read):
        commonest = rejections["rule"].value_counts(sort=True)["rule"][0]
        msg = (
            f"{rejected} of {read} rows were refused, more than contract {contract.name} "
            f"{contract.version} allows; the commonest reason: {commonest}."
        )
        return ObjectRejectedError(msg, rule="budget")
    if isinstance(contract.load, Replace) and not read and not contract.load.allow_empty:
        msg = f"The file has a header and no rows; it may not empty the table {contract.name}."
        return ObjectRejectedError(msg, rule="no_rows")
    return None


def _held(claimed: ClaimedObject, contract: Contract, error: RejectedError, **values: Any) -> Verdict:
    rule = error.rule if isinstance(error, ObjectRejectedError) else "missing"
    if isinstance(error, ObjectMissingError):
        rule = "missing"
    return _verdict(claimed, contract, state=VerdictState.HELD, rule=rule, reason=str(error), **values)


def _verdict(claimed: ClaimedObject, contract: Contract, **values: Any) -> Verdict:
    return Verdict(
        object_id=claimed.object.object_id,
        attempt=claimed.attempt,
        contract_version=contract.version,
        **values,
    )
