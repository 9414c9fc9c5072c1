"""Cached kernels are deleted when any of their sources has changed."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

from envs import numba_cache as cache

ENVS = Path(cache.__file__).parent
PACKAGES = ("mpe", "jungle", "traffic")
INNER = "from numba import njit\n\n@njit(cache=True)\ndef inner():\n    return {}\n"
OUTER = "from numba import njit\nfrom tiny.inner import inner\n\n@njit(cache=True)\ndef outer():\n    return inner()\n"
RUN = """
import sys, importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("cache", sys.argv[1])
cache = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cache)
from tiny.outer import outer
stale = sys.argv[2] == "check" and cache.delete_stale("tiny", Path("tiny").absolute())
print(outer(), stale, sum(outer.stats.cache_hits.values()), outer.stats.cache_path)
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in which one file's kernel calls another's."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "inner.py").write_text(INNER.format(1))
    (folder / "outer.py").write_text(OUTER)
    return folder


def run(*arguments: str, **variables: str) -> list[str]:
    """Output of a new process: the result, whether kernels were deleted, the number of cache hits, and the cache
    folder."""
    command = [sys.executable, "-c", RUN, str(cache.__file__), *arguments]
    environment = {**os.environ, "PYTHONPATH": ".", **variables}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_changed_callee_is_noticed(tiny: Path, elsewhere: bool) -> None:
    variables = {"NUMBA_CACHE_DIR": str(tiny.parent / "kept")} if elsewhere else {}
    assert run("check", **variables)[:3] == ["1", "True", "0"]
    *kept, place = run("check", **variables)
    assert kept == ["1", "False", "1"]
    assert Path(place).is_relative_to(tiny.parent / "kept" if elsewhere else tiny / "__pycache__")
    (tiny / "inner.py").write_text(INNER.format(2))
    assert run("trust", **variables)[0] == "1", "numba notices by itself: this module is not needed any more"
    assert run("check", **variables)[:3] == ["2", "True", "0"]
    assert run("check", **variables)[:3] == ["2", "False", "1"]


def test_what_counts_as_a_change(tiny: Path) -> None:
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    (tiny / "outer.py").write_text(OUTER + "\n\ndef local():\n    from tiny import (\n        constants,\n    )\n")
    (tiny / "constants.py").write_text("SIZE = 1\n")
    (tiny / "tool.py").write_text("from tiny.outer import outer\n")
    kept = tiny / "__pycache__"
    assert cache.cache_folder(tiny) == kept
    assert cache.delete_stale("tiny", tiny)
    names = [f"outer.outer-4.{python}.nbi", f"outer.outer-4.{python}.1.nbc", "outer.outer-4.py27.nbi", "tool.pyc"]

    def forgets() -> list[str]:
        for name in names:
            (kept / name).touch()
        stale = cache.delete_stale("tiny", tiny)
        gone = [name for name in names if not (kept / name).exists()]
        assert stale == bool(gone)
        return gone

    assert forgets() == []
    (tiny / "tool.py").write_text("from tiny.outer import outer as other\n")
    assert forgets() == []
    for name in ("constants", "inner", "outer"):
        path = tiny / f"{name}.py"
        path.write_text(path.read_text() + "# changed\n")
        assert forgets() == names[:2]
        assert forgets() == []


