import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.events import Via
from tidegate.events.s3 import decode


def record(**changes: Any) -> dict[str, Any]:
    described = {
        "key": "in/orders/a+b%2Bc.csv",
        "size": 1024,
        "eTag": "d41d8cd98f00b204e9800998ecf8427e",
        "sequencer": "0055AED6DCD90281E5",
    }
    name = changes.pop("eventName", "ObjectCreated:Put")
    time = changes.pop("eventTime", "2024-05-01T12:00:00.123Z")
    bucket = changes.pop("bucket", {"name": "landing", "arn": "arn:aws:s3:::landing"})
    described |= changes
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": time,
        "eventName": name,
        "s3": {"s3SchemaVersion": "1.0", "bucket": bucket, "object": described},
    }


def message(*records: Any) -> str:
    return json.dumps({"Records": records})


EVENT_BRIDGE = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "time": "2024-05-01T12:00:00Z",
    "detail": {
        "version": "0",
        "bucket": {"name": "landing"},
        "object": {
            "key": "in/a+b %.csv",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "00617F08299329D189",
        },
        "reason": "PutObject",
    },
}


def test_a_record_becomes_an_upload() -> None:
    decoded = decode(message(record()))
    (upload,) = decoded.uploads
    assert upload.via is Via.SQS
    obj = upload.object
    assert (obj.store, obj.bucket, obj.key) == ("s3", "landing", "in/orders/a b+c.csv")
    assert obj.version == obj.etag == "d41d8cd98f00b204e9800998ecf8427e"
    assert obj.size == 1024
    assert obj.sequencer == "0055AED6DCD90281E5"
    assert obj.uploaded_at == datetime(2024, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)
    assert (decoded.ignored, decoded.errors) == ([], [])


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_key_comes_back_as_it_was(key: str) -> None:
    (upload,) = decode(message(record(key=quote_plus(key)))).uploads
    assert upload.object.key == key


def test_the_version_is_the_version_id_where_there_is_one() -> None:
    (upload,) = decode(message(record(versionId="3sL4kqtJlcpXro"))).uploads
    assert upload.object.version == "3sL4kqtJlcpXro"
    assert upload.object.etag == "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize("version_id", ["null", "", None])
def test_a_bucket_without_versions_has_etags(version_id: str | None) -> None:
    (upload,) = decode(message(record(versionId=version_id, eTag='"abc"'))).uploads
    assert upload.object.version == "abc"


def test_bytes_are_read_like_text() -> None:
    assert decode(message(record()).encode()).uploads == decode(message(record())).uploads


def test_a_message_may_hold_many_records() -> None:
    keys = [f"{number}.csv" for number in range(25)]
    decoded = decode(message(*(record(key=key) for key in keys)))
    assert [upload.object.key for upload in decoded.uploads] == keys


def test_one_broken_record_does_not_take_the_others_with_it() -> None:
    decoded = decode(message(record(key="a.csv"), {"eventName": "ObjectCreated:Put"}, record(key="b.csv")))
    assert [upload.object.key for upload in decoded.uploads] == ["a.csv", "b.csv"]
    assert len(decoded.errors) == 1


