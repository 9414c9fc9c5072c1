"""Comparison of the particle environments with recorded traces of the published ones.

For every trace, the constants of the task are compared exactly; then both implementations of a step (numba and torch)
are compared in two ways:

* float64, chained: 25 steps from the recorded initial state. The tolerance is 1e-9, and 1e-6 for observations, which
  are stored as float32. With prey it is 1e-6: prey are driven by a float32 network whose summation order depends on the
  processor, so one step of one prey is known only to within 4e-8.
* float32, single steps: one step from every recorded state. The tolerance is 1e-5, and 1e-4 for velocities, including
  those inside observations, because one step divides the rounding error of a position by the time step of 0.1.

Rewards above 1 are compared by relative error. They contain counts of distances below a threshold: in float32, a pair
within 1e-5 of its threshold may be counted either way, and the reward may differ by the amount due to such pairs.
Likewise, an observation may swap two entities whose distances are equal to within 1e-5. The last column says how often
either occurred.
In tasks with prey, the recorded prey forces are applied. The observations of the prey, the outputs of the original
network, and the forces that follow from them and the recorded noise are compared as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from envs.errors import PreyWeightsError
from envs.mpe.environment import ParticleEnvironment
from envs.mpe.prey import PreyPolicy, gumbel_noise, load_prey, prey_force, soft_action
from envs.mpe.scenarios import EPISODE_LENGTH, NavigationReward, Order, PushReward, Scenario
from envs.mpe.settings import Backend, Settings, StateType
from envs.mpe.traces import Trace, constant_errors

TOLERANCE = {
    "float64": {"observation": 1e-6, "prey_observation": 1e-6, "": 1e-9},
    "float32": {"velocity": 1e-4, "velocity_seen": 1e-4, "": 1e-5},
}
"""Tolerances by dtype and quantity; the empty name stands for all other quantities."""
CHAINED_WITH_PREY = 1e-6
"""Tolerance for positions, velocities, rewards and returns after float64 steps in tasks with prey."""
PREY_TOLERANCE = {"logits": 2e-5, "force": 2e-5}
"""Tolerances for the prey's network, which is float32 with sums over 128 terms."""
THRESHOLD_MARGIN = 1e-5
"""Distances this close to a threshold or to each other may compare either way in float32 (world units)."""


@dataclass
class Comparison:
    """The largest errors of one replay, and the failures among them."""

    name: str
    errors: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    note: str = ""

    def add(self, quantity: str, error: np.ndarray | float, tolerance: float) -> None:
        """Record the largest error of a quantity, and a failure if it exceeds the tolerance or is not a number."""
        largest = float(np.max(error))
        self.errors[quantity] = max(self.errors.get(quantity, 0.0), largest)
        if not largest <= tolerance:
            self.failures.append(f"{self.name}: {quantity} differs by {largest:.2g}, more than {tolerance:g}")

    def __str__(self) -> str:
        numbers = "  ".join(f"{quantity} {error:.1e}" for quantity, error in self.errors.items())
        return f"{self.name:<16}{numbers}{self.note}"


def verify(trace: Trace, backends: Iterable[Backend] = ("numba", "torch")) -> list[Comparison]:
    """Compare everything in a trace. Differences raise no error; they are listed in the comparisons' `failures`."""
    constants = Comparison("constants")
    constants.failures = [f"constants: {problem}" for problem in constant_errors(trace)]
    constants.note = "differ" if constants.failures else "equal"
    results = [constants]
    for backend in backends:
        results += [replay_chained(trace, backend), replay_steps(trace, backend)]
    if trace.scenario.num_prey:
        results.append(check_prey_network(trace))
    return results


