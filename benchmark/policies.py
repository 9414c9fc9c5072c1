"""Trained policies as objects: loaded from the folder of a run or from an exported folder, and played on any task they
fit.

    policy = load_policy("results/quick/mpe/cooperative_navigation_15/ip/difference/seed_0")
    policy.evaluate().returns                                             on the evaluation episodes of the run
    policy.evaluate("mpe/cooperative_navigation_100", episodes=20)        with another number of agents
    actions = policy.act(step.observation, step.graph)

The acting network of every algorithm here is independent of the number of agents; mixers and joint critics are not. On
another task a policy is therefore a learner of that task of which only the acting network is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import algorithms
import envs
from algorithms.protocols import EnvironmentSpec, Graph, Learner
from benchmark.config import RunConfig, TrainingConfig
from benchmark.errors import MENDABLE, UserError, says_enough
from benchmark.messages import NO_LOSSES, Channel, Losses, received_spec, through, uses_messages
from benchmark.tasks import training_defaults
from envs.shapes import Float
from results.checkpoints import load_checkpoint
from results.folder import status_of
from results.forms import read_config
from results.identity import FILES
from results.layout import CHECKPOINT, CONFIG, POLICY, WEIGHTS
from results.records import POLICIES, Trial

if TYPE_CHECKING:
    from benchmark.evaluation import Act
    from envs.protocols import Environment

FILES_OF_RUNS = "policy.pt or checkpoint.pt of a run folder"
FOLDERS = "the folder of a finished run, or one written by benchmark.export"


class Policy:
    """A trained policy and the settings that it was trained with."""

    def __init__(self, config: RunConfig, learner: Learner) -> None:
        self.config, self.learner = config, learner
        self.spec: EnvironmentSpec = config.spec()
        self._elsewhere: dict[tuple[EnvironmentSpec, bool], Learner] = {}

    @property
    def headline(self) -> str:
        """The policy by which the algorithm is judged: `sampled` for one that learns a stochastic policy, `greedy` for
        a Q-learner."""
        return "greedy" if hasattr(self.learner, "epsilon") else "sampled"

    @property
    def uses_messages(self) -> bool:
        """Whether the actions of agents depend on messages from others."""
        return uses_messages(self.config.algorithm_settings, self.learner.uses_graph)  # type: ignore[attr-defined]

    def act(
        self,
        observation: Float[Tensor, "env agent feature"],
        graph: Graph,
        policy: str = "greedy",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Actions of all agents: indices (env, agent), or vectors where the task takes them.

        A number of agents other than that of training is accepted where all agents are alike. `sampled` draws from
        `generator`. Raises UserError where the observations differ in size from those of training.
        """
        greedy = _is_greedy(policy)
        if generator is None:
            if not greedy:
                raise UserError("policy='sampled' draws its actions: give generator=torch.Generator().manual_seed(...)")
            generator = torch.Generator(observation.device)
        spec = dataclasses.replace(self.spec, observation_dim=observation.shape[-1])
        agents = observation.shape[-2]
        if agents != spec.num_agents:
            if len(set(spec.agent_kinds)) > 1 or spec.action_mask:
                raise UserError(
                    f"observations of {agents} agents for a policy of {spec.num_agents} that are not alike: call "
                    "evaluate, whose task says of what kind each agent is"
                )
            spec = dataclasses.replace(spec, num_agents=agents, agent_kinds=spec.agent_kinds[:1] * agents)
        check_fit(self.config.task, self.spec, "what was given", spec)
        return self.learner_for(spec).act(observation, graph, generator, greedy)

    def evaluate(
        self,
        task: str | None = None,
        episodes: int | None = None,
        seed: int | None = None,
        policy: str = "greedy",
        *,
        agents: int | None = None,
        losses: Losses = NO_LOSSES,
        full: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> Trial:
        """Play fixed episodes of a task, by default those on which the run was evaluated.

        Args:
            task: by default that of training.
            agents: number of agents, where it differs from the task's.
            episodes: by default as many as an evaluation of the task has.
            losses: lost or late messages.
            full: play the longer episodes of tasks that have them, such as a whole hour of traffic.
            settings: settings of the environment; all others are those of training, where the task has them.

        Raises UserError where the policy does not fit the task, and what `envs.make` raises.
        """
        from benchmark.evaluation import play_episode

        greedy = _is_greedy(policy)
        task, given = envs.locate(sized(task or self.config.task, agents))
        training = self.config.training
        if episodes is None:
            usual = training_defaults(task).get("evaluation_episodes", training.evaluation_episodes)
            episodes = training.evaluation_episodes if task == self.config.task else usual
        if episodes < 1:
            raise UserError(f"--episodes {episodes}: expected a positive number of episodes")
        seed = training.evaluation_seed if seed is None else seed
        if not 0 <= seed < 2**63:
            raise UserError(f"--seed {seed}: expected a whole number from 0 to 2^63 - 1")
        if full and not envs.full_evaluation(task):
            raise UserError(f"{task} has no longer episodes: leave out --full")
        changes = given | dict(settings or {}) | (envs.full_evaluation(task) if full else {})
        environment = self.environment(task, episodes, changes)
        act = self.acting(environment, policy, seed, losses)
        scores = play_episode(environment, act, seed)
        returns = tuple(round(value, 4) for value in scores.pop("return").tolist())
        means = {name: round(value.double().mean().item(), 6) for name, value in scores.items()}
        spec = environment.spec
        steps, kind = spec.episode_length, "greedy" if greedy else "sampled"
        return Trial(task, spec.num_agents, kind, seed, steps, returns, means, **dataclasses.asdict(losses))

    def environment(self, task: str, copies: int, changes: Mapping[str, Any]) -> Environment:
        """Copies of a task with the settings of training, where it has them, and changes. Raises UserError, before
        anything is built, where the policy does not fit."""
        chosen = self.settings_for(task) | dict(changes)
        try:
            check_fit(self.config.task, self.spec, task, envs.spec(task, **chosen))
            environment = envs.make(task, copies, self.config.device, **chosen)
        except MENDABLE:
            raise
        except (TypeError, ValueError) as error:
            raise UserError(f"bad setting for {task}: {error}") from error
        return environment

    def settings_for(self, task: str) -> dict[str, Any]:
        """Settings of training that another task has too, without those that locate a city."""
        mine: Any = self.config.environment
        settings = dataclasses.asdict(mine)
        if task == self.config.task:
            return settings
        if envs.settings(task) is not type(mine):
            return {}
        city = {"map", *FILES, "lane_change", "vehicles"} if hasattr(mine, "map") else set()
        return {name: value for name, value in settings.items() if name not in city}

    def acting(self, environment: Environment, policy: str, seed: int, losses: Losses = NO_LOSSES) -> Act:
        """The policy as a function of steps, for one episode. Losses are sampled from a separate stream."""
        from algorithms.common.edges import full_graph
        from benchmark.evaluation import acting
        from benchmark.randomness import stream

        generator, greedy = stream(seed, "evaluation", environment.device), _is_greedy(policy)
        if not losses.any:
            return acting(self.learner_for(environment.spec), generator, greedy)
        learner = self.learner_for(received_spec(environment.spec, losses), listed=True)
        channel = Channel(losses, stream(seed, "messages", environment.device))
        everybody = getattr(self.config.algorithm_settings, "graph", "task") == "full"
        return through(
            channel,
            lambda observation, graph: learner.act(observation, graph, generator, greedy),
            full_graph if everybody else lambda graph: graph,
        )

    def acting_weights(self) -> dict[str, Tensor]:
        """Tensors of the acting network by name, on the CPU."""
        network = self.learner.action_networks[0]  # type: ignore[attr-defined]
        return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}

    def learner_for(self, spec: EnvironmentSpec, listed: bool = False) -> Learner:
        """The learner of another task with the trained acting network; the trained learner where the task equals that
        of training. `listed`: agents receive messages from the neighbours listed in the graph, whichever graph the
        policy was trained with."""
        settings = self.config.algorithm_settings
        relisted = listed and getattr(settings, "graph", "task") == "full"
        if spec == self.spec and not relisted:
            return self.learner
        if (spec, relisted) not in self._elsewhere:
            settings = dataclasses.replace(settings, graph="task") if relisted else settings
            self._elsewhere[spec, relisted] = with_weights(self.config, spec, settings, self.acting_weights())
        return self._elsewhere[spec, relisted]