@pytest.mark.parametrize(
    "name", ["ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "s3:ObjectCreated:Copy"]
)
def test_all_kinds_of_creation_are_uploads(name: str) -> None:
    assert len(decode(message(record(eventName=name))).uploads) == 1


@pytest.mark.parametrize(
    "name", ["ObjectRemoved:Delete", "ObjectRestore:Post", "s3:ReducedRedundancyLostObject"]
)
def test_other_events_are_ignored(name: str) -> None:
    decoded = decode(message(record(eventName=name)))
    assert (decoded.uploads, decoded.errors) == ([], [])
    assert decoded.ignored == [f"{name} is no upload"]


def test_the_test_event_is_ignored() -> None:
    body = {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2024-05-01T12:00:00.000Z",
        "Bucket": "landing",
    }
    decoded = decode(json.dumps(body))
    assert decoded.ignored == ["S3's test event"]
    assert (decoded.uploads, decoded.errors) == ([], [])


def test_a_notification_may_come_through_sns() -> None:
    body = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn", "Message": message(record())}
    assert decode(json.dumps(body)) == decode(message(record()))


def test_an_event_may_come_through_event_bridge() -> None:
    decoded = decode(json.dumps(EVENT_BRIDGE))
    (upload,) = decoded.uploads
    assert upload.object.key == "in/a+b %.csv"
    assert upload.object.version == "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
    assert upload.object.etag == "b1946ac92492d2347c6235b4d2611184"
    assert upload.object.sequencer == "00617F08299329D189"
    assert decode(json.dumps(EVENT_BRIDGE | {"detail-type": "Object Deleted"})).ignored


UNREADABLE: list[tuple[str | bytes, str]] = [
    ("", "not JSON"),
    ("hello", "not JSON"),
    (b"\xff\xfe\x00", "not JSON"),
    ("[" * 100_000, "nested"),
    ('{"a":' * 100_000, "nested"),
    ("9" * 5000, "not JSON"),
    ("[]", "should be an object"),
    ("null", "should be an object"),
    ("{}", "no Records"),
    ('{"Records": []}', "no Records"),
    ('{"Records": {"a": 1}}', "no Records"),
    ('{"Records": [1]}', "a record should be an object"),
    ('{"Type": "Notification"}', "Message should be a text"),
    ('{"Type": "Notification", "Message": "hello"}', "not JSON"),
    ('{"Type": "SubscriptionConfirmation"}', "no Records"),
    ('{"detail-type": 5}', "detail-type should be a text"),
    ('{"detail-type": "Object Created", "source": "aws.s3"}', "detail should be an object"),
    (message({}), "eventName should be a text"),
    (message(record(key=None)), "key should be a text, and is missing"),
    (message(record(key="")), "key should be a text"),
    (message(record(key=7)), "key should be a text, and is int 7"),
    (message(record(key="%FF")), "not UTF-8"),
    (message(record(key="%00")), "can't be part"),
    (message(record(key="\ud800")), "can't be part"),
    (message(record(bucket={"name": "\ud800"})), "can't be part"),
    (message(record(bucket="landing")), "s3.bucket should be an object"),
    (message(record(eTag=None)), "neither a versionId nor an eTag"),
    (message(record(eTag=["a"])), "eTag should be a text"),
    (message(record(sequencer=5)), "sequencer should be a text"),
    (message(record(size=-1)), "size"),
    (message(record(size="5")), "size"),
    (message(record(size=True)), "size"),
    (message(record(size=2**63)), "size"),
    (message(record(size=1.5)), "size"),
    (message(record(eventTime="yesterday")), "time 'yesterday'"),
    (message(record(eventTime="0001-01-01T00:00:00+14:00")), "time"),
]


@pytest.mark.parametrize(("body", "why"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_can_not_be_read_says_why(body: str | bytes, why: str) -> None:
    decoded = decode(body)
    assert (decoded.uploads, decoded.ignored) == ([], [])
    assert len(decoded.errors) == 1
    assert why in decoded.errors[0]
    assert len(decoded.errors[0]) < 400


@given(st.binary() | st.text())
def test_no_bytes_crash_it(body: bytes | str) -> None:
    decoded = decode(body)
    assert decoded.errors
    assert not decoded.uploads


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["key", "size", "eTag", "versionId", "sequencer", "eventName", "eventTime", "bucket"]
)


@given(st.dictionaries(FIELDS, JSON))
def test_no_record_crashes_it(changes: dict[str, Any]) -> None:
    decoded = decode(message(record(**changes)))
    assert len(decoded.uploads) + len(decoded.ignored) + len(decoded.errors) == 1
    for upload in decoded.uploads:
        assert upload.object.object_id


@given(JSON)
def test_no_json_crashes_it(body: Any) -> None:
    assert decode(json.dumps(body)).errors
