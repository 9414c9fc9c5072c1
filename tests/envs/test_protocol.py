"""Particle environments keep the promises of `envs.protocols`, and `envs` those of its functions."""

from __future__ import annotations

import dataclasses
import inspect
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import jaxtyped

import envs
from envs.errors import PreyWeightsError, UnknownTaskError
from envs.games.names import TASKS as GAMES
from envs.jungle.rules import TASKS as JUNGLES
from envs.mpe.environment import ParticleEnvironment
from envs.mpe.observation import Observer, observe_torch
from envs.mpe.physics import advance_torch, contact_force_torch
from envs.mpe.scenarios import SCENARIOS
from envs.mpe.settings import Settings
from envs.protocols import Step
from envs.traffic_names import TASKS as CITIES
from tests import check, needs_shape_checks
from tests.envs.conftest import FAMILIES, particles, random_actions
from tests.patience import PATIENCE


def play(environment: ParticleEnvironment, steps: int, generator: torch.Generator) -> list[Step]:
    """The steps of random play."""
    return [environment.step(random_actions(environment, generator)) for _ in range(steps)]


def clone(step: Step) -> list[torch.Tensor]:
    return [step.observation.clone(), step.graph.neighbours.clone(), step.reward.clone(), step.truncated.clone()]


def tensors(step: Step) -> list[torch.Tensor]:
    return [step.observation, step.graph.neighbours, step.reward, step.truncated]


