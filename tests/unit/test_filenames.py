import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tidegate.objects.filenames import is_in_progress, key_of, relative_of

NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda raw: not {0, 47} & set(raw) and raw not in {b".", b".."}
)
AWKWARD = st.text(alphabet="\\x5cff8éa", min_size=1, max_size=20)


@given(NAMES)
def test_every_file_name_has_a_key_that_leads_back_to_it(raw: bytes) -> None:
    name = os.fsdecode(raw)
    key = key_of(name)
    key.encode()
    assert relative_of(key) == name


@given(AWKWARD, AWKWARD)
def test_two_names_never_share_a_key(one: str, other: str) -> None:
    assert (key_of(one) == key_of(other)) == (one == other)
    assert relative_of(key_of(one)) == one


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\\/\0"), min_size=1))
def test_a_utf8_name_without_backslash_is_its_own_key(name: str) -> None:
    assert key_of(name) == name


@given(st.text())
def test_no_key_leads_out_of_the_landing(key: str) -> None:
    relative = relative_of(key)
    if relative is not None:
        assert not relative.startswith("/")
        assert not {"", ".", ".."} & set(relative.split("/"))
        assert (Path("/landing") / relative).is_relative_to("/landing")


def test_names_of_uploads_in_progress() -> None:
    for name in [".a.csv", "a.csv.tmp", "a.csv.PART", "a.partial", "a.crdownload", ".part"]:
        assert is_in_progress(name)
    for name in ["a.csv", "part", "a.part.csv", "tmp"]:
        assert not is_in_progress(name)
