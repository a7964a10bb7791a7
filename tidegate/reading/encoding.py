"""Encodings: which one an object has, and its text as UTF-8."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

import numpy as np

from tidegate.contracts.dialect import ENCODINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Byte order mark -> encoding.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODECS = {"windows-1252": "cp1252"}
_HEAD_BYTES = 1024
#: Of every second one of the first bytes, how many must be NUL for UTF-16 without a mark.
_NUL_SHARE = 0.3
_CONTINUATION_MASK, _CONTINUATION, _FOUR_BYTES, _BEYOND_ASCII = 0xC0, 0x80, 0xF0, 0x80
_LOW_SURROGATES = 0xDC00
_SURROGATE = re.compile("[\ud800-\udfff]")


def byte_order_mark(head: bytes) -> tuple[str, int] | None:
    """The encoding that an object's first bytes declare, and how many bytes say so."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return None


class EncodingSniffer:
    """Tells UTF-8, UTF-16 and Windows-1252 apart, from all of an object's bytes.

    A byte order mark decides. Without one: where every second byte is NUL it is UTF-16. Where all
    is valid UTF-8, it is that. Else it is UTF-8 with damage when there are more valid characters
    beyond ASCII than bytes that belong to none, and Windows-1252 otherwise.
    """

    def __init__(self) -> None:
        self._head = b""
        # A replacement character may be the text's own, so damage must not be turned into one.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._valid = 0
        self._invalid = 0

    def feed(self, chunk: bytes, *, final: bool = False) -> None:
        if len(self._head) < _HEAD_BYTES:
            self._head += chunk[:_HEAD_BYTES]
        if chunk.isascii() and not self._decoder.getstate()[0]:
            return
        text = self._decoder.decode(chunk, final)
        if not text.isascii():
            valid = text.encode("utf-8", "ignore").decode()
            self._invalid += len(text) - len(valid)
            self._valid += len(valid) - len(valid.encode("ascii", "ignore"))

    def verdict(self) -> str:
        """The encoding of what was fed."""
        marked = byte_order_mark(self._head)
        if marked is not None:
            return marked[0]
        even, odd = self._head[::2].count(0), self._head[1::2].count(0)
        if max(even, odd) > _NUL_SHARE * len(self._head) / 2 and min(even, odd) < max(even, odd) / 2:
            return "utf-16-le" if odd > even else "utf-16-be"
        return "utf-8" if not self._invalid or self._valid > self._invalid else "windows-1252"


class Transcoder:
    """Turns an object's bytes into UTF-8, chunk by chunk.

    What the encoding has no character for becomes a lone surrogate, which is no valid UTF-8 either:
    so one test finds damage in all encodings. UTF-8 itself passes as it is.
    """

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        name = _CODECS.get(encoding, encoding)
        wide = encoding.startswith("utf-16")
        errors = "surrogatepass" if wide else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(name)(errors) if encoding != "utf-8" else None
        self._odd = b""
        self._wide = wide

    def utf8(self, chunk: bytes, *, final: bool = False) -> bytes:
        if self._decoder is None:
            return chunk
        if self._wide:
            chunk = self._odd + chunk
            self._odd = chunk[len(chunk) & ~1 :]
            chunk = chunk[: len(chunk) & ~1]
        text = self._decoder.decode(chunk, final and not self._wide)
        if final and self._wide:
            # Half a surrogate pair, or half of two bytes, may be all that is left of a last character.
            pending = self._decoder.getstate()[0]
            text += pending.decode(self.encoding, "surrogatepass")
            text += "".join(chr(_LOW_SURROGATES + byte) for byte in self._odd)
        return text.encode("utf-8", "surrogatepass")


def shown(raw: bytes, encoding: str) -> str:
    r"""The object's text for people; bytes that are none in its encoding as ``\xNN``."""
    if encoding == "utf-8":
        return raw.decode("utf-8", "backslashreplace")
    # Cut within a character or not: what is no surrogate either is shown as its UTF-8.
    text = raw.decode("utf-8", "surrogatepass") if _is_whole(raw) else raw.decode("utf-8", "backslashreplace")
    return _SURROGATE.sub(lambda found: _as_bytes(found[0], encoding, last=found.end() == len(text)), text)


def _is_whole(raw: bytes) -> bool:
    try:
        raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _as_bytes(char: str, encoding: str, *, last: bool) -> str:
    if encoding.startswith("utf-16") and not (last and ord(char) < _LOW_SURROGATES + 0x100):
        return "".join(rf"\x{byte:02x}" for byte in char.encode(encoding, "surrogatepass"))
    return rf"\x{ord(char) & 0xFF:02x}"


def canonical(encoding: str) -> str:
    """The name that is recorded for an encoding that a contract names."""
    return ENCODINGS[encoding.lower()]


def invalid_lines(
    text: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_] | None:
    """Which lines are not valid UTF-8; None when all of them are."""
    if text.isascii():
        return None
    try:
        text.decode()
    except UnicodeDecodeError:
        invalid = np.zeros(len(starts), dtype=np.bool_)
        beyond = np.add.reduceat(np.frombuffer(text, dtype=np.uint8) >= _BEYOND_ASCII, starts, dtype=np.int32)
        for index in np.flatnonzero(beyond).tolist():
            invalid[index] = not _is_valid(text[starts[index] : ends[index]])
        return invalid
    return None


def _is_valid(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def original_offsets(
    text: bytes, positions: NDArray[np.int64], encoding: str, base: int
) -> NDArray[np.int64]:
    """Byte offsets in the object for byte positions in its text as UTF-8, which begins at `base`."""
    if encoding == "utf-8":
        return positions + base
    byte = np.frombuffer(text, dtype=np.uint8)
    units = (byte & _CONTINUATION_MASK) != _CONTINUATION
    count = units.astype(np.int64)
    if encoding.startswith("utf-16"):
        count = 2 * (count + (byte >= _FOUR_BYTES))
    before = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(count)))
    return before[positions] + base
