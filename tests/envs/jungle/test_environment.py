"""Jungle keeps the promises of `envs.protocols`, on every engine."""

from __future__ import annotations

import inspect
import io

import pytest
import torch
from jaxtyping import TypeCheckError, jaxtyped

import envs
from envs.jungle import comparison, placement
from envs.jungle.environment import JungleEnvironment
from envs.jungle.kernels import NumbaEngine
from envs.jungle.original import OriginalEngine
from envs.jungle.rules import HIT_DOWN, HIT_LEFT, HIT_RIGHT, STAY, TASKS
from envs.jungle.tensors import TorchEngine
from envs.protocols import Step
from tests import check, needs_shape_checks
from tests.envs.jungle.hand import ENGINES, act, make, random_actions, same, set_out, tensors

every_engine = pytest.mark.parametrize("backend", ENGINES)


def play(environment: JungleEnvironment, steps: int, generator: torch.Generator) -> list[Step]:
    """The steps of random play."""
    return [environment.step(random_actions(environment, generator)) for _ in range(steps)]


def all_same(one: list[Step], two: list[Step]) -> bool:
    return all(same(a, b) for a, b in zip(one, two, strict=True))


@every_engine
@pytest.mark.parametrize("task", TASKS)
def test_shapes_and_types(task: str, backend: str, generator: torch.Generator) -> None:
    environment = make(task, 3, backend)
    spec = environment.spec
    assert spec == envs.spec(task, backend=backend)
    assert spec.num_agents == int(task.rpartition("_")[2])
    assert (spec.observation_dim, spec.num_actions, spec.episode_length, spec.max_neighbours) == (123, 9, 25, 4)
    assert spec.agent_kinds == (0,) * spec.num_agents
    first = environment.reset(0)
    assert not first.reward.any()
    for step in (first, *play(environment, 2, generator)):
        assert step.observation.shape == (3, spec.num_agents, 123)
        assert step.observation.dtype == step.reward.dtype == torch.float32
        assert step.reward.shape == (3, spec.num_agents)
        assert step.graph.neighbours.shape == step.graph.mask.shape == (3, spec.num_agents, 4)
        assert step.graph.neighbours.dtype == torch.int64
        assert step.graph.mask.all()
        assert 0 <= step.graph.neighbours.min() <= step.graph.neighbours.max() < spec.num_agents
        assert (step.graph.neighbours != torch.arange(spec.num_agents)[:, None]).all(), "no agent is its own neighbour"
        assert step.terminated.shape == step.truncated.shape == (3,)
        assert step.terminated.dtype == step.truncated.dtype == torch.bool
        assert set(step.observation[..., :121].unique().tolist()) == {-1, 0, 1}
    assert set(environment.scores()) == {
        "return",
        "return_per_agent",
        "food_per_agent",
        "attacks_per_agent",
        "misses_per_agent",
    }
    assert all(score.shape == (3,) and score.dtype == torch.float64 for score in environment.scores().values())


