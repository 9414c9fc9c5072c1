"""A policy is an object: what it plays is what the run played, it plays elsewhere, and what does not fit is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import benchmark
import envs
from algorithms import ALGORITHMS
from benchmark import evaluate, transfer
from benchmark.config import resolve
from benchmark.errors import MENDABLE, report_errors
from benchmark.messages import Channel, Losses, received_spec
from benchmark.policies import Policy, check_fit, load_policy, sized
from benchmark.randomness import stream
from benchmark.runs import run
from envs.mpe.scenarios import scenario
from envs.traffic.tasks import listed_city
from results.files import read_json
from results.keys import RunKey
from results.layout import CONFIG
from results.publish import main as publish_command
from results.publish import publish, read_published
from results.records import Run
from results.runs import load_run, load_runs
from tests.benchmark.conftest import SMALL
from tests.beside import needs_map
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
NAVIGATION = "mpe/cooperative_navigation_6"
PAIRS = [
    (NAVIGATION, "ip"),
    (NAVIGATION, "iql"),
    (NAVIGATION, "qmix"),
    (NAVIGATION, "maddpg"),
    ("magent/jungle_6", "dgn"),
    ("magent/jungle_6", "mfq"),
    ("game/ring_8", "pic"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short finished runs."""
    results = tmp_path_factory.mktemp("policies")
    for task, algorithm in PAIRS:
        run(resolve(task, algorithm, 0, 300, SMALL, "test"), results, quiet=True)
    return results


def folder_of(results: Path, algorithm: str) -> Path:
    task = next(task for task, name in PAIRS if name == algorithm)
    return results / task / algorithm / "test" / "seed_0"


def last_returns(folder: Path, policy: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "evaluation.jsonl").read_text().splitlines()]
    return list([line for line in lines if line["policy"] == policy][-1]["returns"])


@pytest.mark.parametrize("algorithm", [name for _, name in PAIRS])
@pytest.mark.parametrize("policy", ["greedy", "sampled"])
def test_it_plays_as_the_run_was_evaluated(trained: Path, algorithm: str, policy: str) -> None:
    loaded = benchmark.load_policy(folder_of(trained, algorithm))
    assert list(loaded.evaluate(policy=policy).returns) == last_returns(folder_of(trained, algorithm), policy)


@pytest.mark.parametrize("algorithm", [name for _, name in PAIRS])
def test_it_plays_with_other_numbers_of_agents(trained: Path, algorithm: str) -> None:
    """Also those with a mixer or a joint critic: what acts is the trained network, and equals it agent by agent."""
    policy = benchmark.load_policy(folder_of(trained, algorithm))
    trial = policy.evaluate(agents=9, episodes=2)
    assert (trial.agents, trial.task.rpartition("_")[2], len(trial.returns)) == (9, "9", 2)
    environment = policy.environment(trial.task, 2, {})
    learner = policy.learner_for(environment.spec)
    assert learner is not policy.learner
    for name, value in learner.action_networks[0].state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(value, policy.acting_weights()[name])
    step = environment.reset(0)
    generator = torch.Generator()
    acted = learner.act(step.observation, step.graph, generator, True)
    chosen = policy.act(step.observation, step.graph)
    assert torch.equal(chosen, acted)
    if algorithm in ("iql", "qmix"):  # agents that hear nobody act alike, however many there are
        few = step.observation[:, :6]
        assert torch.equal(policy.act(few, step.graph), chosen[:, :6])


def test_every_algorithm_can_act_elsewhere() -> None:
    """The first registered network of actions is free of the number of agents in all of them."""
    for name in ALGORITHMS:
        config = resolve("magent/jungle_6", name, 0, 100, {"algorithm.hidden": 16})
        import algorithms

        learner = algorithms.make(name, config.spec(), config.algorithm_settings)
        there = envs.spec("magent/jungle_9")
        assert Policy(config, learner).learner_for(there).spec == there  # type: ignore[attr-defined]


def test_heterogeneous_kinds_are_checked(tmp_path: Path) -> None:
    config = resolve("mpe/heterogeneous_navigation_8", "iql", 0, 100, {"algorithm.hidden": 16})
    import algorithms

    policy = Policy(config, algorithms.make("iql", config.spec(), config.algorithm_settings))
    assert policy.evaluate(agents=16, episodes=1).agents == 16
    step = envs.make("mpe/heterogeneous_navigation_16", 1).reset(0)
    with pytest.raises(MENDABLE, match="not alike: call evaluate"):
        policy.act(step.observation, step.graph)


