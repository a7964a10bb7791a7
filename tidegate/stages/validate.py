"""Validate: fetch an object, read it, and check every row against its contract."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tidegate.errors import (
    ContractError,
    ObjectMissingError,
    ObjectOverwrittenError,
    ObjectRejectedError,
    RejectedError,
)
from tidegate.reading import LINE
from tidegate.reading.reader import HEAD_BYTES
from tidegate.reading.source import Source
from tidegate.stages.file_check import check_file, commonest_rule, too_bad
from tidegate.stages.model import Verdict, VerdictState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidegate.contracts import Contract
    from tidegate.ledger import ClaimedObject
    from tidegate.objects import ObjectStore, ObjectVersion
    from tidegate.stages.file_check import FileCheck
    from tidegate.stages.staging import Staging

_MANIFEST_BYTES = 1024 * 1024
#: Objects above this size have their header looked at before they are fetched whole.
_LOOK_FIRST_BYTES = 64 * 1024 * 1024
#: Objects up to this size are copied even when they are at hand.
_COPIED_BYTES = 4 * 1024 * 1024


def validate(
    claimed: ClaimedObject,
    contract: Contract,
    store: ObjectStore,
    staging: Staging,
    *,
    progress: Callable[[int], object] | None = None,
) -> Verdict:
    """Fetch and check one object; its valid rows and its rejections are staged.

    `progress` is told now and then how many of the object's bytes were read, from another thread.
    Data errors become verdicts. Raises RetryableError when the store is in the way, and
    ContractError when the contract is.
    """
    raw = staging.path(staging.name(claimed.object.object_id, claimed.attempt, "raw.csv"))
    try:
        if (claimed.object.size or 0) > _LOOK_FIRST_BYTES:
            _check_head(store.head(claimed.object, HEAD_BYTES), contract)
        with _content(claimed.object, store, raw) as (content, sha256):
            return _validate_content(claimed, contract, store, content, sha256, staging, progress)
    except ObjectOverwrittenError as error:
        return verdict_of(claimed, contract, state=VerdictState.OVERWRITTEN, reason=str(error))
    except RejectedError as error:
        return held(claimed, contract, error)
    finally:
        raw.unlink(missing_ok=True)


@contextmanager
def _content(obj: ObjectVersion, store: ObjectStore, raw: Path) -> Iterator[tuple[Path, Callable[[], str]]]:
    """Where the object can be read, and its SHA-256; a large one at hand is not copied to `raw` first."""
    if (obj.size or 0) > _COPIED_BYTES:
        with store.at_hand(obj) as path, ThreadPoolExecutor(1) as thread:
            if path is not None:
                yield path, thread.submit(_sha256, path).result
                return
    fetched = store.fetch(obj, raw)
    yield raw, lambda: fetched


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _validate_content(
    claimed: ClaimedObject,
    contract: Contract,
    store: ObjectStore,
    content: Path,
    sha256: Callable[[], str],
    staging: Staging,
    progress: Callable[[int], object] | None,
) -> Verdict:
    try:
        manifest = manifest_of(claimed, contract, store)
        checked = check_file(
            content, contract, manifest=manifest, with_origins=contract.refuses_unmatched, taken=progress
        )
        return _staged(claimed, contract, checked, sha256, staging)
    except ObjectRejectedError as error:
        return held(claimed, contract, error, content_sha256=sha256())


def _staged(
    claimed: ClaimedObject,
    contract: Contract,
    checked: FileCheck,
    sha256: Callable[[], str],
    staging: Staging,
) -> Verdict:
    object_id, attempt = claimed.object.object_id, claimed.attempt
    valid, rules = 0, Counter[str]()
    problem: ObjectRejectedError | None = None
    with (
        staging.spool(staging.name(object_id, attempt, "validated.parquet")) as rows,
        staging.spool(staging.name(object_id, attempt, "rejected.parquet")) as rejected,
        staging.spool(staging.name(object_id, attempt, "origins.parquet")) as origins,
    ):
        try:
            for part in checked.parts():
                valid += part.valid.height
                rows.add(part.valid.drop(LINE))
                if part.origins is not None:
                    origins.add(part.origins)
                if part.rejections.height:
                    rules.update(dict(part.rejections["rule"].value_counts().iter_rows()))
                    rejected.add(part.rejections)
        except ObjectRejectedError as error:
            problem = error
        if problem is None:
            _account(contract, checked, valid)
            problem = too_bad(contract, checked.rejected, checked.records, commonest_rule(rules))
        values = {
            "content_sha256": sha256(),
            "dialect": json.dumps(checked.dialect, sort_keys=True),
            "dialect_assumed": checked.assumed,
            "rows_read": checked.records,
            "rows_valid": checked.records - checked.rejected,
            "rows_rejected": checked.rejected,
            "rejected": rejected.close() if rules else None,
        }
        if problem is not None:
            return held(claimed, contract, problem, **values)
        values["origins"] = origins.close() if contract.refuses_unmatched else None
        return verdict_of(claimed, contract, state=VerdictState.PASSED, rows=rows.close(), **values)


def _account(contract: Contract, checked: FileCheck, valid: int) -> None:
    if valid + checked.rejected != checked.records:
        msg = (
            f"{checked.records} rows read, but {valid} valid and {checked.rejected} rejected; "
            "nothing is loaded. Report this."
        )
        raise ContractError(f"Contract {contract.name!r} {contract.version}: {msg}")


def _check_head(head: bytes, contract: Contract) -> None:
    """Refuse a large object by its first bytes, before it is fetched whole."""
    if Source.of(head, contract.dialect.compression).compression == "none":
        check_file(head, contract)


def manifest_of(claimed: ClaimedObject, contract: Contract, store: ObjectStore) -> Callable[[], bytes]:
    """What reads the manifest beside an object, if there is one."""

    def read() -> bytes:
        key = store.prefix + (contract.manifest_key(store.relative_key(claimed.object.key)) or "")
        try:
            manifest = store.stat(key)
            content = store.head(manifest, _MANIFEST_BYTES + 1)
        except RejectedError as error:
            gone = isinstance(error, ObjectMissingError)
            what = "is not there yet." if gone else f"can't be read: {error}"
            msg = f"The manifest {key} {what} Once it is uploaded, this object is tried again by itself."
            raise ObjectRejectedError(msg, rule="manifest") from error
        if len(content) > _MANIFEST_BYTES:
            msg = f"The manifest {key} is larger than {_MANIFEST_BYTES:,} bytes, so it can't be one."
            raise ObjectRejectedError(msg, rule="control_total")
        return content

    return read


def held(claimed: ClaimedObject, contract: Contract, error: RejectedError, **values: Any) -> Verdict:
    """The verdict on an object that is refused as a whole."""
    rule = error.rule if isinstance(error, ObjectRejectedError) else "missing"
    if isinstance(error, ObjectMissingError):
        rule = "missing"
    return verdict_of(claimed, contract, state=VerdictState.HELD, rule=rule, reason=str(error), **values)


def verdict_of(claimed: ClaimedObject, contract: Contract, **values: Any) -> Verdict:
    """A verdict of this stage."""
    return Verdict(
        object_id=claimed.object.object_id,
        attempt=claimed.attempt,
        contract_version=contract.version,
        **values,
    )
