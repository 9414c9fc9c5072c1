"""Watch a policy: play episodes of a task, print their returns and draw them into a GIF.

    python -m benchmark.play mpe/cooperative_navigation_30 --policy greedy --gif navigation.gif
    python -m benchmark.play cityflow/hangzhou_16 --policy fixed_time --seconds 3600 --gif hangzhou.gif
    python -m benchmark.play magent/jungle_20 --policy aggressor --gif jungle.gif
    python -m benchmark.play my_city/config.json --policy max_pressure --gif my_city.gif

A policy is `greedy` (every agent heads for its nearest landmark, prey or food, or for the ball; signals follow the
greatest pressure), another name from `envs.reference_policies(task)`, or the path of a trained policy: policy.pt or
checkpoint.pt of a run. Trained policies take their most likely action, or sample one with --sampled, and play with the
environment settings of training, on any task with the same observations and actions. Equal seeds give equal episodes.
The return of a traffic task is minus the average travel time.

With --replay the first episode of a traffic task is written second by second for CityFlow's viewer (roadnet.json and
replay.txt), in addition to the GIF or without one.

Exit code: 0 if all was written, 2 for an error, which is one line on stderr, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import envs
from benchmark.config import environment_settings, parse_assignments
from benchmark.errors import UserError, report_errors, says_enough
from benchmark.gif import WATCHED, camera, write_gif
from benchmark.options import add_import, add_settings
from envs.canvas import LARGEST, REFERENCE, SMALLEST
from envs.errors import TrafficFileError, UnknownTaskError
from envs.fields import closest
from results.arguments import Parser, within

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from benchmark.evaluation import Act
    from envs.protocols import Environment

GREEDY = {"mpe": "nearest", "cityflow": "max_pressure", "magent": "greedy"}
"""The reference policy that `--policy greedy` stands for, by platform."""
FOR_TRAFFIC = ("seconds", "replay")
"""Options for traffic tasks only."""
NO_REPLAY = "--replay records the builtin engine: leave it out, or choose --set environment.engine=builtin"

MOST_PIXELS = 300_000_000
"""Most pixels in all frames of a GIF, which are held in memory at one byte each."""
FASTEST = 50
"""Frames per second; viewers show faster GIFs slowly."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        play(_parse(arguments))
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    return 0


def play(options: argparse.Namespace) -> None:
    """Play, print, draw and record episodes as the command line specifies. Raises UserError."""
    from benchmark.evaluation import play_episode

    environment, act = _environment_and_policy(options)
    frames: list[Image.Image] = []
    see = None if options.gif is None else _frame_writer(environment, options, frames)
    with contextlib.nullcontext() if options.gif is None else _replacing(options.gif) as stream:
        for episode in range(options.episodes):
            with contextlib.nullcontext() if episode or options.replay is None else _recording(environment, options):
                scores = play_episode(environment, act, options.seed if episode == 0 else None, see)
            score = scores["return"].item()
            print(f"episode {episode + 1} of {options.episodes}: return {score:.2f}", flush=True)
        if stream is not None:
            write_gif(stream, frames, options.fps, environment.spec.episode_length + 1)
    if options.gif is not None:
        size = options.gif.stat().st_size / 1000
        print(f"{options.gif}: {len(frames)} frames of {options.size} x {options.size} pixels, {size:.0f} kB")


def _frame_writer(
    environment: Environment, options: argparse.Namespace, frames: list[Image.Image]
) -> Callable[[], None]:
    """A function that adds a frame of the current state to `frames`. Raises UserError where a GIF would have too many
    frames."""
    pixels = options.size**2 * (environment.spec.episode_length + 1)
    if options.episodes * pixels > MOST_PIXELS:
        episodes = MOST_PIXELS // pixels
        choice = f"choose at most {episodes}, or a smaller --size" if episodes else "choose a smaller --size"
        raise UserError(f"--episodes {options.episodes} is too many for one GIF of --size {options.size}: {choice}")
    frame = camera(environment, options.size, options.neighbours)
    return lambda: frames.append(frame())


def _environment_and_policy(options: argparse.Namespace) -> tuple[Environment, Act]:
    """The environment and the policy that acts in it."""
    import torch

    from benchmark.evaluation import reference_acting

    options.task, city = envs.locate(options.task)
    names = {name: name for name in envs.reference_policies(options.task)}
    platform = options.task.partition("/")[0]
    if platform not in WATCHED:
        *most, last = WATCHED.values()
        raise UserError(f"{options.task} cannot be rendered: only {', '.join(most)} and {last} can be watched")
    names = {"greedy": GREEDY[platform], **names}
    changes = city | _changes(options, platform)
    generator = torch.Generator().manual_seed(options.seed)
    if options.policy not in names:
        path = Path(options.policy)
        if not options.policy or (path.suffix != ".pt" and not path.exists()):
            hint = closest(options.policy, names, most=1)
            raise UserError(
                f"there is no policy {options.policy!r}; {hint}{' ' * bool(hint)}expected one of "
                f"{', '.join(names)}, or the path of a policy.pt or checkpoint.pt"
            )
        return _trained_policy(options, path, generator, changes)
    if options.sampled:
        raise UserError(f"--sampled is for trained policies; {options.policy} has no sampled form: leave it out")
    environment = _make(options.task, changes)
    reference = envs.reference_policies(options.task)[names[options.policy]](environment)
    return environment, reference_acting(reference, generator)