def _is_greedy(policy: str) -> bool:
    if policy not in POLICIES:
        raise UserError(f"--policy {policy}: expected {' or '.join(POLICIES)}")
    return policy == "greedy"


def with_weights(config: RunConfig, spec: EnvironmentSpec, settings: Any, weights: dict[str, Tensor]) -> Learner:
    """A learner for `spec` that acts with the given weights, as at the end of training."""
    learner = algorithms.make(config.algorithm, spec, settings, config.device)
    learner.action_networks[0].load_state_dict(weights)  # type: ignore[attr-defined]
    learner.schedule(config.total_steps, config.total_steps)
    return learner


def sized(task: str, agents: int | None = None) -> str:
    """The name of a task with another number of agents. Raises UserError where there is no such task."""
    from envs.mpe.scenarios import FEWEST_NAVIGATING, MOST_NAVIGATING

    family, _, size = task.rpartition("_")
    if agents is not None:
        if not size.isdigit():
            raise UserError(f"--agents {agents}: {task} has no number of agents in its name; name the task with --task")
        task = f"{family}_{agents}"
    try:
        envs.settings(task)
    except envs.UnknownTaskError as error:
        if agents is None:
            raise
        sizes = {
            "mpe/cooperative_navigation": f"3, or {FEWEST_NAVIGATING} to {MOST_NAVIGATING} agents",
            "cityflow/synthetic": "a square number of signals from 4 on",
            "magent/jungle": "2 to 1000 agents",
        }
        known = sorted(int(other.rpartition("_")[2]) for other in envs.tasks() if other.rpartition("_")[0] == family)
        expected = sizes.get(family) or f"one of {', '.join(map(str, known))}"
        raise UserError(f"--agents {agents}: {family} does not exist with this number; expected {expected}") from error
    return task


