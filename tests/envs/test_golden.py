"""Recorded traces of the published environments are reproduced, and damaged ones are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from envs.mpe.scenarios import SCENARIOS, scenario
from envs.mpe.traces import load_trace
from envs.mpe.verify import verify
from envs.verify import main
from tests.beside import GOLDEN, needs_recordings
from tests.envs.conftest import DATA
from tests.patience import PATIENCE

OWN = sorted(DATA.glob("*.npz"))
ALL = sorted((GOLDEN / "mpe").glob("*.npz"))


def failures(path: Path) -> list[str]:
    return [failure for result in verify(load_trace(path)) for failure in result.failures]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_own_traces(path: Path) -> None:
    assert failures(path) == []


def test_own_traces_are_there() -> None:
    assert len(OWN) == 9


@needs_recordings
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_all_traces(path: Path) -> None:
    assert failures(path) == []


@needs_recordings
def test_every_published_task_has_a_trace() -> None:
    recorded = {scenario(task).recorded_as for task in SCENARIOS} - {None}
    assert recorded == {path.stem for path in ALL}


def changed(path: Path, target: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    """A copy of a trace with something changed."""
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(target, **arrays)
    return target


@pytest.mark.parametrize(
    ("field", "where", "value", "complaint"),
    [
        ("pos", (0, 5, 0, 0), 1e-8, "position differs"),
        ("vel", (0, 25, 1, 1), 1e-8, "velocity differs"),
        ("obs", (0, 3, 1, 7), 1e-5, "observation differs"),
        ("reward_shared", (0, 24), 1e-7, "reward differs"),
        ("episode_reward_printed", (0,), 1e-5, "return differs"),
        ("ent_size", (1,), 0.01, "ent_size[1] is recorded as 0.16"),
    ],
)
def test_a_wrong_number_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, where: tuple[int, ...], value: float, complaint: str
) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[field] = arrays[field].copy()
        arrays[field][where] += value

    path = changed(DATA / "simple_spread_n3.npz", tmp_path / "trace.npz", change)
    assert main([str(path)]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(("moved", "noticed"), [(4e-8, False), (4e-6, True)])
def test_prey_are_as_exact_as_their_network(tmp_path: Path, moved: float, noticed: bool) -> None:
    """A position is off by what another order of a float32 network's sums makes of it, and by a hundred times that."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["pos"][0, 25, 3, 0] += moved

    path = changed(DATA / "simple_tag_n3.npz", tmp_path / "trace.npz", change)
    found = [failure for failure in failures(path) if failure.startswith("float64")]
    assert any("position differs" in failure for failure in found) == noticed


def test_wrong_prey_numbers_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["prey_obs"][0, 2, 0, 5] += 1e-5
        arrays["prey_noise_uniform"][0, 4, 0, 1] *= 0.9

    path = changed(DATA / "simple_tag_n3.npz", tmp_path / "trace.npz", change)
    assert main([str(path)]) == 1
    complaints = capsys.readouterr().err
    assert "prey_observation differs" in complaints
    assert "force differs" in complaints


def delete_obs(arrays: dict[str, np.ndarray]) -> None:
    del arrays["obs"]


def cut_steps(arrays: dict[str, np.ndarray]) -> None:
    arrays["act"] = arrays["act"][:, :7]


def put_nan(arrays: dict[str, np.ndarray]) -> None:
    arrays["vel"][0, 3, 0, 1] = np.nan


def write_words(arrays: dict[str, np.ndarray]) -> None:
    arrays["reward_shared"] = arrays["reward_shared"].astype(str)


def rename(arrays: dict[str, np.ndarray]) -> None:
    arrays["scenario"] = np.array("simple_dance_n3")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (delete_obs, "the field obs is missing"),
        (cut_steps, "act has the shape (1, 7, 3, 5) instead of (1, 25, 3, 5)"),
        (put_nan, "vel is not finite at (0, 3, 0, 1)"),
        (write_words, "instead of numbers"),
        (rename, "unknown scenario 'simple_dance_n3'"),
    ],
)
def test_damaged_fields_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, np.ndarray]], None],
    complaint: str,
) -> None:
    path = changed(DATA / "simple_spread_n3.npz", tmp_path / "damaged.npz", change)
    assert main([str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert complaint in lines[0]


def test_unreadable_files_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (DATA / "simple_spread_n3.npz").read_bytes()
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "single.npy", np.zeros(3))
    for cut in range(1, 9):
        (tmp_path / f"cut{cut}.npz").write_bytes(whole[: len(whole) * cut // 9])
    rng = np.random.default_rng(0)
    for number in range(20):
        noise = bytearray(whole)
        for position in rng.integers(0, len(whole), 200):
            noise[position] ^= int(rng.integers(1, 256))
        (tmp_path / f"noise{number}.npz").write_bytes(noise)
    files = [*sorted(tmp_path.iterdir()), tmp_path / "absent.npz"]
    for path in files:
        assert main([str(path)]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert str(path) in lines[0]


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--backend", "numba", str(DATA / "simple_spread_n3.npz")]) == 0
    shown = capsys.readouterr()
    assert "float64 numba" in shown.out
    assert "torch" not in shown.out + shown.err
    assert main(["--quiet", str(DATA / "hetero_spread_n4.npz")]) == 0
    assert capsys.readouterr().out == "1 of 1 files agree\n"
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2


def test_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "envs.verify", str(tmp_path / "absent.npz")]
    bad = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=PATIENCE)
    assert (bad.returncode, bad.stdout) == (1, "0 of 1 files agree\n")
