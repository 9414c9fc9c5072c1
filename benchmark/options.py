"""Options shared by the command lines."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import traceback
from pathlib import Path

from benchmark.config import parse_assignments
from benchmark.errors import MENDABLE, UserError
from results.words import counted

IMPORT_VARIABLE = "BENCHMARK_IMPORT"
"""Environment variable that passes the modules of `--import` to child processes, separated by commas."""


def choose_device(name: str) -> str:
    """The device of this name; `auto` is cuda where available. Raises UserError for a device that the machine lacks."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    if not re.fullmatch(r"cuda(:\d+)?", name, re.ASCII):
        raise UserError(f"--device {name}: expected auto, cpu, cuda or cuda:K")
    if int(name.partition(":")[2] or "0") >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: this machine has {counted(torch.cuda.device_count(), 'CUDA device')}; use cpu"
        )
    return name


def devices_of(name: str) -> tuple[str, ...]:
    """The devices that the workers of a sweep share: all GPUs, unless a single GPU or the CPU is named."""
    import torch

    chosen = choose_device(name)
    if chosen == "cuda":
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return (chosen,)


def add_settings(parser: argparse.ArgumentParser, words: str) -> None:
    """Add `--set` to a command line, and hints for options that settings have replaced."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments", help=words)
    for option in ("engine", "backend"):
        parser.add_argument(f"--{option}", action=_Replaced, help=argparse.SUPPRESS)


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add `--import` to a command line, which imports modules during parsing."""
    import_all()
    words = "a module that registers additional tasks or algorithms, in the working directory or on PYTHONPATH"
    parser.add_argument("--import", action=_Import, metavar="MODULE", dest="imported", help=words)


class _Import(argparse.Action):
    """Imports a module in this process and in its child processes."""

    def __call__(self, parser: object, namespace: object, values: object, option_string: str | None = None) -> None:
        name = str(values)
        import_named(name)
        os.environ[IMPORT_VARIABLE] = ",".join(dict.fromkeys([*_named(), name]))


def import_all() -> None:
    """Import the modules passed by the parent process. Raises UserError like `import_named`."""
    for name in _named():
        import_named(name)


def _named() -> list[str]:
    return [name for name in os.environ.get(IMPORT_VARIABLE, "").split(",") if name]


def import_named(name: str) -> None:
    """Import a module from the working directory or PYTHONPATH. Raises UserError where it does not exist or fails."""
    here = str(Path.cwd())
    if here not in sys.path:  # as for the commands of an installed project
        sys.path.append(here)
    if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
        raise UserError(f"--import {name}: expected the name of a module, such as my_tasks for the file my_tasks.py")
    try:
        importlib.import_module(name)
    except MENDABLE:
        raise
    except Exception as error:  # whatever a module of the user's does
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise UserError(f"--import {name}: there is no such module in {here} or on PYTHONPATH") from error
        raise UserError(f"--import {name}: the module fails with {_described(error)}; correct it") from error


def _described(error: Exception) -> str:
    """Type, message and place of an error in the code that was imported, as one line."""
    message = str(error).partition("\n")[0]
    if isinstance(error, SyntaxError):  # its message has the place
        return f"{type(error).__name__}: {message}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {message} ({place.filename}, line {place.lineno})"


def add_keep_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add `--keep-checkpoint` to a command line, read by `settings_of`."""
    words = "finished runs keep their last checkpoint: benchmark.train with more --total-steps continues them"
    parser.add_argument("--keep-checkpoint", action="store_true", help=words)


def settings_of(options: argparse.Namespace) -> dict[str, str]:
    """The settings that a command line changes. Raises UserError like `parse_assignments`."""
    kept = {"training.keep_checkpoint": "true"} if options.keep_checkpoint else {}
    return kept | parse_assignments(options.assignments)


class _Replaced(argparse.Action):
    """A former option; using it raises UserError that names the setting."""

    def __call__(self, parser: object, namespace: object, values: object, option_string: str | None = None) -> None:
        setting = f"environment.{self.dest}={values}"
        raise UserError(f"{option_string} {values}: this option has become a setting: use --set {setting}")
