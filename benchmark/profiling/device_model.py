"""GPU-hours of runs, predicted from counted FLOPs and bytes by a model of the device; nothing here is measured.

A kernel takes max(FLOPs / rate, bytes / bandwidth, shortest kernel) + gap; operations that fit in the cache have the
bandwidth of the cache. Without capture the host needs a fixed time for every kernel and every view, and a step takes
the longer of host time and device time. With capture the host takes no part, except for the engine of traffic tasks,
which stays on the CPU.

`before` is training with the default settings; `after` has captured blocks, many copies in lockstep (`suites.COPIES`),
TF32 and fused attention over the neighbour lists.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.config import RunConfig, TrainingConfig
from benchmark.profiling import counting
from benchmark.profiling.counting import Count
from benchmark.suites import COPIES
from results.records import POLICIES


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A GPU and its host."""

    name: str
    fp32: float
    """Rate of matrix products in FLOP/s, at the narrow shapes of these networks."""
    tf32: float
    bandwidth: float
    """Bandwidth of the memory in bytes per second."""
    cache_bandwidth: float
    """Bandwidth in bytes per second of operations on at most `cache_bytes`."""
    cache_bytes: float
    shortest_kernel: float
    """Duration of the shortest kernel in seconds."""
    gap: float
    """Time between consecutive kernels in seconds."""
    host_kernel: float
    """Host time per kernel launch from Python in seconds."""
    host_view: float
    """Host time per operation that launches nothing in seconds."""
    transfer: float
    """Duration of a small copy between host and device in seconds."""
    cores: int
    """Cores of the host, over which the copies of a traffic task are spread where that is enabled."""

    def device_seconds(self, count: Count, tf32: bool = False) -> float:
        """Device time in seconds, with kernels executed one after the other."""
        rate = self.tf32 if tf32 else self.fp32
        total = 0.0
        for flops, moved, kernels in count.operations:
            bandwidth = self.cache_bandwidth if moved < self.cache_bytes else self.bandwidth
            total += max(flops / rate, moved / bandwidth, kernels * self.shortest_kernel) + kernels * self.gap
        return total

    def host_seconds(self, count: Count) -> float:
        """Host time of all launches and views in seconds."""
        return count.kernels * self.host_kernel + count.views * self.host_view

    def seconds(self, count: Count, captured: bool, tf32: bool) -> float:
        """Duration of a step in seconds."""
        device = self.device_seconds(count, tf32)
        return device if captured else max(device, self.host_seconds(count))

    def __str__(self) -> str:
        return (
            f"{self.name}: fp32 {self.fp32 / 1e12:g} and TF32 {self.tf32 / 1e12:g} TFLOP/s, {self.bandwidth / 1e12:g} "
            f"TB/s, {self.cache_bandwidth / 1e12:g} TB/s for operations under {self.cache_bytes / 1e6:g} MB, a kernel "
            f"at least {self.shortest_kernel * 1e6:g} us and {self.gap * 1e6:g} us after the one before; host without "
            f"capture {self.host_kernel * 1e6:g} us a kernel and {self.host_view * 1e6:g} us a view; "
            f"{self.transfer * 1e6:g} us a small copy to or from the host, which has {self.cores} cores; a traffic "
            f"engine {ENGINE_SECONDS * 1e6:g} us for each intersection, copy and decision on one core"
        )


MODELS = {
    "h100": DeviceModel("h100", 40e12, 250e12, 3.0e12, 5.5e12, 30e6, 1.6e-6, 0.7e-6, 5e-6, 1.5e-6, 20e-6, 16),
    "h200": DeviceModel("h200", 40e12, 250e12, 4.3e12, 5.5e12, 30e6, 1.6e-6, 0.7e-6, 5e-6, 1.5e-6, 20e-6, 16),
}
"""Device models by name; the memory bandwidth of h200 is scaled by the ratio of the data sheets."""
ENGINE_SECONDS = 50e-6
"""Seconds of a traffic engine on one core per intersection, copy and decision: a value between those measured with
random actions on a Xeon, 26e-6 in Hangzhou and 93e-6 on 225 intersections."""
TRANSFERS = 3
"""Copies between host and device per decision of a traffic task: actions out, observations and rewards in."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings of runs for the model."""

    name: str
    captured: bool
    tf32: bool
    fused: bool
    many_copies: bool
    """Whether there are as many copies as in `benchmark.suites.COPIES`, and traffic uses all cores; otherwise the
    default number on one core."""

    def copies(self, config: RunConfig) -> int:
        """Copies of the task in lockstep."""
        platform = config.task.partition("/")[0]
        usual = TrainingConfig().num_envs
        return COPIES.get(platform, usual) if self.many_copies else usual


BEFORE = Setup("before", captured=False, tf32=False, fused=False, many_copies=False)
AFTER = Setup("after", captured=True, tf32=True, fused=True, many_copies=True)


def run_seconds(config: RunConfig, model: DeviceModel, setup: Setup) -> float:
    """Duration in seconds of a whole run with the algorithm's default settings: rounds of actions and environment
    steps, gradient steps, evaluations."""
    settings, spec, copies = config.training, config.spec(), setup.copies(config)
    updates = config.total_steps * settings.gradient_steps / settings.update_interval
    count = counting.gradient_step(config.algorithm, spec, settings.batch_size, setup.fused)
    update = model.seconds(count, setup.captured, setup.tf32)
    rounds = config.total_steps / copies
    evaluations = config.total_steps / settings.evaluation_interval + 1
    played = evaluations * len(POLICIES) * spec.episode_length
    return (
        updates * update
        + rounds * round_seconds(config, model, setup, copies)
        + played * round_seconds(config, model, setup, settings.evaluation_episodes)
    )


def round_seconds(config: RunConfig, model: DeviceModel, setup: Setup, copies: int) -> float:
    """Duration in seconds of one choice of actions and one environment step of all copies."""
    spec = config.spec()
    chosen = counting.choice_of_actions(config.algorithm, spec, copies, setup.fused)
    act = model.seconds(chosen, setup.captured, setup.tf32)
    if spec.static_graph:  # a city
        cores = min(model.cores, copies) if setup.many_copies else 1
        return act + ENGINE_SECONDS * spec.num_agents * copies / cores + TRANSFERS * model.transfer
    return act + model.seconds(counting.environment_step(config.task, copies), setup.captured, setup.tf32)
