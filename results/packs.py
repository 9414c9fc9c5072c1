"""Packs of GPU leases, made by `python -m benchmark.lease`: read completely or rejected, and added to a published set.

A pack is a folder: lease.json with the checksums of its other files, runs-K.zip with the folders of finished runs and
reference policies, timings.json. See `benchmark/lease/pack.py`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from results.errors import ResultsError
from results.files import read_json, write_output
from results.keys import RunKey
from results.records import References, Results, Run
from results.runs import load_runs

FORMAT = 1
MANIFEST = "lease.json"
TIMINGS = "timings.json"
TIMINGS_FORMAT = 1
TIMING_KEY = ("gpu", "what", "task", "algorithm", "mode", "runs")
"""Fields that identify a timing, in addition to the copies of an environment."""


@dataclass(frozen=True, slots=True)
class Pack:
    """The contents of a pack, the results of a GPU lease."""

    folder: Path
    results: Results | None
    """Finished runs; None where there are none."""
    timings: tuple[dict[str, Any], ...]
    rehearsal: bool


def read_pack(folder: Path) -> Pack:
    """The pack in a folder, after all checksums have been verified.

    Raises ResultsError, naming the file, where one is missing, truncated or changed, where an archive holds other runs
    than those in lease.json, or where a run is not finished.
    """
    if not (folder / MANIFEST).exists():
        raise ResultsError(f"{folder} is not a pack of a lease: it has no {MANIFEST}; it may be incomplete")
    record = read_json(folder / MANIFEST)
    if record.get("format") != FORMAT:
        raise ResultsError(f"{folder / MANIFEST}: format is {record.get('format')!r}, this version reads {FORMAT}")
    try:
        contents = {name: _verified(folder / name, facts) for name, facts in record["files"].items()}
        wanted = {RunKey.of(run) for run in record["runs"]}
        timings = tuple(json.loads(contents[TIMINGS])["timings"])
        rehearsal = bool(record["rehearsal"])
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"corrupt file {folder / MANIFEST}: {error!r}; fetch the pack again") from error
    archives = {name: folder / name for name in contents if name.endswith(".zip")}
    results = _unpacked(archives, folder) if wanted else None
    found = {run.key for run in results.runs if run.status.finished} if results else set()
    if found != wanted:
        wrong = ", ".join(map(str, sorted(found ^ wanted, key=RunKey.order)[:3]))
        raise ResultsError(f"{folder}: {MANIFEST} and the archives do not agree on {wrong}; fetch the pack again")
    return Pack(folder, results, timings, rehearsal)


def _verified(path: Path, facts: Mapping[str, Any]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}; the pack is incomplete, fetch it again") from error
    if len(data) < facts["bytes"]:
        raise ResultsError(f"{path} is cut off: {len(data):,} of {facts['bytes']:,} bytes; fetch the pack again")
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise ResultsError(f"{path} does not match {MANIFEST}: it was changed; fetch the pack again")
    return data


def _unpacked(archives: Mapping[str, Path], folder: Path) -> Results:
    """The runs of all archives."""
    with tempfile.TemporaryDirectory(prefix="pack-") as place:
        for path in archives.values():
            try:
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        parts = PurePosixPath(name).parts
                        if ".." in parts or name.startswith("/"):
                            raise ResultsError(f"{path} holds {name}, outside its folder: it is not a pack of a lease")
                    archive.extractall(place)
            except zipfile.BadZipFile as error:
                raise ResultsError(f"{path} is not an archive ({error}); fetch the pack again") from error
        try:
            return load_runs(Path(place))
        except ResultsError as error:
            raise ResultsError(f"{folder}: {str(error).replace(f'{place}/', '')}") from error


def with_packs(base: Results | None, place: Path, packs: Sequence[Pack]) -> tuple[Results, list[str]]:
    """A published set merged with the runs of packs.

    Args:
        base: the published set in `place`.

    Returns all runs, and lines that say what was added and what was left out. Of a run in both, the one published first
    is kept, and likewise for the reference policies of a task.

    Raises ResultsError, naming both folders, where a run occurs twice with different settings.
    """
    runs = {run.key: (place, run) for run in base.runs} if base else {}
    references = dict(base.references) if base else {}
    notes, lines = list(base.notes) if base else [], []
    for pack in packs:
        if pack.results is None:
            lines.append(f"{pack.folder}: no finished run")
            continue
        added = 0
        for run in pack.results.runs:
            where, other = runs.setdefault(run.key, (pack.folder, run))
            if other is run:
                added += 1
                continue
            _require_same_settings(where, other, pack.folder, run)
            lines.append(f"{run.key} is in {where} already: that of {pack.folder} is left out")
        lines.append(f"{pack.folder}: {added} of {len(pack.results.runs)} runs added")
        lines += _add_references(references, pack)
        notes += [note for note in pack.results.notes if note not in notes]
    if not runs:
        raise ResultsError(f"nothing to publish: no finished run in {', '.join(str(pack.folder) for pack in packs)}")
    kept = tuple(run for _, run in sorted(runs.values(), key=lambda entry: entry[1].key.order()))
    tasks = {run.key.task for run in kept}
    references = {task: reference for task, reference in references.items() if task in tasks}
    return replace(base or Results(()), runs=kept, references=references, notes=tuple(notes)), lines


def _require_same_settings(where: Path, other: Run, folder: Path, run: Run) -> None:
    if other.config_hash != run.config_hash:
        raise ResultsError(
            f"{run.key} is in {where} and in {folder} with other settings (config {other.config_hash[:12]} and "
            f"{run.config_hash[:12]}): publish that pack elsewhere, or remove the run from one of them"
        )


def _add_references(references: dict[str, References], pack: Pack) -> list[str]:
    """Add the reference policies of tasks without any; returns notes on the others."""
    assert pack.results is not None
    lines = []
    for task, reference in pack.results.references.items():
        if references.setdefault(task, reference) != reference:
            lines.append(
                f"{pack.folder}: reference policies of {task} have other returns than those published: left out"
            )
    return lines


def read_timings(path: Path) -> list[dict[str, Any]]:
    """Timings measured on GPUs so far; empty without a file. Raises ResultsError for another format."""
    if not path.exists():
        return []
    record = read_json(path)
    timings = record.get("timings")
    if record.get("format") != TIMINGS_FORMAT or not isinstance(timings, list):
        raise ResultsError(f"{path}: expected format {TIMINGS_FORMAT} and a list of timings")
    return timings


def add_timings(path: Path, packs: Sequence[Pack]) -> int:
    """Add the timings of packs to a file, replacing older ones of the same measurement. Returns the number of timings
    in the file. Timings of a machine without a GPU are left out."""
    about = {_timing_key(entry): entry for entry in read_timings(path)}
    for pack in packs:
        about |= {_timing_key(entry): entry for entry in pack.timings if entry.get("gpu")}
    if about:
        record = {"format": TIMINGS_FORMAT, "timings": list(about.values())}
        write_output(path, json.dumps(record, indent=1) + "\n", option="--timings")
    return len(about)


def _timing_key(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    copies = entry.get("copies") if entry.get("what") == "environment" else None
    return (*(entry.get(name) for name in TIMING_KEY), copies)
