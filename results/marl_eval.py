"""Results in the JSON form of the marl-eval tools, for readers who aggregate with them.

    python -m results.marl_eval --results DIR --output FILE.json [--policy greedy]

The form is that of the marl-eval README (Gorsane et al. 2022, "Towards a standardised performance evaluation protocol
for cooperative MARL"):

    {environment: {task: {algorithm: {seed_<k>: {
        step_<i>: {step_count: integer, <metric>: [numbers]},           evaluations from 0 on
        absolute_metrics: {<metric>: [numbers]}}}}}}                    the last entry of each run

The environment is the first part of a task's name (mpe, cityflow, magent, game); the task is the rest, with the
variant where that is not the default one. `return` has one number for each episode. The other scores of an
evaluation are means over its episodes when they are recorded: each is a list of one number, which the form allows.

Those tools take the absolute metric from the best checkpoint, played again on ten times as many episodes. Nothing is
played again here: `absolute_metrics` repeats the last evaluation.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.arguments import Parser
from results.checks import group_runs, uncounted
from results.commands import report_errors
from results.errors import ResultsError, UserError
from results.files import write_output
from results.load import load_results
from results.records import POLICIES, Evaluation, Results, Run
from results.words import counted

RETURN, STEP_COUNT, ABSOLUTE = "return", "step_count", "absolute_metrics"
ABSOLUTE_NOTE = (
    "absolute_metrics repeats the last evaluation of each run: no best checkpoint was played on more episodes"
)
LEVELS = ("environment", "task", "algorithm", "run", "evaluation")
Tree = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Environment -> task -> algorithm -> run -> the evaluations of that run."""


@dataclass(frozen=True, slots=True)
class Export:
    """The exported data and notes for its readers."""

    tree: Tree
    runs: int
    left_out: tuple[str, ...]
    """Runs that are not in the tree, with the reasons."""
    notes: tuple[str, ...]

    def text(self) -> str:
        """The text of the file, one line per evaluation: equal results give equal bytes, and all numbers are finite."""
        return _text(self.tree) + "\n"


def export(results: Results, policy: str = "greedy") -> Export:
    """The comparable runs of every task: finished, with finite returns, and evaluated at the same steps. Where the runs
    of a task have different steps, those with the most frequent steps are kept; in a tie, those with more steps.

    Raises ResultsError when no run is left, or two names become one in lower case and without commas.
    """
    left_out = [f"{folder}: {reason}" for folder, reason in results.lost.items()]
    kept: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for (task, variant), algorithms in group_runs(results).items():
        names = _names(task, variant)
        if names in kept:
            raise ResultsError(f"{task} ({variant}) and another variant are both called {'/'.join(names)} in the file")
        kept[names] = _comparable(algorithms, policy, left_out)
    kept = {names: algorithms for names, algorithms in kept.items() if algorithms}
    count = sum(len(runs) for algorithms in kept.values() for runs in algorithms.values())
    if not count:
        raise ResultsError(f"no finished run was evaluated with the {policy} policy: nothing to export")
    tree: Tree = {}
    notes = [ABSOLUTE_NOTE]
    for environment in dict.fromkeys(environment for environment, _ in kept):
        tasks = {task: algorithms for (name, task), algorithms in kept.items() if name == environment}
        runs = [run for algorithms in tasks.values() for its in algorithms.values() for run in its]
        metrics, without = _shared_metrics(runs, policy)
        tree[environment] = {task: _task_tree(algorithms, policy, metrics) for task, algorithms in tasks.items()}
        if without:
            notes.append(f"{environment}: not every evaluation has {', '.join(without)}, left out of all")
        notes += _uneven(environment, tree[environment])
    notes += _compact(kept, policy)
    return Export(tree, count, tuple(left_out), tuple(notes))


def _text(value: dict[str, Any], depth: int = 0) -> str:
    """JSON with a line for each name down to the evaluations, which are the fifth level."""
    if depth == len(LEVELS):
        return json.dumps(value, allow_nan=False)
    lines = (f"{' ' * (depth + 1)}{json.dumps(name)}: {_text(part, depth + 1)}" for name, part in value.items())
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def _names(task: str, variant: str) -> tuple[str, str]:
    """Names of environment and task in lower case, as the tools look them up, and without commas."""
    environment, _, rest = task.partition("/")
    full = rest or environment
    return _plain(environment), _plain(full if variant == "default" else f"{full}-{variant}")


def _plain(name: str) -> str:
    return name.lower().replace(",", "_")


def _comparable(algorithms: dict[str, list[Run]], policy: str, left_out: list[str]) -> dict[str, list[Run]]:
    """The runs of a task to export; the reasons for all others are appended to `left_out`."""
    runs = [run for its in algorithms.values() for run in its]
    reasons = {run.key: _unfit(run, policy) for run in runs}
    steps = {run.key: _steps(run, policy) for run in runs if reasons[run.key] is None}
    counted = Counter(steps.values())
    usual = max(counted, key=lambda taken: (counted[taken], taken[-1], taken), default=())
    for run in runs:
        taken, reason = steps.get(run.key, ()), reasons[run.key]
        if reason is None and taken != usual:
            reason = f"evaluated at {_words(taken)}, most runs of the task at {_words(usual)}"
        if reason is not None:
            left_out.append(f"{run.key}: {reason}")
    fitting = {
        name: [run for run in its if reasons[run.key] is None and steps[run.key] == usual]
        for name, its in algorithms.items()
    }
    return {name: its for name, its in fitting.items() if its}


