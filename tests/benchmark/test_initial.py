"""Runs that begin with a trained policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError
from benchmark.initial import DIGITS, digest
from benchmark.policies import load_policy
from benchmark.train import run
from benchmark.training import Training
from results import load_results
from results.files import read_json

SHORT: dict[str, Any] = {
    "training.batch_size": 16,
    "training.learning_starts": 16,
    "training.evaluation_interval": 400,
    "training.evaluation_episodes": 2,
    "algorithm.hidden": 16,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IQL after two blocks in Jungle with four agents."""
    return run(config("magent/jungle_4"), tmp_path_factory.mktemp("trained"), quiet=True)


def config(task: str, algorithm: str = "iql", steps: int = 400, **more: Any) -> RunConfig:
    overrides = SHORT | {name.replace("__", "."): value for name, value in more.items()}
    return resolve(task, algorithm, 1, steps, overrides)


@pytest.mark.parametrize("algorithm", ["iql", "ip"])
def test_begins_with_the_acting_network_alone(algorithm: str, tmp_path: Path) -> None:
    policy = run(config("magent/jungle_4", algorithm), tmp_path, quiet=True)
    weights = load_policy(policy).acting_weights()
    anew = Training(config("magent/jungle_6", algorithm)).learner.state_dict()
    begun: Any = Training(config("magent/jungle_6", algorithm, training__initial_policy=str(policy))).learner
    acting = begun.action_networks[0]
    networks = {name: part for name, part in begun.state_dict().items() if "optimiser" not in name}
    same = {name for name, part in networks.items() if equal(part, weights)}
    assert equal(acting.state_dict(), weights)
    assert len(same) == (2 if algorithm == "iql" else 1), "Q and its target, or the policy"
    assert all(equal(part, anew[name]) for name, part in networks.items() if name not in same)
    assert not any(equal(anew[name], weights) for name in same)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(part, other[name]) for name, part in one.items())


def test_a_run_from_beginning_to_end(trained: Path, tmp_path: Path) -> None:
    """Its first evaluation is that of the policy, its record says which policy it was, and it is loaded as others."""
    elsewhere = config("magent/jungle_6", training__initial_policy=str(trained))
    folder = run(elsewhere, tmp_path, quiet=True)
    record = read_json(folder / "config.json")["training"]
    assert record["initial_policy"] == str(trained)
    assert record["initial_digest"] == digest(load_policy(trained).acting_weights())
    first = next(iter(load_results(tmp_path).runs)).evaluations[0]
    assert (first.step, first.policy) == (0, "greedy")
    played = load_policy(trained).evaluate("magent/jungle_6", episodes=2, policy="greedy")
    assert played.returns == pytest.approx(first.returns)
    assert load_policy(folder).config.training.initial_digest == record["initial_digest"]


def test_the_weights_are_part_of_the_settings_and_their_place_is_not(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").symlink_to(trained)
    here, there = (
        config("magent/jungle_6", training__initial_policy=str(path)) for path in (trained, tmp_path / "moved")
    )
    assert here.digest() == there.digest() != config("magent/jungle_6").digest()
    assert here.variant == there.variant != config("magent/jungle_6").variant
    alone = resolve("magent/jungle_6", "iql", 1, 400, {"training.initial_policy": str(trained)})
    assert alone.variant == f"initial_digest={here.training.initial_digest}"
    assert len(here.training.initial_digest) == DIGITS


@pytest.mark.parametrize(
    ("task", "algorithm", "more", "message"),
    [
        ("magent/jungle_6", "dgn", {}, "is a policy of iql, the run is of dgn"),
        ("magent/jungle_6", "iql", {"algorithm__hidden": 32}, "other layers .* its settings were algorithm.hidden=16"),
        ("game/climbing_2", "iql", {}, "was trained on magent/jungle_4 with .* actions, game/climbing_2 has 3 actions"),
    ],
)
def test_policies_that_do_not_fit(trained: Path, task: str, algorithm: str, more: Any, message: str) -> None:
    settings = {"training__initial_policy": str(trained)} | more
    with pytest.raises(UserError, match=message):
        Training(config(task, algorithm, **settings))


def test_policies_that_are_not_there_or_not_those_that_were_named(trained: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such file"):
        config("magent/jungle_6", training__initial_policy="nowhere")
    with pytest.raises(UserError, match=r"the weights have the digest .*, not 0000: name the policy"):
        config("magent/jungle_6", training__initial_policy=str(trained), training__initial_digest="0000")
    with pytest.raises(UserError, match=r"training\.initial_digest=0000: no policy to check; give training\.initial_"):
        config("magent/jungle_6", training__initial_digest="0000")