def same(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", SCENARIOS)
def test_shapes_and_types(task: str, dtype: str) -> None:
    environment = particles(task, 2, dtype=dtype)
    spec = environment.spec
    assert spec == envs.spec(task, dtype=dtype)
    assert spec.num_agents == int(task.rpartition("_")[2])
    assert (spec.num_actions, spec.episode_length, len(spec.agent_kinds)) == (5, 25, spec.num_agents)
    generator = torch.Generator().manual_seed(0)
    first = environment.reset(0)
    assert not first.reward.any()
    for step in (first, environment.step(random_actions(environment, generator))):
        assert step.observation.shape == (2, spec.num_agents, spec.observation_dim)
        assert step.observation.dtype == step.reward.dtype == getattr(torch, dtype)
        assert step.graph.neighbours.shape == step.graph.mask.shape == (2, spec.num_agents, spec.max_neighbours)
        assert step.graph.mask.all()
        assert 0 <= step.graph.neighbours.min() <= step.graph.neighbours.max() < spec.num_agents
        assert step.terminated.shape == step.truncated.shape == (2,)
        assert torch.isfinite(step.observation).all()


def test_observation_sizes_are_the_published_ones() -> None:
    sizes = {
        "cooperative_navigation": {3: 14, 6: 26, 15: 26, 30: 26, 100: 26, 200: 26},
        "heterogeneous_navigation": {4: 14, 8: 22, 16: 22, 30: 22, 100: 22},
        "cooperative_push": {3: 12, 6: 18, 15: 28, 30: 18, 100: 28},
        "prey_and_predator": {3: 16, 6: 28, 15: 34, 30: 44, 100: 44},
    }
    assert {f"mpe/{family}_{n}" for family, by_size in sizes.items() for n in by_size} == set(SCENARIOS)
    for family, by_size in sizes.items():
        for num_agents, size in by_size.items():
            assert envs.spec(f"mpe/{family}_{num_agents}").observation_dim == size


@needs_shape_checks
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_shape_annotations_hold(backend: str, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """Run with every annotation of these functions executed."""
    checked = jaxtyped(typechecker=check)
    for name in ("_observe", "_first_step", "_prey_forces", "scores", "set_state", "prey_observation"):
        monkeypatch.setattr(ParticleEnvironment, name, checked(inspect.getattr_static(ParticleEnvironment, name)))
    monkeypatch.setattr(Observer, "observe", checked(Observer.observe))
    for module, function in (
        ("observation", observe_torch),
        ("physics", advance_torch),
        ("physics", contact_force_torch),
    ):
        monkeypatch.setattr(f"envs.mpe.{module}.{function.__name__}", checked(function))
    for task in FAMILIES:
        environment = particles(task, 3, backend=backend)
        environment.reset(0)
        play(environment, 2, generator)
        environment.scores()
        environment.set_state(environment.position, environment.velocity)


def test_episodes_end_after_25_steps(generator: torch.Generator) -> None:
    environment = particles("mpe/cooperative_push_3", 2)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        environment.step(torch.zeros(2, 3, dtype=torch.int64))
    environment.reset(0)
    steps = play(environment, 25, generator)
    assert [bool(step.truncated.all()) for step in steps] == [False] * 24 + [True]
    assert not any(step.terminated.any() for step in steps)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        environment.step(torch.zeros(2, 3, dtype=torch.int64))
    environment.reset()
    play(environment, 1, generator)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("task", FAMILIES)
def test_equal_seeds_give_equal_episodes(task: str, backend: str) -> None:
    runs = []
    for _ in range(2):
        environment = particles(task, 2, backend=backend)
        environment.reset(5)
        runs.append(play(environment, 25, torch.Generator().manual_seed(1)))
    assert all(same(tensors(one), tensors(two)) for one, two in zip(*runs, strict=True))
    other = particles(task, 2, backend=backend)
    assert not torch.equal(other.reset(6).observation, other.reset(5).observation)
    assert not torch.equal(other.reset().observation, other.reset().observation)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize(("task", "steps"), [("mpe/cooperative_push_6", 25), ("mpe/prey_and_predator_6", 6)])
def test_copies_play_the_episodes_of_one_after_the_other(task: str, steps: int, backend: str) -> None:
    """Three copies in lockstep equal three episodes of a single copy; with prey, whose network's float32 sums depend
    on the batch, for as long as contacts have not magnified the difference."""
    together, alone = (particles(task, copies, backend=backend, dtype="float64") for copies in (3, 1))
    actions = torch.randint(5, (steps, 3, 6), generator=torch.Generator().manual_seed(0))
    together.reset(2)
    batch = torch.stack([together.step(action).observation for action in actions], 1)
    alone.reset(2)
    for copy in range(3):
        single = torch.stack([alone.step(action[copy : copy + 1]).observation[0] for action in actions])
        torch.testing.assert_close(single, batch[copy], atol=1e-5 if together.prey else 1e-9, rtol=0)
        alone.reset()


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("task", FAMILIES)
def test_a_saved_environment_continues_exactly(task: str, backend: str) -> None:
    """Also through a file, in the middle of an episode, with prey noise and episodes to come."""
    generator = torch.Generator().manual_seed(3)
    original = particles(task, 3, backend=backend)
    original.reset(1)
    play(original, 25, generator)
    original.reset()
    play(original, 9, generator)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    resumed = particles(task, 3, backend=backend)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    state = generator.get_state()
    for _ in range(2):
        generator.set_state(state)
    ends = []
    for environment in (original, resumed):
        generator.set_state(state)
        steps = [tensors(step) for step in play(environment, 16, generator)]
        scores = environment.scores()
        steps.append(tensors(environment.reset()))
        steps += [tensors(step) for step in play(environment, 5, generator)]
        ends.append((steps, scores))
    assert all(same(one, two) for one, two in zip(ends[0][0], ends[1][0], strict=True))
    assert all(torch.equal(score, ends[1][1][name]) for name, score in ends[0][1].items())


def test_saving_is_a_snapshot(generator: torch.Generator) -> None:
    environment = particles("mpe/cooperative_navigation_3", 2)
    environment.reset(0)
    state = environment.state_dict()
    position = state["position"].clone()
    play(environment, 3, generator)
    assert torch.equal(state["position"], position)


def test_a_state_of_something_else_is_refused() -> None:
    state = particles("mpe/cooperative_navigation_3", 2).state_dict()
    for other in (
        particles("mpe/cooperative_navigation_6", 2),
        particles("mpe/cooperative_navigation_3", 4),
        particles("mpe/cooperative_navigation_3", 2, dtype="float64"),
    ):
        with pytest.raises(ValueError, match="the state belongs to"):
            other.load_state_dict(state)
    partial = {name: state[name] for name in state if name not in ("position", "totals")}
    with pytest.raises(ValueError, match="position, totals missing"):
        particles("mpe/cooperative_navigation_3", 2).load_state_dict(partial)


def test_wrong_shapes_are_refused() -> None:
    environment = particles("mpe/prey_and_predator_3", 2)
    with pytest.raises(ValueError, match=r"position has the shape \(6, 2\), expected \(2, 6, 2\)"):
        environment.set_state(torch.zeros(6, 2), torch.zeros(2, 6, 2))
    environment.reset(0)
    with pytest.raises(ValueError, match="prey_forces has the shape"):
        environment.step(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2))


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("task", FAMILIES)
def test_returned_tensors_are_left_alone(task: str, backend: str, generator: torch.Generator) -> None:
    environment = particles(task, 2, backend=backend)
    kept = [environment.reset(0)]
    copies = [clone(kept[0])]
    for _ in range(2):
        for _ in range(25):
            step = environment.step(random_actions(environment, generator))
            kept.append(step)
            copies.append(clone(step))
        environment.reset()
    assert all(same(tensors(step), copy) for step, copy in zip(kept, copies, strict=True))


def test_actions_are_not_changed_and_forms_agree(generator: torch.Generator) -> None:
    """Indices, one-hots and other integer types are the same actions."""
    for backend in ("numba", "torch"):
        indices = torch.randint(5, (3, 8), generator=generator)
        ends = []
        vectors = torch.nn.functional.one_hot(indices, 5)
        strided = vectors.float().repeat(1, 1, 2)[..., :5].requires_grad_()
        for form in (indices, indices.int(), indices.to(torch.uint8), vectors.float(), vectors.bfloat16(), strided):
            environment = particles("mpe/heterogeneous_navigation_8", 3, backend=backend)
            environment.reset(0)
            before = form.detach().clone()
            environment.step(form)
            assert torch.equal(form, before)
            ends.append(environment.velocity)
        assert all(torch.equal(ends[0], end) for end in ends)


def test_direction_and_strength_of_actions() -> None:
    """One step from rest: v = 0.1 s, x = 0.01 s, with s = 5."""
    environment = particles("mpe/cooperative_push_6", 1, dtype="float64")
    position = torch.arange(16.0).view(1, 8, 2) * 10
    environment.set_state(position, torch.zeros(1, 8, 2))
    environment.step(torch.tensor([[0, 1, 2, 3, 4, 0]]))
    expected = torch.tensor([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5], [0, 0]], dtype=torch.float64)
    torch.testing.assert_close(environment.velocity[0, :6], expected)
    torch.testing.assert_close(environment.position[0, :6], position[0, :6] + 0.1 * expected)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_bad_actions_are_refused(backend: str) -> None:
    environment = particles("mpe/cooperative_navigation_3", 2, backend=backend)
    environment.reset(0)
    bad: list[tuple[torch.Tensor, str]] = [
        (torch.zeros(2, 4, dtype=torch.int64), r"shape \(2, 4\)"),
        (torch.zeros(2, 3), "expected integers"),
        (torch.zeros(2, 3, 4), r"shape \(2, 3, 4\)"),
        (torch.zeros(3, 3, dtype=torch.int64), "for 3 copies, but there are 2"),
        (torch.full((2, 3), 5), r"at \[0, 0\] is 5; expected indices from 0 to 4"),
        (torch.full((2, 3), -1), "expected indices from 0 to 4"),
        (torch.full((2, 3, 5), torch.nan), "expected finite numbers"),
    ]
    before = environment.position
    for actions, message in bad:
        with pytest.raises(ValueError, match=message):
            environment.step(actions)
    assert torch.equal(environment.position, before)
    environment.step(torch.zeros(2, 3, dtype=torch.int64))


