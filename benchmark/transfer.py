"""Zero-shot transfer of trained policies: to other numbers of agents, to other maps, and with lost messages.

    python -m benchmark.transfer --results DIR                        the usual sizes and maps of each run's family
    python -m benchmark.transfer --results DIR --agents 4 225 1225 --episodes 2
    python -m benchmark.transfer --results DIR --to cityflow/jinan_12 --full
    python -m benchmark.transfer --results DIR --messages             where it was trained, with losses

Nothing is trained. Each trial is a line of transfer.jsonl in the run's folder, with the reference policies on the same
episodes; figures and published sets read it there. The same command again adds missing trials. Where a policy does not
fit a task (other observations, actions or kinds of agents), the reason is printed.

Exit code: 0 if every possible trial was made, 1 if no run could be tried, 2 for an error, which is one line on stderr.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import envs
from benchmark.console import first_line, tell
from benchmark.errors import MENDABLE, InUseError, UserError, report_errors
from benchmark.evaluate import add_losses, in_words
from benchmark.machine import running_code
from benchmark.messages import NO_LOSSES, Losses
from benchmark.options import add_import
from benchmark.record import find, select
from results.arguments import Parser, within
from results.files import readable_os_errors, write_atomically
from results.layout import TRANSFER
from results.records import POLICIES, Trial
from results.words import counted

if TYPE_CHECKING:
    from benchmark.policies import Policy

NAVIGATION, SIGNALS, JUNGLE = "mpe/cooperative_navigation", "cityflow/synthetic", "magent/jungle"
SIZES = {
    NAVIGATION: (15, 30, 60, 100, 200, 500, 1000),
    SIGNALS: (4, 9, 49, 100, 225, 1225, 10_000),
    JUNGLE: (6, 20, 60),
}
"""Numbers of agents with which a policy of each family is tried, where the family has them."""
MAPS = tuple(f"cityflow/{name}" for name in ("hangzhou_16", "jinan_12", "manhattan_48", "manhattan_96", "newyork_16"))
"""Real maps on which a policy trained on one of them is tried."""
MESSAGES = (
    NO_LOSSES,
    *(Losses(drop=chance) for chance in (0.2, 0.5, 0.8, 1.0)),
    *(Losses(drop_agents=chance) for chance in (0.2, 0.5)),
    Losses(delay=1),
)
"""Losses tried by `--messages`."""


def targets(task: str) -> tuple[str, ...]:
    """The tasks on which a policy is tried by default: its training task and the same task in other sizes."""
    family = task.rpartition("_")[0]
    if family in SIZES:
        return tuple(dict.fromkeys((task, *(f"{family}_{size}" for size in SIZES[family]))))
    return tuple(dict.fromkeys((task, *MAPS))) if task in MAPS else (task,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m benchmark.transfer`."""
    options = parse_arguments(arguments)
    losses = [Losses(*given) for given in product(options.drop, options.drop_agents, (options.delay,))]
    losses = list(MESSAGES) if options.messages else losses
    import torch

    torch.set_num_threads(1)  # sums in one order, so that equal policies give equal episodes
    runs = select(find(options.results), options, options.results)
    yardsticks = Yardsticks()
    tried = [try_run(folder, options, losses, yardsticks) for _, folder in runs]
    tell(f"{counted(sum(tried), 'trial')} in {sum(map(bool, tried))} of {counted(len(runs), 'run')}")
    return int(not any(tried))


def try_run(folder: Path, options: argparse.Namespace, losses: Sequence[Losses], yardsticks: Yardsticks) -> int:
    """Make the missing trials of a run. Returns how many of the requested trials exist afterwards."""
    from benchmark.policies import load_policy, sized
    from results.lock import RunLock

    try:
        policy = load_policy(folder)
        with readable_os_errors(folder):
            lock = RunLock(folder)
    except InUseError as error:
        tell(f"skipped {folder}: {error}")
        return 0
    except MENDABLE as error:
        tell(f"skipped: {error}")
        return 0
    done = 0
    try:
        trained = policy.config.task
        named = (*options.to, *(f"{trained.rpartition('_')[0]}_{size}" for size in options.agents))
        chosen = named or ((trained,) if options.messages else targets(trained))
        for task in chosen:
            try:
                done += try_task(folder, policy, sized(task), options, losses, yardsticks)
            except MENDABLE as error:
                tell(f"not tried: {policy.config.key.label} on {task}: {error}")
    finally:
        lock.release()
    return done


