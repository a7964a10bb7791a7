"""Every error Tidegate raises, grouped by what to do about it.

TidegateError
├── RetryableError          the world was in the way: try again, with backoff and a bound
│   ├── StoreUnavailableError      bucket, folder or queue did not answer
│   ├── WarehouseLockedError       another process holds the warehouse file
│   ├── WarehouseUnavailableError  the warehouse did not answer or broke off
│   ├── LedgerUnavailableError     the ledger did not answer or stayed locked
│   ├── ServerUnavailableError     the Prefect server did not answer
│   ├── StagingUnavailableError    staged files could not be written or read
│   └── ObjectsLeftError           some objects of a batch could not be done this time
├── RejectedError           the data is at fault: quarantine it, do not retry
│   ├── ObjectRejectedError        the object as a whole can't be loaded
│   ├── ObjectMissingError         the object is gone from the store
│   └── ObjectOverwrittenError     this version of the key no longer exists in the store
└── FatalError              stop: a person has to change something first
    ├── SettingsError              tidegate.toml or a TIDEGATE_… variable
    ├── ContractError              a data contract's author has to mend it
    ├── LedgerVersionError         the ledger was written by a newer Tidegate
    ├── ClaimLostError             another run owns these objects now
    ├── AccountingError            rows read are not rows loaded + rejected + duplicate
    └── UsageError                 a command was called the wrong way

A message says what happened, where (object URL, row, contract version) and what to do next, in
characters that UTF-8 can write.
"""

from __future__ import annotations


def writable(text: str) -> str:
    r"""The text with lone surrogates, which UTF-8 can't write, as ``\ud800`` and so on."""
    return text.encode(errors="backslashreplace").decode()


class TidegateError(Exception):
    """Something went wrong in Tidegate."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(writable(message or (type(self).__doc__ or "").strip()))


class RetryableError(TidegateError):
    """The world was in the way; the same call may work later."""


class StoreUnavailableError(RetryableError):
    """The object store or its queue did not answer."""


class WarehouseLockedError(RetryableError):
    """Another process holds the warehouse open."""

    def __init__(self, message: str | None = None, *, holder_pid: int | None = None) -> None:
        super().__init__(message)
        self.holder_pid = holder_pid


class WarehouseUnavailableError(RetryableError):
    """The warehouse did not answer or broke off in the middle."""


class LedgerUnavailableError(RetryableError):
    """The ledger did not answer or stayed locked."""


class ServerUnavailableError(RetryableError):
    """The Prefect server did not answer."""


class NotReadyError(RetryableError):
    """A process that was started does not do its work yet."""


class StagingUnavailableError(RetryableError):
    """Staged files could not be written or read."""


class ObjectsLeftError(RetryableError):
    """Some objects of a batch could not be done this time; the others were."""


class RejectedError(TidegateError):
    """The data is at fault; trying again can't help."""


class ObjectRejectedError(RejectedError):
    """The object as a whole can't be loaded."""

    def __init__(self, message: str, *, rule: str) -> None:
        super().__init__(message)
        #: short machine-readable name of the rule that was broken, e.g. ``header``
        self.rule = rule


class ObjectMissingError(RejectedError):
    """The object is gone from the store."""


class ObjectOverwrittenError(RejectedError):
    """This version of the key no longer exists in the store; another has taken its place."""


class FatalError(TidegateError):
    """A person has to change something before this can work."""


class SettingsError(FatalError):
    """The settings can't be used."""


class ContractError(FatalError):
    """A data contract is wrong and its author has to mend it."""

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        #: the argument at fault of the call that raised this, where one is
        self.field = field


class LedgerVersionError(FatalError):
    """The ledger was written by a newer Tidegate than this one."""


class ClaimLostError(FatalError):
    """Another run owns these objects now."""


class AccountingError(FatalError):
    """Rows read are not rows loaded + rejected + duplicate; nothing was committed."""

    def __init__(self, message: str | None = None, *, object_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        #: the objects whose counts don't add up
        self.object_ids = object_ids


class UsageError(FatalError):
    """The command can't be carried out as it was called."""