def test_settings() -> None:
    for task in envs.tasks():
        kind = envs.settings(task)
        assert dataclasses.is_dataclass(kind)
        assert next(field.name for field in dataclasses.fields(kind)) == "reward"
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"reward": "team"}, ValueError, "reward = 'team': expected one of shared, local, difference"),
        ({"neighbour_order": 1}, ValueError, "neighbour_order = 1: expected one of"),
        ({"dtype": "float16"}, ValueError, "dtype = 'float16': expected one of"),
        ({"contact": ""}, ValueError, "contact = '': expected one of"),
        ({"backend": "jax"}, ValueError, "backend = 'jax': expected one of"),
        ({"num_neighbours": 0}, ValueError, "num_neighbours = 0: expected none or a positive whole number"),
        ({"num_neighbours": 3}, ValueError, "each of the 3 agents has only 2 others"),
        ({"prey_weights": ""}, ValueError, "prey_weights = '': expected shipped, original or the path"),
        ({"rewards": "local"}, TypeError, "has no setting rewards; it has reward, neighbour_order"),
    ]
    for settings, error, message in bad:
        with pytest.raises(error, match=message):
            envs.make("mpe/cooperative_navigation_3", 1, **settings)
    with pytest.raises(ValueError, match=r"runs on the device cpu, not meta: create it with envs\.make"):
        Settings(backend="numba").uses_numba(torch.device("meta"))
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        envs.make("mpe/cooperative_navigation_3", 0)
    with pytest.raises(ValueError, match="seed must be between"):
        envs.make("mpe/cooperative_navigation_3", 1).reset(-1)