def test_other_versions_of_numba_are_other_sources(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.delete_stale("tiny", tiny)
    monkeypatch.setattr("numba.__version__", "0.1")
    assert cache.delete_stale("tiny", tiny)


def test_many_processes_at_once(tiny: Path) -> None:
    for number in range(5):
        (tiny / "inner.py").write_text(INNER.format(number))
        with ThreadPoolExecutor(8) as workers:
            results = list(workers.map(lambda _: cache.delete_stale("tiny", tiny), range(16)))
        assert any(results)
        assert not cache.delete_stale("tiny", tiny)
    assert [path.name for path in (tiny / "__pycache__").iterdir() if "stamp" in path.name] == [cache.STAMP]


def test_a_stamp_that_cannot_be_written_is_no_error(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny / "__pycache__" / cache.STAMP).mkdir(parents=True)
    assert cache.delete_stale("tiny", tiny)
    assert len(list((tiny / "__pycache__").iterdir())) == 1


def test_numba_switched_off_keeps_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.DISABLE_JIT", 1)
    assert cache.cache_folder(tiny) is None
    assert not cache.delete_stale("tiny", tiny)


def test_no_place_to_keep_anything(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.caching.CompileResultCacheImpl._locator_classes", [])
    assert cache.cache_folder(tiny) is None


@pytest.mark.parametrize("name", PACKAGES)
def test_sources_of_kernels(name: str) -> None:
    """Every compiled function is in one of the files that count."""
    counted = cache.kernel_sources(f"envs.{name}", ENVS / name)
    for path in (ENVS / name).rglob("*.py"):
        parts = path.relative_to(ENVS.parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts[:-1] if path.stem == "__init__" else parts))
        for value in vars(module).values():
            if isinstance(value, Dispatcher):
                assert (
                    Path(value.py_func.__code__.co_filename) == ENVS.parent / f"{value.__module__.replace('.', '/')}.py"
                )
                assert value.__module__ in counted


def test_tools_that_only_use_the_engine_do_not_count() -> None:
    counted = cache.kernel_sources("envs.traffic", ENVS / "traffic")
    needed = ("engine.basics", "engine.step", "engine.state", "engine.handles", "engine.pointer")
    needed += (
        "network.layout",
        "network.map",
        "network.geometry",
        "network.crosses",
        "network.routes",
        "files.json_objects",
    )
    assert {f"envs.traffic.{module}" for module in needed} <= counted.keys()
    unneeded = ("cityflow", "cityflow.interface", "environment", "synthetic.grid", "data", "recordings.verify")
    assert not {f"envs.traffic.{module}" for module in unneeded} & counted.keys()


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_a_package_checks_it(name: str) -> None:
    assert not cache.delete_stale(f"envs.{name}", ENVS / name)


CONSTANT = """
import sys
from pathlib import Path
from envs.traffic.engine import driving
from envs.traffic.network import geometry
print(driving.stopping_speed(10.0, 2.0, 4.5, 20.0, 1.0), driving.stopping_speed.stats.cache_path)
"""


def test_an_edit_in_a_subpackage_forgets_the_kernels_of_all(tmp_path: Path) -> None:
    """In a copy: a constant of `network` changes, and the kernels of `engine` and `network` are deleted."""
    shutil.copytree(ENVS, tmp_path / "envs", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    rooms = [tmp_path / "envs" / "traffic" / name / "__pycache__" for name in ("engine", "network")]

    def run_copy() -> list[bool]:
        command = [sys.executable, "-c", CONSTANT]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, env=environment)
        assert Path(done.stdout.split()[1]) == rooms[0]
        return [(room / f"old.fn-1.{cache._PYTHON}.nbi").exists() for room in rooms]

    def age() -> None:
        for room in rooms:
            (room / f"old.fn-1.{cache._PYTHON}.nbi").touch()

    run_copy()
    age()
    assert run_copy() == [True, True]
    layout = tmp_path / "envs" / "traffic" / "network" / "layout.py"
    layout.write_text(layout.read_text() + "# changed\n")
    assert run_copy() == [False, False]
    age()
    interface = tmp_path / "envs" / "traffic" / "cityflow" / "interface.py"
    interface.write_text(interface.read_text() + "# changed\n")
    assert run_copy() == [True, True]


FARTHEST = """
import numpy as np
from envs.mpe.graph import nearest_agents_numba
position, neighbours = np.array([[[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]]]), np.empty((1, 3, 1), np.int64)
nearest_agents_numba(position, neighbours)
print(neighbours[0, 0, 0])
"""


def test_an_edit_of_another_file_is_seen(tmp_path: Path) -> None:
    """In a copy of the package: a kernel whose callee in another file changes is compiled again."""
    shutil.copytree(ENVS, tmp_path / "envs", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}

    def neighbour() -> str:
        command = [sys.executable, "-c", FARTHEST]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, env=environment)
        return done.stdout.strip()

    assert neighbour() == "1"
    file = tmp_path / "envs" / "mpe" / "nearest.py"
    text = file.read_text()
    assert text.count("= dx * dx + dy * dy") == 1
    file.write_text(text.replace("= dx * dx + dy * dy", "= -dx * dx - dy * dy"))
    assert neighbour() == "2"


NOWHERE = """
import sys, tempfile
from numba.core import caching
allowed = sys.argv[1] == "temporary" and tempfile.gettempdir()
real = caching._CacheLocator.ensure_cache_path
def ensure(locator):
    if not allowed or not locator.get_cache_path().startswith(allowed + "/numba-"):
        raise OSError("as if read-only")
    real(locator)
caching._CacheLocator.ensure_cache_path = ensure
if not allowed:
    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")
    tempfile.mkdtemp = refuse
import os, subprocess
import numpy as np
try:
    import envs, envs.traffic
    from algorithms.common import slot_kernels
except RuntimeError as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit()
slot_kernels.kernels(1)
environment = envs.make("mpe/cooperative_navigation_3", 1, "cpu")
environment.reset(0)
print(os.environ["NUMBA_CACHE_DIR"], bool(os.listdir(os.environ["NUMBA_CACHE_DIR"])))
"""


def without_folders(tmp_path: Path, case: str) -> str:
    """What a new process says in which numba can write to no folder, but perhaps to a temporary one."""
    variables = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    command = [sys.executable, "-c", NOWHERE, case]
    environment = {**variables, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ENVS.parent)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path)
    return done.stdout.strip()


def test_kernels_are_compiled_where_no_folder_can_be_written_to(tmp_path: Path) -> None:
    """As in a checkout of another user, without a home directory; the cache is removed with the process."""
    place, filled = without_folders(tmp_path, "temporary").split()
    assert Path(place).parent == tmp_path
    assert filled == "True"
    assert not list(tmp_path.glob("numba-*"))


def test_no_room_at_all_is_one_line(tmp_path: Path) -> None:
    said = without_folders(tmp_path, "none")
    assert said.startswith("EnvironmentNotAvailableError: numba has no writable folder for compiled code")
    assert "\n" not in said
    assert "set NUMBA_CACHE_DIR" in said
