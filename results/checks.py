"""Issues in results: runs that failed, stopped early, are missing, or do not match."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from results.paper import COMPARED_ALGORITHMS, COMPARED_TASKS
from results.records import POLICIES, Results, Run
from results.words import counted

SCORED_EVALUATIONS = 3
"""Number of last evaluations of each policy whose mean is a run's final score."""
IDENTITY_KEYS = frozenset({"seed", "config_hash", "algorithm_settings.piece"})
"""Config entries that may differ between runs of one kind: the seed, entries that follow from it, and the size of
micro-batches where a run recorded it."""


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue: its kind (failed, unfinished, missing, differs, note), its subject, and a message."""

    kind: str
    subject: str
    message: str
    seeds: tuple[int, ...] = ()
    """Seeds concerned; empty when the issue is not about single runs."""


def find_issues(results: Results) -> tuple[Issue, ...]:
    """All failed, unfinished or missing runs, configs that differ between seeds, and notes; the worst first."""
    issues = [issue for run in results.runs for issue in run_issues(run)]
    issues += _missing(results) + differing_seeds(results)
    issues += _differing_lengths(results) + _reference_issues(results)
    dirty = [run for run in results.runs if _any_dirty(run)]
    if dirty:
        issues.append(
            Issue("note", counted(len(dirty), "run"), "made with uncommitted changes: its commit is not the code")
        )
    issues += [Issue("note", "results folder", note) for note in results.notes]
    order = ("failed", "unfinished", "missing", "differs", "note")
    return tuple(sorted(merge_seeds(issues), key=lambda issue: order.index(issue.kind)))


def group_runs(results: Results) -> dict[tuple[str, str], dict[str, list[Run]]]:
    """(task, variant) -> algorithm -> its runs, all in the order of their keys."""
    groups: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in sorted(results.runs, key=lambda run: run.key.order()):
        groups[run.key.task, run.key.variant][run.key.algorithm].append(run)
    return {key: dict(algorithms) for key, algorithms in groups.items()}


def algorithm_order(names: set[str]) -> list[str]:
    """The paper's algorithms first, in its order, then any other by name."""
    return [name for name in COMPARED_ALGORITHMS if name in names] + sorted(names - set(COMPARED_ALGORITHMS))


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as a flat mapping with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def differing_keys(runs: list[Run]) -> dict[str, list[Any]]:
    """Dotted config entries other than the seed in which the runs differ, with the values of all runs."""
    flat = [flatten(run.config) for run in runs]
    names = sorted({name for config in flat for name in config} - IDENTITY_KEYS)
    values = {name: [config.get(name) for config in flat] for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def merge_seeds(issues: Iterable[Issue]) -> list[Issue]:
    """Issues with identical messages for several seeds, merged into one."""
    merged: dict[tuple[str, str, str], tuple[int, ...]] = {}
    for issue in issues:
        key = (issue.kind, issue.subject, issue.message)
        merged[key] = (*merged.get(key, ()), *issue.seeds)
    return [Issue(*key, seeds) for key, seeds in merged.items()]


def run_issues(run: Run) -> list[Issue]:
    """Issues of a single run: failure or early stop, and notes in its files and starts."""
    status, subject, seeds = run.status, "/".join(run.key.kind), (run.key.seed,)
    progress = f"at step {status.step:,} of {run.total_steps:,}"
    last = run.last_evaluation_step()
    issues = [Issue("note", subject, note, seeds) for note in (*run.notes, *_start_notes(run))]
    if status.state == "failed":
        issues.append(Issue("failed", subject, f"{progress}: {status.message or 'no message was left'}", seeds))
    elif not status.finished:
        since = f", last sign of life {status.updated}" if status.updated else ""
        message = f" ({status.message})" if status.message else ""
        issues.append(Issue("unfinished", subject, f"{progress}{since}{message}", seeds))
    if last is None:
        issues.append(Issue("unfinished", subject, "has no evaluation, so no figure or table shows it", seeds))
        return issues
    if status.finished and not ended(run):
        message = f"finished, but was last evaluated at step {last:,} of {run.total_steps:,}: no score counts it"
        issues.append(Issue("unfinished", subject, message, seeds))
    elif status.finished and (reason := uncounted(run)):
        issues.append(Issue("failed", subject, f"finished, but {reason}: no score counts it", seeds))
    absent = [policy for policy in POLICIES if policy not in {evaluation.policy for evaluation in run.evaluations}]
    issues += [Issue("note", subject, f"has no evaluation of the {policy} policy", seeds) for policy in absent]
    return issues


def uncounted(run: Run) -> str:
    """Reason why a run does not count towards scores; empty for one that does. Scores, figures, exports and collection
    share this rule: a run counts where it is finished, was evaluated to its end, and its last evaluations are
    finite."""
    if not run.status.finished:
        word = "failed" if run.status.state == "failed" else "unfinished"
        return f"{word} at step {run.status.step:,} of {run.total_steps:,}"
    last = run.last_evaluation_step()
    if last is None:
        return "has no evaluation"
    if not ended(run):
        return f"was last evaluated at step {last:,} of {run.total_steps:,}"
    for policy in POLICIES:
        scored = [evaluation for evaluation in run.evaluations if evaluation.policy == policy][-SCORED_EVALUATIONS:]
        for evaluation in scored:
            if not all(map(math.isfinite, evaluation.returns)):
                return f"{policy} returns are not finite at step {evaluation.step:,}"
    return ""


def ended(run: Run) -> bool:
    """Whether a run is finished and was evaluated to its end, that is, at most one evaluation interval before it."""
    last = run.last_evaluation_step()
    interval = int(run.config.get("training", {}).get("evaluation_interval", 1))
    return run.status.finished and last is not None and run.total_steps - last < interval


def _any_dirty(run: Run) -> bool:
    return any(facts.get("dirty") for facts in (run.machine, *(run.machine.get("starts") or [])))


def _start_notes(run: Run) -> list[str]:
    """Notes of the resumed starts of a run, and differences in code or hardware from its first start."""
    starts = run.machine.get("starts") or []
    notes = [str(start["note"]) for start in starts if start.get("note")]
    changed = [
        name
        for name in ("commit", "torch", "cpu", "gpu")
        if any(start.get(name) != starts[0].get(name) for start in starts)
    ]
    return [*notes, f"resumed with another {', '.join(changed)}"] if changed else notes


def _missing(results: Results) -> list[Issue]:
    """Tasks and algorithms of the paper without runs, and seeds that another algorithm has on the same task."""
    issues = []
    absent_tasks = [task for task in COMPARED_TASKS if task not in {run.key.task for run in results.runs}]
    if absent_tasks:
        issues.append(Issue("missing", "tasks of the paper", f"no run of {', '.join(absent_tasks)}"))
    everyone = set(COMPARED_ALGORITHMS) | {run.key.algorithm for run in results.runs}
    for (task, variant), algorithms in group_runs(results).items():
        subject = f"{task} ({variant})"
        absent = algorithm_order(everyone - set(algorithms))
        if absent and (len(algorithms) > 1 or variant == "default"):  # one algorithm alone: an ablation of it
            issues.append(Issue("missing", subject, f"no run of {', '.join(absent)}"))
        seeds = {run.key.seed for runs in algorithms.values() for run in runs}
        for algorithm in algorithm_order(set(algorithms)):
            without = sorted(seeds - {run.key.seed for run in algorithms[algorithm]})
            if without:
                issues.append(Issue("missing", subject, f"no run of {algorithm}", tuple(without)))
    return issues


def differing_seeds(results: Results) -> list[Issue]:
    """Issues for seeds of one algorithm, task and variant that were made with different settings."""
    issues = []
    for (task, variant), algorithms in group_runs(results).items():
        for algorithm, runs in algorithms.items():
            names = list(differing_keys(runs))
            if names:
                message = f"its seeds differ in {', '.join(names)}: their mean mixes different experiments"
                issues.append(Issue("differs", f"{task}/{algorithm}/{variant}", message))
    return issues


def _differing_lengths(results: Results) -> list[Issue]:
    issues = []
    for (task, variant), algorithms in group_runs(results).items():
        steps = {run.total_steps for runs in algorithms.values() for run in runs}
        if len(steps) > 1:
            listed = ", ".join(f"{step:,}" for step in sorted(steps))
            issues.append(
                Issue("differs", f"{task} ({variant})", f"runs of different length are compared: {listed} steps")
            )
    return issues


def _reference_issues(results: Results) -> list[Issue]:
    issues = []
    for task in sorted({run.key.task for run in results.runs}):
        references = results.references.get(task)
        if references is None:
            issues.append(Issue("missing", task, "no references.json: no reference lines, no normalised score"))
            continue
        episodes = {  # in a compact set, earlier evaluations hold only their mean
            max(len(evaluation.returns) for evaluation in run.evaluations)
            for run in results.runs
            if run.key.task == task and run.evaluations
        }
        if episodes - {references.episodes}:
            listed = ", ".join(map(str, sorted(episodes)))
            message = f"runs were evaluated on {listed} episodes, the reference policies on {references.episodes}"
            issues.append(Issue("differs", task, message))
    return issues