@needs_shape_checks
@every_engine
def test_shape_annotations_hold(backend: str, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """Run with every annotation of these functions executed."""
    checked = jaxtyped(typechecker=check)
    methods = ("reset", "place", "step", "scores", "_begin", "_observe")
    engine = {"numba": NumbaEngine, "torch": TorchEngine, "magent2": OriginalEngine}[backend]
    inner = ("_pay", "_move", "_cell") if backend == "torch" else ()
    for owner, names in ((JungleEnvironment, methods), (engine, ("place", "step", "look", *inner))):
        for name in names:
            monkeypatch.setattr(owner, name, checked(inspect.getattr_static(owner, name)))
    for owner in (JungleEnvironment, engine):
        monkeypatch.setattr(owner, "position", property(checked(inspect.getattr_static(owner, "position").fget)))
    monkeypatch.setattr("envs.jungle.environment.starting_cells", checked(placement.starting_cells))
    for task in ("magent/jungle_2", "magent/jungle_6"):
        environment = make(task, 3, backend)
        environment.reset(0)
        play(environment, 2, generator)
        environment.scores()
        environment.place(environment.position, environment.food)
        with pytest.raises(TypeCheckError):  # so they are executed
            environment.step(torch.zeros(3, environment.spec.num_agents))


@needs_shape_checks
def test_shape_annotations_of_the_comparison_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = jaxtyped(typechecker=check)
    for name in ("crowded_cells", "draw_moods", "mixed_actions", "_approach", "happenings", "_meets"):
        monkeypatch.setattr(comparison, name, checked(getattr(comparison, name)))
    assert not comparison.verify("magent/jungle_6", 4, 0, "torch", 2, "numba").failures


@every_engine
@pytest.mark.parametrize("length", [1, 25])
def test_episodes_end_at_the_limit(backend: str, length: int, generator: torch.Generator) -> None:
    environment = make("magent/jungle_6", 2, backend, episode_length=length)
    stay = torch.full((2, 6), STAY)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        environment.step(stay)
    environment.reset(0)
    steps = play(environment, length, generator)
    assert [bool(step.truncated.all()) for step in steps] == [False] * (length - 1) + [True]
    assert not any(step.truncated.any() for step in steps[:-1])
    assert not any(step.terminated.any() for step in steps)
    position = environment.position
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        environment.step(stay)
    assert torch.equal(environment.position, position)
    assert environment.time == length
    assert not environment.reset().truncated.any()
    environment.step(stay)


@every_engine
def test_equal_seeds_give_equal_episodes(backend: str) -> None:
    runs = []
    for _ in range(2):
        environment = make("magent/jungle_6", 2, backend)
        generator = torch.Generator().manual_seed(1)
        runs.append([environment.reset(5), *play(environment, 25, generator), environment.reset()])
    assert all_same(*runs)
    other = make("magent/jungle_6", 2, backend)
    assert not torch.equal(other.reset(6).observation, other.reset(5).observation)
    assert not torch.equal(other.reset().observation, other.reset().observation)
    assert same(other.reset(5), runs[0][0]), "a seed restarts everything"


@every_engine
def test_copies_play_the_episodes_of_one_after_the_other(backend: str) -> None:
    """Three copies in lockstep equal three episodes of a single copy."""
    together, alone = (make("magent/jungle_6", copies, backend) for copies in (3, 1))
    actions = torch.randint(9, (25, 3, 6), generator=torch.Generator().manual_seed(0))
    batch = [together.reset(2), *(together.step(action) for action in actions)]
    for copy in range(3):
        single = [alone.reset(None if copy else 2), *(alone.step(action[copy : copy + 1]) for action in actions)]
        for one, many in zip(single, batch, strict=True):
            pairs = zip(tensors(one), tensors(many), strict=True)
            assert all(torch.equal(a[0], b[copy]) for a, b in pairs)
        assert all(score[0] == together.scores()[name][copy] for name, score in alone.scores().items())


@pytest.mark.parametrize(("saver", "loader"), [(one, two) for one in ENGINES for two in ENGINES])
def test_a_saved_environment_continues_exactly(saver: str, loader: str, generator: torch.Generator) -> None:
    """Through a file, at any step, on the same engine or another; with the episodes to come."""
    original, resumed = make("magent/jungle_6", 3, saver), make("magent/jungle_6", 3, loader)
    original.reset(1)
    play(original, 25, generator)
    original.reset()
    for time in range(26):
        file = io.BytesIO()
        torch.save(original.state_dict(), file)
        file.seek(0)
        resumed.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(original.position, resumed.position)
        assert torch.equal(original.food, resumed.food)
        if time == 25:
            break
        actions = random_actions(original, generator)
        assert same(original.step(actions), resumed.step(actions))
        assert all(torch.equal(score, resumed.scores()[name]) for name, score in original.scores().items())
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        resumed.step(actions)
    assert same(original.reset(), resumed.reset())


def test_a_state_from_before_the_first_episode(generator: torch.Generator) -> None:
    original, resumed = (make("magent/jungle_6", 2, "numba") for _ in range(2))
    resumed.reset(3)
    resumed.load_state_dict(original.state_dict())
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        resumed.step(random_actions(resumed, generator))
    assert same(original.reset(), resumed.reset())


@every_engine
def test_saving_is_a_snapshot(backend: str, generator: torch.Generator) -> None:
    environment = make("magent/jungle_6", 2, backend)
    environment.reset(0)
    play(environment, 1, generator)
    state = environment.state_dict()
    kept = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in state.items()}
    play(environment, 3, generator)
    environment.reset()
    for name, value in kept.items():
        assert torch.equal(state[name], value) if isinstance(value, torch.Tensor) else state[name] == value
    environment.load_state_dict(state)
    play(environment, 3, generator)
    assert torch.equal(state["position"], kept["position"]), "nor is it written to after loading"
    assert torch.equal(state["totals"], kept["totals"])