def test_other_navigation_keeps_density() -> None:
    for agents in (7, 60, 1000):
        task = sized("mpe/cooperative_navigation_6", agents)
        area = 4 * scenario(task).placements[0].half_width ** 2
        assert agents / area == pytest.approx(30 / 36)
        assert scenario(task).observation_dim() == 26
        assert scenario(task).recorded_as is None
    step = envs.make("mpe/cooperative_navigation_1000", 1).reset(0)
    assert step.observation.shape == (1, 1000, 26)
    assert scenario("mpe/cooperative_navigation_100").placements[0].half_width == 5.0, "published ones stay"


def test_channel_loses_what_it_says() -> None:
    """Drops affect a share of the edges; the messages of silent agents reach no agent for the whole episode."""
    step = envs.make("magent/jungle_60", 50).reset(0)
    edges = int(step.graph.mask.sum())
    heard = Channel(Losses(drop=0.25), stream(0, "messages", torch.device("cpu")))(step.observation, step.graph)
    assert heard.observation is step.observation
    assert not (heard.graph.mask & ~step.graph.mask).any()
    share = 1 - int(heard.graph.mask.sum()) / edges
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / edges)
    channel = Channel(Losses(drop_agents=0.5), stream(0, "messages", torch.device("cpu")))
    first, again = (channel(step.observation, step.graph).graph for _ in range(2))
    assert torch.equal(first.mask, again.mask)
    assert channel.audible is not None
    sender = channel.audible.gather(1, step.graph.neighbours.long().flatten(1)).view_as(first.mask)
    assert torch.equal(first.mask, step.graph.mask & sender)
    assert 0.4 < channel.audible.float().mean() < 0.6


