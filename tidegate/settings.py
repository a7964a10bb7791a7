"""Settings: tidegate.toml in the project's folder, overridden by TIDEGATE_… variables.

``TIDEGATE_LANDING=s3://bucket/in`` overrides ``landing``; a nested one takes two underscores:
``TIDEGATE_PREFECT__API_URL`` overrides ``api_url`` in ``[prefect]``.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tidegate.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

FILE_NAME = "tidegate.toml"


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FolderSettings(_Group):
    """A local folder as the landing."""

    #: a file that was not renamed in counts as complete when unchanged for this long
    settle_seconds: float = Field(default=1.0, ge=0)


class S3Settings(_Group):
    """S3 or anything that speaks its protocol; credentials come the usual AWS way."""

    endpoint_url: str | None = None
    region: str | None = None


class SqsSettings(_Group):
    """The SQS queue that receives the bucket's notifications."""

    queue_url: str | None = None
    endpoint_url: str | None = None
    #: seconds of one long poll (SQS allows at most 20)
    wait_seconds: int = Field(default=20, ge=0, le=20)
    #: seconds a received message stays hidden from other readers
    visibility_seconds: int = Field(default=60, ge=1)


class GcsSettings(_Group):
    """Google Cloud Storage; credentials come the usual Google way."""

    endpoint_url: str | None = None
    project: str | None = None


class PrefectSettings(_Group):
    """Which Prefect server runs the flows."""

    #: an existing server's API; None lets `tidegate up` start one
    api_url: str | None = None
    #: first port to try for the embedded server
    port: int = Field(default=4200, ge=1, le=65535)
    work_pool: str = "tidegate"
    #: seconds between two looks of the worker for runs that no event told of
    poll_seconds: float = Field(default=5.0, gt=0)
    #: flow runs that one worker executes at the same time
    worker_limit: int = Field(default=4, ge=1)


class IngestSettings(_Group):
    """How much one flow run takes, and how long failures are tried."""

    max_objects: int = Field(default=1000, ge=1)
    max_bytes: int = Field(default=1_000_000_000, ge=1)
    #: times a run may die on an object before the object is quarantined
    max_crashes: int = Field(default=3, ge=1)
    #: seconds without a heartbeat after which a claim is taken back
    lease_seconds: float = Field(default=60.0, gt=0)
    #: hours the staged files of a failed run are kept
    keep_failed_hours: float = Field(default=72.0, ge=0)


class WarehouseSettings(_Group):
    """Where tables live."""

    #: a DuckDB file; None means warehouse.duckdb in the state folder
    path: Path | None = None
    #: seconds to wait for another process to let go of the file
    lock_timeout_seconds: float = Field(default=60.0, ge=0)


class Settings(BaseSettings):
    """All settings of one project. Relative paths are relative to `root`."""

    model_config = SettingsConfigDict(
        env_prefix="TIDEGATE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    #: folder, s3://bucket/prefix or gs://bucket/prefix; empty means <state>/landing
    landing: str = ""
    #: folder, s3://bucket/prefix or gs://bucket/prefix for what is held; empty means <state>/quarantine
    quarantine: str = ""
    #: importable package that holds one data contract a module
    contracts: str = "data_contracts"
    #: everything the embedded system writes
    state: Path = Path(".tidegate")
    #: SQLAlchemy URL; empty means ledger.db in the state folder
    ledger: str = ""
    warehouse: WarehouseSettings = WarehouseSettings()
    folder: FolderSettings = FolderSettings()
    s3: S3Settings = S3Settings()
    sqs: SqsSettings = SqsSettings()
    gcs: GcsSettings = GcsSettings()
    prefect: PrefectSettings = PrefectSettings()
    ingest: IngestSettings = IngestSettings()

    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def root(self) -> Path:
        """The project's folder: where tidegate.toml lies."""
        return self._root

    @property
    def state_dir(self) -> Path:
        return self._root / self.state

    @property
    def staging_dir(self) -> Path:
        return self.state_dir / "staging"

    @property
    def references_dir(self) -> Path:
        return self.state_dir / "references"

    @property
    def landing_dir(self) -> Path | None:
        """The landing when it is a folder, absolute; None for s3:// and gs://."""
        return self._folder(self.landing, "landing")

    @property
    def quarantine_dir(self) -> Path | None:
        """The quarantine when it is a folder, absolute; None for s3:// and gs://."""
        return self._folder(self.quarantine, "quarantine")

    def _folder(self, url: str, default: str) -> Path | None:
        if not url:
            return (self.state_dir / default).resolve()
        if url.startswith("file://"):
            return Path(url.removeprefix("file://")).resolve()
        return None if "://" in url else (self._root / url).resolve()

    @property
    def ledger_url(self) -> str:
        return self.ledger or f"sqlite:///{self.state_dir / 'ledger.db'}"

    @property
    def warehouse_path(self) -> Path:
        path = self.warehouse.path
        return self._root / path if path else self.state_dir / "warehouse.duckdb"

    @property
    def prefect_api_url(self) -> str | None:
        """The API of a server that is not ours to start, or None."""
        return self.prefect.api_url or os.environ.get("PREFECT_API_URL")


def find_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` that holds tidegate.toml; else SettingsError."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    msg = (
        f"No {FILE_NAME} in {here} or above. Change to your project's folder, "
        f"or create an empty {FILE_NAME} there to start one with the defaults."
    )
    raise SettingsError(msg)


def load_settings(root: Path | None = None) -> Settings:
    """Read and check the settings of the project at `root` (or the nearest above the cwd)."""
    folder = (root or find_root()).resolve()

    class ProjectSettings(Settings):
        model_config = SettingsConfigDict(toml_file=folder / FILE_NAME)

    try:
        settings = ProjectSettings()
    except ValidationError as error:
        raise SettingsError(_explain(error, folder / FILE_NAME)) from None
    except (ValueError, OSError) as error:
        msg = f"{folder / FILE_NAME} can't be read: {error}. Mend the file and try again."
        raise SettingsError(msg) from error
    settings._root = folder  # noqa: SLF001 - set once, here
    return settings


def _explain(error: ValidationError, path: Path) -> str:
    lines = [f"The settings can't be used ({path} and TIDEGATE_… variables):"]
    lines.extend(f"  {_name(problem['loc'])}: {_said(problem)}" for problem in error.errors())
    return "\n".join(lines)


def _said(problem: ErrorDetails) -> str:
    if problem["type"] != "extra_forbidden":
        return problem["msg"]
    *groups, name = problem["loc"]
    fields = Settings.model_fields
    for group in groups:
        fields = getattr(fields[str(group)].annotation, "model_fields", {})
    near = get_close_matches(str(name), fields, n=1)
    return "There is no such setting." + (f" Is it {_name((*groups, near[0]))}?" if near else "")


def _name(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location)