def test_a_state_of_something_else_is_refused() -> None:
    state = make("magent/jungle_6", 2, "numba").state_dict()
    for other in (make("magent/jungle_7", 2, "numba"), make("magent/jungle_6", 4, "numba")):
        with pytest.raises(ValueError, match="the state belongs to"):
            other.load_state_dict(state)
    partial = {name: state[name] for name in state if name not in ("position", "totals")}
    with pytest.raises(ValueError, match="position, totals missing"):
        make("magent/jungle_6", 2, "numba").load_state_dict(partial)


@every_engine
def test_returned_tensors_are_left_alone(backend: str, generator: torch.Generator) -> None:
    environment = make("magent/jungle_6", 2, backend)
    kept, copies = [], []
    for _ in range(2):
        for step in (environment.reset(0), *play(environment, 25, generator)):
            kept.append([*tensors(step), environment.position, environment.food, *environment.scores().values()])
            copies.append([tensor.clone() for tensor in kept[-1]])
    assert all(torch.equal(a, b) for one, two in zip(kept, copies, strict=True) for a, b in zip(one, two, strict=True))


@every_engine
def test_actions_are_not_changed_and_integer_types_agree(backend: str, generator: torch.Generator) -> None:
    environment = make("magent/jungle_6", 2, backend)
    chosen = torch.randint(9, (2, 12), generator=generator)
    environment.reset(0)
    expected = environment.step(chosen[:, ::2].contiguous())
    for form in (chosen[:, ::2], chosen[:, ::2].int(), chosen[:, ::2].to(torch.uint8), chosen[:, ::2].short()):
        before = form.clone()
        environment.reset(0)
        assert same(environment.step(form), expected)
        assert torch.equal(form, before)
        assert environment.last_actions is not None
        assert torch.equal(environment.last_actions, before.long())


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_bad_actions_are_refused(backend: str) -> None:
    """Those for the original engine are tested with its other pitfalls."""
    environment, other = (make("magent/jungle_6", 2, backend) for _ in range(2))
    environment.reset(0), other.reset(0)
    bad: list[tuple[torch.Tensor, str]] = [
        (torch.zeros(2, 5, dtype=torch.int64), r"shape \(2, 5\)"),
        (torch.zeros(3, 6, dtype=torch.int64), r"shape \(3, 6\)"),
        (torch.zeros(2, 6), "torch.float32; expected integers"),
        (torch.zeros(2, 6, 9, dtype=torch.int64), r"shape \(2, 6, 9\)"),
        (torch.full((2, 6), 9), r"at \[0, 0\] is 9; expected indices from 0 to 8"),
        (torch.full((2, 6), -1), "is -1; expected indices from 0 to 8"),
    ]
    for actions, message in bad:
        with pytest.raises(ValueError, match=message):
            environment.step(actions)
    good = torch.full((2, 6), HIT_LEFT)
    assert same(environment.step(good), other.step(good))


@every_engine
def test_bad_placements_are_refused(backend: str) -> None:
    environment = make("magent/jungle_2", 1, backend)
    agents, foods = torch.tensor([[(1, 1), (9, 9)]]), torch.tensor([[(5, 5)]])
    for position, food, message in (
        (agents[:, :1], foods, r"position: torch.int64 of shape \(1, 1, 2\); expected integers \(1, 2, 2\)"),
        (agents, foods[0], r"food: torch.int64 of shape \(1, 2\)"),
        (agents.float(), foods, "position: torch.float32"),
        (agents - 1, foods, "coordinates from 1 to 9"),
        (agents + 1, foods, "coordinates from 1 to 9"),
        (agents, agents[:, :1], "two units of a copy are on the same cell"),
        (agents[:, [0, 0]], foods, "two units of a copy are on the same cell"),
    ):
        with pytest.raises(ValueError, match=message):
            environment.place(position, food)
    environment.place(agents.to(torch.uint8), foods)
    assert torch.equal(environment.position, agents)


