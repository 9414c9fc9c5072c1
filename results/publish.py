"""One published set: a folder with the runs of a suite as Parquet files, and a manifest with their checksums.

    python -m results.publish --results DIR --output results/published/SUITE [--suite SUITE] [--compact]
    python -m results.publish --packs DIR ... --output results/published/paper --suite all --compact
    python -m results.publish --trials DIR --output results/published/SUITE

The second form adds the runs of GPU leases (`results.packs`) to the set, and their timings to a file; the third adds
the transfer trials of the set's runs (`benchmark.transfer`), from their folders below DIR.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from results.arguments import Parser
from results.columns import (
    evaluations_file,
    metrics_file,
    read_evaluations,
    read_metrics,
    read_trials,
    trials_file,
)
from results.commands import report_errors
from results.compact import COMPACT_NOTE, compacted, compacted_trials
from results.episodes import (
    episodes_from_manifest,
    episodes_of_runs,
    episodes_to_json,
    gifs_named_in,
    published_name,
    read_gif,
    remove_gifs,
    too_large,
)
from results.errors import ResultsError, UserError
from results.files import read_json, write_together
from results.json_records import full_evaluations_from_json, references_from_json
from results.keys import RunKey
from results.layout import seed_folders
from results.packs import Pack, add_timings, read_pack, with_packs
from results.records import Evaluation, MetricRow, Results, Run, Status, Trial
from results.runs import INTERPRETATION, load_runs
from results.words import counted

GPU_TIMINGS = Path("results/gpu_timings.json")
FORMAT = 2
MANIFEST = "manifest.json"
TRIALS = "transfer.parquet"
"""File of a set's transfer trials, if it has any."""
CODE_FACTS = ("commit", "dirty", "started", "from_step", "micro_batch", "note", "python", "torch", "numpy")
HARDWARE_FACTS = ("device", "gpu", "cpu", "cores")
PUBLISHED_MACHINE_FACTS = CODE_FACTS + HARDWARE_FACTS
"""Facts of machine.json that may explain a number. Others, such as host and command, are not published."""


def with_trials(results: Results, runs: Results) -> Results:
    """The set with the transfer trials (transfer.jsonl) from the folders of its runs. Raises ResultsError where a run
    was made with other settings, and where there is nothing to add."""
    tried = {run.key: run for run in runs.runs if run.trials}
    for run in results.runs:
        other = tried.get(run.key)
        if other is not None and other.config_hash != run.config_hash:
            raise ResultsError(f"{run.key} of the set was made with other settings than the folder with its trials")
    if not tried.keys() & {run.key for run in results.runs}:
        raise ResultsError("no run of the set has trials there: make some with python -m benchmark.transfer")
    added = (replace(run, trials=tried[run.key].trials) if run.key in tried else run for run in results.runs)
    return replace(results, runs=tuple(added))


def publish(results: Results, output: Path, suite: str = "") -> tuple[Path, ...]:
    """Write a set of runs; `suite` is the name of their suite, if any. Returns the paths of its files: the Parquet
    files, the GIFs of episodes, the manifest.

    The manifest is written last and contains the checksums of the others. If the replacement of an older set is
    interrupted, the older set remains or, between the moves of two files, a set that readers reject. Raises UserError
    when the folder cannot be written, and ResultsError when sets or run folders lie in it, or when its episodes are too
    large or differ from the recorded ones.
    """
    _refuse_to_hide(output, suite or "NAME")
    contents = {
        "evaluations.parquet": evaluations_file(results.runs),
        "interpretation.parquet": metrics_file(results.runs, interpretation=True),
        "metrics.parquet": metrics_file(results.runs, interpretation=False),
    }
    if any(run.trials for run in results.runs):
        contents[TRIALS] = trials_file(results.runs)
    episodes = episodes_of_runs(results)
    if reason := too_large(episodes.values()):
        raise ResultsError(f"not published: {reason}; or leave them out: --without-episodes")
    gifs = {published_name(key): read_gif(episode) for key, episode in episodes.items()}
    manifest = {
        "format": FORMAT,
        "suite": suite,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in contents.items()},
        "notes": list(results.notes),
        "hardware": hardware_of(results.runs),
        "runs": [_run_to_json(run) for run in results.runs],
        "references": {task: _references_to_json(results, task) for task in sorted(results.references)},
        **({"episodes": episodes_to_json(episodes)} if episodes else {}),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    before = gifs_named_in(output / MANIFEST)
    write_together(output, {**contents, **gifs, MANIFEST: text.encode("utf-8")})
    remove_gifs(output, before - gifs.keys())
    if TRIALS not in contents:
        (output / TRIALS).unlink(missing_ok=True)
    return (*(output / name for name in (*contents, *gifs)), output / MANIFEST)


