"""The same job on S3 with SQS, and on GCS without events; both over HTTP."""

from __future__ import annotations

import json
import random
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.system import EXAMPLE_ROWS, EXAMPLES, System, drop_examples, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

ODD_KEYS = [
    "flights/with space.csv",
    "flights/plus+and%percent%20.csv",
    "flights/Müller-Straße-日本.csv",
    f"flights/{'long' * 222}.csv",
]


def client(service: str, url: str) -> Any:
    import botocore.session

    return botocore.session.get_session().create_client(service, endpoint_url=url, region_name="us-east-1")


@pytest.fixture(scope="module")
def bucket(aws_server: str) -> tuple[str, str]:
    """A bucket that tells a queue of its uploads: their names."""
    s3, sqs = client("s3", aws_server), client("sqs", aws_server)
    name = f"landing-{uuid.uuid4().hex[:12]}"
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    return name, queue


@pytest.fixture(scope="module")
def s3_system(make_system: Callable[..., System], aws_server: str, bucket: tuple[str, str]) -> System:
    name, queue = bucket
    system = make_system(
        f'landing = "s3://{name}/in"\n[s3]\nendpoint_url = "{aws_server}"\n'
        f'[sqs]\nqueue_url = "{queue}"\nendpoint_url = "{aws_server}"\nwait_seconds = 2\n'
    )
    system.up()
    files = [str(file) for file in sorted(EXAMPLES.glob("*/*.csv"))]
    drop_examples(system, [file for file in files if "wrong" not in file and "bad" not in file])
    system.wait()
    return system


def test_s3_gives_the_same_result_as_a_folder(s3_system: System) -> None:
    assert s3_system.counts() == EXAMPLE_ROWS
    (story,) = s3_system.json("why", "in/planes/planes.csv")
    assert story["state"] == "loaded"
    assert story["via"] == "sqs"


def test_messages_delivered_three_times_in_any_order_change_nothing(
    s3_system: System, aws_server: str, bucket: tuple[str, str]
) -> None:
    before, objects = s3_system.counts(), s3_system.json("objects")
    sqs = client("sqs", aws_server)
    bodies = [notification(entry) for entry in objects] * 3
    random.Random(7).shuffle(bodies)
    for body in bodies:
        sqs.send_message(QueueUrl=bucket[1], MessageBody=body)
    wait_for(lambda: queue_is_empty(sqs, bucket[1]), 60, "messages stay in the queue")
    s3_system.wait()
    assert s3_system.counts() == before
    assert s3_system.json("objects") == objects


def notification(entry: dict[str, Any]) -> str:
    from urllib.parse import quote_plus

    obj = {"key": quote_plus(entry["key"]), "size": entry["size"], "eTag": entry["etag"]}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": entry["uploaded_at"],
        "s3": {"bucket": {"name": entry["bucket"]}, "object": obj},
    }
    return json.dumps({"Records": [record]})


def queue_is_empty(sqs: Any, url: str) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return all(int(value) == 0 for value in found.values())


def test_odd_keys_go_the_whole_way(s3_system: System, aws_server: str, bucket: tuple[str, str]) -> None:
    s3 = client("s3", aws_server)
    content = (EXAMPLES / "flights/flights-2013-01-01.csv").read_text()
    for n, key in enumerate(ODD_KEYS):
        body = content.replace("\n2013,", f"\n{2001 + n},").encode()
        s3.put_object(Bucket=bucket[0], Key=f"in/{key}", Body=body)
    wait_for(lambda: {f"in/{key}" for key in ODD_KEYS} <= set(s3_system.states()), 60, "a key is missing")
    s3_system.wait()
    for n, key in enumerate(ODD_KEYS):
        (story,) = s3_system.json("why", f"in/{key}")
        assert story["state"] == "loaded", story["reason"]
        assert s3_system.count(f"flights WHERE year = {2001 + n}") == 842


def test_a_message_that_cannot_be_read_is_kept_with_its_text_and_leaves_the_queue(
    s3_system: System, aws_server: str, bucket: tuple[str, str]
) -> None:
    sqs = client("sqs", aws_server)
    sqs.send_message(QueueUrl=bucket[1], MessageBody="<not json>")
    sqs.send_message(
        QueueUrl=bucket[1], MessageBody=json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})
    )
    wait_for(lambda: queue_is_empty(sqs, bucket[1]), 60, "messages stay in the queue")
    letters = s3_system.json("ledger", "dead-letters")
    assert [letter["text"] for letter in letters] == ["<not json>"]


def test_reconcile_finds_uploads_whose_message_was_lost(
    s3_system: System, aws_server: str, bucket: tuple[str, str]
) -> None:
    s3 = client("s3", aws_server)
    s3.put_bucket_notification_configuration(Bucket=bucket[0], NotificationConfiguration={})
    content = (EXAMPLES / "flights/flights-2013-01-02.csv").read_text().replace("\n2013,", "\n2031,")
    s3.put_object(Bucket=bucket[0], Key="in/flights/lost.csv", Body=content.encode())
    assert s3_system.json("reconcile")["recorded"] == 1
    assert s3_system.json("reconcile")["recorded"] == 0
    s3_system.wait()
    assert s3_system.object("in/flights/lost.csv")["state"] == "loaded"


def test_a_gcs_landing_is_reconciled_and_loaded(make_system: Callable[..., System], gcs_server: str) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    name = f"landing-{uuid.uuid4().hex[:12]}"
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
    gcs = storage.Client(project="test", credentials=nobody, client_options={"api_endpoint": gcs_server})
    gcs.create_bucket(name)
    system = make_system(f'landing = "gs://{name}/in"\n[gcs]\nendpoint_url = "{gcs_server}"\n')
    system.up()
    for file in EXAMPLES.glob("*/*.csv"):
        if "wrong" not in file.name and "bad" not in file.name:
            blob = gcs.bucket(name).blob(f"in/{file.parent.name}/{file.name}")
            blob.upload_from_filename(str(file))
    found = system.json("reconcile")
    assert found["recorded"] == 11
    assert system.json("reconcile")["recorded"] == 0
    system.wait()
    assert system.counts() == EXAMPLE_ROWS
    (story,) = system.json("why", "in/planes/planes.csv")
    assert story["version"].isdigit()
