"""Whole runs: determinism, exact resume, errors."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import envs
from benchmark import memory, train
from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError, report_errors
from benchmark.launchers.pool import environment_of
from benchmark.launchers.warm import WarmProcess
from benchmark.policies import load_policy
from benchmark.progress import Progress
from benchmark.rewards import RewardScale
from benchmark.runs import RunWriter
from benchmark.training import Training
from results.checkpoints import load_checkpoint, save_checkpoint
from results.files import AppendLog
from results.folder import RunFolder, status_of
from results.identity import hash_of
from results.layout import run_folder
from results.runs import load_run
from tests.benchmark.conftest import small_config
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
LOGS = ("metrics.jsonl", "evaluation.jsonl")


def logs(path: Path) -> list[str]:
    return [(path / name).read_text() for name in LOGS]


def lines(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / name).read_text().splitlines()]


def weights(path: Path) -> dict[str, Any]:
    return torch.load(path / "policy.pt", weights_only=True)["learner"]


def assert_same(one: Any, two: Any) -> None:
    """Equal, bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, list | tuple):
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    else:
        assert one == two


@pytest.mark.parametrize("algorithm", ["ip", "iql"])
def test_same_seed_same_files_other_seed_other(algorithm: str, tmp_path: Path) -> None:
    one = train.run(small_config(algorithm), tmp_path / "a", quiet=True)
    two = train.run(small_config(algorithm), tmp_path / "b", quiet=True)
    other = train.run(small_config(algorithm, seed=1), tmp_path / "a", quiet=True)
    assert logs(one) == logs(two)
    assert_same(weights(one), weights(two))
    assert logs(one)[0] != logs(other)[0]
    assert logs(one)[1] != logs(other)[1]


def test_run_folder_tells_everything(tmp_path: Path) -> None:
    config = small_config("ip")
    path = train.run(config, tmp_path, quiet=True)
    assert path == tmp_path / "mpe/cooperative_navigation_3/ip/test/seed_0"
    assert status_of(path)["state"] == "finished"
    assert json.loads((path / "config.json").read_text())["config_hash"] == config.digest()
    machine = json.loads((path / "machine.json").read_text())
    assert {"commit", "torch", "cpu", "starts", "device"} <= machine.keys()
    evaluations = lines(path, "evaluation.jsonl")
    assert [(e["step"], e["policy"]) for e in evaluations] == [
        (step, policy) for step in (0, 300, 600, 900) for policy in ("greedy", "sampled")
    ]
    assert all(len(e["returns"]) == 3 for e in evaluations)
    metrics = lines(path, "metrics.jsonl")
    assert [m["step"] for m in metrics] == [200, 400, 600, 800, 900]
    assert metrics[-1]["update"] == 8 * 900 // 100
    assert not (path / "checkpoint.pt").exists()


def test_finished_run_is_left_alone(tmp_path: Path) -> None:
    path = train.run(small_config(), tmp_path, quiet=True)
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir() if file.name != "lock"}
    train.run(small_config(), tmp_path, quiet=True)
    assert before == {file.name: file.stat().st_mtime_ns for file in path.iterdir() if file.name != "lock"}


def test_evaluation_does_not_disturb_training() -> None:
    """Evaluating more often changes no weight."""
    trained = []
    for evaluations in (0, 3):
        training = Training(small_config("ip"))
        for _ in range(4):
            training.advance()
            for _ in range(evaluations):
                training.evaluate()
        trained.append(training.learner.state_dict())
    assert_same(*trained)


def test_evaluation_episodes_are_the_same_for_every_seed() -> None:
    """An untrained greedy policy that always does the same thing scores equally under every training seed."""
    returns = []
    for seed in (0, 1):
        training = Training(small_config(seed=seed))
        training.learner.act = lambda observation, *_: torch.zeros(observation.shape[:2], dtype=torch.long)  # type: ignore[method-assign]
        returns.append(training.evaluate()[0]["returns"])
    assert returns[0] == returns[1]


@pytest.mark.parametrize(("envs", "interval"), [(4, 100), (20, 100), (4, 150), (8, 100)])
def test_ratio_of_updates_is_kept(envs: int, interval: int) -> None:
    """8 gradient steps per `update_interval` environment steps, however many copies there are."""
    training = Training(small_config(training_num_envs=envs, training_update_interval=interval))
    for _ in range(30):
        training.advance()
    expected = training.environment_step * 8 / interval
    assert abs(training.updates - expected) <= 8 * max(1, envs * 4 / interval)


