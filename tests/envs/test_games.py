"""The matrix and toy games: payoffs by hand, optima by brute force, and the promises of `envs.protocols`."""

from __future__ import annotations

import inspect
import io
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import jaxtyped

import envs
from benchmark.tasks import GAMES
from envs import draws
from envs.errors import UnknownTaskError
from envs.games import environment, games, optimum
from envs.games.environment import GameEnvironment
from envs.games.games import CELL_PAY, WALK_STEPS, Walk, game
from envs.games.names import TASKS
from envs.games.reference_policies import Selfish, played
from envs.protocols import Step
from tests import check, needs_shape_checks
from tests.patience import PATIENCE

DRAWN = ("game/chain_8", "game/ring_8", "game/echo_8", "game/walk_1")
"""Games whose episodes differ."""


def make(task: str, num_envs: int, **settings: Any) -> GameEnvironment:
    return played(envs.make(task, num_envs, **settings))


def random_actions(environment: GameEnvironment, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(
        environment.spec.num_actions, (environment.num_envs, environment.spec.num_agents), generator=generator
    )


def play(environment: GameEnvironment, generator: torch.Generator, steps: int | None = None) -> list[Step]:
    return [
        environment.step(random_actions(environment, generator))
        for _ in range(steps or environment.spec.episode_length)
    ]


def tensors(step: Step) -> list[torch.Tensor]:
    return [step.observation, *step.graph, step.reward, step.terminated, step.truncated]


def equal(one: list[Step], two: list[Step]) -> bool:
    pairs = zip(one, two, strict=True)
    return all(torch.equal(a, b) for s, t in pairs for a, b in zip(tensors(s), tensors(t), strict=True))


def joint_value(preference: torch.Tensor, coupling: torch.Tensor, closed: bool, action: torch.Tensor) -> torch.Tensor:
    """The objective of `best_joint_action` for joint actions (env, agent)."""
    paid = preference.gather(-1, action[..., None]).squeeze(-1).sum(-1)
    edges = coupling[action, action.roll(-1, 1)]
    return paid + (edges if closed else edges[:, :-1]).sum(-1)


def mean_return(task: str, policy: str, episodes: int = 2000) -> float:
    environment = make(task, episodes, dtype="float64")
    environment.reset(20_200)
    reference, generator = envs.reference_policies(task)[policy](environment), torch.Generator().manual_seed(0)
    for _ in range(environment.spec.episode_length):
        environment.step(reference.act(generator))
    return environment.scores()["return"].mean().item()


@pytest.mark.parametrize("reward", ["local", "shared"])
def test_matrix_games_pay_everyone_the_entry(reward: str) -> None:
    climbing = {(0, 0): 11, (0, 1): -30, (1, 2): 6, (2, 1): 0, (2, 2): 5}
    penalty = {(0, 2): -100, (2, 0): -100, (2, 2): 10, (1, 1): 2, (1, 0): 0}
    for task, payoffs in (("game/climbing_2", climbing), ("game/penalty_2", penalty)):
        for pair, payoff in payoffs.items():
            environment = make(task, 1, reward=reward)
            assert environment.reset(0).observation.tolist() == [[[1, 0], [0, 1]]]  # who an agent is, and nothing else
            assert environment.step(torch.tensor([pair])).reward.tolist() == [[payoff, payoff]]
            assert environment.scores()["return"].tolist() == [payoff]


def test_two_step_game_pays_by_the_matrix_that_was_chosen() -> None:
    expected = {(0, 0, 0): 7, (0, 0, 1): 7, (0, 1, 1): 7, (1, 0, 0): 0, (1, 0, 1): 1, (1, 1, 0): 1, (1, 1, 1): 8}
    for (branch, first, second), payoff in expected.items():
        for other in (0, 1):  # the second agent's first action changes nothing
            environment = make("game/two_step_2", 1)
            assert environment.reset(0).observation.tolist() == [[[1, 0, 0, 1, 0], [1, 0, 0, 0, 1]]]
            step = environment.step(torch.tensor([[branch, other]]))
            assert step.observation[0, :, :3].argmax(-1).tolist() == [1 + branch] * 2
            assert not step.reward.any()
            assert environment.step(torch.tensor([[first, second]])).reward.tolist() == [[payoff, payoff]]
            assert environment.scores()["return"].item() == payoff


@pytest.mark.parametrize(("task", "edges"), [("game/ring_4", 4), ("game/chain_4", 3)])
def test_neighbours_share_what_their_edge_pays(task: str, edges: int) -> None:
    environment = make(task, 1, dtype="float64")
    preference = environment.reset(3).observation[0]
    assert ((preference >= -1) & (preference < 1)).all()
    reward = environment.step(torch.tensor([[2, 0, 0, 1]])).reward[0]
    paid = preference[torch.arange(4), torch.tensor([2, 0, 0, 1])]
    coupled = {"game/ring_4": [1.0, 0.5, 0.5, 1.0], "game/chain_4": [0.5, 0.5, 0.5, 0.5]}[task]  # edges 2-0, 0-1, 1-2
    torch.testing.assert_close(reward - paid, torch.tensor(coupled, dtype=torch.float64))
    different = edges - 1  # the pair of equal actions earns nothing
    torch.testing.assert_close(environment.scores()["return"].item(), paid.sum().item() + different)


@pytest.mark.parametrize("task", ["game/ring_8", "game/chain_8", "game/ring_3", "game/chain_2"])
def test_the_optimum_is_that_of_all_joint_actions(task: str) -> None:
    environment = make(task, 5, dtype="float64")
    environment.reset(1)
    rules, state = environment.game, environment.state
    joint = torch.tensor(list(itertools.product(range(3), repeat=rules.num_agents)))
    values = torch.stack([rules.reward(one.expand(len(joint), -1, -1), joint).sum(-1) for one in state])
    found = rules.optimum(state)
    assert torch.equal(found, joint[values.argmax(-1)])
    coupling, closed = torch.tensor(games.COUPLING, dtype=torch.float64), "ring" in task
    torch.testing.assert_close(joint_value(state, coupling, closed, found), values.amax(-1))
    environment.step(found)
    torch.testing.assert_close(environment.scores()["return"], values.amax(-1))


def test_the_optimum_of_any_coupling_is_that_of_all_joint_actions() -> None:
    """Also where the coupling is not symmetric, as that of the games is."""
    generator = torch.Generator().manual_seed(0)
    joint = torch.tensor(list(itertools.product(range(3), repeat=5)))
    for closed in (True, False):
        preference = torch.randn(20, 5, 3, generator=generator)
        coupling = torch.randn(3, 3, generator=generator)
        best = optimum.best_joint_action(preference, coupling, closed)
        values = [joint_value(one.expand(len(joint), -1, -1), coupling, closed, joint).amax() for one in preference]
        torch.testing.assert_close(joint_value(preference, coupling, closed, best), torch.stack(values))


def test_echo_pays_for_the_symbol_of_the_agent_before() -> None:
    environment = make("game/echo_3", 1)
    first = environment.reset(2)
    symbols = first.observation[0].argmax(-1).tolist()
    assert first.graph.neighbours[0].tolist() == [[2], [0], [1]]
    named = [symbols[2], symbols[0], (symbols[1] + 1) % 3]
    assert environment.step(torch.tensor([named])).reward.tolist() == [[1, 1, 0]]


def test_walk_pays_by_the_cell_a_step_ends_in() -> None:
    environment = make("game/walk_1", 8)
    cells = environment.reset(0).observation[:, 0, :8].argmax(-1)
    assert environment.state[0, 0, 8:].tolist() == [1] + [0] * (WALK_STEPS - 1)  # the time
    for time in range(WALK_STEPS):
        action = torch.full((8, 1), [0, 2, 1][time % 3])
        step = environment.step(action)
        cells = (cells + action[:, 0] - 1).clamp(0, 7)
        assert torch.equal(step.observation[:, 0, :8].argmax(-1), cells)
        assert torch.equal(step.reward[:, 0], torch.tensor(CELL_PAY)[cells])
    assert not step.observation[:, 0, 8:].any()  # no step is left


def test_tables_of_the_walk_are_the_game() -> None:
    """Every state and action: the same next observation and reward as the rules give; the end follows the last step."""
    rules = Walk()
    model = rules.model()
    states = len(model.start)
    assert states == 8 * WALK_STEPS
    assert model.start.tolist() == [1 / 8] * 8 + [0] * (states - 8)
    for action in range(3):
        actions = torch.full((states, 1), action)
        assert torch.equal(rules.reward(model.observation[:, None], actions)[:, 0], model.reward[:, action])
        after = rules.follow(model.observation[:, None], actions)[:, 0]
        ended = model.next_state[:, action] == states
        assert torch.equal(ended, torch.arange(states) >= states - 8)
        assert torch.equal(after[~ended], model.observation[model.next_state[~ended, action]])


@pytest.mark.parametrize("gamma", [1.0, 0.95])
def test_best_walk_by_hand(gamma: float) -> None:
    """From cell c: c steps to the lure (one already counts there), or 7 - c to the far end, and stay."""
    value = Walk().action_values(gamma).amax(-1)[:8]
    for cell in range(8):
        near = sum(0.6 * gamma**t for t in range(WALK_STEPS) if t + 1 >= cell)
        far = sum(gamma**t for t in range(WALK_STEPS) if t + 1 >= 7 - cell)
        assert (near > far) == (cell < 3)
        assert value[cell].item() == pytest.approx(max(near, far))


@pytest.mark.parametrize("task", TASKS)
def test_reference_policies(task: str) -> None:
    """Means that are known: of random play within sampling error, of optimal play up to the drawn starts."""
    random = {"climbing": -31 / 9, "penalty": -178 / 9, "two_step": 19 / 4}
    random |= {"echo": 8 / 3, "ring": 16 / 3, "chain": 14 / 3}
    best = {"climbing": 11, "penalty": 10, "two_step": 8, "echo": 8, "walk": 5.975}
    family = task.removeprefix("game/").rpartition("_")[0]
    found = {name: mean_return(task, name) for name in envs.reference_policies(task)}
    if family in random:
        spread = {"penalty": 45.0, "climbing": 15.0}.get(family, 3.5)
        assert abs(found["random"] - random[family]) < 4 * spread / 2000**0.5
    if family in best:
        assert found["optimal"] == pytest.approx(best[family], abs=0.1 if task in DRAWN else 0)
    if "selfish" in found:
        share = (found["selfish"] - found["random"]) / (found["optimal"] - found["random"])
        assert 0.6 < share < 0.75, "selfish play is good, but clearly not the best"


@pytest.mark.parametrize("task", DRAWN[:3])
def test_reward_modes(task: str) -> None:
    local, shared = make(task, 4), make(task, 4, reward="shared")
    actions = torch.randint(3, (4, 8), generator=torch.Generator().manual_seed(0))
    local.reset(5), shared.reset(5)
    rewards, everyone = local.step(actions).reward, shared.step(actions).reward
    torch.testing.assert_close(everyone, rewards.sum(-1, keepdim=True).expand(-1, 8))
    assert torch.equal(local.scores()["return"], shared.scores()["return"])
    torch.testing.assert_close(local.scores()["return"].float(), rewards.sum(-1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", TASKS)
def test_shapes_types_and_ends(task: str, dtype: str) -> None:
    environment = make(task, 3, dtype=dtype)
    spec = environment.spec
    assert spec == envs.spec(task, dtype=dtype)
    assert spec.num_agents == int(task.rpartition("_")[2]) == len(spec.agent_kinds)
    assert spec.static_graph
    assert not spec.relaxed_actions
    steps = [environment.reset(0), *play(environment, torch.Generator().manual_seed(0))]
    for step in steps:
        assert step.observation.shape == (3, spec.num_agents, spec.observation_dim)
        assert step.observation.dtype == step.reward.dtype == getattr(torch, dtype)
        assert step.reward.shape == (3, spec.num_agents)
        assert step.graph.neighbours.shape == step.graph.mask.shape == (3, spec.num_agents, spec.max_neighbours)
        assert 0 <= step.graph.neighbours.min() <= step.graph.neighbours.max() < spec.num_agents
        assert not step.graph.neighbours[~step.graph.mask].any()
        assert all(torch.equal(a, b) for a, b in zip(step.graph, steps[0].graph, strict=True))
        assert not step.truncated.any()
    assert not steps[0].reward.any()
    assert [bool(step.terminated.all()) for step in steps] == [False] * spec.episode_length + [True]
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        environment.step(torch.zeros(3, spec.num_agents, dtype=torch.int64))
    environment.reset()
    play(environment, torch.Generator().manual_seed(0))


def test_who_hears_whom() -> None:
    heard = {
        "game/ring_4": [[3, 1], [0, 2], [1, 3], [2, 0]],
        "game/chain_4": [[1], [0, 2], [1, 3], [2]],
        "game/echo_4": [[3], [0], [1], [2]],
        "game/climbing_2": [[1], [0]],
        "game/walk_1": [[]],
    }
    for task, expected in heard.items():
        graph = make(task, 1).reset(0).graph
        pairs = zip(graph.neighbours[0].tolist(), graph.mask[0].tolist(), strict=True)
        assert [[j for j, there in zip(row, mask, strict=True) if there] for row, mask in pairs] == expected
        assert graph.mask.shape[-1] >= 1


@pytest.mark.parametrize("task", TASKS)
def test_equal_seeds_give_equal_episodes(task: str) -> None:
    runs = []
    for _ in range(2):
        environment, generator = make(task, 3), torch.Generator().manual_seed(1)
        runs.append(
            [environment.reset(5), *play(environment, generator), environment.reset(), *play(environment, generator)]
        )
    assert equal(*runs)
    environment = make(task, 3)
    if task in DRAWN:
        assert not torch.equal(environment.reset(6).observation, environment.reset(5).observation)
        assert not torch.equal(environment.reset().observation, environment.reset().observation)
        assert not torch.equal(environment.reset(0).observation, environment.reset(2**32).observation)


@pytest.mark.parametrize("task", DRAWN)
def test_copies_play_the_episodes_of_one_after_the_other(task: str) -> None:
    together, alone = make(task, 3), make(task, 1)
    batch = torch.cat([together.reset(2).observation, together.reset().observation])
    single = torch.cat([alone.reset(2 if episode == 0 else None).observation for episode in range(6)])
    assert torch.equal(batch, single)


@pytest.mark.parametrize("task", TASKS)
def test_a_saved_environment_continues_exactly(task: str) -> None:
    """Also through a file, in the middle of an episode where it has one, with episodes to come."""
    original, generator = make(task, 3), torch.Generator().manual_seed(3)
    original.reset(1)
    play(original, generator)
    original.reset()
    play(original, generator, original.spec.episode_length - 1 or None)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    resumed = make(task, 3)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    ends = []
    for one in (original, resumed):
        generator.manual_seed(4)
        rest = play(one, generator, 1) if one.spec.episode_length > 1 else []
        score = one.scores()["return"]
        ends.append(([*rest, one.reset(), *play(one, generator)], score))
    assert equal(ends[0][0], ends[1][0])
    assert torch.equal(ends[0][1], ends[1][1])


def test_a_state_is_a_snapshot_and_one_of_something_else_is_refused() -> None:
    environment = make("game/ring_8", 2)
    environment.reset(0)
    state = environment.state_dict()
    before = {name: state[name].clone() for name in ("state", "return")}
    play(environment, torch.Generator())
    environment.reset()
    assert all(torch.equal(state[name], value) for name, value in before.items())
    for other in (make("game/chain_8", 2), make("game/ring_8", 3), make("game/ring_4", 2)):
        with pytest.raises(ValueError, match="the state belongs to"):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match="not a state of a game: time missing"):
        environment.load_state_dict({name: value for name, value in state.items() if name != "time"})


def test_bad_actions_and_settings_are_refused() -> None:
    environment = make("game/ring_8", 2)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        environment.step(torch.zeros(2, 8, dtype=torch.int64))
    environment.reset(0)
    bad: list[tuple[torch.Tensor, str]] = [
        (torch.zeros(2, 7, dtype=torch.int64), r"shape \(2, 7\).*expected integers \(2, 8\)"),
        (torch.zeros(2, 8), "type torch.float32; expected integers"),
        (torch.zeros(2, 8, dtype=torch.bool), "expected integers"),
        (torch.zeros(2, 8, 3), "expected integers"),
        (torch.full((2, 8), 3), r"at \[0, 0\] is 3; expected indices from 0 to 2"),
        (torch.full((2, 8), -1), "expected indices from 0 to 2"),
    ]
    for actions, message in bad:
        with pytest.raises(ValueError, match=message):
            environment.step(actions)
    environment.step(torch.zeros(2, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="reward = 'team': expected one of local, shared"):
        envs.make("game/ring_8", 1, reward="team")
    with pytest.raises(ValueError, match="dtype = 'float16': expected one of"):
        envs.make("game/ring_8", 1, dtype="float16")
    with pytest.raises(TypeError, match="has no setting backend; it has reward, dtype"):
        envs.make("game/ring_8", 1, backend="numba")
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        envs.make("game/ring_8", 0)
    with pytest.raises(ValueError, match="seed must be between"):
        environment.reset(-1)
    with pytest.raises(ValueError, match="have no preferences"):
        Selfish(make("game/echo_8", 1))
    with pytest.raises(TypeError, match="need an environment of a game/ task, not a ParticleEnvironment"):
        Selfish(envs.make("mpe/cooperative_navigation_3", 1))


def test_names() -> None:
    assert set(TASKS) == {task.name for task in GAMES} <= set(envs.tasks())
    assert all(task.num_agents == game(task.name).num_agents for task in GAMES)
    assert envs.spec("game/ring_30").num_agents == 30
    for wrong in ("game/ring_2", "game/ring_08", "game/climbing_3", "game/walk_2", "game/rings_8", "game/ring"):
        with pytest.raises(UnknownTaskError, match="there is no task"):
            envs.make(wrong, 1)
    with pytest.raises(KeyError, match="the families are climbing"):
        game("game/chess_2")


def test_draws_are_splitmix64() -> None:
    """First numbers of the published generator for the seed 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [number % 2**64 for number in draws.splitmix(torch.arange(4), 1234567).tolist()] == published
    sample = draws.uniform(0, range(1000), 24, torch.device("cpu"))
    assert abs(sample.mean().item() - 0.5) < 0.01
    assert abs(sample.var().item() - 1 / 12) < 0.002
    assert torch.corrcoef(sample.T).fill_diagonal_(0).abs().max() < 0.15
    assert torch.equal(draws.uniform(0, range(10, 12), 24, torch.device("cpu")), sample[10:12])


@needs_shape_checks
def test_shape_annotations_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with every annotation of the rules executed."""
    checked = jaxtyped(typechecker=check)
    for name in ("_step", "step", "scores", "state"):
        found = inspect.getattr_static(GameEnvironment, name)
        if isinstance(found, property):
            assert found.fget is not None
            monkeypatch.setattr(GameEnvironment, name, property(checked(found.fget)))
        else:
            monkeypatch.setattr(GameEnvironment, name, checked(found))
    monkeypatch.setattr(environment, "uniform", checked(draws.uniform))
    monkeypatch.setattr(draws, "splitmix", checked(draws.splitmix))
    for name in ("best_joint_action", "_show", "_largest_entry"):
        monkeypatch.setattr(games, name, checked(getattr(games, name)))
    monkeypatch.setattr(games.Game, "team_reward", checked(games.Game.team_reward))
    for task in TASKS:
        played_game = make(task, 2)
        played_game.reset(0)
        played_game.step(played_game.game.optimum(played_game.state))
        played_game.scores()


def test_games_need_no_compiler() -> None:
    code = (
        "import sys, envs; environment = envs.make('game/ring_8', 2); environment.reset(0); "
        "envs.reference_policies('game/ring_8')['optimal'](environment).act(None); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], timeout=PATIENCE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("task", TASKS)
def test_episodes_are_the_same_on_a_cuda_device(task: str) -> None:
    generator = torch.Generator().manual_seed(0)
    cpu, gpu = make(task, 3), played(envs.make(task, 3, "cuda"))
    pairs = [(cpu.reset(7), gpu.reset(7))]
    for _ in range(cpu.spec.episode_length):
        assert torch.equal(cpu.game.optimum(cpu.state), gpu.game.optimum(gpu.state).cpu())
        actions = random_actions(cpu, generator)
        pairs.append((cpu.step(actions), gpu.step(actions.cuda())))
    assert all(torch.equal(a, b.cpu()) for one, two in pairs for a, b in zip(tensors(one), tensors(two), strict=True))
