"""Duration of a run on this machine, estimated from a few small steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import algorithms
import envs
from algorithms.protocols import Batch, Learner
from benchmark.config import RunConfig
from benchmark.randomness import stream
from envs.protocols import Environment, Graph, ReferencePolicy, Step
from results.records import POLICIES

_PROBE_BATCH = 64
_EPISODE_SECONDS = 4.0
"""Most seconds for which an environment is played to find the cost of its steps."""


def estimate_seconds(config: RunConfig) -> float:
    """Seconds of a whole run that has a core to itself: environment steps, choices of actions, gradient steps and
    evaluations, measured separately.

    On a CPU the processor's time counts, so that other programs disturb the estimate little. Gradient steps are timed
    eagerly, without `training.acceleration`, on at most 64 transitions, and scaled to the batch; the estimate is rough
    for large batches. Start-up and reference policies, whose scores runs share, are not included.
    """
    settings = config.training
    torch.set_num_threads(settings.threads)
    environment = config.make_environment(settings.num_envs)
    learner = algorithms.make(
        config.algorithm, environment.spec, config.algorithm_settings, config.device, fused=settings.fused
    )
    step = environment.reset(0)
    update = _update_seconds(config, learner, step) * settings.gradient_steps
    training = _act_seconds(learner, step) + _environment_seconds(config, settings.num_envs)
    evaluations = config.total_steps // settings.evaluation_interval + 1
    full = envs.full_evaluation(config.task)
    return (
        config.total_steps / settings.num_envs * training
        + config.total_steps / settings.update_interval * update
        + evaluations * _evaluation_seconds(config, learner)
        + (_evaluation_seconds(config, learner, **full) if full else 0.0)
    )


def _update_seconds(config: RunConfig, learner: Learner, step: Step) -> float:
    """Seconds of a gradient step."""
    wanted, device = config.training.batch_size, step.observation.device
    size = min(_PROBE_BATCH, wanted)
    rows = torch.arange(size, device=device) % len(step.observation)
    observation, graph = step.observation[rows].float(), Graph(step.graph.neighbours[rows], step.graph.mask[rows])
    generator = stream(0, "actions", device)
    actions = learner.act(step.observation, step.graph, generator, False)[rows]
    reward = torch.zeros(size, observation.shape[1], device=device)
    ended = torch.zeros(size, dtype=torch.bool, device=device)
    batch = Batch(observation, graph, actions, reward, observation, graph, ended)
    seconds = _median_seconds(lambda: learner.update(batch, generator), device)
    return seconds * (wanted / size if device.type == "cpu" else 1.0)


def _act_seconds(learner: Learner, step: Step) -> float:
    """Seconds to choose the actions of all copies."""
    generator = stream(0, "actions", step.observation.device)
    return _median_seconds(lambda: learner.act(step.observation, step.graph, generator, False), step.observation.device)


def _evaluation_seconds(config: RunConfig, learner: Learner, **changed: Any) -> float:
    """Seconds to play the episodes of one evaluation with every kind of policy."""
    episodes = config.training.evaluation_episodes
    environment = config.make_environment(episodes, **changed)
    a_step = _act_seconds(learner, environment.reset(0)) + _environment_seconds(config, episodes, **changed)
    return len(POLICIES) * environment.spec.episode_length * a_step


_MEASURED: dict[tuple[Any, ...], float] = {}
"""Results of `_environment_seconds`, which algorithms share."""


def _environment_seconds(config: RunConfig, copies: int, **changed: Any) -> float:
    """Mean seconds of a step of all copies over an episode of random play, or its beginning if the episode is long."""
    settings = dataclasses.asdict(config.environment) | changed
    threads = config.training.threads, config.training.environment_threads
    key = config.task, copies, config.device, threads, tuple(sorted((name, str(settings[name])) for name in settings))
    if key not in _MEASURED:
        environment = config.make_environment(copies, **changed)
        policy = envs.reference_policies(config.task)["random"](environment)
        parallel = (config.training.environment_threads or 1) > 1 or getattr(config.environment, "workers", 0) > 0
        clock = _clock(environment.device, parallel)
        _MEASURED[key] = _step_seconds(environment, policy, clock)
    return _MEASURED[key]


def _step_seconds(environment: Environment, policy: ReferencePolicy, clock: Clock) -> float:
    generator = stream(0, "evaluation", environment.device)
    environment.reset(0)
    environment.step(policy.act(generator))  # compiles
    environment.reset(0)
    spent, steps = 0.0, 0
    while steps < environment.spec.episode_length and spent < _EPISODE_SECONDS:
        actions = policy.act(generator)
        spent, steps = spent + _seconds(partial(environment.step, actions), clock), steps + 1
    return spent / steps


def _median_seconds(call: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Median seconds of a call after one warm-up."""
    clock = _clock(device)
    return sorted([_seconds(call, clock) for _ in range(repeats + 1)][1:])[repeats // 2]


Clock = Callable[[], float]


def _clock(device: torch.device, parallel: bool = False) -> Clock:
    """Processor time on a CPU, which leaves out what other programs take, unless several threads or processes share
    the work; otherwise time on the wall, on a GPU until it has finished."""
    if device.type == "cuda":
        return _after_the_gpu
    return time.perf_counter if parallel or torch.get_num_threads() > 1 else time.process_time


def _after_the_gpu() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _seconds(call: Callable[[], object], clock: Clock) -> float:
    began = clock()
    call()
    return clock() - began