def _unfit(run: Run, policy: str) -> str | None:
    """Reason why a run cannot be exported, independently of the others."""
    if reason := uncounted(run):
        return reason
    evaluations = _evaluations(run, policy)
    if not evaluations:
        return f"has no evaluation of the {policy} policy"
    broken = [evaluation.step for evaluation in evaluations if not all(map(math.isfinite, evaluation.returns))]
    return f"returns are not finite, first at step {broken[0]:,}" if broken else None


def _evaluations(run: Run, policy: str) -> list[Evaluation]:
    evaluations = [evaluation for evaluation in run.evaluations if evaluation.policy == policy]
    return sorted(evaluations, key=lambda evaluation: evaluation.step)


def _steps(run: Run, policy: str) -> tuple[int, ...]:
    return tuple(evaluation.step for evaluation in _evaluations(run, policy))


def _words(steps: tuple[int, ...]) -> str:
    return f"{len(steps)} steps from {steps[0]:,} to {steps[-1]:,}"


def _shared_metrics(runs: Sequence[Run], policy: str) -> tuple[list[str], list[str]]:
    """Names of the scores that are finite in every evaluation, and of those that are finite in some only."""
    names = [
        {name for name, value in evaluation.scores.items() if math.isfinite(value)}
        for run in runs
        for evaluation in _evaluations(run, policy)
    ]
    shared = set.intersection(*names)
    named = {name for run in runs for evaluation in _evaluations(run, policy) for name in evaluation.scores}
    keys = [_plain(name) for name in sorted(shared)]
    if len({*keys, RETURN, STEP_COUNT}) < len(keys) + 2:
        raise ResultsError(f"scores {', '.join(sorted(shared))} coincide in name with each other or with {RETURN}")
    return sorted(shared), sorted(named - shared)


def _task_tree(algorithms: dict[str, list[Run]], policy: str, metrics: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, runs in algorithms.items():
        if _plain(name) in found:
            raise ResultsError(f"algorithm {name} and another one are both called {_plain(name)} in the file")
        found[_plain(name)] = {f"seed_{run.key.seed}": _run_tree(run, policy, metrics) for run in runs}
    return found


def _run_tree(run: Run, policy: str, metrics: list[str]) -> dict[str, Any]:
    evaluations = _evaluations(run, policy)
    steps: dict[str, Any] = {
        f"step_{place}": {STEP_COUNT: evaluation.step, **_values(evaluation, metrics)}
        for place, evaluation in enumerate(evaluations)
    }
    return {**steps, ABSOLUTE: _values(evaluations[-1], metrics)}


def _values(evaluation: Evaluation, metrics: list[str]) -> dict[str, list[float]]:
    return {RETURN: list(evaluation.returns), **{_plain(name): [evaluation.scores[name]] for name in metrics}}


def _uneven(environment: str, tasks: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Notes on differences that prevent aggregation over an environment, whose tasks must have the same algorithms,
    seeds and numbers of evaluations."""
    algorithms = {tuple(sorted(trees)) for trees in tasks.values()}
    runs = {tuple(sorted(tree)) for trees in tasks.values() for tree in trees.values()}
    steps = {len(run) for trees in tasks.values() for tree in trees.values() for run in tree.values()}
    parts = (("algorithms", algorithms), ("seeds", runs), ("numbers of evaluations", steps))
    differing = [name for name, found in parts if len(found) > 1]
    if not differing:
        return []
    return [
        f"{environment}: not all tasks and algorithms have the same {', '.join(differing)}, so aggregate over parts"
    ]


def _compact(kept: dict[tuple[str, str], dict[str, list[Run]]], policy: str) -> list[str]:
    """A note where earlier evaluations hold fewer returns than the last one, as in compact sets."""
    shorter = 0
    for algorithms in kept.values():
        for run in (run for runs in algorithms.values() for run in runs):
            evaluations = _evaluations(run, policy)
            shorter += any(len(evaluation.returns) < len(evaluations[-1].returns) for evaluation in evaluations)
    if not shorter:
        return []
    return [
        f"of {counted(shorter, 'run')} from compact sets, earlier evaluations hold one number, the mean over their "
        "episodes"
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when the file was written, 1 with one line on standard error otherwise. Runs left out are named
    on standard error."""
    parser = Parser(
        prog="python -m results.marl_eval", description="Write results in the JSON form of the marl-eval tools."
    )
    parser.add_argument(
        "--results",
        type=Path,
        required=True,
        metavar="DIR",
        help="a published set, a folder of such, or of run folders",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--policy", choices=POLICIES, default="greedy", help="which evaluations; default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        found = export(load_results(options.results), options.policy)
        write_output(options.output, found.text())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in found.left_out:
        print(f"left out: {line}", file=sys.stderr)
    for line in found.notes:
        print(f"note: {line}")
    print(f"wrote {options.output}: {counted(found.runs, 'run')}, {len(found.left_out)} left out")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