@pytest.mark.parametrize("algorithm", ["ip", "iql"])
def test_state_in_memory_is_complete(algorithm: str, tmp_path: Path) -> None:
    """A training saved to disk and loaded into a fresh one continues bit for bit, at any point of an episode."""
    config = small_config(algorithm, training_update_interval=60)
    first, second = Training(config), Training(config)
    for _ in range(5):
        first.advance()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    assert second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for training in (first, second):
        for _ in range(5):
            training.advance()
    one, two = first.state_dict(), second.state_dict()
    one.pop("replay"), two.pop("replay")  # the part of the ring that is not yet written differs
    assert_same(one, two)
    assert_same(*(training.replay.sample(64, torch.Generator().manual_seed(0)) for training in (first, second)))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return train.run(small_config("ip"), tmp_path_factory.mktemp("whole"), quiet=True)


def killed_run(where: str, count: int, results: Path, number: int = signal.SIGKILL) -> tuple[Path, int]:
    """The folder of a run, made in another process, that got a signal from itself at the given moment; and the exit
    status. The process is warm: otherwise most of its time is that of imports."""
    arguments = [where, str(count), str(int(number)), str(results)]
    status = WarmProcess("tests.benchmark.killed", arguments, results / "output", environment_of(1)).wait()
    return run_folder(results, small_config("ip").key), status


@pytest.mark.parametrize(
    ("where", "count"),
    [("update", 37), ("evaluation", 4), ("log", 6), ("checkpoint", 3), ("rename", 14), ("truncated line", 7)],
)
def test_killed_run_ends_like_an_uninterrupted_one(where: str, count: int, tmp_path: Path, uninterrupted: Path) -> None:
    """SIGKILL in the middle of an update, an evaluation, a log line, a checkpoint or a rename."""
    path, status = killed_run(where, count, tmp_path)
    assert status == -signal.SIGKILL, (tmp_path / "output").read_text()
    assert status_of(path)["state"] != "finished"
    train.run(small_config("ip"), tmp_path, quiet=True)
    assert logs(path) == logs(uninterrupted)
    assert_same(weights(path), weights(uninterrupted))
    assert not list(path.glob(".*")), "what was half written is removed"


def test_stop_signal_writes_a_checkpoint(tmp_path: Path, uninterrupted: Path) -> None:
    """SIGTERM, as schedulers send it: a checkpoint, exit, and the same numbers after resuming."""
    path, status = killed_run("update", 30, tmp_path, signal.SIGTERM)
    assert status == 130, (tmp_path / "output").read_text()
    assert (path / "checkpoint.pt").exists()
    train.run(small_config("ip"), tmp_path, quiet=True)
    assert logs(path) == logs(uninterrupted)


def test_replay_too_large_for_checkpoints_is_refilled_and_recorded(tmp_path: Path) -> None:
    config = small_config(training_checkpoint_replay_gib=0.0)
    begin_run(config, tmp_path, blocks=5)
    path = train.run(config, tmp_path, quiet=True)
    starts = json.loads((path / "machine.json").read_text())["starts"]
    assert "refilled" in starts[-1]["note"]
    assert status_of(path)["state"] == "finished"


@pytest.mark.parametrize("piece", [None, 7])
def test_run_from_before_micro_batches_had_that_name_goes_on(
    piece: int | None, tmp_path: Path, uninterrupted: Path
) -> None:
    """Its folder is neither refused nor stale, and it ends as it would have."""
    config = small_config("ip")
    path = begin_run(config, tmp_path, blocks=3)
    record = json.loads((path / "config.json").read_text())
    record["algorithm_settings"]["piece"] = piece
    if piece is not None:
        record["config_hash"] = "0" * 12
    (path / "config.json").write_text(json.dumps(record))
    assert hash_of(record) == config.digest() == small_config("ip", algorithm_micro_batch=5).digest()
    assert hash_of(record) != small_config("ip", algorithm_hops=1).digest()
    train.run(config, tmp_path, quiet=True)
    assert logs(path) == logs(uninterrupted)
    assert load_run(path).config_hash == config.digest()
    assert load_policy(path / "policy.pt").config.digest() == config.digest()


def test_size_of_micro_batches_is_recorded_where_a_run_starts(tmp_path: Path) -> None:
    for size in (5, 7):
        begin_run(small_config(algorithm_micro_batch=size), tmp_path, blocks=2)
    starts = json.loads((run_folder(tmp_path, small_config().key) / "machine.json").read_text())["starts"]
    assert [start["micro_batch"] for start in starts] == [5, 7]


