"""What every object store promises."""

import hashlib
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from tidegate.errors import ObjectMissingError, ObjectOverwrittenError, ObjectRejectedError, UsageError
from tidegate.objects import ObjectStore, ObjectVersion, is_newer

ODD_KEYS = [
    "with blank.csv",
    "plus+plus.csv",
    "100%25.csv",
    "question?versionId=1.csv",
    "hash#.csv",
    "[brackets]*.csv",
    "Übergröße/ñandú.csv",
    "emoji-🚢.csv",
    "e\u0301-decomposed.csv",
    "quote'\"&amp;<>.csv",
    "semi;colon:and,comma=.csv",
    "back\\slash\\xff.csv",
    "tilde~$dollar!.csv",
    "tab\tin-name.csv",
    "/".join("abcdefghi" for _ in range(90))[:896] + ".csv",
]


class Landing:
    """Drops files and remembers nothing."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store = store
        self._file = folder / "to-upload"

    def drop(self, relative: str, content: bytes) -> ObjectVersion:
        """What the store says of the upload afterwards, and that `put` said the same of it."""
        self._file.write_bytes(content)
        put = self.store.put(self._file, self.store.prefix + relative)
        found = self.store.stat(put.key)
        assert timedelta() <= put.uploaded_at - found.uploaded_at < timedelta(seconds=10)
        assert replace(put, uploaded_at=found.uploaded_at) == found
        return found


@pytest.fixture
def landing(store: ObjectStore, tmp_path: Path) -> Landing:
    return Landing(store, tmp_path)


def test_an_upload_is_listed_found_and_fetched(landing: Landing, tmp_path: Path) -> None:
    store = landing.store
    put = landing.drop("orders/a.csv", b"id\n1\n")
    assert list(store.list()) == [put]
    assert put.size == 5
    assert put.uploaded_at.tzinfo is UTC
    assert put.bucket == store.bucket
    assert put.url == f"{store.url.rstrip('/')}/orders/a.csv"
    assert store.relative_key(put.key) == "orders/a.csv"
    target = tmp_path / "new" / "copy"
    assert store.fetch(put, target) == hashlib.sha256(b"id\n1\n").hexdigest()
    assert target.read_bytes() == b"id\n1\n"


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_a_key_may_be_odd(landing: Landing, tmp_path: Path, key: str) -> None:
    store = landing.store
    put = landing.drop(key, b"content")
    landing.drop("zz-other.csv", b"other")
    assert put.key == store.prefix + key
    assert put in list(store.list())
    assert list(store.list(key)) == [put]
    assert store.head(put, 4) == b"cont"
    store.fetch(put, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_an_empty_file_is_an_object(landing: Landing, tmp_path: Path) -> None:
    put = landing.drop("empty.csv", b"")
    assert put.size == 0
    assert landing.store.head(put, 10) == b""
    assert landing.store.fetch(put, tmp_path / "copy") == hashlib.sha256(b"").hexdigest()
    assert (tmp_path / "copy").read_bytes() == b""


@pytest.mark.parametrize(("size", "expected"), [(0, b""), (1, b"i"), (5, b"id\n1\n"), (1000, b"id\n1\n")])
def test_head_gives_the_first_bytes(landing: Landing, size: int, expected: bytes) -> None:
    assert landing.store.head(landing.drop("a.csv", b"id\n1\n"), size) == expected


def test_a_large_object_is_copied_whole(landing: Landing, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    put = landing.drop("large.csv", content)
    assert landing.store.fetch(put, tmp_path / "copy") == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "copy").read_bytes() == content


def test_keys_are_listed_in_the_order_of_their_utf8(landing: Landing) -> None:
    keys = [
        "a/b.csv",
        "a-b.csv",
        "a.csv",
        "a/b/c.csv",
        "A.csv",
        "ä.csv",
        "z.csv",
        "a0.csv",
        "\uff21.csv",
        "🚢.csv",
    ]
    for key in keys:
        landing.drop(key, key.encode())
    listed = [landing.store.relative_key(obj.key) for obj in landing.store.list()]
    assert listed == sorted(keys, key=str.encode)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("orders/", ["orders/2024/a.csv", "orders/2024-b.csv"]),
        ("orders/2024", ["orders/2024/a.csv", "orders/2024-b.csv"]),
        ("orders/2024/", ["orders/2024/a.csv"]),
        ("order", ["orders.csv", "orders/2024/a.csv", "orders/2024-b.csv"]),
        ("orders/2024/a.csv", ["orders/2024/a.csv"]),
        ("../", []),
        ("nothing", []),
        ("nothing/at/all/", []),
    ],
)
def test_a_prefix_is_the_beginning_of_a_key(landing: Landing, prefix: str, expected: list[str]) -> None:
    for key in ["orders/2024/a.csv", "orders/2024-b.csv", "orders.csv", "flights/x.csv"]:
        landing.drop(key, b"x")
    listed = [landing.store.relative_key(obj.key) for obj in landing.store.list(prefix)]
    assert sorted(listed) == sorted(expected)


def test_a_key_that_is_not_there_is_missing(landing: Landing) -> None:
    put = landing.drop("a.csv", b"x")
    with pytest.raises(ObjectMissingError, match=r"b\.csv"):
        landing.store.stat(put.key.replace("a.csv", "b.csv"))


@pytest.mark.parametrize("content", [b"new", b"longer content"], ids=["same size", "other size"])
def test_an_older_version_is_not_mistaken_for_the_newer(
    landing: Landing, tmp_path: Path, content: bytes
) -> None:
    store = landing.store
    old = landing.drop("a.csv", b"old")
    new = landing.drop("a.csv", content)
    assert new.version != old.version
    assert new.object_id != old.object_id
    assert not is_newer(old, new) or old.uploaded_at == new.uploaded_at
    assert store.stat(new.key) == new
    assert list(store.list()) == [new]
    try:
        store.fetch(old, tmp_path / "copy")
    except ObjectOverwrittenError as error:
        assert old.version in str(error)  # noqa: PT017 - a bucket that keeps versions raises nothing
        assert not (tmp_path / "copy").exists()
        with pytest.raises(ObjectOverwrittenError):
            store.head(old, 3)
    else:
        assert (tmp_path / "copy").read_bytes() == b"old"
        assert store.head(old, 3) == b"old"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_failed_fetch_leaves_an_older_copy_as_it_was(landing: Landing, tmp_path: Path) -> None:
    put = landing.drop("a.csv", b"x")
    gone = ObjectVersion(
        store=put.store,
        bucket=put.bucket,
        key=put.key + ".gone",
        version=put.version,
        size=1,
        uploaded_at=put.uploaded_at,
        etag=put.etag,
    )
    target = tmp_path / "copy"
    target.write_bytes(b"before")
    with pytest.raises(ObjectMissingError):
        landing.store.fetch(gone, target)
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_keys_outside_of_the_landing_are_refused(landing: Landing, tmp_path: Path) -> None:
    store = landing.store
    (tmp_path / "secret.csv").write_bytes(b"secret")
    outside = "../secret.csv" if store.prefix or store.url.startswith("file:") else ""
    with pytest.raises(ObjectRejectedError) as refused:
        store.stat(outside)
    assert refused.value.rule == "key"
    with pytest.raises(ObjectRejectedError):
        store.put(tmp_path / "secret.csv", outside)
    assert list(store.list()) == []


def test_dots_in_a_key_never_lead_out_of_the_landing(landing: Landing, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_bytes(b"secret")
    with pytest.raises((ObjectRejectedError, ObjectMissingError)):
        landing.store.stat(f"{landing.store.prefix}../secret.csv")


def test_only_a_file_can_be_uploaded(landing: Landing, tmp_path: Path) -> None:
    for source in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UsageError, match="not a file"):
            landing.store.put(source, f"{landing.store.prefix}a.csv")