def check_fit(trained_on: str, trained: EnvironmentSpec, task: str, spec: EnvironmentSpec) -> None:
    """Raises UserError where a policy trained on one task cannot play another."""
    remedy = "choose another task, or train there"
    if spec.action_dim != trained.action_dim or spec.num_actions != trained.num_actions:
        mine, its = _actions(trained), _actions(spec)
        raise UserError(f"this policy was trained on {trained_on} with {mine}, {task} has {its}: {remedy}")
    if spec.observation_dim != trained.observation_dim:
        raise UserError(
            f"this policy was trained on {trained_on} with observations of {trained.observation_dim} numbers, {task} "
            f"has {spec.observation_dim}: {remedy}"
        )
    kinds, others = (sorted(set(either.agent_kinds)) for either in (trained, spec))
    if kinds != others:
        raise UserError(
            f"this policy was trained on {trained_on} with {len(kinds)} kinds of agents, {task} has {len(others)}: "
            f"{remedy}"
        )


def _actions(spec: EnvironmentSpec) -> str:
    return f"{spec.num_actions} actions" if spec.num_actions else f"vectors of {spec.action_dim} numbers as actions"


def load_policy(path: str | Path, device: str = "cpu", city: str = "") -> Policy:
    """The policy in the folder of a finished run, in a folder written by `benchmark.export`, in a policy.pt, or in the
    checkpoint.pt of a run in progress. `city` is the present path of the CityFlow configuration of its task, by default
    the recorded one.

    Raises UserError where there is no policy, or it is damaged or from another version of the code.
    """
    file = _file_of(Path(path))
    state = load_checkpoint(file, device)
    try:
        if "acting" in state:
            record = read_config(file.parent / CONFIG)
        elif "learner" in state:
            record = state["config"]
        else:
            record = read_config(file.parent / CONFIG)
        if city and envs.locate(city)[0] == record["task"]:
            record["environment"]["map"] = city
        config = config_from_record(record, device)
        spec = config.spec()
        if "acting" in state:
            return Policy(config, with_weights(config, spec, config.algorithm_settings, state["acting"]))
        weights = state["learner"] if "learner" in state else state["training"]["learner"]
        learner = algorithms.make(config.algorithm, spec, config.algorithm_settings, device)
        learner.schedule(config.total_steps, config.total_steps)
        learner.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if says_enough(error):
            raise
        detail = str(error).partition("\n")[0][:120]
        raise UserError(f"{file} does not fit this version of the code ({detail}): train the run again") from error
    return Policy(config, learner)


def _file_of(path: Path) -> Path:
    """The file that contains the policy at a path. Raises UserError."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: no such file; expected {FILES_OF_RUNS}, or {FOLDERS}")
    if (path / WEIGHTS).exists():
        return path / WEIGHTS
    if (path / POLICY).exists():
        return path / POLICY
    if not (path / CONFIG).exists():
        raise UserError(f"{path} holds no trained policy: expected {FILES_OF_RUNS}, {FOLDERS}")
    status = status_of(path)
    if status["state"] == "finished":
        raise UserError(f"{path} has no {POLICY}: it was removed; delete the folder to rerun it")
    also = f", or name its {CHECKPOINT}" if (path / CHECKPOINT).exists() else ""
    raise UserError(
        f"{path} is not finished (its status: {status['state']}, step {status['step']}): finish it with the command "
        f"that began it{also}"
    )


def config_from_record(record: dict[str, Any], device: str = "cpu") -> RunConfig:
    """Settings from `RunConfig.record()` or config.json. Raises KeyError or TypeError where fields differ, and what
    `envs.locate` raises."""
    task, environment = envs.locate(record["task"], record["environment"])
    algorithm = record["algorithm"]
    return RunConfig(
        task,
        algorithm,
        record["seed"],
        record["total_steps"],
        envs.settings(task)(**environment),
        TrainingConfig(**record["training"]),
        algorithms.config_type(algorithm).from_record(record["algorithm_settings"]),
        record["variant"],
        device,
    )