def test_checkpoints_without_replay_are_small_and_as_frequent_as_asked(tmp_path: Path) -> None:
    """`checkpoint_replay_gib` 0 leaves the replay out, even an almost empty one; `checkpoint_seconds` holds."""
    sizes = []
    for gib in (0.0, 4.0):
        path = begin_run(small_config(training_checkpoint_replay_gib=gib), tmp_path / str(gib), blocks=3)
        state = load_checkpoint(path / "checkpoint.pt", "cpu")["training"]
        assert (state["replay"] is None) == (gib == 0)
        assert state["counters"][0] == 300
        sizes.append((path / "checkpoint.pt").stat().st_size)
    assert sizes[0] < sizes[1]
    seldom = small_config(training_checkpoint_replay_gib=0.0, training_checkpoint_seconds=1e6)
    assert not (begin_run(seldom, tmp_path / "seldom", blocks=3) / "checkpoint.pt").exists()


@pytest.mark.parametrize("asked", [False, True])
def test_timing_waits_for_the_gpu_where_asked(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after every phase."""
    training = Training(small_config(training_synchronise_timing=asked))
    training.advance()
    waits: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    monkeypatch.setattr(training, "device", torch.device("cuda", 1))
    with training._timed("act"):
        before = len(waits)
    assert (before, len(waits)) == ((1, 2) if asked else (0, 0))
    assert set(waits) <= {torch.device("cuda", 1)}


def begin_run(config: RunConfig, results: Path, blocks: int) -> Path:
    """A run that was stopped after some blocks, with its checkpoint."""
    folder = RunFolder(results, config.record())
    writer = RunWriter(Training(config), folder, Progress("", config.total_steps, quiet=True))
    writer.resume()
    for _ in range(blocks):
        before = writer.training.environment_step
        writer.training.advance()
        writer.after_block(before)
    folder.close()
    return folder.path


@pytest.mark.parametrize(
    "damage", ["truncate", "overwrite", "garbage", "empty", "other", "logs", "log", "wall_seconds"]
)
def test_damaged_checkpoint_is_explained(damage: str, tmp_path: Path) -> None:
    path = begin_run(small_config(), tmp_path, blocks=3)
    file = path / "checkpoint.pt"
    content = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "overwrite":
        file.write_bytes(b"\0" * len(content))
    elif damage in ("garbage", "empty"):
        file.write_text("not a checkpoint" * (damage == "garbage"))
    elif damage in ("logs", "wall_seconds"):
        state = torch.load(file, weights_only=True)
        torch.save({name: value for name, value in state.items() if name != damage}, file)
    elif damage == "log":
        torch.save(torch.load(file, weights_only=True) | {"logs": {"diary": {"length": 3}}}, file)
    else:
        torch.save({"format": 1, "training": {}, "logs": {}}, file)
    with pytest.raises(UserError, match="delete") as caught:
        train.run(small_config(), tmp_path, quiet=True)
    assert "\n" not in str(caught.value)
    assert file.exists(), "nothing is deleted behind the user's back"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), envs.EnvironmentNotAvailableError("fetch the map")]
)
def test_what_is_no_damage_does_not_ask_to_delete_the_run(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little memory and a missing map, although both are runtime errors."""

    def load(*_: object) -> None:
        raise error

    begin_run(small_config(), tmp_path, blocks=4)
    monkeypatch.setattr(Training, "load_state_dict", load)
    with pytest.raises(type(error)) as caught:
        train.run(small_config(), tmp_path, quiet=True)
    assert caught.value is error


@pytest.mark.parametrize("name", LOGS)
def test_damaged_log_is_explained(name: str, tmp_path: Path) -> None:
    path = begin_run(small_config(), tmp_path, blocks=4)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:5] + b"X" + content[6:])
    with pytest.raises(UserError, match=f"{name} is damaged"):
        train.run(small_config(), tmp_path, quiet=True)
    (path / name).unlink()
    (path / name).mkdir()
    with pytest.raises(UserError, match=f"cannot read .*{name}: .*; restore the file"):
        train.run(small_config(), tmp_path, quiet=True)


def test_a_damaged_status_can_be_done_without(tmp_path: Path) -> None:
    """What the error advises: the run goes on from its checkpoint, and ends as if nothing had been."""
    untouched = train.run(small_config(), tmp_path / "untouched", quiet=True)
    path = begin_run(small_config(), tmp_path, blocks=4)
    for name in ("status.json", "machine.json"):
        (path / name).write_text("")
        with pytest.raises(UserError, match=f"{name}.*or delete this file: an unfinished run continues"):
            train.run(small_config(), tmp_path, quiet=True)
        (path / name).unlink()
    train.run(small_config(), tmp_path, quiet=True)
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        assert (path / name).read_bytes() == (untouched / name).read_bytes()


def test_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    train.run(small_config(), tmp_path, quiet=True)
    with pytest.raises(UserError, match=r"gamma was 0.95, now 0.9"):
        train.run(small_config(algorithm_gamma=0.9), tmp_path, quiet=True)


