"""The burst and the large file on S3, told of by SQS, over HTTP to a stand-in on this machine."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks import orders, peer_runs
from benchmarks.measuring import Series, ratio
from benchmarks.processes import clean_environment, free_port, started, wait_until
from benchmarks.results import Result
from benchmarks.tidegate_system import Log, committed_after, final_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.session import Session
    from benchmarks.tidegate_system import TidegateSystem

ROWS = 200
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_PATIENCE = 1_800.0


def run(session: Session) -> Result:
    """A burst counts from its first upload, a large file from when it is there; dlt lists the bucket."""
    # moto's SQS takes a second to hand over ten of 1,000 waiting messages, and 30 ms of 200.
    files, rows = session.size(200, 50), session.size(5_000_000, 100_000)
    result = Result("s3", session.quick, facts={"files": files, "rows": ROWS, "rows of the large file": rows})
    with _stand_in(session) as endpoint:
        bucket = _Bucket(endpoint)
        settings = (
            f'landing = "s3://{bucket.name}/in"\n[s3]\nendpoint_url = "{endpoint}"\n'
            f'[sqs]\nqueue_url = "{bucket.queue}"\nendpoint_url = "{endpoint}"\n'
        )
        upload = partial(bucket.upload, prefix="in")
        with session.system_with(settings, upload, **CREDENTIALS) as system:
            _warm(session, system, upload)
            _burst(session, system, bucket, result, files)
            _large(session, system, bucket, result, rows)
    return result


def _warm(session: Session, system: TidegateSystem, upload: Callable[[Sequence[Path]], object]) -> None:
    """One file goes through first: what was just started still imports."""
    made, _ = session.small_files(session.new_folder("warm"), 1, ROWS)
    with system.project() as project:
        log = Log(project)
        upload(made)
        log.until_final([made[0].name], _PATIENCE)


def _burst(session: Session, system: TidegateSystem, bucket: _Bucket, result: Result, files: int) -> None:
    ours, dlt = result.add(f"Tidegate, {files} files"), Series(f"dlt, {files} files")
    made, first = session.small_files(session.new_folder("s3"), files, ROWS)
    with system.project() as project:
        log = Log(project)
        began = time.time()
        bucket.upload(made, "in")
        uploaded = time.time()
        entries = log.until_final([file.name for file in made], _PATIENCE)
    ours.values.append(final_after(entries, began))
    ours.details.append({"uploaded": uploaded - began})
    system.check_loaded(first, files * ROWS)
    if session.peers:
        result.series.append(dlt)
        began = time.time()
        bucket.upload(made, "peer")
        uploading = time.time() - began
        told = _dlt(session, bucket, "peer", "*.csv", first, files * ROWS)
        dlt.values.append(uploading + told.seconds)
        dlt.details.append({"uploaded": uploading, **told.details})
        result.ratios.append(ratio(ours, dlt))


def _large(session: Session, system: TidegateSystem, bucket: _Bucket, result: Result, rows: int) -> None:
    ours, dlt = result.add("Tidegate, large file"), Series("dlt, large file")
    first = session.new_orders(rows)
    file = session.folder / f"orders-large-{first:012}.csv"
    orders.write_orders(file, first, rows)
    with system.project() as project:
        log = Log(project)
        bucket.upload([file], "in")
        uploaded = time.time()
        (entry,) = log.until_final([file.name], _PATIENCE).values()
    ours.values.append(committed_after(entry, uploaded))
    system.check_loaded(first, rows)
    if session.peers:
        result.series.append(dlt)
        bucket.upload([file], "peer-large")
        told = _dlt(session, bucket, "peer-large", "*.csv", first, rows)
        dlt.values.append(told.seconds)
        dlt.details.append(told.details)
        result.ratios.append(ratio(ours, dlt))
    file.unlink()


def _dlt(session: Session, bucket: _Bucket, prefix: str, glob: str, first: int, rows: int) -> peer_runs.Told:
    url = f"s3://{bucket.name}/{prefix}"
    words = (url, glob, "{database}", "{folder}", bucket.endpoint)
    return peer_runs.load("dlt", session.folder, words, first, rows)


class _Bucket:
    """A bucket that tells a queue of its uploads below ``in/``."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.name = f"landing-{uuid.uuid4().hex[:12]}"
        self._s3, sqs = _client("s3", endpoint), _client("sqs", endpoint)
        self.queue = sqs.create_queue(QueueName=self.name)["QueueUrl"]
        told = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        self._s3.create_bucket(Bucket=self.name)
        below = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}
        notice = {
            "QueueArn": told["Attributes"]["QueueArn"],
            "Events": ["s3:ObjectCreated:*"],
            "Filter": below,
        }
        self._s3.put_bucket_notification_configuration(
            Bucket=self.name, NotificationConfiguration={"QueueConfigurations": [notice]}
        )

    def upload(self, files: Sequence[Path], prefix: str) -> None:
        """Put files below a prefix, several at a time."""

        def put(file: Path) -> None:
            with file.open("rb") as body:
                self._s3.put_object(Bucket=self.name, Key=f"{prefix}/{file.name}", Body=body)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, files))


def _client(service: str, endpoint: str) -> Any:
    import botocore.session
    from botocore.config import Config

    return botocore.session.get_session().create_client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106  the stand-in takes any
        config=Config(max_pool_connections=8),
    )


@contextmanager
def _stand_in(session: Session) -> Iterator[str]:
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = session.folder / "moto.log"
    with started(command, log, clean_environment(**CREDENTIALS), stdin=subprocess.DEVNULL):
        wait_until(lambda: _answers(endpoint), 60, f"moto's server did not start, see {log}")
        yield endpoint


def _answers(endpoint: str) -> bool:
    try:
        return httpx.get(f"{endpoint}/moto-api/", timeout=2).is_success
    except httpx.HTTPError:
        return False
