"""Why objects wait although the system runs: what stops all datasets, told where people look.

Contracts are imported for it, which takes half a second: ask only when something waits for long.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import ContractError

if TYPE_CHECKING:
    from datetime import datetime

    from tidegate.settings import Settings

#: What waits longer is worth a look.
_LONG = timedelta(seconds=60)


def waits_long(since: datetime | None) -> bool:
    """Whether something has been pending for so long that a person may wonder."""
    return since is not None and clock.now() - since > _LONG


def what_holds_up(settings: Settings) -> str:
    """One sentence on why nothing is processed; where to look when the contracts are not to blame."""
    from tidegate.contracts.registry import load_registry

    try:
        load_registry(settings.contracts, settings.root)
    except ContractError as error:
        return (
            "The data contracts can't be loaded, so nothing is processed: "
            f"{str(error).splitlines()[0]} `tidegate contracts check` tells more."
        )
    return "`tidegate doctor` looks for what is in the way."