def replay_chained(trace: Trace, backend: Backend) -> Comparison:
    """Replay whole episodes in float64 from the recorded initial states."""
    result = Comparison(f"float64 {backend}")
    tolerance = CHAINED_WITH_PREY if trace.scenario.num_prey else TOLERANCE["float64"][""]
    environment = _environment(trace.scenario, len(trace.position), "float64", backend)
    step = environment.set_state(_tensor(trace.position[:, 0]), _tensor(trace.velocity[:, 0]))
    for t in range(EPISODE_LENGTH + 1):
        _compare_state(result, environment, trace, np.s_[:, t])
        error = np.abs(step.observation.numpy() - trace.observation[:, t])
        result.add("observation", error, TOLERANCE["float64"]["observation"])
        if t == EPISODE_LENGTH:
            break
        if trace.prey_observation is not None:
            error = np.abs(environment.prey_observation().numpy() - trace.prey_observation[:, t])
            result.add("prey_observation", error, TOLERANCE["float64"]["prey_observation"])
        forces = None if trace.prey_force is None else _tensor(trace.prey_force[:, t])
        step = environment.step(_tensor(trace.action[:, t]), forces)
        result.add("reward", _relative(step.reward.numpy(), trace.reward[:, t, None]), tolerance)
    result.add("return", _relative(environment.scores()["return"].numpy(), trace.episode_return), tolerance)
    return result


def replay_steps(trace: Trace, backend: Backend) -> Comparison:
    """Replay one float32 step from every recorded state, as one batch."""
    result = Comparison(f"float32 {backend}")
    before, after = np.s_[:, :-1], np.s_[:, 1:]
    environment = _environment(trace.scenario, trace.reward.size, "float32", backend)
    environment.set_state(_tensor(_flat(trace.position[before])), _tensor(_flat(trace.velocity[before])))
    if trace.prey_observation is not None:
        error = np.abs(environment.prey_observation().numpy() - _flat(trace.prey_observation))
        result.add("prey_observation", error, TOLERANCE["float32"][""])
    forces = None if trace.prey_force is None else _tensor(_flat(trace.prey_force))
    step = environment.step(_tensor(_flat(trace.action)), forces)
    _compare_state(result, environment, trace, after)
    swapped = _compare_seen(result, step.observation.numpy(), trace)
    expected = trace.reward.reshape(-1, 1)
    uncertain = uncertain_reward(trace.scenario, _flat(trace.position[after]))[:, None]
    allowed = np.maximum(np.abs(step.reward.numpy() - expected) - uncertain, 0)
    result.add("reward", allowed / np.maximum(1, np.abs(expected)), TOLERANCE["float32"][""])
    result.note = f"  (pairs at a threshold in {np.count_nonzero(uncertain)} of {expected.size} steps, {swapped} swaps)"
    return result


def _compare_seen(result: Comparison, seen: np.ndarray, trace: Trace) -> int:
    """Compare float32 observations, velocities separately; returns how many rows differ by a swap of near ties."""
    task = trace.scenario
    error = np.abs(seen - _flat(trace.observation[:, 1:]))
    velocity = np.zeros(seen.shape[2], bool)
    velocity[:2] = True
    if task.sections[-1].with_velocities:
        velocity[-2 * task.sections[-1].count :] = True
    excused = (error > TOLERANCE["float32"][""]).any(2) & near_ties(task, _flat(trace.position[:, 1:]))
    error[excused] = 0
    result.add("observation", error[..., ~velocity], TOLERANCE["float32"][""])
    result.add("velocity_seen", error[..., velocity], TOLERANCE["float32"]["velocity_seen"])
    return int(excused.sum())


def check_prey_network(trace: Trace) -> Comparison:
    """Compare the original network's outputs on the recorded observations, and its forces given the recorded noise."""
    assert trace.prey_observation is not None
    assert trace.prey_logits is not None
    assert trace.prey_uniform is not None
    assert trace.prey_force is not None
    result = Comparison("prey network")
    original = _original_prey(trace.scenario)
    logits = _tensor(trace.prey_logits).float()
    if original is None:
        result.note = "  (logits not compared: the original weights are not here)"
    else:
        logits = original.logits(_tensor(trace.prey_observation))
        result.add("logits", np.abs(logits.numpy() - trace.prey_logits), PREY_TOLERANCE["logits"])
    force = prey_force(soft_action(logits, gumbel_noise(trace.prey_uniform)))
    result.add("force", np.abs(force.numpy() - trace.prey_force), PREY_TOLERANCE["force"])
    return result


