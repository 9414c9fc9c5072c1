"""Commands of an installed project: `benchmark-train` is `python -m benchmark.train`, and so on.

Python looks for packages in the working directory first when it is given a module with -m, so that a folder called envs
or results there would be taken for the project's. These commands look where the project is installed.
"""

from __future__ import annotations

import importlib

from benchmark.errors import report_errors


def _run(module: str) -> int:
    return report_errors(importlib.import_module(module).main)


def train() -> int:
    """`benchmark-train`"""
    return _run("benchmark.train")


def sweep() -> int:
    """`benchmark-sweep`"""
    return _run("benchmark.sweep")


def play() -> int:
    """`benchmark-play`"""
    return _run("benchmark.play")


def record() -> int:
    """`benchmark-record`"""
    return _run("benchmark.record")


def figures() -> int:
    """`benchmark-figures`"""
    return _run("figures.__main__")