@every_engine
def test_shared_rewards_are_the_mean(backend: str, generator: torch.Generator) -> None:
    """Everyone is paid the same, and the scores are those of local rewards."""
    local, shared = (make("magent/jungle_20", 8, backend, reward=reward) for reward in ("local", "shared"))
    for environment in (local, shared):
        cells = comparison.crowded_cells(environment.jungle, 8, torch.Generator().manual_seed(0))
        environment.place(cells[:, :20], cells[:, 20:])
    total = torch.zeros(8, dtype=torch.float64)
    for _ in range(25):
        actions = random_actions(local, generator)
        one, two = local.step(actions), shared.step(actions)
        assert torch.equal(one.observation, two.observation)
        assert torch.equal(two.reward, one.reward.mean(-1, keepdim=True).expand(-1, 20))
        total += one.reward.double().sum(-1)
    assert torch.equal(local.scores()["return"], total)
    assert all(torch.equal(score, shared.scores()[name]) for name, score in local.scores().items())


@every_engine
def test_scores_are_made_of_meals_hits_and_misses(backend: str, generator: torch.Generator) -> None:
    """A meal is worth 0.99, a hit 1.99 less 4 for the one who is hit, a miss -0.01; a new episode starts from none."""
    environment = make("magent/jungle_20", 8, backend)
    cells = comparison.crowded_cells(environment.jungle, 8, generator)
    environment.place(cells[:, :20], cells[:, 20:])
    play(environment, 25, generator)
    scores = environment.scores()
    meals, hits, misses = (20 * scores[f"{name}_per_agent"] for name in ("food", "attacks", "misses"))
    assert (meals > 0).all()
    assert (hits > 0).all()
    assert (misses > 0).all()
    for counts in (meals, hits, misses):
        torch.testing.assert_close(counts, counts.round(), atol=1e-9, rtol=0)
    expected = 0.99 * meals + (1.99 - 4) * hits - 0.01 * misses
    torch.testing.assert_close(scores["return"], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(scores["return_per_agent"], scores["return"] / 20)
    environment.reset()
    assert not any(score.any() for score in environment.scores().values())


def test_all_can_eat_all_the_time() -> None:
    """The maximum return: five agents next to three food units, 0.99 each in every step."""
    agents, foods = [(3, 2), (2, 3), (4, 3), (7, 2), (9, 2)], [(3, 3), (8, 2), (12, 12)]
    environment = set_out("numba", agents, foods, "magent/jungle_5")
    for _ in range(25):
        act(environment, HIT_DOWN, HIT_RIGHT, HIT_LEFT, HIT_RIGHT, HIT_LEFT)
    assert float(environment.scores()["return"]) == pytest.approx(25 * 5 * 0.99, abs=1e-5)
    assert float(environment.scores()["return_per_agent"]) == pytest.approx(24.75, abs=1e-6)


@every_engine
def test_three_neighbours_are_those_of_dgn(backend: str, generator: torch.Generator) -> None:
    """There, neighbours are the four nearest by squared distance, lower numbers first, beginning with the agent
    itself."""
    environment = make("magent/jungle_20", 8, backend, num_neighbours=3)
    cells = comparison.crowded_cells(environment.jungle, 8, generator)
    for begin in (lambda: environment.reset(0), lambda: environment.place(cells[:, :20], cells[:, 20:])):
        neighbours = begin().graph.neighbours.tolist()
        for copy, cells_of_copy in enumerate(environment.position.tolist()):
            for agent, (x, y) in enumerate(cells_of_copy):
                by_distance = sorted(((a - x) ** 2 + (b - y) ** 2, other) for other, (a, b) in enumerate(cells_of_copy))
                assert [agent, *neighbours[copy][agent]] == [other for _, other in by_distance[:4]]


@every_engine
def test_all_others_can_be_neighbours(backend: str) -> None:
    environment = make("magent/jungle_6", 2, backend, num_neighbours=5)
    step = environment.reset(0)
    group = torch.cat((step.graph.neighbours, torch.arange(6).expand(2, 6)[..., None]), -1)
    assert torch.equal(group.sort(-1).values, torch.arange(6).expand(2, 6, 6))
    position = environment.position
    squared = (position[:, :, None] - position[:, None]).square().sum(-1).gather(2, step.graph.neighbours)
    assert (squared.diff(dim=-1) >= 0).all()