def test_neighbour_lists_have_the_promised_width() -> None:
    widths = {n: envs.spec(f"mpe/cooperative_navigation_{n}").max_neighbours for n in (3, 6, 15, 30, 100, 200)}
    assert widths == {3: 2, 6: 4, 15: 4, 30: 8, 100: 8, 200: 8}
    environment = particles("mpe/cooperative_navigation_30", 2, num_neighbours=29)
    step = environment.reset(0)
    assert (step.graph.neighbours.sort(-1).values.diff(dim=-1) > 0).all()
    agents = environment.position[:, :30]
    distance = (agents[:, :, None] - agents[:, None]).norm(dim=-1).gather(2, step.graph.neighbours)
    assert (distance.diff(dim=-1) >= 0).all()


def test_unknown_tasks() -> None:
    assert envs.tasks() == tuple(sorted([*SCENARIOS, *GAMES, *CITIES, *JUNGLES]))
    for ask in (envs.make, envs.spec, envs.settings, envs.reference_policies):
        arguments = (1,) if ask is envs.make else ()
        with pytest.raises(UnknownTaskError, match=r"mpe/cooperative_navigation_30.*envs\.tasks\(\) lists all"):
            ask("mpe/coperative_navigation_30", *arguments)
    assert issubclass(UnknownTaskError, ValueError)


def test_prey_weights(tmp_path: Path) -> None:
    with pytest.raises(PreyWeightsError, match="do not exist"):
        envs.make("mpe/prey_and_predator_3", 1, prey_weights=str(tmp_path / "absent.npz"))
    names = [f"{layer}_{part}" for layer in ("linear1", "linear2", "mu") for part in ("weight", "bias")]
    (tmp_path / "text.npz").write_text("nothing")
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "single.npy", np.zeros(3))
    np.savez(tmp_path / "words.npz", **dict.fromkeys(names, np.array(["a"])))
    for broken in ("text.npz", "empty.npz", "single.npy", "words.npz", "."):
        with pytest.raises(PreyWeightsError, match="does not hold prey weights") as raised:
            envs.make("mpe/prey_and_predator_3", 1, prey_weights=str(tmp_path / broken))
        assert "\n" not in str(raised.value)
        assert "pickle" not in str(raised.value), "numpy's advice is to load code"
    np.savez(tmp_path / "flat.npz", **dict.fromkeys(names, np.array(1.0)))
    with pytest.raises(PreyWeightsError, match=r"has layers \[\(\), "):
        envs.make("mpe/prey_and_predator_3", 1, prey_weights=str(tmp_path / "flat.npz"))


def test_listing_tasks_is_cheap() -> None:
    """Neither importing envs nor asking for a spec loads the compiler."""
    code = (
        "import sys, envs; envs.tasks(); envs.spec('mpe/prey_and_predator_100'); "
        "envs.settings('mpe/cooperative_push_3'); envs.spec('magent/jungle_20'); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], timeout=PATIENCE)
