"""Reference policies on the evaluation episodes of a task: the horizontal lines in the learning curves.

    python -m benchmark.references --tasks mpe/cooperative_navigation_3 --results results/quick

writes DIR/<task>/references.json. A sweep does the same for its tasks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import envs
from benchmark.config import RunConfig, TrainingConfig, environment_settings, parse_assignments
from benchmark.console import first_line
from benchmark.errors import InUseError, report_errors
from benchmark.options import add_import, add_settings
from benchmark.tasks import located, training_defaults
from results.arguments import Parser, within
from results.files import read_json, readable_os_errors, write_json
from results.identity import FILES
from results.layout import REFERENCES
from results.lock import RunLock


def play(task: str, policy: str, episodes: int, seed: int, **settings: Any) -> list[float]:
    """Returns of one reference policy, played on the CPU, in float64 where the task has a choice. `settings` are
    settings of the task's environment."""
    from benchmark.evaluation import play_episode, reference_acting  # imported late, as they load torch
    from benchmark.randomness import stream

    if "dtype" in {setting.name for setting in dataclasses.fields(envs.settings(task))}:
        settings = {"dtype": "float64"} | settings
    environment = envs.make(task, episodes, "cpu", **settings)
    reference = envs.reference_policies(task)[policy](environment)
    generator = stream(seed, "evaluation", environment.device)
    scores = play_episode(environment, reference_acting(reference, generator), seed)
    return [round(value, 4) for value in scores["return"].tolist()]


def origin_of(config: RunConfig) -> dict[str, Any]:
    """Settings that locate the task of a run (`envs.locate`): the files of a city, or the function that makes an
    environment of another package. Empty for the project's tasks."""
    settings = dataclasses.asdict(config.environment)
    if not any(settings.get(name) for name in ("map", "source")):
        return {}
    names = ("map", *FILES, "source", "arguments", "package", "episode_length")
    given = {name: value for name in names if (value := settings.get(name))}
    return envs.locate(config.task, given)[1]


def is_written(task: str, results: Path, episodes: int, seed: int, city: Mapping[str, Any] | None = None) -> bool:
    """Whether references.json of the task is up to date, its city included."""
    file = results / task / REFERENCES
    record = read_json(file) if file.exists() else {}
    cities = [{**(of or {}), "map": ""} for of in (record.get("environment"), city)]  # wherever the city's files are
    known = set(envs.reference_policies(task)) <= set(record.get("policies", {}))
    return (
        known
        and record.get("evaluation_seed") == seed
        and record.get("episodes") == episodes
        and cities[0] == cities[1]
    )


def write_references(
    task: str, results: Path, episodes: int, seed: int, city: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Play every reference policy of the task and write references.json; an up-to-date file is left unchanged. `city`
    holds the settings that locate the task's city."""
    task, settings = envs.locate(task, city)
    file = results / task / REFERENCES
    if is_written(task, results, episodes, seed, settings):
        return read_json(file)
    policies = {
        name: {"returns": play(task, name, episodes, seed, **settings)} for name in envs.reference_policies(task)
    }
    record: dict[str, Any] = {"task": task, "evaluation_seed": seed, "episodes": episodes, "policies": policies}
    full = envs.full_evaluation(task)
    if full:
        whole = settings | full
        returns = {
            name: {"returns": play(task, name, episodes, seed, **whole)} for name in envs.reference_policies(task)
        }
        record["full_evaluation"] = {"settings": full, "policies": returns}
    if settings:
        record["environment"] = settings
    with readable_os_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, record)
    return record


def evaluation_of(configs: Sequence[RunConfig]) -> tuple[int, int]:
    """Episodes and seed for the references of one task: those of its run with the most evaluation episodes."""
    most = max((config.training for config in configs), key=lambda training: training.evaluation_episodes)
    return most.evaluation_episodes, most.evaluation_seed


def missing_references(configs: Iterable[RunConfig], results: Path) -> list[list[RunConfig]]:
    """The runs of each task whose references are missing or outdated."""
    by_task: dict[str, list[RunConfig]] = {}
    for config in configs:
        by_task.setdefault(config.task, []).append(config)
    return [
        runs
        for task, runs in by_task.items()
        if not is_written(task, results, *evaluation_of(runs), origin_of(runs[0]))
    ]


def write_references_for(configs: Sequence[RunConfig], results: Path) -> None:
    """Like `write_references_alone`, for runs of one task."""
    write_references_alone(configs[0].task, results, *evaluation_of(configs), origin_of(configs[0]))


def write_references_alone(
    task: str, results: Path, episodes: int, seed: int, city: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Like `write_references`, but empty where another process is about to write the references of this task."""
    task, city = envs.locate(task, city)
    if is_written(task, results, episodes, seed, city):
        return write_references(task, results, episodes, seed, city)
    folder = results / task
    try:
        with readable_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = RunLock(folder)
    except InUseError:
        return {}
    try:
        return write_references(task, results, episodes, seed, city)
    finally:
        lock.release()


def main() -> int:
    """Entry point of `python -m benchmark.references`."""
    defaults = TrainingConfig()
    parser = Parser(prog="python -m benchmark.references", description=first_line(__doc__))
    parser.add_argument("--tasks", nargs="+", required=True, help="names, or paths of CityFlow configurations")
    parser.add_argument("--results", type=Path, default=Path("results/raw"))
    add_import(parser)
    parser.add_argument("--episodes", type=within(1), help="default: those of an evaluation of the task")
    parser.add_argument("--seed", type=within(0, 2**63 - 1), default=defaults.evaluation_seed)
    add_settings(parser, "a setting that tells where the tasks come from, such as environment.source")
    options = parser.parse_args()
    assignments = parse_assignments(options.assignments)
    for given in options.tasks:
        task, origin = located(given, assignments)
        origin = environment_settings(task, origin)
        usual = training_defaults(task).get("evaluation_episodes", defaults.evaluation_episodes)
        episodes = options.episodes if options.episodes is not None else usual
        record = write_references_alone(task, options.results, episodes, options.seed, origin)
        if not record:
            print(f"{task}: another process is about to write them")
            continue
        means = {name: sum(p["returns"]) / len(p["returns"]) for name, p in record["policies"].items()}
        print(f"{task}: " + ", ".join(f"{name} {mean:.1f}" for name, mean in means.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
