"""Record one episode of every trained policy as a GIF in the folder of its run.

    python -m benchmark.record --suite quick                                      the runs in results/quick
    python -m benchmark.record --results DIR --tasks cityflow/synthetic_49 --algorithms ip --seeds all

The episode is the first of the run's evaluation episodes, played by policy.pt on the CPU. Two files are written:

    episode.gif     at most 60 frames; longer episodes, such as those of traffic, show every second one and so on
    episode.json    policy, seed, steps and return of the episode, and the checksum of the GIF

Equal runs give equal files. The same command again adds recordings that are missing or were made with other options.

Exit code: 0 if every possible recording was made, 1 if a policy could not be played, 2 for another error, which is one
line on stderr, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import envs
from benchmark.config import RunConfig
from benchmark.console import first_line
from benchmark.errors import MENDABLE, UserError, report_errors
from benchmark.options import add_import
from benchmark.progress import Progress
from benchmark.suites import SUITES
from results.arguments import Parser
from results.files import read_json, readable_os_errors, write_atomically, write_json
from results.folder import status_of
from results.forms import read_config
from results.keys import RunKey
from results.layout import AGAIN, CONFIG, FACTS, GIF, POLICY, seed_folders
from results.words import counted

if TYPE_CHECKING:
    from PIL import Image

    from algorithms.protocols import Learner

MOST_FRAMES = 60
FRAMES_PER_SECOND = 10
SIZE, SMALLEST, LARGEST = 240, 64, 640
"""Sides of frames in pixels: the usual one, and the limits."""


@dataclass(frozen=True, slots=True)
class Recording:
    """How an episode is recorded."""

    policy: str = "greedy"
    """greedy or sampled."""
    size: int = SIZE
    """Side of the frames in pixels."""
    steps: int | None = None
    """Most environment steps; None plays the whole episode."""


RunAt = tuple[RunKey, Path]
"""A run, and its folder."""


def main() -> int:
    """Entry point of `python -m benchmark.record`."""
    options = parse_arguments()
    import torch

    torch.set_num_threads(1)  # sums in one order, so that equal runs give equal episodes
    results = options.results or Path("results") / ("raw" if options.suite == "all" else options.suite)
    runs = select(find(results), options, results)
    recording = Recording("sampled" if options.sampled else "greedy", options.size, options.steps)
    with Progress("record", len(runs), quiet=False) as progress:
        if progress.bar is not None:
            progress.bar.unit = "run"
        return EpisodeRecorder(recording, options.seeds, options.force, progress).record_all(runs)


class EpisodeRecorder:
    """Records episodes of runs one after the other and reports each outcome."""

    def __init__(self, recording: Recording, seeds: str | list[int], force: bool, progress: Progress) -> None:
        self.recording, self.seeds, self.force, self.progress = recording, seeds, force, progress
        self.recorded: list[int] = []
        """Sizes of the GIFs in bytes."""
        self.there, self.skipped, self.failed = 0, 0, 0

    def record_all(self, runs: Sequence[RunAt]) -> int:
        """Record runs in the order of their keys; returns the exit code."""
        done = 0
        for kind, members in groupby(runs, key=lambda run: run[0].kind):
            same = list(members)
            self._record_kind(" ".join(kind), same)
            done += len(same)
            self.progress.advance_to(done)
        total = f"{counted(len(self.recorded), 'episode')} recorded ({sum(self.recorded) / 1000:.0f} kB)"
        print(f"{total}, {self.there} were there, {counted(self.skipped, 'run')} skipped, {self.failed} failed")
        return int(self.failed > 0)

    def _record_kind(self, name: str, runs: Sequence[RunAt]) -> None:
        """Record all runs that differ only in their seeds, or the first of them that can be recorded."""
        skipped: list[tuple[str, int]] = []
        for key, folder in runs:
            reason = why_not(key, folder)
            if reason:
                skipped.append((reason, key.seed))
                continue
            self._record(key, folder)
            if self.seeds == "first":
                break
        self.skipped += len(skipped)
        for reason, pairs in groupby(sorted(skipped), key=lambda pair: pair[0]):
            seeds = ", ".join(str(seed) for _, seed in pairs)
            self.progress.note(f"skipped {name} seed {seeds}: {reason}")

    def _record(self, key: RunKey, folder: Path) -> None:
        if not self.force and is_recorded(folder, self.recording):
            self.there += 1
            return
        try:
            gif, facts = record_episode(folder, self.recording)
        except envs.EnvironmentNotAvailableError as error:
            self.skipped += 1
            self.progress.note(f"skipped {key.label}: {error}")
            return
        except MENDABLE as error:
            self.failed += 1
            self.progress.note(f"failed {key.label}: {error}")
            return
        save_episode(folder, gif, facts)
        self.recorded.append(len(gif))
        self.progress.note(
            f"{folder / GIF}: {facts['frames']} frames, {len(gif) / 1000:.0f} kB, "
            f"{facts['policy']} return {facts['return']:.2f}"
        )


def find(results: Path) -> list[RunAt]:
    """All run folders below `results` that have a config.json, in the order of keys. Hidden folders are skipped. Raises
    UserError where there is none."""
    found = [(_key_in(folder), folder) for folder in seed_folders(results) if (folder / CONFIG).exists()]
    if not found:
        raise UserError(
            f"no runs found in {results}: expected run folders <task>/<algorithm>/<variant>/seed_<k>; "
            "name the folder of a sweep with --results"
        )
    return sorted(found)


def _key_in(folder: Path) -> RunKey:
    config = read_config(folder / CONFIG, AGAIN)
    try:
        return RunKey.of(config)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / CONFIG} is damaged: it names no task, algorithm, variant and seed") from error


def select(runs: Sequence[RunAt], options: argparse.Namespace, results: Path) -> list[RunAt]:
    """The runs selected on the command line. Raises UserError where a filter, or their combination, matches none."""
    if options.suite is not None:
        wanted = {request.key for request in SUITES[options.suite]()}
        runs = [run for run in runs if run[0] in wanted]
        if not runs:
            raise UserError(
                f"--suite {options.suite}: {results} has none of its runs; name their folder with --results"
            )
    for name in ("task", "algorithm", "variant"):
        present = sorted({getattr(key, name) for key, _ in runs})
        for value in getattr(options, f"{name}s"):
            if value not in present:
                raise UserError(f"--{name}s {value}: no run in {results} has it; there are {', '.join(present)}")
    chosen = [
        (key, folder)
        for key, folder in runs
        if all(
            getattr(key, name) in (getattr(options, f"{name}s") or [getattr(key, name)])
            for name in ("task", "algorithm", "variant")
        )
        and (isinstance(options.seeds, str) or key.seed in options.seeds)
    ]
    if not chosen:
        raise UserError(f"no run in {results} is of these tasks, algorithms, variants and seeds together")
    return chosen


def why_not(key: RunKey, folder: Path) -> str:
    """Reason why a run cannot be recorded; empty if it can."""
    from benchmark.gif import WATCHED

    platform = key.task.partition("/")[0]
    if platform not in WATCHED:
        return f"{platform} tasks cannot be rendered"
    try:
        state = status_of(folder).get("state")
    except UserError as error:
        return str(error)
    if state != "finished":
        return f"the run is not finished (its status: {state})"
    if not (folder / POLICY).exists():
        return "it has no policy.pt: the trained policy was removed; delete its folder to rerun it"
    return ""


def is_recorded(folder: Path, recording: Recording) -> bool:
    """Whether the folder has a complete episode recorded with these options."""
    gif, file = folder / GIF, folder / FACTS
    if not gif.exists() or not file.exists():
        return False
    try:
        facts = read_json(file)
    except UserError:
        return False
    return (
        facts.get("take") == asdict(recording) and facts.get("sha256") == hashlib.sha256(gif.read_bytes()).hexdigest()
    )


def record_episode(folder: Path, recording: Recording) -> tuple[bytes, dict[str, Any]]:
    """Play the first evaluation episode of the run in `folder` with its trained policy.

    Returns the GIF and the contents of episode.json.

    Raises UserError where the policy cannot be loaded, and what `RunConfig.make_environment` raises.
    """
    from benchmark.gif import write_gif
    from benchmark.policies import load_policy

    policy = load_policy(folder)
    config = policy.config
    frames, score, steps, whole = _play(config, policy.learner, recording)
    stream = io.BytesIO()
    write_gif(stream, frames, FRAMES_PER_SECOND, len(frames))
    gif = stream.getvalue()
    facts = {
        "policy": recording.policy,
        "seed": config.training.evaluation_seed,
        "return": round(score, 4),
        "steps": steps,
        "episode_steps": whole,
        "frames": len(frames),
        "pixels": recording.size,
        "bytes": len(gif),
        "sha256": hashlib.sha256(gif).hexdigest(),
        "take": asdict(recording),
    }
    return gif, facts


def _play(config: RunConfig, learner: Learner, recording: Recording) -> tuple[list[Image.Image], float, int, int]:
    """Frames and return of one episode, the number of steps played, and the length of the whole episode."""
    from benchmark.evaluation import acting, play_episode
    from benchmark.gif import camera
    from benchmark.randomness import stream

    environment = config.make_environment(num_envs=1)
    whole = environment.spec.episode_length
    steps = whole if recording.steps is None else min(recording.steps, whole)
    seen = shown_steps(steps)
    picture = camera(environment, recording.size)
    seed = config.training.evaluation_seed
    generator = stream(seed, "evaluation", environment.device)
    frames: list[Image.Image] = []
    now = 0

    def see() -> None:
        nonlocal now
        if now in seen:
            frames.append(picture())
        now += 1

    act = acting(learner, generator, recording.policy == "greedy")
    scores = play_episode(environment, act, seed, see, steps)
    return frames, scores["return"].item(), steps, whole


def shown_steps(steps: int) -> set[int]:
    """Indices of the states, out of those after 0, 1, ... `steps` steps, that a GIF shows: from the first state on at
    equal distances, as many as there is room for, and the last one."""
    stride = math.ceil(steps / (MOST_FRAMES - 1))
    return {*range(0, steps, stride), steps}


def save_episode(folder: Path, gif: bytes, facts: dict[str, Any]) -> None:
    """Write both files of an episode, episode.json last, so that a concurrent reader finds the old episode, none, or
    the new one."""
    with readable_os_errors(folder / GIF):
        (folder / FACTS).unlink(missing_ok=True)
        write_atomically(folder / GIF, gif)
        write_json(folder / FACTS, facts)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.record`. Raises UserError for invalid values."""
    parser = Parser(prog="python -m benchmark.record", description=first_line(__doc__))
    parser.add_argument("--results", type=Path, metavar="DIR", help="default: results/SUITE, of all: results/raw")
    parser.add_argument("--suite", choices=sorted(SUITES), help="only the runs of this suite")
    add_import(parser)
    parser.add_argument("--tasks", nargs="+", default=[], help="only these tasks, or the paths of configurations")
    parser.add_argument("--algorithms", nargs="+", default=[], help="only these algorithms")
    parser.add_argument("--variants", nargs="+", default=[], help="only these variants")
    parser.add_argument(
        "--seeds",
        nargs="+",
        default=["first"],
        metavar="SEED",
        help="first (default): one run of those that differ only in seeds; all; or numbers",
    )
    parser.add_argument("--sampled", action="store_true", help="sample actions instead of taking the most likely")
    parser.add_argument("--steps", type=int, metavar="N", help="stop the episode after N environment steps")
    parser.add_argument("--size", type=int, default=SIZE, metavar="PIXELS", help=f"side of the frames; default: {SIZE}")
    parser.add_argument("--force", action="store_true", help="record existing episodes again")
    options = parser.parse_args(arguments)
    if options.results is None and options.suite is None:
        raise UserError("which runs? give --results DIR, or --suite SUITE for those in results/SUITE")
    if not SMALLEST <= options.size <= LARGEST:
        raise UserError(f"--size {options.size}: expected a whole number of pixels from {SMALLEST} to {LARGEST}")
    if options.steps is not None and options.steps < 1:
        raise UserError(f"--steps {options.steps}: expected a positive number of environment steps")
    options.tasks = [envs.locate(task)[0] for task in options.tasks]
    options.seeds = _seeds(options.seeds)
    return options


def _seeds(words: Sequence[str]) -> str | list[int]:
    if len(words) == 1 and words[0] in ("first", "all"):
        return words[0]
    with contextlib.suppress(ValueError):
        return [int(word) for word in words]
    raise UserError(f"--seeds {' '.join(words)}: expected first, all, or whole numbers")


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