def test_late_messages_are_those_of_the_step_before(trained: Path) -> None:
    """An agent acts on its observation of now and its neighbours of then: as by hand, with the graph of both."""
    policy = benchmark.load_policy(folder_of(trained, "ip"))
    environment = policy.environment(NAVIGATION, 3, {})
    before = environment.reset(0)
    now = environment.step(torch.ones(3, 6, dtype=torch.long))
    losses = Losses(delay=1)
    channel = Channel(losses, stream(0, "messages", torch.device("cpu")))
    channel(before.observation, before.graph)
    heard = channel(now.observation, now.graph)
    learner: Any = policy.learner_for(received_spec(environment.spec, losses), listed=True)
    late = learner.policy_outputs(*heard)[:, :6]
    trained_learner: Any = policy.learner
    network = trained_learner.policy
    then: list[Any] = [torch.relu(network.encoder(before.observation))]
    mine = [torch.relu(network.encoder(now.observation))]
    for layer in network.layers():
        neighbours = trained_learner.neighbourhood(before.graph)
        told = neighbours.attend(
            layer.query(mine[-1])[:, :, None], layer.key(then[-1])[:, :, None], layer.received(then[-1])[:, :, None]
        )
        mine.append(torch.relu(layer.own(mine[0]) + told))
        then.append(layer(then[0], then[-1], then[-1], neighbours))
    torch.testing.assert_close(late, network.head(torch.cat(mine, dim=-1)), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(late, trained_learner.policy_outputs(now.observation, now.graph))


def test_losses_and_those_who_hear_nobody(trained: Path) -> None:
    """A policy without messages plays as before, to the last bit; one with them does not; all lost is the same however
    late."""
    deaf, hearing = (benchmark.load_policy(folder_of(trained, name)) for name in ("iql", "ip"))
    assert (deaf.uses_messages, hearing.uses_messages) == (False, True)
    for losses in (Losses(drop=0.7), Losses(drop_agents=0.5), Losses(delay=1)):
        assert deaf.evaluate(losses=losses).returns == deaf.evaluate().returns
        assert hearing.evaluate(policy="greedy", losses=losses, episodes=20).returns != (
            hearing.evaluate(policy="greedy", episodes=20).returns
        )
    lost = hearing.evaluate(losses=Losses(drop=1)).returns
    assert lost == hearing.evaluate(losses=Losses(drop_agents=1)).returns
    assert lost == hearing.evaluate(losses=Losses(drop=1, delay=1)).returns


def test_a_full_graph_loses_messages_too() -> None:
    """A complete graph uses a kernel without lists; with nothing lost, lists give the same actions."""
    import algorithms

    config = resolve(NAVIGATION, "ip", 0, 100, {"algorithm.hidden": 16, "algorithm.graph": "full"})
    policy = Policy(config, algorithms.make("ip", config.spec(), config.algorithm_settings, seed=3))
    whole = policy.evaluate(episodes=20, policy="sampled").returns
    almost = policy.evaluate(episodes=20, policy="sampled", losses=Losses(drop=1e-12)).returns
    assert almost == pytest.approx(whole)
    assert policy.evaluate(episodes=20, policy="sampled", losses=Losses(drop=1)).returns != whole


def test_command_writes_what_was_played(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = folder_of(trained, "ip"), tmp_path / "out" / "out.json"
    assert evaluate.main([str(folder), "--episodes", "4", "--drop", "0.2", "--json", str(out)]) == 0
    trial = read_json(out)["trial"]
    assert (trial["drop"], len(trial["returns"]), trial["task"]) == (0.2, 4, NAVIGATION)
    played = benchmark.load_policy(folder).evaluate(episodes=4, losses=Losses(drop=0.2))
    assert list(played.returns) == trial["returns"]
    assert "20 % of messages lost" in capsys.readouterr().out
    assert evaluate.main([str(folder_of(trained, "iql")), "--drop", "0.2"]) == 0
    assert "losses have no effect" in capsys.readouterr().out


def unfinished(results: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(folder_of(results, "iql"), tmp_path / "unfinished"))
    (folder / "policy.pt").unlink()
    (folder / "status.json").write_text(json.dumps({"state": "running", "step": 120, "total_steps": 300}))
    return folder


MISUSES = {
    "no folder": (["nowhere"], "nowhere: no such file"),
    "wrong folder": (["."], "holds no trained policy: expected policy.pt or checkpoint.pt of a run folder, the folder"),
    "unfinished run": (["UNFINISHED"], "is not finished (its status: running, step 120)"),
    "another observation size": (["RUN", "--agents", "3"], "observations of 26 numbers"),
    "other actions": (["RUN", "--task", "magent/jungle_6"], "with 5 actions, magent/jungle_6 has 9 actions"),
    "continuous actions": (["RUN", "--set", "environment.actions=continuous"], "has vectors of 2 numbers as actions"),
    "one agent": (["RUN", "--agents", "1"], "--agents 1: mpe/cooperative_navigation does not exist with this number"),
    "too many agents": (["RUN", "--agents", "1001"], "6 to 1000 agents"),
    "more than all lost": (["RUN", "--drop", "1.5"], "--drop 1.5: expected a share"),
    "a share that is no number": (["RUN", "--drop", "some"], "expected a share"),
    "less than nobody": (["RUN", "--drop-agents", "-0.1"], "--drop-agents -0.1: expected a share"),
    "very late": (["RUN", "--delay", "2"], "--delay 2: expected 0 (in time) or 1"),
    "no episodes": (["RUN", "--episodes", "0"], "--episodes 0: expected a positive number"),
    "no such task": (["RUN", "--task", "mpe/cooperative_navigatoin_6"], "did you mean"),
    "no such setting": (["RUN", "--set", "environment.rewards=local"], "did you mean environment.reward"),
    "no longer episodes": (["RUN", "--full"], "has no longer episodes"),
    "another number of kinds": (["RUN", "--task", "mpe/heterogeneous_navigation_8"], "numbers"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_is_one_line(
    trained: Path, tmp_path: Path, misuse: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, expected = MISUSES[misuse]
    monkeypatch.chdir(tmp_path)
    places = {"RUN": str(folder_of(trained, "ip")), "UNFINISHED": str(unfinished(trained, tmp_path))}
    arguments = [places.get(word, word) for word in words]
    assert report_errors(lambda: evaluate.main(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert expected in printed.err


def test_sampled_actions_need_a_generator(trained: Path) -> None:
    policy = benchmark.load_policy(folder_of(trained, "ip"))
    step = envs.make(NAVIGATION, 2).reset(0)
    with pytest.raises(MENDABLE, match="draws its actions: give generator="):
        policy.act(step.observation, step.graph, "sampled")
    with pytest.raises(MENDABLE, match="expected greedy or sampled"):
        policy.act(step.observation, step.graph, "best")
    few = envs.make("mpe/cooperative_navigation_3", 2).reset(0)
    with pytest.raises(MENDABLE, match="what was given has 14"):
        policy.act(few.observation, few.graph)
    drawn = policy.act(step.observation, step.graph, "sampled", torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 6)


def test_the_package_says_what_it_has() -> None:
    """Without importing torch before a policy is requested."""
    code = (
        "import sys, benchmark\nassert 'torch' not in sys.modules\n"
        "assert callable(benchmark.load_policy)\n"
        "try:\n    benchmark.load_polcy\nexcept AttributeError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert "has no attribute 'load_polcy'" in done.stdout, done.stderr


# Suites of evaluations


def test_transfer_adds_lines_once(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each trial once, with the reference policies; readers and published sets have it; runs are as they were."""
    results = Path(shutil.copytree(trained, tmp_path / "results"))
    command = ["--results", str(results), "--tasks", NAVIGATION, "--algorithms", "ip", "iql", "--episodes", "2"]
    command += ["--agents", "3", "6", "9"]
    assert transfer.main(command) == 0
    printed = capsys.readouterr().out
    assert "not tried: mpe/cooperative_navigation_6 ip test seed 0 on mpe/cooperative_navigation_3" in printed
    assert "4 trials in 2 of 2 runs" in printed
    file = folder_of(results, "ip") / "transfer.jsonl"
    content = file.read_bytes()
    assert transfer.main(command) == 0
    assert file.read_bytes() == content
    assert ": return" not in capsys.readouterr().out, "nothing is played again"
    assert transfer.main([*command[:-3], "6", "--messages"]) == 0
    found = load_run(folder_of(results, "ip")).trials
    assert [trial.agents for trial in found] == [6, 9, *[6] * (len(transfer.MESSAGES) - 1)]
    assert {trial.policy for trial in found} == {"sampled"}, "the headline policy"
    assert set(found[0].references) == set(envs.reference_policies(NAVIGATION))
    direct = benchmark.load_policy(folder_of(results, "ip")).evaluate(agents=9, episodes=2, policy="sampled")
    assert direct.returns == found[1].returns
    everything = load_runs(results)
    publish(everything, tmp_path / "set")
    assert [run.trials for run in read_published(tmp_path / "set").runs] == [run.trials for run in everything.runs]
    assert found[0].commit == transfer.commit()
    before = load_runs(trained)
    publish(before, tmp_path / "old")
    assert not any(run.trials for run in read_published(tmp_path / "old").runs), "as sets were before"
    assert publish_command(["--trials", str(results), "--output", str(tmp_path / "old")]) == 0
    added = {run.key: run for run in read_published(tmp_path / "old").runs}
    kept = {run.key: run for run in everything.runs}
    for key, added_run in added.items():
        assert [trial.returns for trial in added_run.trials] == [trial.returns for trial in kept[key].trials]
        assert added_run.evaluations == kept[key].evaluations
    trial, whole = added[kept_key(kept)].trials[0], kept[kept_key(kept)].trials[0]
    assert {name: sum(returns) / 2 for name, returns in whole.references.items()} == {
        name: mean for name, (mean,) in trial.references.items()
    }
    capsys.readouterr()
    assert publish_command(["--trials", str(trained), "--output", str(tmp_path / "old")]) == 1
    assert "make some with python -m benchmark.transfer" in capsys.readouterr().err


def kept_key(runs: dict[RunKey, Run]) -> RunKey:
    return next(key for key, run in runs.items() if run.trials)


def test_transfer_goes_on_where_it_was_killed(trained: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(trained, tmp_path / "results"))
    command = ["--results", str(results), "--algorithms", "dgn", "--agents", "6", "8", "--episodes", "2"]
    assert transfer.main(command) == 0
    file = folder_of(results, "dgn") / "transfer.jsonl"
    content = file.read_bytes()
    file.write_bytes(content[:-40])
    assert any("truncated" in note for note in load_run(file.parent).notes)
    assert transfer.main(command) == 0
    assert file.read_bytes() == content
    file.write_bytes(b'{"task": 3}\n' + content)
    with pytest.raises(MENDABLE, match=r"transfer.jsonl, line 1: expected task, agents"):
        load_run(file.parent)


@pytest.mark.parametrize("task", ["mpe/cooperative_navigation_15", "cityflow/synthetic_49", "magent/jungle_20"])
def test_usual_targets_can_be_made(task: str) -> None:
    """But for sizes that another version has."""
    names = [sized(name) for name in transfer.targets(task) if name != "cityflow/synthetic_10000"]
    assert task in names
    assert len(names) >= 3
    assert len({envs.spec(name).observation_dim for name in names}) == 1


@needs_map("cityflow/hangzhou_16", "cityflow/jinan_12", "cityflow/manhattan_48", "cityflow/manhattan_96")
def test_which_maps_fit() -> None:
    """Signals of four arms see as much everywhere; the larger Manhattan has wider roads."""
    trained = envs.spec("cityflow/synthetic_49")
    for name in ("hangzhou_16", "jinan_12", "manhattan_48"):
        check_fit("cityflow/synthetic_49", trained, name, envs.spec(f"cityflow/{name}"))
    wide = envs.spec("cityflow/manhattan_96")
    with pytest.raises(MENDABLE, match="with observations of 20 numbers, cityflow/manhattan_96 has 30"):
        check_fit("cityflow/synthetic_49", trained, "cityflow/manhattan_96", wide)


def test_a_policy_whose_map_is_not_here_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is missing: the policy is all right."""
    monkeypatch.setenv("IPB_DATA", str(tmp_path / "nothing"))
    listed_city.cache_clear()
    folder = Path(shutil.copytree(ROOT / "results" / "policies" / "iql_synthetic_49", tmp_path / "policy"))
    (folder / CONFIG).write_text((folder / CONFIG).read_text().replace("synthetic_49", "manhattan_48"))
    with pytest.raises(envs.EnvironmentNotAvailableError, match=r"get it with python -m envs\.traffic\.data fetch"):
        load_policy(folder)
