"""The policies that the stage tasks share."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from prefect.cache_policies import CacheKeyFnPolicy

from tidegate.errors import RetryableError, WarehouseLockedError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.context import TaskRunContext
    from prefect.tasks import Task

    from tasks.claimed import Claimed
    from tidegate.operations.handing_on import Reference


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again can help: not for data, contracts or settings that are wrong.

    A locked warehouse has been waited for already, as long as the settings say.
    """
    error = state.data
    return isinstance(error, RetryableError) and not isinstance(error, WarehouseLockedError)


def _key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    claimed: Claimed = parameters["claimed"]
    before: Reference | None = parameters.get("before")
    members = [f"{one.object.object_id} {one.attempt}" for one in claimed.batch.objects]
    # What stands in the staging folder is part of a result: without it the stage is to be run again.
    told = [claimed.mark, *members, *(f"{name}={value}" for name, value in sorted((before or {}).items()))]
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
    return f"{claimed.batch.id}-{context.task.name}-{digest}"


#: A retry of the run takes the result of a stage that was completed for the same objects; what
#: the task's code looks like does not matter, so that a fix in one stage does not undo another.
RESUME = CacheKeyFnPolicy(cache_key_fn=_key)