def uncertain_reward(task: Scenario, position: np.ndarray) -> np.ndarray:
    """The part of the reward (state,) that depends on pairs within `THRESHOLD_MARGIN` of a threshold."""
    agents, rule = position[:, : task.num_agents], task.reward
    if isinstance(rule, NavigationReward):
        size, kind = np.array(task.size[: task.num_agents]), np.array(task.kinds)
        worth = np.where(kind[:, None] == kind, 1.0, rule.cross_kind_weight) * ~np.eye(task.num_agents, dtype=bool)
        return (worth * _near(agents, agents, size[:, None] + size)).sum((1, 2))
    if isinstance(rule, PushReward):
        return 0.1 * _near(agents, position[:, rule.ball, None], rule.hit_distance).sum((1, 2))
    return 10.0 * _near(agents, position[:, rule.prey.start : rule.prey.stop], rule.capture_distance).sum((1, 2))


def near_ties(task: Scenario, position: np.ndarray) -> np.ndarray:
    """Whether two of the entities that an agent observes, or the last of them and the next one, are nearly equally
    far away: (state, agent)."""
    viewer = position[:, : task.num_agents, None]
    tied = np.zeros(viewer.shape[:2], bool)
    for section in task.sections:
        apart = position[:, None, section.entities.start : section.entities.stop] - viewer
        if section.order == Order.LEXICOGRAPHIC:
            key = apart[..., 0]
        elif section.order != Order.INDEX:
            key = np.linalg.norm(apart - viewer if section.order == Order.PUBLISHED else apart, axis=-1)
        else:
            continue
        itself = np.arange(task.num_agents)[:, None] == np.array(section.entities)
        nearest = np.sort(np.where(itself, np.inf, key), axis=-1)[..., : section.count + 1]
        with np.errstate(invalid="ignore"):  # infinity - infinity
            tied |= (np.diff(nearest) < THRESHOLD_MARGIN).any(-1)
    return tied


def _compare_state(
    result: Comparison, environment: ParticleEnvironment, trace: Trace, where: tuple[slice, slice | int]
) -> None:
    """Compare the environment's state with the recorded one at `where`."""
    tolerance = TOLERANCE[environment.settings.dtype]
    if environment.settings.dtype == "float64" and trace.scenario.num_prey:
        tolerance = {"": CHAINED_WITH_PREY}
    pairs = {
        "position": (environment.position, trace.position),
        "velocity": (environment.velocity, trace.velocity),
    }
    for quantity, (given, recorded) in pairs.items():
        error = np.abs(given.numpy() - recorded[where].reshape(given.shape))
        result.add(quantity, error, tolerance.get(quantity, tolerance[""]))


def _environment(task: Scenario, num_envs: int, dtype: StateType, backend: Backend) -> ParticleEnvironment:
    weights = "shipped" if _original_prey(task) is None else "original"
    settings = Settings(dtype=dtype, backend=backend, prey_weights=weights)
    return ParticleEnvironment(task, settings, num_envs, torch.device("cpu"))


def _original_prey(task: Scenario) -> PreyPolicy | None:
    """The published prey network, if its weights are available and the task has prey."""
    if not task.num_prey:
        return None
    try:
        return load_prey("original", task.prey_observation_dim)
    except PreyWeightsError:
        return None


def _near(a: np.ndarray, b: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
    distance = np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)
    return np.abs(distance - threshold) < THRESHOLD_MARGIN


def _relative(given: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs(given - expected) / np.maximum(1, np.abs(expected))


def _flat(array: np.ndarray) -> np.ndarray:
    """Merge the episode and step axes."""
    return np.ascontiguousarray(array).reshape(-1, *array.shape[2:])


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
