"""Damaged compression is a reason to hold the file, whatever the damage."""

from __future__ import annotations

import base64
import io
import zipfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.contracts import Columns, Dialect
from tidegate.errors import ObjectRejectedError
from tidegate.reading import open_reading
from tidegate.reading.source import Source

CONTENT = b"a,b\n" + b"".join(b"%d,text %d\n" % (number, number * 7) for number in range(200))
#: A zip archive whose member has no name; found by fuzzing.
NAMELESS = base64.b64decode(
    "UEsDBBT//wAIAAAAIVyN5E/SCcrPTeUCAFBLAQIUAxQAAAAIAAAAIVyN5EzDJQAAACMAAAAKAAAAAAAAAAAAAAAAAQAAb4AAcmRlcnMu"
    "Y3N2UEsFBgAAAAABAAEAOAAAAE0AAAAAAA=="
)
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def archive(method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as into:
        into.writestr(zipfile.ZipInfo("a.csv"), CONTENT, method)
    return out.getvalue()


def read(content: bytes) -> None:
    """Read all of it; raises whatever reading raises."""
    reading = open_reading(content, columns=["a", "b"], dialect=Dialect(), policy=Columns())
    assert all(block.records for block in reading.blocks())


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_archive_is_refused_or_read(method: int, data: st.DataObject) -> None:
    content = bytearray(archive(method))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(content[: data.draw(st.integers(4, len(content)))]))
    except ObjectRejectedError as error:
        assert str(error).endswith(".")  # noqa: PT017  most are refused, some damage changes nothing


@given(tail=st.binary(max_size=40))
@example(tail=NAMELESS)
def test_what_only_begins_like_an_archive_is_refused(tail: bytes) -> None:
    with pytest.raises(ObjectRejectedError):
        read(b"PK\x03\x04" + tail.removeprefix(b"PK\x03\x04"))


def test_an_archive_is_known_by_its_beginning() -> None:
    assert Source.of(NAMELESS, "detect").compression == "zip"
    with pytest.raises(ObjectRejectedError) as caught:
        read(NAMELESS)
    assert caught.value.rule == "compression"
