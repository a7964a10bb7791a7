"""Notices through a real queue (moto's), from a bucket that sends them and by hand."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.session import get_session

from tidegate.errors import LedgerUnavailableError, SettingsError
from tidegate.events import ObjectUploaded, Via
from tidegate.objects import open_store
from tidegate.settings import S3Settings, Settings, SqsSettings
from tidegate.sources import open_sources
from tidegate.sources.sqs import SqsSource
from tidegate.testing.recorder import Recorder

pytestmark = pytest.mark.integration

BUCKET = "landing"


class Queue:
    """A queue of its own for each test."""

    def __init__(self, url: str) -> None:
        self.endpoint = url
        self.sqs = get_session().create_client("sqs", endpoint_url=url, region_name="us-east-1")
        self.s3 = get_session().create_client("s3", endpoint_url=url, region_name="us-east-1")
        self.name = f"queue-{uuid.uuid4().hex}"
        self.url = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]

    def settings(self, landing: str = f"s3://{BUCKET}/in", **changes: Any) -> Settings:
        sqs = {"queue_url": self.url, "endpoint_url": self.endpoint, "wait_seconds": 1} | changes
        return Settings(landing=landing, s3=S3Settings(endpoint_url=self.endpoint), sqs=SqsSettings(**sqs))

    def source(self, **changes: Any) -> SqsSource:
        (source,) = open_sources(self.settings(**changes))
        assert isinstance(source, SqsSource)
        return source

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def counts(self) -> tuple[int, int]:
        """Messages waiting, and messages received but not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def wait_until_empty(self) -> None:
        limit = time.monotonic() + 5
        while self.counts() != (0, 0):
            assert time.monotonic() < limit, self.counts()
            threading.Event().wait(0.02)


@pytest.fixture
def queue(aws_server: str) -> Queue:
    return Queue(aws_server)


def notice(key: str, etag: str = "abc", bucket: str = BUCKET, name: str = "ObjectCreated:Put") -> str:
    record = {
        "eventName": name,
        "eventTime": "2024-05-01T12:00:00.000Z",
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": key, "size": 1, "eTag": etag, "sequencer": "1F"},
        },
    }
    return json.dumps({"Records": [record]})


def test_an_upload_to_a_bucket_is_heard_of(queue: Queue, tmp_path: Path) -> None:
    bucket = f"bucket-{uuid.uuid4().hex}"
    queue.s3.create_bucket(Bucket=bucket)
    arn = queue.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    events = [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
    queue.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": events}
    )
    store = open_store(queue.settings(f"s3://{bucket}/in"))
    (tmp_path / "file").write_bytes(b"id\n1\n")
    with Recorder().running(queue.source(landing=f"s3://{bucket}/in")):
        pass
    recorder = Recorder()
    with recorder.running(queue.source(landing=f"s3://{bucket}/in")):
        put = store.put(tmp_path / "file", "in/a b+ü%.csv")
        recorder.wait_for("in/a b+ü%.csv")
        queue.wait_until_empty()
    (upload,) = recorder.uploads
    assert upload.object.object_id == put.object_id
    assert upload.via is Via.SQS
    assert recorder.letters == []


def test_a_message_is_deleted_only_after_it_was_recorded(queue: Queue) -> None:
    recording, go_on = threading.Event(), threading.Event()

    class Slow(Recorder):
        def record(self, uploads: Sequence[ObjectUploaded]) -> None:
            recording.set()
            assert go_on.wait(10)
            super().record(uploads)

    queue.send(notice("in/a.csv"))
    recorder = Slow()
    with recorder.running(queue.source()):
        assert recording.wait(10)
        assert queue.counts() == (0, 1)
        go_on.set()
        queue.wait_until_empty()
    assert recorder.keys == ["in/a.csv"]


def test_a_message_that_could_not_be_recorded_stays(queue: Queue) -> None:
    queue.send(notice("in/a.csv"))
    recorder = Recorder()
    recorder.failures.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError), recorder.running(queue.source(visibility_seconds=1)):
        recorder.wait(lambda: recorder.calls == 1)
    assert sum(queue.counts()) == 1
    with recorder.running(queue.source()):
        recorder.wait_for("in/a.csv")
        queue.wait_until_empty()


