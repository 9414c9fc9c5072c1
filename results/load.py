"""Loading of results in any form, recognised by the contents of a folder: published sets or run folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from results.errors import ResultsError
from results.keys import RunKey
from results.layout import seed_folders
from results.publish import MANIFEST, read_published, subfolders_with_sets
from results.records import Episode, References, Results, Run
from results.runs import load_runs


def load_results(directory: Path) -> Results:
    """The published set in `directory`, where it holds a manifest.json; all sets merged (see `merged`), where every
    folder directly below it that is not hidden holds one; otherwise the run folders below it.

    Raises ResultsError where nothing of the kind is found, or it cannot be read or is inconsistent.
    """
    if (directory / MANIFEST).exists():
        return read_published(directory)
    sets = subfolders_with_sets(directory)
    if not sets:
        return load_runs(directory)
    visible = (path.name for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    others = sorted(set(visible) - set(sets))
    if not others:
        return merged({directory / name: read_published(directory / name) for name in sets})
    if next(seed_folders(directory), None) is None:
        raise ResultsError(
            f"{directory} holds published sets ({', '.join(sets)}), but {', '.join(others)} holds no {MANIFEST}: "
            "publish that set again or remove its folder, or name one set with --results"
        )
    return load_runs(directory)


def merged(sets: Mapping[Path, Results]) -> Results:
    """Merge published sets, given by their folders.

    A run in two sets must be the same in both. The reference policies of a task in two sets are merged into one record,
    since figures draw one line for each of them next to the runs of both sets:

    * If they were played with the same seed and number of episodes, policies in both sets must have the same returns,
      and policies in only one set are added.
    * Otherwise both are samples of the same means. The record with more episodes is kept, as in a sweep whose runs
      differ in episodes; with equal numbers of episodes and different seeds, that of the first folder. A note says so.

    Where two sets have different recorded episodes of a run, that of the first folder is kept, and a note says so.

    Notes that only some sets have name the folders of these sets. Raises ResultsError, naming two folders, where a run
    or the returns of a policy differ.
    """
    references, left_out = _merged_references(sets)
    episodes, other = _merged_episodes(sets)
    return Results(_merged_runs(sets), references, (*_merged_notes(sets), *left_out, *other), episodes)


def _merged_runs(sets: Mapping[Path, Results]) -> tuple[Run, ...]:
    found: dict[RunKey, tuple[Path, Run]] = {}
    for folder, results in sets.items():
        for run in results.runs:
            other_folder, other = found.setdefault(run.key, (folder, run))
            # compared as text, in which NaN equals itself
            if other is not run and repr(other) != repr(run):
                raise ResultsError(_two_runs(other_folder, other, folder, run))
    return tuple(sorted((run for _, run in found.values()), key=lambda run: run.key.order()))


def _merged_episodes(sets: Mapping[Path, Results]) -> tuple[dict[RunKey, Episode], list[str]]:
    """The recorded episodes of all sets, and notes on omitted ones."""
    found: dict[RunKey, tuple[Path, Episode]] = {}
    notes = []
    for folder, results in sets.items():
        for key, episode in results.episodes.items():
            first, kept = found.setdefault(key, (folder, episode))
            if episode != kept:
                notes.append(
                    f"episodes of {key} are not the same in {first.name} and {folder.name}: the former's is used"
                )
    return {key: episode for key, (_, episode) in sorted(found.items(), key=lambda item: item[0].order())}, notes


def _merged_notes(sets: Mapping[Path, Results]) -> list[str]:
    owners: dict[str, list[str]] = {}
    for folder, results in sets.items():
        for note in results.notes:
            owners.setdefault(note, []).append(folder.name)
    return [note if len(folders) == len(sets) else f"{', '.join(folders)}: {note}" for note, folders in owners.items()]


def _merged_references(sets: Mapping[Path, Results]) -> tuple[dict[str, References], list[str]]:
    """The reference policies of every task, and notes on omitted ones."""
    found: dict[str, tuple[Path, References]] = {}
    notes = []
    for folder, results in sets.items():
        for task, references in results.references.items():
            if task not in found:
                found[task] = folder, references
                continue
            found[task], note = _joined(*found[task], folder, references)
            notes += [note] if note else []
    return {task: references for task, (_, references) in found.items()}, notes


def _two_runs(folder: Path, run: Run, other_folder: Path, other: Run) -> str:
    """The difference between two copies of a run that prevents them from being merged."""
    difference = (
        "the same settings but other content"
        if run.config_hash == other.config_hash
        else f"other settings (config {run.config_hash[:12]} and {other.config_hash[:12]})"
    )
    return (
        f"{run.key} is in {folder} and in {other_folder} with {difference}: remove one of the sets, or name one with "
        "--results"
    )


def _joined(
    folder: Path, these: References, other_folder: Path, other: References
) -> tuple[tuple[Path, References], str | None]:
    """The reference policies of a task present in two sets, with the folder to name in errors, and a note where
    something had to be left out."""
    settings, other_settings = (these.evaluation_seed, these.episodes), (other.evaluation_seed, other.episodes)
    if settings != other_settings:
        kept = (folder, these) if these.episodes >= other.episodes else (other_folder, other)
        words = " and ".join(
            f"{episodes} episode{'s' if episodes != 1 else ''} of seed {seed} in {where.name}"
            for where, (seed, episodes) in ((folder, settings), (other_folder, other_settings))
        )
        note = f"reference policies of {these.task} were played on {words}: those in {kept[0].name} are used"
        return kept, note
    for one, two in ((these.returns, other.returns), (these.full_returns, other.full_returns)):
        differing = [name for name in one if name in two and one[name] != two[name]]
        if differing:
            raise ResultsError(
                f"reference policies of {these.task} ({', '.join(differing)}) have other returns in {folder} than in "
                f"{other_folder}, on the same episodes: remove one of the sets, or name one with --results"
            )
    joined = replace(these, returns=these.returns | other.returns, full_returns=these.full_returns | other.full_returns)
    return (folder, joined), None
