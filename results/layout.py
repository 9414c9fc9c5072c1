"""Names of the files and folders of runs, used by every reader and writer.

    DIR/<task>/references.json                    reference policies on the same evaluation episodes (optional)
    DIR/<task>/<algorithm>/<variant>/seed_<k>/
        config.json           requested settings: task, algorithm, variant, seed, total_steps, all others, config_hash
        machine.json          software and hardware of every start: commit, dirty, python, torch, cpu, gpu, micro_batch
        status.json           running, finished or failed; step, total_steps, scores, message, updated, wall_seconds
        metrics.jsonl         one line per logging interval: step and named metrics
        evaluation.jsonl      one line per evaluation and policy: step, policy, return of every episode, scores
        interpretation.jsonl  traffic tasks: sums since the previous line, by kind and name
        full_evaluation.json  traffic tasks: the final policies on an episode of a full hour
        transfer.jsonl        evaluations with other numbers of agents, on other maps or with lost messages (optional)
        timing.jsonl          wall time by phase, environment steps per second
        checkpoint.pt         exact state to resume from, replaced atomically; removed at the end unless it is kept
        policy.pt             the trained learner, once the run is finished
        episode.gif           a recorded episode of the trained policy (optional)
        episode.json          policy, seed, steps, return and sha256 of the recording
        tensorboard/          the metrics as an event file, with training.tensorboard=true
        output.log            output of the run's process in a sweep
        lock                  the process that writes to the folder
    FOLDER/                                       an exported policy (`benchmark.export`), with config.json, episode.gif
        weights.pt            the acting network alone
        scores.json           scores of the policy, and how it was trained
        card.md               the same as a model card
        curve.png             its learning curve
    DIR/.sweep/                                   lock and log of a sweep; jobs on a cluster and their code
    DIR/collected/                                the published form of the runs

`<task>` is itself a path, such as `mpe/cooperative_navigation_3`. With equal seeds, metrics, evaluation, interpretation
and full_evaluation are equal to the last byte; machine, status, timing and output.log differ from run to run.

This module imports no large package.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from results.errors import ResultsError
from results.keys import RunKey

CONFIG = "config.json"
MACHINE = "machine.json"
STATUS = "status.json"
METRICS = "metrics.jsonl"
EVALUATION = "evaluation.jsonl"
INTERPRETATION = "interpretation.jsonl"
FULL_EVALUATION = "full_evaluation.json"
TRANSFER = "transfer.jsonl"
TIMING = "timing.jsonl"
CHECKPOINT = "checkpoint.pt"
POLICY = "policy.pt"
GIF, FACTS = "episode.gif", "episode.json"
OUTPUT = "output.log"
TENSORBOARD = "tensorboard"
LOCK = "lock"
WEIGHTS, SCORES, CARD, CURVE = "weights.pt", "scores.json", "card.md", "curve.png"
REFERENCES = "references.json"
SWEEP = ".sweep"
COLLECTED = "collected"

LOGS = (METRICS, EVALUATION, TIMING, INTERPRETATION)
"""Files to which a run appends lines."""
RECORDS = (CONFIG, MACHINE, STATUS, EVALUATION, FULL_EVALUATION, INTERPRETATION, METRICS, TIMING, TRANSFER)
"""Files with everything that readers need of a run, from which it can be published."""
WRITTEN_LATER = (STATUS, EVALUATION, METRICS, CHECKPOINT, POLICY)
"""Files of a run folder that are written only after its config.json."""
LOST_CONFIG = (
    "config.json is missing, so that the settings of this run are unknown and it is not counted: restore that file, or "
    "delete the folder to rerun it"
)
LOST_STATUS = (
    "status.json is missing, although the run has a trained policy: restore that file, or delete the folder to rerun it"
)
AGAIN = "delete its folder to rerun it"
"""Advice for a run folder with a damaged file."""
WITHOUT_IT = "restore it, or delete this file: an unfinished run continues from its checkpoint"
"""Advice for a damaged file that a run can do without."""
_SEED_FOLDER = re.compile(r"seed_(\d+)")


def run_folder(results: Path, key: RunKey) -> Path:
    """Folder of a run."""
    return results / str(key)


def lost_config(folder: Path) -> bool:
    """Whether a run folder has files of a run but has lost the config.json with its settings."""
    return not (folder / CONFIG).exists() and any((folder / name).is_file() for name in WRITTEN_LATER)


def lost_status(folder: Path) -> bool:
    """Whether a run folder has the trained policy of a finished run but has lost the status.json that says so."""
    return (folder / POLICY).exists() and not ((folder / STATUS).exists() or (folder / CHECKPOINT).exists())


def seed_folders(directory: Path) -> Iterator[Path]:
    """All run folders below `directory`, whatever their contents, in the order of their names. Raises ResultsError
    where a folder cannot be read."""
    for folder, below in folders_of_runs(directory):
        yield from (folder / name for name in below if _SEED_FOLDER.fullmatch(name))


def folders_of_runs(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    """`directory` and the folders below it, each with the names of its subfolders. Run folders are not entered; hidden
    folders and the collected form of the runs are left out. Raises ResultsError where a folder cannot be read."""
    for path, names, _ in os.walk(directory, onerror=_refuse) if directory.is_dir() else ():
        folder = Path(path)
        below = [name for name in sorted(names) if not name.startswith(".")]
        if folder == directory and COLLECTED in below:
            below.remove(COLLECTED)
        names[:] = [name for name in below if not _SEED_FOLDER.fullmatch(name)]
        yield folder, below


def _refuse(error: OSError) -> None:
    raise ResultsError(f"cannot read {error.filename}: {error.strerror}")