def _changes(options: argparse.Namespace, platform: str) -> dict[str, Any]:
    """Environment settings changed by the command line. Raises UserError for options of another platform."""
    for name in FOR_TRAFFIC:
        if getattr(options, name) is not None and platform != "cityflow":
            raise UserError(f"--{name} is for {WATCHED['cityflow']}, not for {options.task}: leave it out")
    seconds = {} if options.seconds is None else {"episode_seconds": options.seconds}
    changes = seconds | environment_settings(options.task, parse_assignments(options.assignments))
    if changes.get("engine") == "cityflow" and options.replay is not None:
        raise UserError(NO_REPLAY)
    return changes


def _make(task: str, settings: dict[str, Any]) -> Environment:
    try:
        return envs.make(task, num_envs=1, **settings)
    except ValueError as error:
        if isinstance(error, UnknownTaskError | TrafficFileError):
            raise
        raise UserError(str(error)) from error


def _trained_policy(
    options: argparse.Namespace, path: Path, generator: torch.Generator, changes: dict[str, Any]
) -> tuple[Environment, Act]:
    from benchmark.evaluation import acting
    from benchmark.policies import load_policy

    try:
        policy = load_policy(path, city=changes.get("map", ""))
    except Exception as error:  # damaged bytes make the readers raise a dozen unrelated types
        if says_enough(error):
            raise
        raise UserError(f"{path} is not a policy that can be played ({type(error).__name__}: {error})") from error
    environment = policy.environment(options.task, 1, changes)
    return environment, acting(policy.learner_for(environment.spec), generator, greedy=not options.sampled)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file under a temporary name, renamed when complete. Raises UserError if it cannot be written."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            if path.is_dir():
                raise UserError(f"cannot write {path}: it is a folder; give the name of a file")
            with temporary.open("wb") as stream:
                yield stream
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise UserError(f"cannot write {path}: {reason}; give --gif a file in a folder you can write to") from error


@contextlib.contextmanager
def _recording(environment: Environment, options: argparse.Namespace) -> Iterator[None]:
    """Record the city inside the context; the files are renamed at the end. Raises UserError where they cannot be
    written."""
    from envs.traffic.cityflow.replay import ReplayWriter, write_roadnet_log
    from envs.traffic.engine.batch import BatchEngine
    from envs.traffic.environment import TrafficEnvironment

    assert isinstance(environment, TrafficEnvironment)
    folder, batch = options.replay, environment.batch
    if not isinstance(batch, BatchEngine):  # a policy may have been trained with the other one
        raise UserError(NO_REPLAY)
    names = [folder / "roadnet.json", folder / "replay.txt"]
    roadnet, replay = temporary = [name.with_name(f".{name.name}.tmp") for name in names]
    try:
        with contextlib.ExitStack() as stack:
            folder.mkdir(exist_ok=True)
            for path in temporary:
                stack.callback(path.unlink, missing_ok=True)
            write_roadnet_log(environment.city.network, roadnet)
            writer = ReplayWriter(environment.city.network, replay)
            stack.callback(writer.close)
            stack.callback(setattr, batch, "after_step", None)
            batch.after_step = lambda: writer.write(batch.simulations[0].state)
            yield
            writer.close()
            for path, name in zip(temporary, names, strict=True):
                path.replace(name)
    except OSError as error:
        raise UserError(
            f"cannot write {folder}: {error.strerror}; give --replay a folder that you can write to, or make"
        ) from error
    print(f"{folder}: {' and '.join(name.name for name in names)} for CityFlow's viewer")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m benchmark.play", description="Play episodes, print their returns, draw a GIF.")
    parser.add_argument(
        "task",
        metavar="TASK",
        help="for example mpe/cooperative_navigation_30, or the path of a CityFlow configuration",
    )
    parser.add_argument(
        "--policy",
        default="greedy",
        help="greedy (default), random, stay, fixed_time, aggressor, ..., or a policy.pt or checkpoint.pt",
    )
    parser.add_argument("--gif", type=Path, metavar="OUT.gif", help="the file to write")
    parser.add_argument(
        "--episodes", type=within(1, 10_000), default=1, metavar="N", help="episodes, played in sequence; default: 1"
    )
    parser.add_argument(
        "--seed", type=within(0, 2**63 - 1), default=0, metavar="N", help="seed of positions and actions; default: 0"
    )
    parser.add_argument(
        "--size",
        type=within(SMALLEST, LARGEST),
        default=REFERENCE,
        metavar="PIXELS",
        help=f"side of the frames; default: {REFERENCE}",
    )
    parser.add_argument("--fps", type=within(1, FASTEST), default=10, metavar="N", help="frame rate; default: 10")
    parser.add_argument("--sampled", action="store_true", help="draw the actions of a trained policy")
    parser.add_argument("--neighbours", action="store_true", help="draw a line from each agent to its neighbours")
    add_import(parser)
    add_settings(
        parser, "change a setting of the environment, such as environment.reward=local; may be given several times"
    )
    traffic = parser.add_argument_group(WATCHED["cityflow"])
    traffic.add_argument(
        "--seconds", type=within(1, 86_400), metavar="N", help="length of an episode; 3600: a full hour; default: 1000"
    )
    traffic.add_argument("--replay", type=Path, metavar="FOLDER", help="record the first episode for CityFlow's viewer")
    options = parser.parse_args(arguments)
    if options.gif is None and options.replay is None:
        raise UserError("nothing to write: give --gif OUT.gif, or --replay FOLDER for a traffic task")
    if options.gif is not None and options.gif.suffix.lower() != ".gif":
        raise UserError(f"--gif {options.gif}: expected a name that ends in .gif")
    return options


if __name__ == "__main__":
    sys.exit(report_errors(main))
