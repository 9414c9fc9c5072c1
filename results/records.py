"""Immutable records of runs. Steps are environment steps, times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.identity import hash_of
from results.keys import RunKey

POLICIES = ("greedy", "sampled")
"""Policies of an evaluation: greedy takes the most likely (or best) action, sampled samples from the behaviour policy,
which also collects training data."""

STATES = ("running", "finished", "failed")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one policy: the return of every episode, and the other scores averaged over them."""

    step: int
    policy: str
    returns: tuple[float, ...]
    """Team reward summed over steps and agents, one per episode, rounded to float32 (as published)."""
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """A trained policy on fixed episodes of some task: with another number of agents than in training, on another map,
    or with lost messages."""

    task: str
    agents: int
    policy: str
    """greedy or sampled."""
    seed: int
    """Seed of the episodes."""
    steps: int
    """Environment steps of an episode."""
    returns: tuple[float, ...]
    """Reported score of every episode."""
    scores: dict[str, float] = field(default_factory=dict)
    """Other scores, means over episodes."""
    drop: float = 0.0
    """Probability that a message is lost."""
    drop_agents: float = 0.0
    """Probability that all messages of an agent are lost for a whole episode."""
    delay: int = 0
    """Steps by which messages are late."""
    references: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Reference policies on the same episodes: returns by name."""
    commit: str = ""
    """Commit of the code that played it, with the suffix `-dirty` where files differed; empty if unknown."""

    @property
    def place(self) -> tuple[str, str, int, int, int, float, float, int]:
        """The settings of the trial; trials of one policy with equal settings are equal."""
        episodes = len(self.returns)
        return (self.task, self.policy, self.seed, self.steps, episodes, self.drop, self.drop_agents, self.delay)

    @property
    def lossless(self) -> bool:
        """Whether all messages arrived in time."""
        return not (self.drop or self.drop_agents or self.delay)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """Values logged at one step: training metrics, timings (names starting with `timing/`), or sums of the statistics
    of agents and demand since the previous row (names starting with `interpretation/`)."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Status:
    """The progress of a run."""

    state: str
    step: int
    message: str
    updated: str
    """ISO time of the last update."""
    wall_seconds: float

    @property
    def finished(self) -> bool:
        return self.state == "finished"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its request (config), machine, progress (status) and results."""

    key: RunKey
    config: dict[str, Any]
    machine: dict[str, Any]
    status: Status
    evaluations: tuple[Evaluation, ...]
    metrics: tuple[MetricRow, ...]
    notes: tuple[str, ...]
    """Notes on the files: a truncated last line, replaced lines, metrics that are not finite."""
    full_evaluations: tuple[Evaluation, ...] = ()
    """The trained policies on longer episodes, for tasks that have them: the whole hour of traffic."""
    trials: tuple[Trial, ...] = ()
    """Trials of the trained policies: with other numbers of agents, with lost messages."""

    @property
    def config_hash(self) -> str:
        """Hash of the settings; equal for runs made with the same settings."""
        return hash_of(self.config)

    @property
    def total_steps(self) -> int:
        return int(self.config["total_steps"])

    def last_evaluation_step(self) -> int | None:
        return max((evaluation.step for evaluation in self.evaluations), default=None)


@dataclass(frozen=True, slots=True)
class References:
    """Reference policies on the evaluation episodes of one task: policy name -> return of every episode."""

    task: str
    evaluation_seed: int
    episodes: int
    returns: dict[str, tuple[float, ...]]
    full_returns: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Evaluations on longer episodes, for tasks that have them."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A recorded episode of a run's trained policy. Its GIF stays in its file until `results.episodes.read_gif`."""

    path: Path = field(compare=False)
    """Path of the GIF, which is ignored in comparisons."""
    sha256: str
    bytes: int
    episode_return: float
    """The reported score of the recorded steps."""
    steps: int
    """Recorded environment steps."""
    episode_steps: int
    """Environment steps of the whole episode."""
    policy: str
    """greedy or sampled."""
    seed: int
    """Seed of the episode, which is the first of the evaluation with this seed."""
    frames: int
    pixels: int
    """Side of the frames, which are square."""

    @property
    def whole(self) -> bool:
        return self.steps == self.episode_steps


@dataclass(frozen=True, slots=True)
class Results:
    """All runs below one folder, in the order of their keys, and the reference policies of their tasks."""

    runs: tuple[Run, ...]
    references: dict[str, References] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Notes that concern no single run: seed folders without a config, repeated copies of a run."""
    episodes: dict[RunKey, Episode] = field(default_factory=dict)
    """Recorded episodes of the runs that have one."""
    lost: dict[str, str] = field(default_factory=dict)
    """Folders of runs without their config.json -> what is wrong with them, which is also in the notes."""