def try_task(
    folder: Path,
    policy: Policy,
    task: str,
    options: argparse.Namespace,
    losses: Sequence[Losses],
    yardsticks: Yardsticks,
) -> int:
    """Make the trials of a policy on one task, like `try_run`. Raises what `Policy.evaluate` raises."""
    kinds = POLICIES if options.policy == "both" else (options.policy,)
    kinds = (policy.headline,) if options.policy == "headline" else kinds
    for kind, lost in product(kinds, losses):
        trial = planned(policy, task, kind, lost, options)
        there = {made.place for made in read_trials(folder)}
        if trial.place in there:
            continue
        made = policy.evaluate(task, len(trial.returns), trial.seed, kind, losses=lost, full=options.full)
        earlier = read_trials(folder)
        made = replace(made, references=yardsticks.on(policy, made, options.full, earlier), commit=commit())
        write_trials(folder, [*earlier, made])
        tell(f"{policy.config.key.label}: {in_words(made)}")
    return len(kinds) * len(losses)


def commit() -> str:
    """Commit of the code that plays, as recorded in trials."""
    code = running_code()
    return f"{code['commit']}{'-dirty' if code['dirty'] else ''}" if code["commit"] else ""


def planned(policy: Policy, task: str, kind: str, losses: Losses, options: argparse.Namespace) -> Trial:
    """A trial before it is made, without returns. Raises UserError where the policy does not fit."""
    from benchmark.policies import check_fit
    from benchmark.tasks import training_defaults

    training = policy.config.training
    usual = training_defaults(task).get("evaluation_episodes", training.evaluation_episodes)
    episodes = options.episodes or (training.evaluation_episodes if task == policy.config.task else usual)
    longer = envs.full_evaluation(task) if options.full else {}
    if options.full and not longer:
        raise UserError(f"{task} has no longer episodes: leave out --full")
    spec = envs.spec(task, **(policy.settings_for(task) | longer))
    check_fit(policy.config.task, policy.spec, task, spec)
    seed = training.evaluation_seed
    unknown = (0.0,) * episodes
    return Trial(task, spec.num_agents, kind, seed, spec.episode_length, unknown, **asdict(losses))


class Yardsticks:
    """Returns of reference policies on the episodes of trials; each policy is played once for the same settings of the
    environment, or taken from earlier trials of the same run."""

    def __init__(self) -> None:
        self._returns: dict[tuple[str, int, int, str], dict[str, tuple[float, ...]]] = {}

    def on(self, policy: Policy, trial: Trial, full: bool, earlier: Sequence[Trial]) -> dict[str, tuple[float, ...]]:
        """Returns of every reference policy on the episodes of a trial; `earlier` holds the run's other trials."""
        longer = envs.full_evaluation(trial.task) if full else {}
        settings = {name: value for name, value in policy.settings_for(trial.task).items() if name != "dtype"} | longer
        key = trial.task, trial.seed, len(trial.returns), repr(sorted(settings.items()))
        if key not in self._returns:
            from benchmark.references import play

            known = [made.references for made in earlier if made.references and _episodes(made) == _episodes(trial)]
            self._returns[key] = (
                known[0]
                if known
                else {
                    name: tuple(play(trial.task, name, len(trial.returns), trial.seed, **settings))
                    for name in envs.reference_policies(trial.task)
                }
            )
        return self._returns[key]


def _episodes(trial: Trial) -> tuple[str, int, int, int]:
    return trial.task, trial.seed, trial.steps, len(trial.returns)


def read_trials(folder: Path) -> list[Trial]:
    """The trials of a run. Raises ResultsError where the file is damaged."""
    from results.files import read_json_lines
    from results.json_records import trials_from_json

    rows, _ = read_json_lines(folder / TRANSFER, may_be_truncated=True)
    return list(trials_from_json([row for _, row in rows], str(folder / TRANSFER)))


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Write all trials of a run."""
    with readable_os_errors(folder / TRANSFER):
        write_atomically(folder / TRANSFER, "".join(json.dumps(asdict(trial)) + "\n" for trial in trials))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.transfer`. Raises UserError for invalid values."""
    parser = Parser(prog="python -m benchmark.transfer", description=first_line(__doc__))
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="folder of the runs")
    for name in ("tasks", "algorithms", "variants"):
        parser.add_argument(f"--{name}", nargs="+", default=[], help=f"only runs of these {name}")
    parser.add_argument("--seeds", nargs="+", type=int, default=None, help="only runs of these seeds")
    parser.add_argument(
        "--agents", nargs="+", type=within(1), default=[], metavar="N", help="numbers of agents; default: as usual"
    )
    parser.add_argument("--to", nargs="+", default=[], metavar="TASK", help="tasks; default: the usual ones")
    parser.add_argument("--episodes", type=within(1), metavar="E", help="default: those of an evaluation of each task")
    parser.add_argument("--full", action="store_true", help="longer episodes: the whole hour of traffic")
    parser.add_argument(
        "--policy",
        choices=("headline", "both", *POLICIES),
        default="headline",
        help="headline (default): sampled for algorithms that learn a stochastic policy, greedy for Q-learners",
    )
    parser.add_argument("--messages", action="store_true", help="play the training task with a set of losses")
    add_losses(parser, several=True)
    add_import(parser)
    options = parser.parse_args(arguments)
    options.suite = None
    options.seeds = "all" if options.seeds is None else options.seeds
    return options


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
