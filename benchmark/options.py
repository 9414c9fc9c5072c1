"""Options that command lines have in common."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from benchmark.config import parse_assignments
from benchmark.errors import UserError

IMPORT_VARIABLE = "BENCHMARK_IMPORT"
"""Environment variable that tells processes which a command starts what it was told to import, with commas between."""


def choose_device(name: str) -> str:
    """`auto` becomes cuda where there is one. Raises UserError for a device that is not here."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: expected auto, cpu, cuda or cuda:K")
    if kind == "cuda":
        index = name.partition(":")[2] or "0"
        if not index.isdigit() or int(index) >= torch.cuda.device_count():
            raise UserError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use cpu")
    return name


def devices_of(name: str) -> tuple[str, ...]:
    """The devices on which the workers of a sweep take turns: all GPUs, unless one of them or the CPU is named."""
    import torch

    chosen = choose_device(name)
    if chosen == "cuda":
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return (chosen,)


def add_settings(parser: argparse.ArgumentParser, words: str) -> None:
    """Give a command line `--set`, and a hint to who knows the options that settings have replaced."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments", help=words)
    for option in ("engine", "backend"):
        parser.add_argument(f"--{option}", action=_Replaced, help=argparse.SUPPRESS)


def add_import(parser: argparse.ArgumentParser) -> None:
    """Give a command line `--import`, which imports modules while it is parsed."""
    import_all()
    words = "a module that registers tasks or algorithms of yours, in the working directory or on PYTHONPATH"
    parser.add_argument("--import", action=_Import, metavar="MODULE", dest="imported", help=words)


class _Import(argparse.Action):
    """Imports a module, in this process and in those that it starts."""

    def __call__(self, parser: object, namespace: object, values: object, option_string: str | None = None) -> None:
        name = str(values)
        import_named(name)
        os.environ[IMPORT_VARIABLE] = ",".join(dict.fromkeys([*_named(), name]))


def import_all() -> None:
    """Import what the command that started this process was told to. Raises UserError as `import_named`."""
    for name in _named():
        import_named(name)


def _named() -> list[str]:
    return [name for name in os.environ.get(IMPORT_VARIABLE, "").split(",") if name]


def import_named(name: str) -> None:
    """Import a module from the working directory or PYTHONPATH. Raises UserError where there is none of that name."""
    here = str(Path.cwd())
    if here not in sys.path:  # as for the commands of an installed project
        sys.path.append(here)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, name.partition(".")[0]):
            raise
        raise UserError(f"--import {name}: there is no such module in {here} or on PYTHONPATH") from error


def add_keep_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Give a command line `--keep-checkpoint`, which `settings_of` reads."""
    words = "finished runs keep their last checkpoint: benchmark.train with more --total-steps continues them"
    parser.add_argument("--keep-checkpoint", action="store_true", help=words)


def settings_of(options: argparse.Namespace) -> dict[str, str]:
    """The settings that a command line changes. Raises UserError as `parse_assignments` does."""
    kept = {"training.keep_checkpoint": "true"} if options.keep_checkpoint else {}
    return kept | parse_assignments(options.assignments)


class _Replaced(argparse.Action):
    """An option that there is no more. Raises UserError that names the setting."""

    def __call__(self, parser: object, namespace: object, values: object, option_string: str | None = None) -> None:
        setting = f"environment.{self.dest}={values}"
        raise UserError(f"{option_string} {values}: this option has become a setting: use --set {setting}")
