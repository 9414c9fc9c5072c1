"""Made-up run folders for the tests of results/ and figures/. Nothing here was measured; nothing here is published."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results.paper import COMPARED_ALGORITHMS, COMPARED_TASKS
from results.records import POLICIES

TASK = "mpe/cooperative_navigation_3"
MACHINE = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "python": "3.11.7",
    "torch": "2.6.0",
    "cpu": "Example CPU",
    "gpu": None,
    "host": "secret-host-name",
    "started": "2024-01-01T00:00:00+00:00",
}


def config_for(task: str, algorithm: str, variant: str, seed: int, total_steps: int, **extra: Any) -> dict[str, Any]:
    """A config in the shape the benchmark writes, with the hash of its content."""
    config: dict[str, Any] = {
        "task": task,
        "algorithm": algorithm,
        "seed": seed,
        "total_steps": total_steps,
        "variant": variant,
        "environment": {"num_envs": 4},
        "training": {"batch_size": 256, "evaluation_interval": 1000, "evaluation_episodes": 2},
        "algorithm_settings": {"learning_rate": 0.01, **extra},
    }
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return {**config, "config_hash": digest}


def write_run(
    root: Path,
    curves: Mapping[str, Sequence[tuple[int, Sequence[float]]]],
    *,
    task: str = TASK,
    algorithm: str = "ip",
    variant: str = "default",
    seed: int = 0,
    total_steps: int = 4000,
    state: str = "finished",
    message: str = "",
    machine: Mapping[str, Any] | None = None,
    scores: Mapping[str, float] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    **settings: Any,
) -> Path:
    """Write one run folder; `curves` maps a policy to its evaluations (step, return of each episode)."""
    folder = root / task / algorithm / variant / f"seed_{seed}"
    folder.mkdir(parents=True)
    config = config_for(task, algorithm, variant, seed, total_steps, **settings)
    steps = [step for evaluations in curves.values() for step, _ in evaluations]
    status = {
        "state": state,
        "step": max(steps, default=0),
        "message": message,
        "updated": "2024-01-01T01:00:00+00:00",
        "wall_seconds": 120.0,
    }
    rows = [
        {"step": step, "policy": policy, "returns": list(returns), "scores": dict(scores or {})}
        for policy, evaluations in curves.items()
        for step, returns in evaluations
    ]
    write_json(folder / "config.json", config)
    write_json(folder / "machine.json", {**MACHINE, **(machine or {})})
    write_json(folder / "status.json", status)
    write_lines(folder / "evaluation.jsonl", sorted(rows, key=lambda row: row["step"]))
    write_lines(folder / "metrics.jsonl", metrics)
    timing = [
        {"step": step, "wall_seconds": step / 40, "env_steps_per_second": 40.0, "seconds": {"act": 1.0}}
        for step in sorted(set(steps))
    ]
    write_lines(folder / "timing.jsonl", timing)
    return folder


def both(curve: Sequence[tuple[int, Sequence[float]]]) -> dict[str, Sequence[tuple[int, Sequence[float]]]]:
    """The same evaluations of either policy."""
    return dict.fromkeys(POLICIES, curve)


def write_references(root: Path, task: str = TASK, **returns: Sequence[float]) -> None:
    """Write references.json; every policy must have the same number of episodes."""
    policies = {name: {"returns": list(values)} for name, values in returns.items()}
    episodes = len(next(iter(returns.values())))
    write_json(root / task / "references.json", {"evaluation_seed": 7, "episodes": episodes, "policies": policies})


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rising(
    start: float, end: float, last_step: int, interval: int, shift: float = 0.0
) -> list[tuple[int, list[float]]]:
    """Evaluations of two episodes that approach `end`, every `interval` steps from 0 on."""
    steps = range(0, last_step + 1, interval)
    means = [end + (start - end) * math.exp(-3 * step / max(last_step, 1)) + shift for step in steps]
    return [(step, [mean - 5, mean + 5]) for step, mean in zip(steps, means, strict=True)]


def write_study(root: Path) -> None:
    """A small study with everything a report must cope with: seeds, variants, a failure, an unfinished run."""
    write_references(root, random=[-480.0, -460.0], stay=[-470.0, -458.0], assignment=[-200.0, -180.0])
    for seed in range(3):
        for algorithm, end in (("ip", -270.0), ("iql", -380.0)):
            curve = rising(-470.0, end, 4000, 500, shift=4.0 * seed)
            losses = [
                {"step": step, "update": step // 100, "loss/q": 1 / (1 + step), "policy/entropy": 1.0}
                for step in range(500, 4001, 500)
            ]
            write_run(
                root,
                {"greedy": curve, "sampled": curve},
                algorithm=algorithm,
                seed=seed,
                metrics=losses,
                scores={"collisions": 1.5},
            )
    half = rising(-470.0, -400.0, 2000, 500)
    write_run(root, {"greedy": half, "sampled": half}, algorithm="qmix", seed=0, state="running")
    write_run(root, both(half[:2]), algorithm="pic", seed=0, state="failed", message="loss is <not> finite")
    write_run(root, {"greedy": half, "sampled": half}, variant="difference", seed=0, total_steps=2000)


@dataclass(frozen=True, slots=True)
class StudySize:
    """How much a made-up study of equal runs holds."""

    tasks: Sequence[str] = COMPARED_TASKS
    algorithms: Sequence[str] = COMPARED_ALGORITHMS
    seeds: int = 5
    evaluations: int = 200
    episodes: int = 32
    metrics: int = 20
    """Names in each of as many rows of metrics as there are evaluations."""

    @property
    def runs(self) -> int:
        return len(self.tasks) * len(self.algorithms) * self.seeds


def write_equal_runs(root: Path, size: StudySize, interval: int = 5000, seed: int = 0) -> None:
    """Run folders of `size`, by default as many and as large as those of the paper's comparison: about 100 MB.

    Returns rise from -500 towards a level that each algorithm has for itself, with noise of 20 over episodes.
    """
    generator = np.random.default_rng(seed)
    steps = [interval * number for number in range(1, size.evaluations + 1)]
    progress = 1 - np.exp(-3 * np.arange(1, size.evaluations + 1) / size.evaluations)[:, None]
    names = ["train/return", "policy/entropy", *(f"loss/part_{number}" for number in range(size.metrics - 2))]
    for task in size.tasks:
        write_references(root, task, random=[-510.0, -490.0], assignment=[-105.0, -95.0])
        for place, algorithm in enumerate(size.algorithms):
            for seed_number in range(size.seeds):
                means = -500 + (300 - 30 * place) * progress
                curves: dict[str, list[tuple[int, list[float]]]] = {}
                for policy in POLICIES:
                    noise = generator.normal(0, 20, (size.evaluations, size.episodes))
                    returns = np.round(means + noise, 2).tolist()
                    curves[policy] = list(zip(steps, returns, strict=True))
                values = np.round(generator.normal(0, 1, (size.evaluations, size.metrics)), 4).tolist()
                write_run(
                    root,
                    curves,
                    task=task,
                    algorithm=algorithm,
                    seed=seed_number,
                    total_steps=steps[-1],
                    scores={"collisions": 1.5, "coverage": 0.25},
                    metrics=[
                        {"step": step, **dict(zip(names, row, strict=True))}
                        for step, row in zip(steps, values, strict=True)
                    ],
                )