def hardware_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The machines on which runs were begun, with the number of runs."""
    names = ("gpu", "cpu", "cores")
    counts = Counter(tuple(run.machine.get(name) for name in names) for run in runs)
    return [dict(zip(names, values, strict=True)) | {"runs": count} for values, count in counts.most_common()]


def without_episodes(results: Results) -> Results:
    """The results without recorded episodes."""
    return replace(results, episodes={})


def written(paths: Sequence[Path]) -> list[str]:
    """Lines that list the files of a set, with its GIFs together."""
    gifs = [path for path in paths if path.suffix == ".gif"]
    lines = [f"wrote {path} ({path.stat().st_size:,} bytes)" for path in paths if path not in gifs]
    if gifs:
        size = sum(path.stat().st_size for path in gifs)
        lines.append(f"wrote {gifs[0].parent} ({len(gifs)} GIFs, {size:,} bytes)")
    return lines


def _refuse_to_hide(output: Path, name: str) -> None:
    """Raises ResultsError where the folder contains sets or run folders: once it holds a manifest it is read as one
    set, and they would no longer be found."""
    sets, run = subfolders_with_sets(output), next(seed_folders(output), None)
    if sets or run:
        what = f"published sets ({', '.join(sets)})" if sets else f"run folders ({run}, ...)"
        raise ResultsError(f"{output} holds {what}, which a set in it would hide; write to {output / name} instead")


def subfolders_with_sets(directory: Path) -> list[str]:
    """Names of the folders directly below `directory` that hold a published set; hidden ones do not count."""
    paths = sorted(directory.glob(f"*/{MANIFEST}"))
    return [path.parent.name for path in paths if not path.parent.name.startswith(".")]


def read_published(directory: Path) -> Results:
    """The published set in `directory`, equal to the run folders it was made from except for machine facts that are not
    published. Raises ResultsError when a file is missing or its checksum is wrong; the checksum of a GIF is verified
    when `results.episodes.read_gif` reads it."""
    path = directory / MANIFEST
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise ResultsError(
            f"{path}: format is {manifest.get('format')!r}, this version reads {FORMAT}; publish it again"
        )
    try:
        files = {name: _verified(directory / name, facts["sha256"]) for name, facts in manifest["files"].items()}
        evaluations = read_evaluations(files["evaluations.parquet"])
        metrics = read_metrics(files["metrics.parquet"])
        for key, rows in read_metrics(files["interpretation.parquet"], INTERPRETATION).items():
            metrics[key] += rows
        trials = read_trials(files[TRIALS]) if TRIALS in files else {}
        runs = tuple(_run_from_json(value, evaluations, metrics, trials) for value in manifest["runs"])
        references = {
            task: references_from_json(task, value, f"{path} ({task})")
            for task, value in manifest["references"].items()
        }
        episodes = episodes_from_manifest(manifest.get("episodes", {}), directory, str(path))
        return Results(runs, references, tuple(manifest["notes"]), episodes)
    except (AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ResultsError(f"corrupt file {path}: {error!r}; publish the runs again") from error


def verify(directory: Path) -> None:
    """Read the whole set in `directory`, including its GIFs. Raises ResultsError like `read_published`."""
    for episode in read_published(directory).episodes.values():
        read_gif(episode)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _verified(path: Path, expected: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}; the published set is incomplete") from error
    found = _sha256(data)
    if found != expected:
        raise ResultsError(
            f"{path} does not match {MANIFEST}: expected sha256 {expected[:12]}, found {found[:12]}; "
            "it was changed or copied in part: fetch it again, or publish the runs again"
        )
    return data


def _published_facts(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in PUBLISHED_MACHINE_FACTS if name in facts}


def _run_to_json(run: Run) -> dict[str, Any]:
    machine = _published_facts(run.machine)
    if run.machine.get("starts"):
        machine["starts"] = [_published_facts(start) for start in run.machine["starts"]]
    return {
        **run.key._asdict(),
        "config_hash": run.config_hash,
        "status": asdict(run.status),
        "machine": machine,
        "config": run.config,
        "notes": list(run.notes),
        **(
            {"full_evaluation": [asdict(evaluation) for evaluation in run.full_evaluations]}
            if run.full_evaluations
            else {}
        ),
    }


def _run_from_json(
    value: dict[str, Any],
    evaluations: dict[RunKey, list[Evaluation]],
    metrics: dict[RunKey, list[MetricRow]],
    trials: dict[RunKey, list[Trial]],
) -> Run:
    key = RunKey.of(value)
    return Run(
        key=key,
        config={**value["config"]},
        machine=value["machine"],
        status=Status(**value["status"]),
        evaluations=tuple(evaluations.get(key, [])),
        metrics=tuple(metrics.get(key, [])),
        notes=tuple(value["notes"]),
        full_evaluations=full_evaluations_from_json(value.get("full_evaluation", []), str(key)),
        trials=tuple(trials.get(key, [])),
    )


def _references_to_json(results: Results, task: str) -> dict[str, Any]:
    references = results.references[task]
    return {
        "evaluation_seed": references.evaluation_seed,
        "episodes": references.episodes,
        "policies": _returns_to_json(references.returns),
        **({"full_evaluation": {"policies": _returns_to_json(full)}} if (full := references.full_returns) else {}),
    }


def _returns_to_json(returns: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    return {name: {"returns": list(values)} for name, values in returns.items()}


def _packs(folders: Sequence[Path], rehearsed: bool) -> list[Pack]:
    """Packs of leases. Raises ResultsError for the pack of a rehearsal, unless rehearsals are accepted."""
    packs = [read_pack(folder) for folder in folders]
    for pack in packs:
        if pack.rehearsal and not rehearsed:
            raise ResultsError(f"{pack.folder} is from a rehearsal, not a lease (--rehearsed accepts it)")
    return packs


def _added(output: Path, packs: Sequence[Pack]) -> Results:
    """The set in `output`, if there is one, merged with the runs of packs; prints what was added."""
    base = read_published(output) if (output / MANIFEST).exists() else None
    results, lines = with_packs(base, output, packs)
    print(*lines, sep="\n")
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when the set was written and read back, 1 with one line on standard error otherwise."""
    parser = Parser(
        prog="python -m results.publish",
        description="Publish every run below a folder, finished or not, as one set, or add the runs of GPU leases to a "
        "set. For the runs of a suite, once all are complete: python -m benchmark.sweep collect --suite SUITE",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--results", type=Path, metavar="DIR", help="folder that holds the run folders")
    source.add_argument("--packs", type=Path, nargs="+", metavar="DIR", help="packs of leases, added to the set")
    source.add_argument("--trials", type=Path, metavar="DIR", help="run folders whose trials are added to the set")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the set")
    parser.add_argument("--suite", default="", help="suite of the runs, if any")
    parser.add_argument(
        "--compact", action="store_true", help=f"{COMPACT_NOTE}: a smaller set that gives the same curves and scores"
    )
    parser.add_argument("--without-episodes", action="store_true", help="leave out the GIFs of recorded episodes")
    parser.add_argument(
        "--timings", type=Path, default=GPU_TIMINGS, metavar="FILE", help="--packs: timings file; default: %(default)s"
    )
    parser.add_argument("--rehearsed", action="store_true", help="--packs: accept packs of rehearsals")
    options = parser.parse_args(arguments)
    try:
        packs = [] if options.packs is None else _packs(options.packs, options.rehearsed)
        if options.trials is not None:
            results = compacted_trials(with_trials(read_published(options.output), load_runs(options.trials)))
            options.suite = options.suite or str(read_json(options.output / MANIFEST).get("suite", ""))
        else:
            results = load_runs(options.results) if options.packs is None else _added(options.output, packs)
        if options.without_episodes:
            results = without_episodes(results)
        if options.compact:
            results = compacted(results)
        print(*written(publish(results, options.output, options.suite)), sep="\n")
        verify(options.output)
        if packs:
            print(f"{counted(add_timings(options.timings, packs), 'timing')} in {options.timings}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    unfinished = sum(not run.status.finished for run in results.runs)
    print(
        f"published {counted(len(results.runs), 'run')}, {unfinished} of them unfinished or failed; checksums verified"
    )
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
