"""What a reader of the results must be told: runs that failed, stopped early, are missing, or do not match."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from results.records import COMPARED_ALGORITHMS, POLICIES, Results, Run

IDENTITY_KEYS = frozenset({"seed", "config_hash"})
"""Config entries in which the seeds of one cell are meant to differ."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing to know: its kind (failed, unfinished, missing, differs, note), what it is about, and what it is."""

    kind: str
    subject: str
    message: str


def find_issues(results: Results) -> tuple[Issue, ...]:
    """Every failed, unfinished or missing run, every config that differs between seeds, every note; worst first."""
    issues = [issue for run in results.runs for issue in _run_issues(run)]
    issues += _missing(results) + _differing_configs(results) + _reference_issues(results)
    dirty = [run for run in results.runs if run.machine.get("dirty")]
    if dirty:
        issues.append(
            Issue("note", f"{len(dirty)} run(s)", "made with uncommitted changes: the commit alone is not the code")
        )
    issues += [Issue("note", "results folder", note) for note in results.notes]
    order = ("failed", "unfinished", "missing", "differs", "note")
    return tuple(sorted(issues, key=lambda issue: order.index(issue.kind)))


def group_runs(results: Results) -> dict[tuple[str, str], dict[str, list[Run]]]:
    """(task, variant) to algorithm to its runs in the order of their seeds."""
    groups: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in results.runs:
        groups[run.cell.task, run.cell.variant][run.cell.algorithm].append(run)
    return {key: dict(algorithms) for key, algorithms in sorted(groups.items())}


def algorithm_order(names: set[str]) -> list[str]:
    """The paper's algorithms first, in its order, then any other by name."""
    return [name for name in COMPARED_ALGORITHMS if name in names] + sorted(names - set(COMPARED_ALGORITHMS))


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as one level of dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def differing_keys(runs: list[Run]) -> dict[str, list[Any]]:
    """Dotted config entries, other than the seed, in which the runs differ, each with its value for every run."""
    flat = [flatten(run.config) for run in runs]
    names = sorted({name for config in flat for name in config} - IDENTITY_KEYS)
    values = {name: [config.get(name) for config in flat] for name in names}
    return {name: own for name, own in values.items() if any(value != own[0] for value in own)}


def _run_issues(run: Run) -> list[Issue]:
    subject, status = str(run.cell), run.status
    progress = f"at step {status.step:,} of {run.total_steps:,}"
    last = run.last_evaluation_step()
    issues = [Issue("note", subject, note) for note in run.notes]
    if status.state == "failed":
        issues.append(Issue("failed", subject, f"{progress}: {status.message or 'no message was left'}"))
    elif not status.finished:
        since = f", last sign of life {status.updated}" if status.updated else ""
        message = f" ({status.message})" if status.message else ""
        issues.append(Issue("unfinished", subject, f"{progress}{since}{message}"))
    if last is None:
        issues.append(Issue("unfinished", subject, "has no evaluation, so no figure or table shows it"))
        return issues
    if status.finished and last < run.total_steps:
        issues.append(
            Issue("note", subject, f"finished, but was last evaluated at step {last:,} of {run.total_steps:,}")
        )
    absent = [policy for policy in POLICIES if policy not in {evaluation.policy for evaluation in run.evaluations}]
    issues += [Issue("note", subject, f"has no evaluation of the {policy} policy") for policy in absent]
    return issues


def _missing(results: Results) -> list[Issue]:
    """Algorithms with no run, and seeds that another algorithm of the same task and variant has."""
    issues = []
    everyone = set(COMPARED_ALGORITHMS) | {run.cell.algorithm for run in results.runs}
    for (task, variant), algorithms in group_runs(results).items():
        subject = f"{task} ({variant})"
        absent = algorithm_order(everyone - set(algorithms))
        if absent:
            issues.append(Issue("missing", subject, f"no run of {', '.join(absent)}"))
        seeds = {run.cell.seed for runs in algorithms.values() for run in runs}
        for algorithm in algorithm_order(set(algorithms)):
            without = sorted(seeds - {run.cell.seed for run in algorithms[algorithm]})
            if without:
                issues.append(
                    Issue("missing", subject, f"no run of {algorithm} with seed {', '.join(map(str, without))}")
                )
    return issues


def _differing_configs(results: Results) -> list[Issue]:
    issues = []
    for (task, variant), algorithms in group_runs(results).items():
        for algorithm, runs in algorithms.items():
            names = list(differing_keys(runs))
            if names:
                message = f"its seeds differ in {', '.join(names)}: their mean mixes different experiments"
                issues.append(Issue("differs", f"{task}/{algorithm}/{variant}", message))
        steps = {run.total_steps for runs in algorithms.values() for run in runs}
        if len(steps) > 1:
            listed = ", ".join(f"{step:,}" for step in sorted(steps))
            issues.append(
                Issue("differs", f"{task} ({variant})", f"runs of different length are compared: {listed} steps")
            )
    return issues


def _reference_issues(results: Results) -> list[Issue]:
    issues = []
    for task in sorted({run.cell.task for run in results.runs}):
        references = results.references.get(task)
        if references is None:
            issues.append(Issue("missing", task, "no references.json: no reference lines, no gap closed"))
            continue
        episodes = {
            len(evaluation.returns) for run in results.runs if run.cell.task == task for evaluation in run.evaluations
        }
        if episodes - {references.episodes}:
            listed = ", ".join(map(str, sorted(episodes)))
            message = f"runs were evaluated on {listed} episodes, the reference policies on {references.episodes}"
            issues.append(Issue("differs", task, message))
    return issues