def test_a_ledger_that_is_away_loses_nothing(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    queue.send(notice("in/a.csv"))
    queue.send("garbage")
    recorder = Recorder()
    recorder.failures.extend(LedgerUnavailableError("locked.") for _ in range(3))
    with recorder.running(queue.source()):
        recorder.wait(lambda: bool(recorder.uploads and recorder.letters))
        queue.wait_until_empty()
    assert recorder.keys == ["in/a.csv"]
    assert len(recorder.letters) == 1
    assert caplog.text.count("locked.") == 1


def test_what_can_not_be_read_goes_to_the_dead_letters_and_not_again(queue: Queue) -> None:
    good_and_bad = json.loads(notice("in/good.csv"))
    good_and_bad["Records"].append({"eventName": "ObjectCreated:Put"})
    bodies = ["garbage 🚢", "{}", json.dumps(good_and_bad)]
    for body in bodies:
        queue.send(body)
    recorder = Recorder()
    with recorder.running(queue.source()):
        recorder.wait(lambda: len(recorder.letters) == 3)
        recorder.wait_for("in/good.csv")
        queue.wait_until_empty()
    assert sorted(letter.text for letter in recorder.letters) == sorted(bodies)
    assert all(letter.origin.startswith(f"{queue.url}#") for letter in recorder.letters)
    assert all(letter.error for letter in recorder.letters)


def test_what_is_no_upload_to_the_landing_is_deleted_with_a_word(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tidegate")
    queue.send(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}))
    queue.send(notice("in/a.csv", name="ObjectRemoved:Delete"))
    queue.send(notice("in/a.csv", bucket="other"))
    queue.send(notice("inbox/a.csv"))
    queue.send(notice("in/"))
    recorder = Recorder()
    with recorder.running(queue.source()):
        queue.wait_until_empty()
    assert recorder.calls == 0
    for words in ["test event", "ObjectRemoved:Delete", "s3://other/in/a.csv", "s3://landing/inbox/a.csv"]:
        assert words in caplog.text
    assert len([entry for entry in caplog.records if getattr(entry, "action", "") == "message_ignored"]) == 5


def test_a_notice_may_come_three_times(queue: Queue) -> None:
    for _ in range(3):
        queue.send(notice("in/a.csv"))
    recorder = Recorder()
    with recorder.running(queue.source()):
        recorder.wait(lambda: len(recorder.uploads) == 3)
        queue.wait_until_empty()
    assert len({upload.object.object_id for upload in recorder.uploads}) == 1


def test_many_messages_are_taken_together(queue: Queue) -> None:
    for number in range(25):
        queue.send(notice(f"in/{number}.csv"))
    recorder = Recorder()
    with recorder.running(queue.source()):
        recorder.wait(lambda: len(recorder.uploads) == 25)
        queue.wait_until_empty()
    assert recorder.calls < 25


def test_a_burst_is_recorded_in_few_calls_and_a_flood_in_more(queue: Queue) -> None:
    keys = [f"in/{number}" for number in range(215)]
    for start in range(0, len(keys), 10):
        entries = [
            {"Id": str(place), "MessageBody": notice(key)}
            for place, key in enumerate(keys[start : start + 10])
        ]
        queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    recorder = Recorder()
    with recorder.running(queue.source()):
        recorder.wait_for(*keys)
        queue.wait_until_empty()
    assert recorder.calls == 2


def test_stop_is_heard_in_the_middle_of_a_long_poll(queue: Queue) -> None:
    recorder = Recorder()
    with recorder.running(queue.source(wait_seconds=20)):
        queue.send(notice("in/a.csv"))
        recorder.wait_for("in/a.csv")
        begin = time.monotonic()
    assert time.monotonic() - begin < 0.5


def test_an_outage_of_the_network_is_outlasted_and_told_once(
    queue: Queue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="tidegate")
    queue.send(notice("in/a.csv"))
    source = queue.source()
    receive, failures = source._client.receive_message, [EndpointConnectionError(endpoint_url="http://x")] * 3

    def fail_first(**arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return receive(**arguments)

    monkeypatch.setattr(source._client, "receive_message", fail_first)
    recorder = Recorder()
    with recorder.running(source):
        recorder.wait_for("in/a.csv")
    told = [entry.levelname for entry in caplog.records if "Reading the queue" in entry.message]
    assert told == ["WARNING", "INFO"]


@pytest.mark.parametrize("how", ["in part", "altogether"])
def test_a_message_that_could_not_be_deleted_comes_again(
    queue: Queue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    queue.send(notice("in/a.csv"))
    source = queue.source(visibility_seconds=1)
    delete, failures = source._client.delete_message_batch, ["once"]

    def fail_first(**arguments: Any) -> Any:
        if not failures:
            return delete(**arguments)
        failures.clear()
        if how == "altogether":
            raise EndpointConnectionError(endpoint_url="http://x")
        return {"Failed": [{"Id": "0", "Message": "not now"}]}

    monkeypatch.setattr(source._client, "delete_message_batch", fail_first)
    recorder = Recorder()
    with recorder.running(source):
        recorder.wait(lambda: len(recorder.uploads) == 2)
        queue.wait_until_empty()
    assert "1 of 1 messages could not be deleted" in caplog.text


def test_a_queue_that_does_not_exist_needs_a_person(queue: Queue) -> None:
    source = queue.source(queue_url=f"{queue.url}-not")
    with pytest.raises(SettingsError, match="does not exist"):
        source.run(Recorder().record, Recorder().dead_letter, threading.Event())
