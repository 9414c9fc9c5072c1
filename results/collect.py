"""Collection of a suite's runs as one published set, once all of them are complete and valid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from results.checks import Issue, differing_seeds, merge_seeds, run_issues
from results.compact import compacted
from results.episodes import episodes_of_runs, too_large
from results.errors import IncompleteError, ResultsError
from results.keys import RunKey
from results.layout import LOST_CONFIG
from results.publish import publish, verify, without_episodes, written
from results.records import Results, Run
from results.runs import load_runs
from results.words import counted

SHOWN = 10
"""Largest number of items that an error lists."""


def collect(
    directory: Path,
    wanted: Collection[RunKey],
    output: Path,
    suite: str,
    incomplete: bool = False,
    compact: bool = False,
    hashes: Mapping[RunKey, str] | None = None,
) -> list[str]:
    """Publish the runs of a suite as a set.

    `directory` holds the run folders, of which only those in `wanted` are read; `output` is the folder of the set,
    which is replaced if it exists; `suite` is the name in the manifest. With `incomplete`, available runs are published
    with notes on all issues, still without stale runs. With `compact`, earlier evaluations keep only the mean over
    episodes. `hashes` holds the config_hash that a run must have; a run with another one is stale, and runs without an
    entry may have any. Returns a summary and notes for readers of the set, in lines.

    Raises IncompleteError, unless `incomplete`, where a run is missing, stale, failed or unfinished or the seeds of an
    algorithm differ in their settings; and ResultsError in any case where a file is corrupt or there is no run at all.
    `output` is then unchanged.
    """
    found, hashes = load_runs(directory, wanted), hashes or {}
    damaged = {key for key in wanted if any(f"/{name}".endswith(f"/{key}") for name in found.lost)}
    missing = set(wanted) - damaged - {run.key for run in found.runs}
    stale = {run.key for run in found.runs if run.config_hash != hashes.get(run.key, run.config_hash)}
    kept = _without(found, stale)
    issues = merge_seeds([*_absent(missing, stale, damaged), *_unfit(kept)])
    wrong = [_text(issue) for issue in (_brief(issues) if incomplete else issues)]
    if wrong and not incomplete:
        shown = "; ".join(wrong[:SHOWN]) + (f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
        raise IncompleteError(f"not collected: {shown}")
    if not kept.runs:
        raise ResultsError(f"not collected: nothing would be left: {'; '.join(wrong[:SHOWN])}")
    notes = [*(f"collected although {text}" for text in wrong), *_code_notes(kept.runs)]
    kept = replace(kept, notes=(*kept.notes, *notes))
    if large := too_large(episodes_of_runs(kept).values()):  # a failure of recordings must not hold up the numbers
        kept, notes = without_episodes(kept), [*notes, f"the set has no episodes: {large}, and collect again"]
    paths = publish(compacted(kept) if compact else kept, output, suite)
    verify(output)
    lines = written(paths)
    finished = sum(run.status.finished for run in kept.runs)
    count = f"collected {len(kept.runs)} of {len(set(wanted))} runs, {finished} of them finished; checksums verified"
    return [*lines, *(f"note: {note}" for note in notes), count]


def _without(results: Results, keys: Collection[RunKey]) -> Results:
    runs = tuple(run for run in results.runs if run.key not in keys)
    tasks = {run.key.task for run in runs}
    return replace(
        results, runs=runs, references={t: reference for t, reference in results.references.items() if t in tasks}
    )


def _absent(missing: Collection[RunKey], stale: Collection[RunKey], damaged: Collection[RunKey]) -> list[Issue]:
    """Unavailable runs of a suite: never begun, made with other settings, or with a lost file."""
    kinds = (
        ("missing", missing, "never begun"),
        ("stale", stale, "made with other settings than the suite's"),
        ("damaged", damaged, LOST_CONFIG),
    )
    return [
        Issue(kind, "/".join(key.kind), message, (key.seed,))
        for kind, keys, message in kinds
        for key in sorted(keys, key=RunKey.order)
    ]


def _brief(issues: Sequence[Issue]) -> list[Issue]:
    """The issues, with one for each task where many kinds of runs are missing."""
    missing = [issue for issue in issues if issue.kind == "missing"]
    if len(missing) <= SHOWN:
        return list(issues)
    counts: Counter[str] = Counter()
    for issue in missing:
        counts[issue.subject.rsplit("/", 2)[0]] += len(issue.seeds)
    by_task = [
        Issue("missing", task, f"{count} run{'s' if count > 1 else ''} never begun") for task, count in counts.items()
    ]
    return [*by_task, *(issue for issue in issues if issue.kind != "missing")]


def _unfit(results: Results) -> list[Issue]:
    """Issues that prevent available runs from forming a set: runs that failed or stopped early, or that do not
    match."""
    issues = [issue for run in results.runs for issue in run_issues(run) if issue.kind in ("failed", "unfinished")]
    return sorted(issues, key=lambda issue: issue.kind) + differing_seeds(results)


def _text(issue: Issue) -> str:
    seeds = f" seed {', '.join(map(str, issue.seeds))}" if issue.seeds else ""
    return f"{issue.kind}: {issue.subject}{seeds}: {issue.message}"


def _code_notes(runs: Sequence[Run]) -> list[str]:
    """A warning where the runs were not all made by the same unmodified commit. It is only a warning, since a suite
    takes days and few commits change its numbers."""
    versions: Counter[tuple[str, bool]] = Counter()
    for run in runs:
        starts = run.machine.get("starts") or [run.machine]
        versions.update({(str(start.get("commit") or "unknown")[:10], bool(start.get("dirty"))) for start in starts})
    if len(versions) == 1 and not any(dirty for _, dirty in versions):
        return []
    listed = ", ".join(
        f"{commit}{' with uncommitted changes' if dirty else ''} ({counted(count, 'run')})"
        for (commit, dirty), count in versions.most_common()
    )
    return [f"the runs were not all made by one unmodified commit: {listed}"]
