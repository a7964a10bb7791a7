from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from tidegate.events import Event, EventType
from tidegate.events.model import event_id
from tidegate.objects import ObjectVersion, is_newer
from tidegate.prefect.event_sink import to_prefect

START = datetime(2026, 1, 1, tzinfo=UTC)


def loaded(**changes: object) -> Event:
    values: dict[str, object] = {
        "id": event_id("x"),
        "type": EventType.LOADED,
        "time": START,
        "subject": "s3://bucket/a b+c%.csv",
        "dataset": "flights",
        "object_id": "o",
        "correlation_id": "c",
        "data": {"rows_loaded": 1, "flow_run_id": "f"},
    }
    return Event(**{**values, **changes})  # type: ignore[arg-type]


def test_an_event_is_a_cloudevent_to_others() -> None:
    text = json.dumps(loaded().to_cloudevent()).encode()
    read = JSONFormat().read(CloudEvent, text)
    assert read.get_type() == "tidegate.object.loaded.v1"
    assert read.get_source() == "tidegate/flights"
    assert read.get_subject() == "s3://bucket/a b+c%.csv"
    assert read.get_extension("correlationid") == "c"
    assert read.get_data() == {"rows_loaded": 1, "flow_run_id": "f"}


def test_the_same_fact_has_the_same_id_everywhere() -> None:
    assert event_id(EventType.LOADED, "o", 1) == event_id(EventType.LOADED, "o", 1)
    assert event_id(EventType.LOADED, "o", 1) != event_id(EventType.LOADED, "o", 2)


def test_state_too_large_for_an_event_must_be_a_claim_check() -> None:
    with pytest.raises(ValueError, match="over 64000 bytes"):
        loaded(data={"text": "x" * 64_000}).to_cloudevent()


def test_prefect_gets_the_same_event_under_the_same_id() -> None:
    event = loaded()
    sent = to_prefect(event)
    assert sent["id"] == event.id
    assert sent["event"] == "tidegate.object.loaded.v1"
    assert sent["resource"]["prefect.resource.id"] == "tidegate.object.o"
    assert {one["prefect.resource.id"] for one in sent["related"]} == {
        "tidegate.dataset.flights",
        "prefect.flow-run.f",
    }
    assert sent["payload"] == event.to_cloudevent()


def version(store: str, name: str, second: int = 0, sequencer: str | None = None) -> ObjectVersion:
    return ObjectVersion(
        store=store,
        bucket="b",
        key="k",
        version=name,
        size=1,
        uploaded_at=START + timedelta(seconds=second),
        sequencer=sequencer,
    )


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (version("s3", "x", 0, "00B"), version("s3", "y", 9, "00AF")),
        (version("s3", "x", 0, "00a1"), version("s3", "y", 9, "00A")),
        (version("s3", "x", 2), version("s3", "y", 1, "00B")),
        (version("gcs", "10"), version("gcs", "9")),
        (version("folder", "1000-5"), version("folder", "999-7")),
    ],
)
def test_order_comes_from_the_store(newer: ObjectVersion, older: ObjectVersion) -> None:
    assert is_newer(newer, older)
    assert not is_newer(older, newer)
    assert not is_newer(newer, newer)


@given(st.lists(st.integers(0, 2**80), min_size=2, max_size=2, unique=True))
def test_sequencers_compare_padded_on_the_right(numbers: list[int]) -> None:
    one, two = (version("s3", f"v{n}", 0, f"{n:020X}".rstrip("0") or "0") for n in numbers)
    assert is_newer(one, two) == (numbers[0] > numbers[1])
