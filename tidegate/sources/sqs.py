"""Hear of uploads to an S3 bucket through the SQS queue that its notifications go to.

A message is deleted only after what it says is in the ledger; until then SQS delivers it again.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import get_session

from tidegate.errors import SettingsError, StoreUnavailableError, TidegateError
from tidegate.events.s3 import decode
from tidegate.objects.landing import Landing
from tidegate.objects.s3_errors import BOTO_ERRORS, UNUSABLE, code_of
from tidegate.sources.outage import Outage, insist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.events.model import ObjectUploaded
    from tidegate.settings import Settings, SqsSettings
    from tidegate.sources.model import DeadLetter, Record

_log = logging.getLogger(__name__)

_Message = dict[str, Any]

#: the most that SQS hands out, and takes, in one call
_MOST = 10

#: messages that are recorded together when so many wait
_TOGETHER = 200

_NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_REGION = re.compile(r"//(?:sqs\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.")

_WAITING = "ApproximateNumberOfMessages"


class SqsSource:
    """Notices of uploads below the landing; all else that the queue brings is logged and deleted.

    What can't be read goes to the dead letters with its whole text, then it is deleted.
    """

    name = "sqs"

    def __init__(self, client: Any, settings: SqsSettings, landing: Landing) -> None:
        self._client = client
        self._url = settings.queue_url
        self._settings = settings
        self._landing = landing

    @classmethod
    def from_settings(cls, settings: Settings) -> SqsSource:
        """Raises SettingsError when the credentials or the region are missing."""
        sqs = settings.sqs
        if not sqs.queue_url:
            raise SettingsError("sqs.queue_url is not set; give the URL of the queue.")
        found = _REGION.search(sqs.queue_url)
        try:
            client = get_session().create_client(
                "sqs",
                region_name=found[1] if found else settings.s3.region,
                endpoint_url=sqs.endpoint_url,
                # the answer to a long poll may come at its very end
                config=Config(
                    connect_timeout=5,
                    read_timeout=sqs.wait_seconds + 10,
                    retries={"mode": "standard", "total_max_attempts": 2},
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise _explain(error, sqs.queue_url) from error
        return cls(client, sqs, Landing.parse(settings.landing))

    def backlog(self) -> int:
        """About how many messages wait in the queue; raises what makes the queue unusable."""
        try:
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[_WAITING])
        except BOTO_ERRORS as error:
            raise _explain(error, str(self._url)) from error
        return int(answer["Attributes"][_WAITING])

    def run(self, record: Record, dead_letter: DeadLetter, stop: threading.Event) -> None:
        queue_outage = Outage("Reading the queue", stop)
        ledger_outage = Outage("Recording uploads", stop)
        poll = _LongPoll(self._receive, self._give_back, stop)
        while (answer := poll.next()) is not None:
            if isinstance(answer, Exception):
                if not isinstance(answer, BOTO_ERRORS):
                    raise answer
                error = _explain(answer, str(self._url))
                if not isinstance(error, StoreUnavailableError):
                    raise error from answer
                if not queue_outage.pause(error):
                    return
                continue
            queue_outage.over()
            if answer and not self._handle(answer, record, dead_letter, ledger_outage):
                return

    def _handle(
        self, messages: list[_Message], record: Record, dead_letter: DeadLetter, outage: Outage
    ) -> bool:
        """Keep what `messages` say, then delete them; False when stopped before it was kept."""
        uploads, unreadable = self._read(messages)

        def keep() -> None:
            if uploads:
                record(uploads)
            while unreadable:
                message, error = unreadable[0]
                dead_letter(text=message["Body"], origin=f"{self._url}#{message['MessageId']}", error=error)
                unreadable.popleft()

        if not insist(keep, outage):
            return False
        self._delete(messages)
        return True

    def _read(self, messages: list[_Message]) -> tuple[list[ObjectUploaded], deque[tuple[_Message, str]]]:
        uploads: list[ObjectUploaded] = []
        unreadable: deque[tuple[_Message, str]] = deque()
        for message in messages:
            decoded = decode(message["Body"])
            for upload in decoded.uploads:
                if self._landing.holds(upload.object.bucket, upload.object.key):
                    uploads.append(upload)
                else:
                    decoded.ignored.append(f"{upload.object.url} is not in the landing")
            for reason in decoded.ignored:
                _log.info(
                    "message %s ignored: %s",
                    message["MessageId"],
                    reason,
                    extra={"action": "message_ignored"},
                )
            if decoded.errors:
                unreadable.append((message, "; ".join(decoded.errors)))
        return uploads, unreadable

    def _receive(self) -> list[_Message]:
        """What the queue holds, up to `_TOGETHER`; waits for the first message only."""
        # 0 would ask again and again without a pause
        messages = self._ask(max(self._settings.wait_seconds, 1))
        more = messages
        while len(more) == _MOST and len(messages) < _TOGETHER:
            # A full answer is the sign of a burst, which is kept in few transactions.
            try:
                more = self._ask(0)
            except BOTO_ERRORS as error:
                _log.info(
                    "%d messages are kept first: %s", len(messages), error, extra={"action": "asking_ended"}
                )
                break
            messages += more
        return messages

    def _ask(self, wait_seconds: int) -> list[_Message]:
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=_MOST,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=self._settings.visibility_seconds,
        )
        messages: list[_Message] = answer.get("Messages", [])
        return messages

    def _delete(self, messages: list[_Message]) -> None:
        """A message that stays is delivered again and then known, so this need not succeed."""
        for part in _parts(messages):
            self._delete_part(part)

    def _delete_part(self, messages: list[_Message]) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
            for number, message in enumerate(messages)
        ]
        try:
            failed = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries).get("Failed", [])
        except BOTO_ERRORS as error:
            failed = [{"Message": str(error)}] * len(entries)
        if failed:
            _log.warning(
                "%d of %d messages could not be deleted and will come again: %s",
                len(failed),
                len(entries),
                failed[0].get("Message"),
                extra={"action": "messages_not_deleted"},
            )

    def _give_back(self, messages: list[_Message]) -> None:
        """Let the next reader have what nobody here will read any more."""
        for part in _parts(messages):
            self._give_part_back(part)

    def _give_part_back(self, messages: list[_Message]) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
            for number, message in enumerate(messages)
        ]
        try:
            self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        except BOTO_ERRORS as error:
            _log.warning(
                "%d messages received while stopping come again after %d seconds: %s",
                len(messages),
                self._settings.visibility_seconds,
                error,
                extra={"action": "messages_not_returned"},
            )


def _parts(messages: list[_Message]) -> Iterator[list[_Message]]:
    for start in range(0, len(messages), _MOST):
        yield messages[start : start + _MOST]


class _LongPoll:
    """Polls in a daemon thread, because nothing can interrupt a poll that waits for its answer.

    `next` gives the next answer, or None as soon as `stop` is set: at once, also in the middle of a
    poll. Such a poll goes on alone; what it still receives is given back, and it does not keep the
    process from ending (then SQS delivers again when the messages' hiding time is over).
    """

    def __init__(
        self,
        receive: Callable[[], list[_Message]],
        give_back: Callable[[list[_Message]], None],
        stop: threading.Event,
    ) -> None:
        self._receive = receive
        self._give_back = give_back
        self._stop = stop
        self._answers: queue.SimpleQueue[list[_Message] | Exception | None] = queue.SimpleQueue()
        self._asked = threading.Semaphore(0)
        for act in (self._poll, self._ring):
            threading.Thread(target=act, name=f"sqs{act.__name__}", daemon=True).start()

    def next(self) -> list[_Message] | Exception | None:
        if self._stop.is_set():
            return None
        self._asked.release()
        return self._answers.get()

    def _poll(self) -> None:
        while self._asked.acquire() and not self._stop.is_set():
            try:
                answer: list[_Message] | Exception = self._receive()
            except Exception as error:  # noqa: BLE001 - it is raised in the thread that asked
                answer = error
            if not self._stop.is_set():
                self._answers.put(answer)
            elif isinstance(answer, list) and answer:
                self._give_back(answer)

    def _ring(self) -> None:
        self._stop.wait()
        self._answers.put(None)
        self._asked.release()


def _explain(error: Exception, url: str) -> TidegateError:
    """The error for a call to the queue that failed."""
    code = code_of(error)
    if isinstance(error, (*UNUSABLE, ValueError)):
        msg = f"The queue {url} can't be used: {error}. Give credentials and a region the usual AWS way."
        return SettingsError(msg)
    if code in _NO_QUEUE:
        return SettingsError(f"The queue {url} does not exist. Create it, or set another [sqs] queue_url.")
    return StoreUnavailableError(f"{url}: no usable answer ({code or type(error).__name__}: {error}).")