def test_second_writer_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, small_config().record())
    with pytest.raises(UserError, match="in use by another process"):
        RunFolder(tmp_path, small_config().record())
    folder.close()


def test_results_that_are_no_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --results folder"):
        train.run(small_config(), tmp_path / "file", quiet=True)


def test_full_disk_leaves_the_last_checkpoint(tmp_path: Path, uninterrupted: Path) -> None:
    """A file-size limit stands for a full disk: the write fails, the run reports it and continues once there is
    space."""
    begin_run(small_config("ip"), tmp_path, blocks=3)
    path = run_folder(tmp_path, small_config("ip").key)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match="run the same command again"):
            train.run(small_config("ip"), tmp_path, quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    assert status_of(path)["state"] == "failed"
    train.run(small_config("ip"), tmp_path, quiet=True)
    assert logs(path) == logs(uninterrupted)


def test_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device that is always full answers every write as a full disk does."""
    open_file = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *mode: open_file(Path("/dev/full"), *mode, buffering=0))
    with pytest.raises(UserError, match=r"the disk is full: free some space; the last checkpoint is intact"):
        save_checkpoint(tmp_path / "checkpoint.pt", {"weights": torch.zeros(1000)})
    with pytest.raises(UserError, match="the disk is full"):
        AppendLog(tmp_path / "metrics.jsonl").append({"step": 1})


def test_diverged_training_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RewardScale, "apply", lambda self, reward: reward * float("nan"))
    with pytest.raises(UserError, match=r"training diverged; try a lower --set algorithm\.learning_rate"):
        train.run(small_config(), tmp_path, quiet=True)
    assert status_of(run_folder(tmp_path, small_config().key))["state"] == "failed"


def test_too_little_memory_is_refused_with_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 10_000)
    with pytest.raises(UserError, match=r"needs .* GiB .* are free: lower"):
        train.run(small_config(), tmp_path, quiet=True)


def test_estimate_of_a_large_run_needs_no_memory() -> None:
    needed = memory.estimate(resolve("mpe/cooperative_navigation_200", "ip", 0, 1_500_000))
    assert needed.replay > 20 * memory.GIB
    assert needed.total > needed.replay


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "mpe/nothing", "--algorithm", "ip"], "no task"),
        (["--task", "mpe/cooperative_navigation_3", "--algorithm", "ipp"], "did you mean ip"),
        (["--task", "mpe/cooperative_navigation_3", "--algorithm", "ip", "--total-steps", "-1"], "--total-steps -1"),
        (["--task", "mpe/cooperative_navigation_3", "--algorithm", "ip", "--set", "x=1"], "no such setting"),
        (["--task", "mpe/cooperative_navigation_3", "--algorithm", "ip", "--device", "tpu"], "--device tpu"),
        (["--task", "mpe/cooperative_navigation_3", "--algorithm", "ip", "--device", "cpu:7"], "--device cpu:7"),
        (["--task", "mpe/cooperative_navigation_3"], "required: --algorithm"),
        (
            ["--task", "cityflow/hangzhou_16", "--algorithm", "ip", "--set", "environment.vehicles=drawn"],
            "is for synthetic cities",
        ),
        (["--task", "magent/jungle_20", "--algorithm", "ip", "--backend", "tpu"], "use --set environment.backend=tpu"),
        (
            ["--task", "magent/jungle_6", "--algorithm", "ip", "--set", "environment.num_neighbours=6"],
            "bad setting: num_neighbours=6 but each of the 6 agents has only 5 others",
        ),
        (
            ["--task", "mpe/cooperative_navigation_3", "--algorithm", "iql", "--set", "environment.actions=continuous"],
            "iql needs discrete actions; continuous ones can be learned by: ip",
        ),
        (
            [
                "--task",
                "mpe/cooperative_navigation_3",
                "--algorithm",
                "ip",
                "--set",
                "training.acceleration=cuda_graph",
            ],
            "training.acceleration=cuda_graph needs a CUDA device",
        ),
    ],
)
def test_command_line_errors_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *arguments, "--results", str(tmp_path)])
    assert report_errors(train.main) == 2
    assert_one_line(capsys.readouterr().err, message)
    assert not any(tmp_path.iterdir()), "nothing is written for a command that is wrong"


def assert_one_line(said: str, message: str) -> None:
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said


def test_the_command_itself_says_no_more() -> None:
    """One of these as it is typed, with all that is imported before it is refused."""
    arguments = ["--task", "mpe/cooperative_navigation_3", "--algorithm", "ip", "--device", "tpu"]
    command = [sys.executable, "-m", "benchmark.train", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert_one_line(done.stderr, "--device tpu")
