"""A training run in memory, without files: rollouts, gradient steps and evaluations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

import algorithms
from algorithms.common.learner import OffPolicyLearner
from benchmark import acceleration, evaluation
from benchmark.blocks import CapturedFunction, MetricSums, copied_step, overwrite, read
from benchmark.budget import replay_capacity, rounds_of
from benchmark.config import RunConfig
from benchmark.errors import UserError
from benchmark.process import set_process_state
from benchmark.randomness import stream, stream_seed
from benchmark.replay import Replay
from benchmark.rewards import RewardScale
from envs.protocols import Capturable, Graph, Step, Unsaveable

_GENERATORS = ("actions", "replay", "update")


class Training:
    """A run in memory: environment, learner, replay buffer and counters. `advance` continues it, `state_dict` saves
    it."""

    def __init__(self, config: RunConfig) -> None:
        self.config, self.settings = config, config.training
        self.device = torch.device(config.device)
        set_process_state(config)
        self.environment = config.make_environment(self.settings.num_envs)
        self.evaluation_environment = config.make_environment(self.settings.evaluation_episodes)
        self.spec = self.environment.spec
        self.learner = algorithms.make(
            config.algorithm,
            self.spec,
            config.algorithm_settings,
            config.device,
            stream_seed(config.seed, "weights"),
            fused=self.settings.fused,
        )
        if self.settings.initial_policy:
            from benchmark.initial import begin_with_policy

            begin_with_policy(self.learner, config)
        self.learn = acceleration.accelerate(self.learner, self.settings.acceleration, self.device)
        self.generators = {name: stream(config.seed, name, self.device) for name in _GENERATORS}
        capacity = replay_capacity(config)
        observation_dtype = getattr(torch, self.settings.observation_dtype)
        self.captures = acceleration.captures_blocks(self.settings.acceleration, self.device)
        """Whether steps are captured as CUDA graphs."""
        counts_on_device = self.captures or self.device.type != "cpu"
        width = self.learner.action_width
        self.replay = Replay(
            self.spec, self.settings.num_envs, capacity, self.device, observation_dtype, width, counts_on_device
        )
        self.reward_scale = RewardScale(self.settings.reward_scale, self.spec.num_agents, self.device)
        self.environment_step = 0
        """Environment steps so far, over all copies."""
        self.updates = 0
        self.owed = 0
        """Gradient steps owed, in units of 1 / update_interval."""
        self.metrics = MetricSums()
        self.ended_returns: list[torch.Tensor] = []
        """Returns of the episodes that have ended since the last line of the log, on the device."""
        self.episode_restarted = False
        """Whether the environment could not continue its episode when it was last restored, and has begun another."""
        self.seconds = dict.fromkeys(("act", "environment", "update", "evaluation"), 0.0)
        self.current = self.environment.reset(stream_seed(config.seed, "environment"))
        self.replay.begin_episode(self.current)
        self._prepare()

    def _prepare(self) -> None:
        """Choose between eager steps and steps that are captured after their first calls."""
        self._play: Callable[[], None] = self._act_and_step
        self._learn: Callable[[], None] = self._learn_from_batch
        if not self.captures:
            return
        if not isinstance(self.learner, OffPolicyLearner):
            raise UserError("training.acceleration=cuda_blocks needs a learner made from OffPolicyLearner: choose none")
        self.learner.keep_in_tensors()
        replay, update = self.generators["replay"], self.generators["update"]
        self._learn = CapturedFunction(self._learn_from_batch, [replay, update], self.device)
        if isinstance(self.environment, Capturable) and self.environment.capturable:
            self.current = copied_step(self.current)
            self._rollout = CapturedFunction(self._roll, [self.generators["actions"]], self.device)
            self._play = self._play_captured

    def advance(self) -> None:
        """One block: about `update_interval` environment steps with the current policy, then the gradient steps due."""
        rounds = rounds_of(self.settings)
        self.learner.schedule(self.environment_step, self.config.total_steps)
        for _ in range(rounds):
            self._environment_step()
        if len(self.replay) >= self.settings.learning_starts:
            self.owed += rounds * self.settings.num_envs * self.settings.gradient_steps
        with self._timed("update"):
            while self.owed >= self.settings.update_interval:
                self.owed -= self.settings.update_interval
                self._gradient_step()

    def _environment_step(self) -> None:
        if self.replay.time == self.spec.episode_length:
            self.ended_returns.append(self.environment.scores()["return"].clone())
            self._begin_episode()
        self._play()
        self.environment_step += self.settings.num_envs

    def _begin_episode(self) -> None:
        step = self.environment.reset()
        if self._play == self._play_captured:
            overwrite(self.current, step)
        else:
            self.current = step
        self.replay.begin_episode(self.current)

    def _act_and_step(self) -> None:
        """Choose actions, step and store."""
        with self._timed("act"):
            actions = self.learner.act(
                self.current.observation, self.current.graph, self.generators["actions"], greedy=False
            )
        with self._timed("environment"):
            self.current = self.environment.step(actions)
            self.replay.add(actions, self.current)
            self.reward_scale.observe(self.current.reward)

    def _play_captured(self) -> None:
        """The captured form of `_act_and_step`; counters in Python advance here."""
        assert isinstance(self.environment, Capturable)
        with self._timed("environment"):
            self.environment.count_step()
            self._rollout()
            self.replay.count_step()

    def _roll(self) -> None:
        """The captured part: operations on tensors that replace the current step by the next."""
        assert isinstance(self.environment, Capturable)
        now = self.current
        actions = self.learner.act(now.observation, now.graph, self.generators["actions"], greedy=False)
        step = self.environment.advance(actions)
        self.replay.write(actions, step)
        self.reward_scale.observe(step.reward)
        overwrite(now, step)

    def _gradient_step(self) -> None:
        self._learn()
        self.metrics.count += 1
        self.updates += 1

    def _learn_from_batch(self) -> None:
        """A gradient step on tensors only: sampling a batch, scaling its rewards, the update and its metrics."""
        batch = self.replay.sample(self.settings.batch_size, self.generators["replay"])
        batch = batch._replace(reward=self.reward_scale.apply(batch.reward))
        self.metrics.add(self.learn(batch, self.generators["update"]))

    def take_metrics(self) -> dict[str, Any]:
        """Means since the last call, for metrics.jsonl. Raises UserError where a metric is not finite."""
        record: dict[str, Any] = {"step": self.environment_step, "update": self.updates}
        returns, count = self._episode_returns(), self.metrics.count
        if returns:
            record["train/return"] = sum(returns) / len(returns)
        sums = self.metrics.sums if count else {}
        scale = self.reward_scale
        *totals, mean, deviation = read([*sums.values(), scale.mean(), scale.standard_deviation()])
        record |= {name: total / count for name, total in zip(sums, totals, strict=True)}
        record |= {"reward/mean": mean, "reward/std": deviation}
        self.metrics.clear(in_place=self.captures)
        self.ended_returns = []
        for name, value in record.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{name} is {value} at step {self.environment_step}: training diverged; "
                    "try a lower --set algorithm.learning_rate"
                )
        return record

    def _episode_returns(self) -> list[float]:
        return torch.cat(self.ended_returns).tolist() if self.ended_returns else []

    def evaluate(self) -> list[dict[str, Any]]:
        """Greedy and sampled evaluation on the fixed episodes, without effect on training."""
        with self._timed("evaluation"):
            return evaluation.evaluate(
                self.evaluation_environment, self.learner, self.settings.evaluation_seed, self.environment_step
            )

    def evaluate_fully(self, full: dict[str, Any]) -> dict[str, Any]:
        """The trained policies on episodes with the environment settings `full`, for full_evaluation.json."""
        environment = self.config.make_environment(self.settings.evaluation_episodes, **full)
        with self._timed("evaluation"):
            records = evaluation.evaluate(
                environment, self.learner, self.settings.evaluation_seed, self.environment_step
            )
        return {"settings": full, "evaluation_seed": self.settings.evaluation_seed, "evaluations": records}

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        begin = self._now()
        yield
        self.seconds[phase] += self._now() - begin

    def _now(self) -> float:
        """Seconds on a monotonic clock; with `training.synchronise_timing`, once the GPU has completed its work."""
        if self.settings.synchronise_timing and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Everything that determines the rest of the run."""
        replay_fits = self.replay.nbytes <= self.settings.checkpoint_replay_gib * 2**30
        step = self.current
        return {
            "learner": self.learner.state_dict(),
            "environment": self.environment.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "replay": self.replay.state_dict() if replay_fits else None,
            "reward_scale": self.reward_scale.state_dict(),
            "counters": [self.environment_step, self.updates, self.owed, self.metrics.count],
            "metric_sums": {name: total.clone() for name, total in self.metrics.sums.items()},
            "episode_returns": self._episode_returns(),
            "current": [step.observation, *step.graph, step.reward, step.terminated, step.truncated],
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Continue from `state_dict`; returns whether it included the replay buffer."""
        self.learner.load_state_dict(state["learner"])
        self.environment.load_state_dict(state["environment"])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name].cpu())
        self.reward_scale.load_state_dict(state["reward_scale"])
        self.environment_step, self.updates, self.owed, self.metrics.count = state["counters"]
        self.metrics.sums = dict(state["metric_sums"])
        self.ended_returns = [torch.tensor(state["episode_returns"], dtype=torch.float64, device=self.device)]
        observation, neighbours, mask, *rest = state["current"]
        self.current = Step(observation, Graph(neighbours, mask), *rest)
        if state["replay"] is not None:
            self.replay.load_state_dict(state["replay"])
        self.episode_restarted = not self.environment.continued if isinstance(self.environment, Unsaveable) else False
        if state["replay"] is None or self.episode_restarted:
            self.replay.abandon_episode()
            self.current = self.environment.reset()
            self.replay.begin_episode(self.current)
        self._prepare()
        return state["replay"] is not None
