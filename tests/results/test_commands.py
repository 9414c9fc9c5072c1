"""Commands end with one line, whatever stops them."""

from __future__ import annotations

import errno
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from results.commands import report_errors
from results.errors import InUseError, NoSpaceError, UserError
from tests.benchmark.test_help import commands
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


TORCH = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ...\nat"
LIBRARY = "libtorch_cpu.so: failed to map segment from shared object"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("given, expected, remedy"), 2, "error: given, expected, remedy"),
        (InUseError("in use"), os.EX_TEMPFAIL, "error: in use"),
        (KeyboardInterrupt(), 130, "interrupted: run the same command again"),
        (MemoryError("Unable to allocate 9 GiB"), 2, "error: there is not enough memory (Unable to allocate 9 GiB)"),
        (MemoryError(), 2, "error: there is not enough memory (an allocation failed)"),
        (RuntimeError(TORCH), 2, "error: there is not enough memory ([enforce fail"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "not enough memory (CUDA out of memory."),
        (ImportError(LIBRARY), 2, f"error: there is not enough memory ({LIBRARY})"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 2, "error: there is not enough memory"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 999), 2, f"too long: {'a' * 200}...: choose another"),
        (OSError(errno.EACCES, "Permission denied", "a/b"), 2, "error: Permission denied: a/b: choose another file"),
        (OSError(errno.ENOSPC, "No space left on device", "a"), NoSpaceError.exit_status, "error: cannot write a: No"),
    ],
)
def test_what_a_user_can_mend(
    error: BaseException, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_errors(raising(error)) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes differ"),
        OSError(errno.ECHILD, "No child processes"),
        ImportError("no such name"),
        KeyError("a"),
    ],
)
def test_faults_of_the_project_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        report_errors(raising(error))


@pytest.mark.parametrize("package", ["benchmark", "figures", "results", "envs"])
def test_interrupted_while_it_is_imported(package: str) -> None:
    """`python -m` imports the package before the module, and has -m as the name of the program then."""
    code = f"import sys\nsys.argv = ['-m']\nimport {package}\nraise KeyboardInterrupt\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "interrupted: run the same command again\n")
    code = f"import sys\nbefore = sys.excepthook\nimport {package}\nassert sys.excepthook is before\n"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=PATIENCE).returncode == 0


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", commands())
def test_an_option_that_there_is_not_is_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [command, "--no-such-option"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(command, run_name="__main__", alter_sys=True)
    assert ended.value.code in (1, 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert f"(python -m {command} --help explains all options)" in printed.err
