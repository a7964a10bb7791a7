"""Choose the sources that the settings ask for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tidegate.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.settings import Settings
    from tidegate.sources.model import Source

_log = logging.getLogger(__name__)


def open_sources(settings: Settings, is_expected: Callable[[str], bool] | None = None) -> list[Source]:
    """The sources for the landing of `settings`; imports only what they need.

    `is_expected` says of a key below the landing whether some data contract matches it; without it,
    a folder source reports files alone. The list is empty for a bucket that nothing notifies us of:
    then only reconcile finds uploads, and a warning says so.
    """
    if settings.landing_dir is not None:
        if settings.sqs.queue_url:
            msg = "sqs.queue_url is set, but the landing is a folder. Set landing = 's3://…' or remove it."
            raise SettingsError(msg)
        from tidegate.objects.folder import FolderStore
        from tidegate.sources.folder import FolderSource

        store = FolderStore.from_settings(settings)
        return [FolderSource(store, settings.folder.settle_seconds, is_expected)]
    if settings.landing.startswith("s3://") and settings.sqs.queue_url:
        from tidegate.sources.sqs import SqsSource

        return [SqsSource.from_settings(settings)]
    _log.warning(
        "Nothing tells Tidegate of uploads to %s; only `tidegate reconcile` will find them. For S3, send the "
        "bucket's notifications to an SQS queue and set [sqs] queue_url.",
        settings.landing,
        extra={"action": "no_source"},
    )
    return []
