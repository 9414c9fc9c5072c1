"""Watch a policy: play episodes of a task, print their returns and draw them into a GIF.

    python -m envs.play mpe/cooperative_navigation_30 --policy greedy --gif navigation.gif
    python -m envs.play cityflow/hangzhou_16 --policy fixed_time --seconds 3600 --gif hangzhou.gif
    python -m envs.play magent/jungle_20 --policy aggressor --gif jungle.gif
    python -m envs.play my_city/config.json --policy max_pressure --gif my_city.gif

A policy is `greedy` (every agent heads for its nearest landmark, prey or food, or for the ball; signals follow the
greatest pressure), another name from `envs.controllers(task)`, or the path of a trained policy: policy.pt or
checkpoint.pt of a run. Trained policies take their most likely action, or draw one with --sampled, and play with the
environment settings they were trained with. Equal seeds give equal episodes. The return of a traffic task is minus the
average travel time.

With --replay the first episode of a traffic task is also, or without --gif only, written second by second for
CityFlow's own viewer: roadnet.json and replay.txt.

Exit code: 0 if all was written, 2 for an error, which is one line on stderr, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import envs
from envs.canvas import LARGEST, REFERENCE, SMALLEST, Colour
from envs.drawing import draw, pictures_of
from envs.errors import EnvironmentNotAvailableError, PreyWeightsError, TrafficFileError, UnknownTaskError
from envs.jungle.settings import Backend
from envs.protocols import Environment, Step

Act = Callable[[Step], Tensor]

GREEDY = {"mpe": "nearest", "cityflow": "max_pressure", "magent": "greedy"}
"""The controllers that are called `greedy` here."""
WATCHED = {
    "mpe": "particle tasks (mpe/...)",
    "cityflow": "traffic tasks (cityflow/...)",
    "magent": "jungle tasks (magent/...)",
}
"""The platforms with pictures, in words."""
OWNERS = {"seconds": "cityflow", "engine": "cityflow", "replay": "cityflow", "backend": "magent"}
"""Options that are for one platform only."""
NO_REPLAY = "--replay records the builtin engine: leave it out, or choose --engine builtin"

MOST_PIXELS = 300_000_000
"""Of all frames of a GIF together: they are held in memory, one byte each."""
LAST_FRAME_MILLISECONDS = 1500
"""How long the end of an episode stays."""
FASTEST = 50
"""Frames per second; viewers show faster GIFs slowly."""
LEAST_DIFFERENCE = 10
"""In some channel, of 255, between the colours of a GIF."""


class PlayError(Exception):
    """Something a user can mend; the message is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        options = _parse(arguments)
        play(options)
    except (PlayError, UnknownTaskError, EnvironmentNotAvailableError, PreyWeightsError, TrafficFileError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    return 0


@torch.no_grad()
def play(options: argparse.Namespace) -> None:
    """Play, print, draw and record what the command line asks for. Raises PlayError."""
    environment, act = _cast(options)
    frames: list[Image.Image] = []
    see = None if options.gif is None else _filming(environment, options, frames)
    with contextlib.nullcontext() if options.gif is None else _replacing(options.gif) as stream:
        for episode in range(options.episodes):
            with contextlib.nullcontext() if episode or options.replay is None else _recording(environment, options):
                play_episode(environment, act, options.seed if episode == 0 else None, see)
            score = environment.scores()["return"].item()
            print(f"episode {episode + 1} of {options.episodes}: return {score:.2f}", flush=True)
        if stream is not None:
            write_gif(stream, frames, options.fps, environment.spec.episode_length + 1)
    if options.gif is not None:
        size = options.gif.stat().st_size / 1000
        print(f"{options.gif}: {len(frames)} frames of {options.size} x {options.size} pixels, {size:.0f} kB")


def _filming(environment: Environment, options: argparse.Namespace, frames: list[Image.Image]) -> Callable[[], None]:
    """What adds a frame of the present state to `frames`. Raises PlayError where there will be too many for a GIF."""
    pixels = options.size**2 * (environment.spec.episode_length + 1)
    if options.episodes * pixels > MOST_PIXELS:
        episodes = MOST_PIXELS // pixels
        choice = f"choose at most {episodes}, or a smaller --size" if episodes else "choose a smaller --size"
        raise PlayError(f"{options.episodes} episodes are too many for one GIF of --size {options.size}: {choice}")
    take = camera(environment, options.size, options.neighbours)
    return lambda: frames.append(take())


def camera(environment: Environment, size: int, neighbours: bool = False) -> Callable[[], Image.Image]:
    """What takes a frame of the first copy's present state, in the colours of a GIF, as `envs.drawing.draw` does.

    Raises TypeError for an environment that has no pictures."""
    palette = gif_palette(pictures_of(environment).palette)

    def take() -> Image.Image:
        frame = Image.fromarray(draw(environment, size=size, neighbours=neighbours))
        return frame.quantize(palette=palette, dither=Image.Dither.NONE)

    return take


def write_gif(stream: BinaryIO, frames: Sequence[Image.Image], fps: int, episode_frames: int) -> None:
    """Write frames that share a palette; the last of every `episode_frames` is shown for longer."""
    durations = [round(1000 / fps)] * len(frames)
    durations[episode_frames - 1 :: episode_frames] = [LAST_FRAME_MILLISECONDS] * (len(frames) // episode_frames)
    frames[0].save(
        stream, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
    )


def gif_palette(pure: Sequence[Colour]) -> Image.Image:
    """An image with the palette of a GIF: the colours of its drawing and mixtures of every two of them, at most 256.

    Mixtures close to a colour that is already there are left out, so that each pure colour is matched by itself.
    """
    colours = np.array(pure)
    for first, second in itertools.combinations(pure, 2):
        for share in (1 / 3, 2 / 3):
            mixture = np.rint(np.multiply(first, 1 - share) + np.multiply(second, share)).astype(int)
            if np.abs(colours - mixture).max(1).min() >= LEAST_DIFFERENCE:
                colours = np.vstack((colours, mixture))
    image = Image.new("P", (1, 1))
    image.putpalette(colours[:256].astype(np.uint8).tobytes())
    return image


def play_episode(
    environment: Environment,
    act: Act,
    seed: int | None,
    see: Callable[[], None] | None = None,
    steps: int | None = None,
) -> None:
    """Play one episode, or its first `steps`; `see` is called at every state, the first one included."""
    step = environment.reset(seed)
    if see is not None:
        see()
    for _ in range(environment.spec.episode_length if steps is None else steps):
        step = environment.step(act(step))
        if see is not None:
            see()


def _cast(options: argparse.Namespace) -> tuple[Environment, Act]:
    """The environment and who acts in it."""
    options.task, city = envs.locate(options.task)
    controllers = {name: name for name in envs.controllers(options.task)}
    platform = options.task.partition("/")[0]
    if platform not in WATCHED:
        *most, last = WATCHED.values()
        raise PlayError(f"{options.task} has no pictures: only {', '.join(most)} and {last} can be watched")
    controllers = {"greedy": GREEDY[platform], **controllers}
    changes = city | _changes(options, platform)
    generator = torch.Generator().manual_seed(options.seed)
    if options.policy not in controllers:
        path = Path(options.policy)
        if path.suffix != ".pt" and not path.exists():
            close = difflib.get_close_matches(options.policy, controllers, n=1)
            hint = f"; did you mean {close[0]}?" if close else ";"
            raise PlayError(
                f"there is no policy {options.policy!r}{hint} expected one of {', '.join(controllers)}, "
                "or the path of a policy.pt or checkpoint.pt"
            )
        return _cast_learner(options, path, generator, changes)
    if options.sampled:
        raise PlayError(f"--sampled is for trained policies; {options.policy} knows only one way to act: leave it out")
    environment = _make(options.task, changes)
    controller = envs.controllers(options.task)[controllers[options.policy]](environment)
    return environment, lambda _: controller.act(generator)


def _changes(options: argparse.Namespace, platform: str) -> dict[str, Any]:
    """Settings of the environment that the command line changes. Raises PlayError for options of another platform."""
    given = {name: value for name in OWNERS if (value := getattr(options, name)) is not None}
    for name in given:
        if OWNERS[name] != platform:
            raise PlayError(f"--{name} is for {WATCHED[OWNERS[name]]}, not for {options.task}: leave it out")
    if options.engine == "cityflow" and options.replay is not None:
        raise PlayError(NO_REPLAY)
    names = {"seconds": "episode_seconds", "engine": "engine", "backend": "backend"}
    return {names[name]: value for name, value in given.items() if name in names}


def _make(task: str, settings: dict[str, Any]) -> Environment:
    try:
        return envs.make(task, num_envs=1, **settings)
    except ValueError as error:
        if isinstance(error, UnknownTaskError | TrafficFileError):
            raise
        raise PlayError(str(error)) from error


def _cast_learner(
    options: argparse.Namespace, path: Path, generator: torch.Generator, changes: dict[str, Any]
) -> tuple[Environment, Act]:
    # The only place where envs looks outwards: what a policy file holds is known to benchmark alone. Nothing of it is
    # imported unless a trained policy is asked for.
    from benchmark.errors import UserError
    from benchmark.policies import load_policy

    try:
        config, learner = load_policy(path, city=changes.get("map", ""))
    except UserError as error:
        raise PlayError(str(error)) from error
    except TrafficFileError:
        raise
    except Exception as error:  # damaged bytes make the readers raise a dozen unrelated types
        raise PlayError(f"{path} is not a policy that can be played ({type(error).__name__}: {error})") from error
    if config.task != options.task:
        there = getattr(config.environment, "map", "") or config.task
        raise PlayError(
            f"this policy was trained on {config.task}; play it with: "
            f"python -m envs.play {there} --policy {path} --gif {options.gif}"
        )
    settings = {
        setting.name: getattr(config.environment, setting.name) for setting in dataclasses.fields(config.environment)
    }
    environment = _make(config.task, settings | changes)
    return environment, lambda step: learner.act(step.observation, step.graph, generator, greedy=not options.sampled)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file under a temporary name, which takes its name when complete; PlayError if it cannot be written."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            if path.is_dir():
                raise PlayError(f"cannot write {path}: it is a folder; give the name of a file")
            with temporary.open("wb") as stream:
                yield stream
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise PlayError(f"cannot write {path}: {reason}; give --gif a file in a folder you can write to") from error


@contextlib.contextmanager
def _recording(environment: Environment, options: argparse.Namespace) -> Iterator[None]:
    """Records the city while it is open; the files take their names at the end. PlayError if they cannot be written."""
    from envs.traffic.cityflow.replay import ReplayWriter, write_roadnet_log
    from envs.traffic.engine.batch import BatchEngine
    from envs.traffic.environment import TrafficEnvironment

    assert isinstance(environment, TrafficEnvironment)
    folder, batch = options.replay, environment.batch
    if not isinstance(batch, BatchEngine):  # a policy may have been trained with the other one
        raise PlayError(NO_REPLAY)
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
        raise PlayError(
            f"cannot write {folder}: {error.strerror}; give --replay a folder that you can write to, or make"
        ) from error
    print(f"{folder}: {' and '.join(name.name for name in names)} for CityFlow's viewer")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise PlayError(f"{message} (python -m envs.play --help explains all options)")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m envs.play", description="Play episodes, print their returns, draw a GIF.")
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
        "--episodes", type=_whole(1, 10_000), default=1, metavar="N", help="played one after the other; 1"
    )
    parser.add_argument(
        "--seed", type=_whole(0, 2**63 - 1), default=0, metavar="N", help="of starting positions and actions; 0"
    )
    parser.add_argument(
        "--size",
        type=_whole(SMALLEST, LARGEST),
        default=REFERENCE,
        metavar="PIXELS",
        help=f"side of the frames; {REFERENCE}",
    )
    parser.add_argument("--fps", type=_whole(1, FASTEST), default=10, metavar="N", help="steps shown in a second; 10")
    parser.add_argument("--sampled", action="store_true", help="draw the actions of a trained policy")
    parser.add_argument("--neighbours", action="store_true", help="show who hears whom")
    traffic = parser.add_argument_group(WATCHED["cityflow"])
    traffic.add_argument(
        "--seconds", type=_whole(1, 86_400), metavar="N", help="length of an episode; 3600 is the full hour; 1000"
    )
    traffic.add_argument("--engine", choices=("builtin", "cityflow"), help="cityflow: the original, if it is installed")
    traffic.add_argument(
        "--replay", type=Path, metavar="FOLDER", help="record the first episode for CityFlow's own viewer"
    )
    jungle = parser.add_argument_group(WATCHED["magent"])
    jungle.add_argument("--backend", choices=get_args(Backend), help="who computes; magent2: the original engine")
    options = parser.parse_args(arguments)
    if options.gif is None and options.replay is None:
        raise PlayError("nothing to write: give --gif OUT.gif, or --replay FOLDER for a traffic task")
    if options.gif is not None and options.gif.suffix.lower() != ".gif":
        raise PlayError(f"--gif {options.gif}: expected a name that ends in .gif")
    return options


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number within limits."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, not {text!r}")
        return number

    return read


if __name__ == "__main__":
    sys.exit(main())
