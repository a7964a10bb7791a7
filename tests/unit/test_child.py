"""A child of `tidegate up` follows its parent, waits at its gate, and can be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from pathlib import Path

LAUNCHER = (sys.executable, "-m", "tidegate.prefect.child")
ENVIRONMENT = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def module(folder: Path, code: str) -> str:
    (folder / "asked.py").write_text(code)
    return "asked"


def test_a_module_runs_as_main_with_its_arguments(tmp_path: Path) -> None:
    code = "import sys; assert __name__ == '__main__'; print(sys.argv[1:])"
    words = (*LAUNCHER, module(tmp_path, code), "--flag", "a b")
    done = subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "['--flag', 'a b']\n"


@pytest.mark.parametrize(("said", "code", "out"), [("go\n", 0, "[] True\n"), ("", 1, "")])
def test_the_gate_opens_by_a_line_and_the_end_of_input_ends_the_child(
    tmp_path: Path, said: str, code: int, out: str
) -> None:
    name = module(tmp_path, "import sys; print(sys.stdin.readlines(), 'colorsys' in sys.modules)")
    done = subprocess.run(
        (*LAUNCHER, "--gate", "--preload=colorsys", name),
        cwd=tmp_path,
        env=ENVIRONMENT,
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, out)


def test_sigint_works_even_when_a_shell_had_it_ignored(tmp_path: Path) -> None:
    name = module(
        tmp_path, "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run(
            (*LAUNCHER, name), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.stdout == "True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    name = module(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    parent = subprocess.Popen(
        (
            *(sys.executable, "-c"),
            f"import os, subprocess; subprocess.run([*{LAUNCHER!r}, '--parent', str(os.getpid()), {name!r}])",
        ),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone or child.status() == psutil.STATUS_ZOMBIE


def test_a_child_whose_parent_is_gone_already_does_not_start(tmp_path: Path) -> None:
    name = module(tmp_path, "print('ran')")
    words = (*LAUNCHER, "--parent", "1", name)
    done = subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.stdout == ("" if sys.platform == "linux" else "ran\n")
