"""Recorded blocks are the blocks as written. Tapes stand for CUDA graphs: they hold memory and plain numbers, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import algorithms
from algorithms.common.learner import EpsilonGreedyLearner
from benchmark import acceleration, train
from benchmark.blocks import CapturedFunction, MetricSums, read
from benchmark.config import RunConfig, resolve
from benchmark.replay import Replay
from benchmark.rewards import RewardScale
from benchmark.runs import Stop, blocks_of
from benchmark.together import run_together
from benchmark.training import Training
from envs.protocols import Capturable
from tests.benchmark import tape
from tests.benchmark.conftest import SMALL, small_config
from tests.benchmark.test_train import assert_same

NAVIGATION, PREY, JUNGLE = "mpe/cooperative_navigation_3", "mpe/prey_and_predator_3", "magent/jungle_6"
BLOCKS = 11
"""Of 100 environment steps in 4 copies: episodes end, rings wrap round, rates fall."""


@pytest.fixture
def on_tape(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Blocks are recorded on tapes; the list names the functions that were."""
    recorded: list[str] = []

    def capture(function: Any, generators: Any, device: torch.device) -> Any:
        recorded.append(function.__name__)
        return tape.capture(function, generators, device)

    def one_hot(index: torch.Tensor, size: int) -> torch.Tensor:
        """Without the look at the indices that torch takes on a CPU alone."""
        return torch.zeros(*index.shape, size, dtype=torch.int64).scatter_(-1, index[..., None], 1)

    monkeypatch.setattr(torch.nn.functional, "one_hot", one_hot)
    monkeypatch.setattr(acceleration, "capture", capture)
    monkeypatch.setattr(acceleration, "require", lambda mode, device: None)
    return recorded


def config_of(algorithm: str, task: str = NAVIGATION, **overrides: Any) -> RunConfig:
    """Torch engines, a ring that wraps round, and a learning rate that falls fast."""
    settings: dict[str, Any] = SMALL | {
        "environment.backend": "torch",
        "training.acceleration": "cuda_blocks",
        "training.replay_capacity": 300,
        "training.gradient_steps": 2,
        "algorithm.learning_rate": 0.01,
        "algorithm.learning_rate_end": 0.0,
    }
    if issubclass(algorithms.learner_type(algorithm), EpsilonGreedyLearner):
        settings["algorithm.epsilon_steps"] = 800
    return resolve(task, algorithm, 0, 100 * BLOCKS, settings | overrides, "test")


