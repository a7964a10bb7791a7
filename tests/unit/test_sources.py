import logging
import threading
import time
from pathlib import Path

import pytest

from tidegate.errors import LedgerUnavailableError, SettingsError, StoreUnavailableError
from tidegate.objects.landing import Landing
from tidegate.settings import Settings, SqsSettings
from tidegate.sources import open_sources
from tidegate.sources.folder import FolderSource, _topmost
from tidegate.sources.outage import Outage, insist
from tidegate.sources.sqs import _LongPoll


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.sources.outage._FIRST_PAUSE", 0.001)
    monkeypatch.setattr("tidegate.sources.outage._LONGEST_PAUSE", 0.002)


def test_a_folder_is_watched(tmp_path: Path) -> None:
    (source,) = open_sources(Settings(landing=str(tmp_path)))
    assert isinstance(source, FolderSource)


def test_a_queue_for_a_folder_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="queue_url"):
        open_sources(Settings(landing=str(tmp_path), sqs=SqsSettings(queue_url="http://localhost/1/q")))


@pytest.mark.parametrize("landing", ["s3://bucket/in", "gs://bucket"])
def test_a_bucket_that_nothing_notifies_us_of_says_so(landing: str, caplog: pytest.LogCaptureFixture) -> None:
    assert open_sources(Settings(landing=landing)) == []
    assert "tidegate reconcile" in caplog.text


def test_a_queue_without_a_region_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    settings = SqsSettings(queue_url="http://localhost:9324/1/q")
    with pytest.raises(SettingsError, match="region"):
        open_sources(Settings(landing="s3://bucket", sqs=settings))
    settings = SqsSettings(queue_url="https://sqs.eu-central-1.amazonaws.com/1/q")
    (source,) = open_sources(Settings(landing="s3://bucket", sqs=settings))
    assert source.name == "sqs"


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://b", "b", ""),
        ("s3://b/", "b", ""),
        ("s3://b/in", "b", "in/"),
        ("gs://b/in/", "b", "in/"),
        ("s3://b/a b?c#d%20/e", "b", "a b?c#d%20/e/"),
    ],
)
def test_a_landing_is_a_bucket_and_a_prefix(url: str, bucket: str, prefix: str) -> None:
    assert Landing.parse(url) == Landing(bucket, prefix)


def test_a_landing_needs_a_bucket() -> None:
    for url in ("s3://", "s3:///in"):
        with pytest.raises(SettingsError, match="names no bucket"):
            Landing.parse(url)


def test_what_a_landing_holds() -> None:
    landing = Landing("b", "in/")
    assert landing.holds("b", "in/a.csv")
    assert not landing.holds("c", "in/a.csv")
    assert not landing.holds("b", "inbox/a.csv")
    assert not landing.holds("b", "in/")


@pytest.mark.usefixtures("short_pauses")
def test_an_outage_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage("The ledger", threading.Event())
    failures = [LedgerUnavailableError("locked.")] * 5

    def act() -> None:
        if failures:
            raise failures.pop()

    assert insist(act, outage)
    assert insist(act, outage)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "locked." in caplog.text
    assert "5 failed tries" in caplog.text


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", pauses.append)
    outage = Outage("x", stop)
    for _ in range(100):
        assert outage.pause(StoreUnavailableError())
    assert 0.1 <= pauses[0] <= 0.2
    assert pauses[5] > pauses[0]
    assert 15 <= pauses[-1] <= 30
    assert len(set(pauses)) > 90


def test_stop_cuts_a_pause_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.sources.outage._FIRST_PAUSE", 30.0)
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    begin = time.monotonic()
    assert not Outage("x", stop).pause(StoreUnavailableError())
    assert time.monotonic() - begin < 1


def test_other_errors_are_not_outlasted() -> None:
    def act() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        insist(act, Outage("x", threading.Event()))


def test_a_poll_is_left_alone_when_stopped_and_gives_back_what_it_gets() -> None:
    """SQS may answer a poll that nobody waits for any more."""
    entered, answer, returned = threading.Event(), threading.Event(), threading.Event()
    given_back: list[object] = []

    def receive() -> list[dict[str, str]]:
        entered.set()
        answer.wait()
        return [{"MessageId": "1"}]

    def give_back(messages: list[dict[str, str]]) -> None:
        given_back.extend(messages)
        returned.set()

    stop = threading.Event()
    poll = _LongPoll(receive, give_back, stop)

    def stop_while_it_waits() -> None:
        entered.wait()
        stop.set()

    threading.Thread(target=stop_while_it_waits).start()
    assert poll.next() is None
    assert poll.next() is None
    answer.set()
    assert returned.wait(5)
    assert given_back == [{"MessageId": "1"}]


def test_topmost_folders() -> None:
    assert _topmost({"a/b/", "a/", "ab/", "a/b/c/"}) == ["a/", "ab/"]
    assert _topmost({"", "a/"}) == [""]
    assert _topmost(set()) == []
