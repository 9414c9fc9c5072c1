"""Duration of a run on this machine, estimated from a few small steps."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

import algorithms
import envs
from algorithms.protocols import Batch
from benchmark.config import RunConfig
from benchmark.randomness import stream
from envs.protocols import Graph

_PROBE_BATCH = 64


def estimate_seconds(config: RunConfig) -> float:
    """Wall-clock seconds of a whole run: environment steps, choices of actions and gradient steps, measured separately.

    Gradient steps are timed eagerly, without `training.acceleration`, on at most 64 transitions, and scaled to the
    batch; the estimate is rough for large batches.
    """
    settings = config.training
    torch.set_num_threads(settings.threads)
    environment = config.make_environment(settings.num_envs)
    spec, device = environment.spec, torch.device(config.device)
    learner = algorithms.make(config.algorithm, spec, config.algorithm_settings, config.device, fused=settings.fused)
    generator = stream(0, "actions", device)
    step = environment.reset(0)
    act = _seconds(lambda: learner.act(step.observation, step.graph, generator, False), device)
    actions = learner.act(step.observation, step.graph, generator, False)
    advance = _seconds(lambda: _one_step(environment, actions), device)
    size = min(_PROBE_BATCH, settings.batch_size)
    rows = torch.arange(size, device=device) % settings.num_envs
    observation, graph = step.observation[rows].float(), Graph(step.graph.neighbours[rows], step.graph.mask[rows])
    reward, ended = (
        torch.zeros(size, spec.num_agents, device=device),
        torch.zeros(size, dtype=torch.bool, device=device),
    )
    batch = Batch(observation, graph, actions[rows], reward, observation, graph, ended)
    update = _seconds(lambda: learner.update(batch, generator), device)
    update *= settings.batch_size / size if device.type == "cpu" else 1.0
    lockstep = config.total_steps / settings.num_envs
    updates = config.total_steps * settings.gradient_steps / settings.update_interval
    evaluations = 2 * spec.episode_length * (config.total_steps / settings.evaluation_interval + 1)
    evaluation_factor = max(1.0, settings.evaluation_episodes / settings.num_envs) if device.type == "cpu" else 1.0
    return (lockstep + evaluations * evaluation_factor) * (act + advance) + updates * update


def _one_step(environment: envs.Environment, actions: torch.Tensor) -> None:
    try:
        environment.step(actions)
    except RuntimeError:  # the end of an episode
        environment.reset()


def _seconds(call: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Median seconds of a call after one warm-up."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return sorted(times[1:])[repeats // 2]
