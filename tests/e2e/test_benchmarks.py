from collections.abc import Iterator

import pytest

from benchmarks.cases import case
from benchmarks.session import Session


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(quick=True, peers=False, shrink=20) as session:
        yield session
    assert not session.folder.exists()


@pytest.mark.parametrize("name", ["latency", "burst", "retry", "idle"])
def test_a_case_measures(session: Session, name: str) -> None:
    """Each checks what was loaded, so a broken system or benchmark fails here."""
    result = case(name)(session)
    assert [series.name for series in result.series if not series.values] == []
    assert result.series