def as_written(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> Training:
    """The same training without recording, with its numbers in the same types."""
    monkeypatch.setattr("benchmark.training.Replay", lambda *given: Replay(*given[:-1], counts_on_device=True))
    training = Training(replace(config, training=replace(config.training, acceleration="none")))
    training.learner.keep_in_tensors()  # type: ignore[attr-defined]
    return training


def play(training: Training, count: int = BLOCKS) -> list[dict[str, Any]]:
    """Blocks, and a line of the log after every third."""
    metrics = []
    for block in range(count):
        training.advance()
        if block % 3 == 2:
            metrics.append(training.take_metrics())
    return metrics


def assert_same_training(one: Training, two: Training) -> None:
    """Learner, environment, generators, counters, sums and what the replay gives: equal, bit for bit. What was never
    written differs, in the replay and in the engine of traffic."""
    states = [training.state_dict() for training in (one, two)]
    for state, training in zip(states, (one, two), strict=True):
        state.pop("replay")
        if not isinstance(training.environment, Capturable):
            state["environment"] = training.environment.scores()
    assert_same(*states)
    assert_same(*(training.replay.sample(64, torch.Generator().manual_seed(0)) for training in (one, two)))


@pytest.mark.parametrize(
    ("algorithm", "task", "overrides"),
    [
        *((algorithm, NAVIGATION, {}) for algorithm in algorithms.ALGORITHMS),
        ("iql", PREY, {}),
        ("maddpg", JUNGLE, {"training.num_envs": 20}),
        ("ip", JUNGLE, {"training.num_envs": 100, "environment.reward": "shared", "algorithm.alpha_unit": "advantage"}),
    ],
)
def test_recorded_blocks_are_the_blocks_as_written(
    algorithm: str, task: str, overrides: dict[str, Any], on_tape: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(algorithm, task, **overrides)
    recorded = Training(config)
    metrics = play(recorded)
    assert sorted(on_tape) == ["_learn_from_batch", "_roll"]
    plain = as_written(config, monkeypatch)
    assert play(plain) == metrics
    assert_same_training(recorded, plain)
    assert recorded.updates == 2 * BLOCKS


@pytest.mark.parametrize(
    ("task", "engine"), [("cityflow/synthetic_4", {}), (NAVIGATION, {"environment.backend": "numba"})]
)
def test_where_the_engine_is_not_on_tensors_gradient_steps_alone_are_recorded(
    task: str, engine: dict[str, Any], on_tape: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SMALL | {"training.acceleration": "cuda_blocks", "training.gradient_steps": 2} | engine
    config = resolve(task, "qmix", 0, 600, settings, "test")
    recorded = Training(config)
    metrics = play(recorded, 5)
    assert on_tape == ["_learn_from_batch"]
    plain = as_written(config, monkeypatch)
    assert play(plain, 5) == metrics
    assert_same_training(recorded, plain)


def test_a_plain_number_is_what_it_was_when_it_was_recorded(
    on_tape: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tapes find what a CUDA graph would keep: an epsilon and a learning rate that are no tensors."""
    config = config_of("iql")
    monkeypatch.setattr(algorithms.learner_type("iql"), "keep_in_tensors", lambda self: None)
    recorded = Training(config)
    play(recorded)
    plain = as_written(config, monkeypatch)
    play(plain)
    with pytest.raises(AssertionError):
        assert_same(recorded.learner.state_dict(), plain.learner.state_dict())
    with pytest.raises(AssertionError):
        assert_same(recorded.environment.state_dict(), plain.environment.state_dict())


def test_a_read_of_the_device_cannot_be_recorded(on_tape: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RewardScale, "apply", lambda self, reward: reward / self.mean().item())
    with pytest.raises(AssertionError, match="_local_scalar_dense waits for the device"):
        play(Training(config_of("iql")))


@pytest.mark.parametrize("algorithm", ["ip", "iql"])
def test_a_resumed_training_records_anew_and_goes_on_alike(algorithm: str, on_tape: list[str], tmp_path: Path) -> None:
    config = config_of(algorithm, **{"training.num_envs": 20})
    first, second = Training(config), Training(config)
    play(first, 7)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    play(second, 4)
    assert second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert play(first, 5) == play(second, 5)
    assert_same_training(first, second)
    assert on_tape.count("_roll") == 3


def test_a_whole_run_with_recorded_blocks(on_tape: list[str], tmp_path: Path) -> None:
    """Its files are those of another such run that was stopped and resumed."""
    config = config_of("iql")
    whole = train.run(config, tmp_path / "whole", quiet=True)
    stop = Stop()
    blocks = blocks_of(config, tmp_path / "stopped", stop, quiet=True)
    for _ in range(6):  # ready, and five blocks
        next(blocks)
    stop.signalled = True
    with pytest.raises(KeyboardInterrupt):
        next(blocks)
    stopped = train.run(config, tmp_path / "stopped", quiet=True)
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes()


def test_recorded_runs_in_one_process_share_nothing(on_tape: list[str], tmp_path: Path) -> None:
    given = [replace(config_of("iql"), seed=seed) for seed in (0, 1)]
    paths = run_together(given, tmp_path / "together", quiet=True)
    assert on_tape.count("_roll") == on_tape.count("_learn_from_batch") == 2
    for config, path in zip(given, paths, strict=True):
        assert isinstance(path, Path), path
        alone = train.run(config, tmp_path / "alone", quiet=True)
        for name in ("metrics.jsonl", "evaluation.jsonl"):
            assert (path / name).read_bytes() == (alone / name).read_bytes()


def test_recorded_functions_are_warmed_up_first(on_tape: list[str]) -> None:
    total = torch.zeros(())

    def count() -> None:
        total.add_(1)

    function = CapturedFunction(count, [], torch.device("cpu"))
    for call in range(1, 7):
        function()
        assert total.item() == call
        assert len(on_tape) == (call > acceleration.WARM_UPS)


@pytest.mark.parametrize("in_place", [False, True])
def test_sums_of_metrics(in_place: bool) -> None:
    metrics, loss = MetricSums(), torch.tensor(2.0)
    metrics.add({"loss": loss})
    metrics.add({"loss": torch.tensor(3.0), "norm": torch.tensor(1.0)})
    assert loss.item() == 2.0, "what was given is not written to"
    assert read(list(metrics.sums.values())) == [5.0, 1.0]
    held = metrics.sums.get("loss")
    metrics.clear(in_place)
    metrics.add({"loss": torch.tensor(4.0)})
    assert read([metrics.sums["loss"]]) == [4.0]
    assert (metrics.sums["loss"] is held) == in_place


def test_metrics_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One copy from the device for all of them, and one for the returns of episodes."""
    training = Training(small_config("ip"))
    training.advance()
    copies = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: copies.append(self.shape) or tolist(self))
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("a single number was read"))
    training.advance()
    record = training.take_metrics()
    assert len(copies) == 2
    assert record["reward/std"] > 0
    assert training.take_metrics().keys() == {"step", "update", "reward/mean", "reward/std"}
