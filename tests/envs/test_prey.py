"""The scripted prey and the weights that the project ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import envs
from envs.errors import PreyWeightsError
from envs.mpe.prey import LAYERS, SHIPPED, PreyPolicy, gumbel_noise, load_prey, prey_force, soft_action
from envs.mpe.prey_training import save, train
from envs.mpe.scenarios import scenario
from tests.envs.conftest import particles


def zero_prey(observation_dim: int) -> PreyPolicy:
    """Prey that move at random."""
    sizes = ((4, observation_dim), (4, 4), (5, 4))
    one, two, three = (torch.zeros(size) for size in sizes)
    return PreyPolicy((one, two, three), (one[:, 0], two[:, 0], three[:, 0]))


def captures(task: str, policy: PreyPolicy, chaser: str) -> float:
    """Captures in an episode, mean over 200 episodes."""
    environment = particles(task, 200)
    environment.prey = policy
    reference = envs.reference_policies(task)[chaser](environment)
    generator = torch.Generator().manual_seed(0)
    environment.reset(7)
    for _ in range(25):
        environment.step(reference.act(generator))
    return 25 * environment.scores()["captures"].mean().item()


@pytest.mark.parametrize("task", [f"mpe/prey_and_predator_{n}" for n in (3, 15, 30)])
def test_shipped_prey_flee(task: str) -> None:
    """They are caught at most two thirds as often by chasing predators as prey that move at random."""
    dim = scenario(task).prey_observation_dim
    assert captures(task, load_prey("shipped", dim), "nearest") < 0.67 * captures(task, zero_prey(dim), "nearest")


def test_shipped_file_is_small_and_says_how_it_was_made() -> None:
    assert SHIPPED.stat().st_size < 20_000
    with np.load(SHIPPED) as file:
        assert "envs.mpe.train_prey" in str(file["made_by"])
        assert all(file[name].dtype == np.float32 for name in file if name != "made_by")


def test_published_weights_lie_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPB_DATA", str(tmp_path))
    with pytest.raises(PreyWeightsError, match=r"into the folder prey of the one that IPB_DATA names"):
        load_prey("original", 14)
    shipped = load_prey("shipped", 14)
    arrays = {}
    for layer, weight, bias in zip(LAYERS, shipped.weights, shipped.biases, strict=True):
        arrays |= {f"{layer}_weight": weight.numpy(), f"{layer}_bias": bias.numpy()}
    (tmp_path / "prey").mkdir()
    np.savez(tmp_path / "prey" / "prey_actor_tag_n3.npz", **arrays)
    observation = torch.randn(3, 14)
    assert torch.equal(load_prey("original", 14).logits(observation), shipped.logits(observation))


def test_training_lowers_the_cost_and_saves(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    task = scenario("mpe/prey_and_predator_3")
    policy, costs = train(task, iterations=30)
    assert np.mean(costs[-8:]) < np.mean(costs[:8])
    again, same = train(task, iterations=30)
    assert costs == same
    save({14: policy}, tmp_path / "prey.npz", "a test")
    observation = torch.randn(7, 14)
    with np.load(tmp_path / "prey.npz") as file:
        np.savez(tmp_path / "plain.npz", **{n.removeprefix("dim14_"): file[n] for n in file if n != "made_by"})
    loaded = load_prey(str(tmp_path / "plain.npz"), 14)
    assert torch.equal(loaded.logits(observation), again.logits(observation))


def test_soft_actions_by_hand() -> None:
    """With U = 1/e the Gumbel noise is 0; equal logits push nowhere; a certain action pushes with force 4."""
    noise = gumbel_noise(np.full(5, np.exp(-1.0)))
    torch.testing.assert_close(noise, torch.zeros(5), atol=1e-6, rtol=0)
    assert prey_force(soft_action(torch.zeros(5), noise)).abs().max() < 1e-6
    logits = torch.tensor([0.0, 0.0, 80.0, 0.0, 0.0])
    torch.testing.assert_close(prey_force(soft_action(logits, noise)), torch.tensor([-4.0, 0.0]))
