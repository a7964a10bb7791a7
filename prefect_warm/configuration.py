"""What a work pool of type `warm` lets people set, for the pool or for one deployment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import Field, field_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Set anew for each run; everything else in a child's environment stands from its start.
_PER_RUN = frozenset(
    f"PREFECT__{name}"
    for name in (
        *("FLOW_RUN_ID", "FLOW_ID", "FLOW_NAME", "DEPLOYMENT_ID", "DEPLOYMENT_NAME"),
        *("WORKER_ID", "WORKER_NAME"),
    )
)
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[1])


@dataclass(frozen=True)
class Launch:
    """How a child is started. Runs of equal launches can share children."""

    directory: Path
    environment: tuple[tuple[str, str], ...]
    preload: tuple[str, ...]
    watch: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        words = [sys.executable, "-m", "prefect_warm.child"]
        words += [f"--preload={name}" for name in self.preload]
        return words + [f"--watch={pattern}" for pattern in self.watch]


class WarmVariables(BaseVariables):
    """The pool's form in the UI."""

    working_dir: Path | None = Field(
        default=None,
        title="Working Directory",
        description="Where the children work. Left empty: where the worker was started.",
    )
    preload: list[str] = Field(
        default_factory=list,
        description=(
            "Modules that a child imports before its first run, such as those of the flows. Where one has a "
            "function warm_up, the child takes the steps of the iterator that it makes."
        ),
    )
    watch: list[str] = Field(
        default_factory=list,
        description=(
            "Patterns of further files, relative to the working directory, whose change replaces the "
            "children. The source files of imported modules are watched anyway."
        ),
    )
    runs_per_child: int = Field(
        default=200, ge=0, description="A child is replaced after so many runs; 0 means never."
    )
    memory_limit_mb: int = Field(
        default=2048,
        ge=0,
        title="Memory Limit (MB)",
        description="A child that holds more memory after a run is replaced; 0 means never.",
    )
    grace_seconds: float = Field(
        default=30.0,
        ge=0,
        description="How long a run may go on after it was cancelled, or the worker told to stop.",
    )


class WarmJobConfiguration(BaseJobConfiguration):
    """One run's settings."""

    working_dir: Path | None = None
    preload: list[str] = Field(default_factory=list)
    watch: list[str] = Field(default_factory=list)
    runs_per_child: int = Field(default=200, ge=0)
    memory_limit_mb: int = Field(default=2048, ge=0)
    grace_seconds: float = Field(default=30.0, ge=0)

    @field_validator("preload", "watch", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return value or []

    def prepare_for_flow_run(self, *args: Any, **options: Any) -> None:
        """Fill in the run's variables; a warm child runs flows and no command of a person's."""
        if self.command is not None:
            msg = (
                "A pool of type 'warm' runs flows in its children and can't run a command. "
                "Remove the job variable 'command'."
            )
            raise ValueError(msg)
        super().prepare_for_flow_run(*args, **options)
        self.command = None

    def launch(self) -> Launch:
        """How to start a child for this configuration, prepared for a run or not."""
        everything = {**os.environ, **self._base_environment(), **self.env}
        kept = {
            name: value for name, value in everything.items() if value is not None and name not in _PER_RUN
        }
        # Where the worker found this package the child finds it too, last of all.
        paths = [*filter(None, kept.get("PYTHONPATH", "").split(os.pathsep)), _PACKAGE_PARENT]
        kept["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
        return Launch(
            directory=(self.working_dir or Path.cwd()).resolve(),
            environment=tuple(sorted(kept.items())),
            preload=tuple(self.preload),
            watch=tuple(self.watch),
        )

    def where_the_flow_is(self) -> dict[str, Any] | None:
        """What the run's deployment says of it; None for a run without one."""
        deployment = self._related_objects.get("deployment")
        if deployment is None:
            return None
        return {"entrypoint": deployment.entrypoint, "pull_steps": deployment.pull_steps}

    def run_variables(self) -> Mapping[str, str]:
        """The variables that say which run this is."""
        return {name: value for name, value in self.env.items() if name in _PER_RUN and value is not None}
