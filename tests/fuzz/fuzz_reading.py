"""A coverage-guided fuzzer for reading: ``make fuzz``; see tests/README.md.

The first byte chooses one of the damaged cases, whose contract is used; the rest is the file. Found is
whatever is neither read nor held, takes longer than ten seconds, is not fully accounted for, or comes
out differently in the two ways of reading or in small pieces.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(
    include=["tidegate.reading", "tidegate.stages"], enable_loader_override=False
):
    import tidegate.reading
    import tidegate.stages.file_check  # noqa: F401

from tests.conformance.reading_kit import check_books, damaged, line_starts, narrow, read  # noqa: E402

PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"PK")


def read_any(data: bytes) -> None:
    """One input of the fuzzer; raises when reading breaks a promise."""
    if not data:
        return
    case = damaged()[data[0] % len(damaged())]
    content = data[1:]
    FILE.write_bytes(content)
    fast = read(FILE, case.contract)
    plain = narrow(case.contract) and not content.startswith(PACKED)
    check_books(fast, line_starts(content) if plain else None)
    assert fast == read(FILE, case.contract, patient=True), "the two ways of reading differ"
    assert fast == read(FILE, case.contract, block_bytes=16), "what is read depends on the size of blocks"


def seed(folder: Path) -> None:
    """Write the damaged cases as the fuzzer's first inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, case in enumerate(damaged()):
        (folder / f"seed-{case.kind}").write_bytes(bytes([index % 256]) + case.file.read_bytes())


if __name__ == "__main__":
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    (corpus,) = (Path(word) for word in sys.argv[1:] if not word.startswith("-"))
    seed(corpus)
    with tempfile.TemporaryDirectory() as temporary:
        FILE = Path(temporary) / "data.csv"
        found = corpus.parent / "found"
        found.mkdir(exist_ok=True)
        atheris.Setup(
            [sys.argv[0], str(corpus), "-timeout=10", f"-artifact_prefix={found}/", *options], read_any
        )
        atheris.Fuzz()
