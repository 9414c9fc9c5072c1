"""Console commands of the installed project: `benchmark-train` is `python -m benchmark.train`, and so on.

With -m, Python looks for packages in the working directory first, where a folder called envs or results would shadow
the project's. These commands import the installed packages.
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


def evaluate() -> int:
    """`benchmark-evaluate`"""
    return _run("benchmark.evaluate")


def transfer() -> int:
    """`benchmark-transfer`"""
    return _run("benchmark.transfer")


def export() -> int:
    """`benchmark-export`"""
    return _run("benchmark.export")


def figures() -> int:
    """`benchmark-figures`"""
    return _run("figures.__main__")
