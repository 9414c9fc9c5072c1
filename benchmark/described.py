"""Help texts of the settings of a run: default, accepted values and description of each.

Settings dataclasses are parsed from source, because descriptions are the strings below fields, which Python drops, and
because importing an algorithm loads torch, which is too slow for a help text. A class is imported only where its source
is not sufficient.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import importlib
import importlib.util
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import algorithms
import envs
from benchmark.config import TrainingConfig, in_words
from benchmark.tasks import training_defaults
from envs.fields import Kind, kinds

EMPTY = '""'
WIDTH = 110
"""Largest width of help texts in characters."""


class Setting(NamedTuple):
    """A field of a settings dataclass."""

    kind: Kind
    default: Any
    text: str
    """Description of the setting."""


def described(module: str, name: str) -> dict[str, Setting]:
    """The fields of a dataclass by name, in order; the module is imported only if its source is not sufficient."""
    try:
        return _fields(module, name)
    except (LookupError, NameError, TypeError, ValueError, AttributeError):
        settings = getattr(importlib.import_module(module), name)
        types = kinds(settings)
        return {field.name: Setting(types[field.name], _default(field), "") for field in dataclasses.fields(settings)}


def settings_help(task: str | None, algorithm: str | None) -> str:
    """Help text for the settings of training and, where they are given, of a task and an algorithm. Raises
    UnknownTaskError and UnknownAlgorithmError."""
    parts = []
    if task is not None:
        settings = envs.settings(task)
        name = envs.locate(task)[0]
        parts.append(_part(f"the task {name}", "environment", described(settings.__module__, settings.__name__)))
    training = described(TrainingConfig.__module__, TrainingConfig.__name__)
    usual = training_defaults(name) if task is not None else {}
    training |= {key: training[key]._replace(default=value) for key, value in usual.items()}
    parts.append(_part("training", "training", training))
    if algorithm is not None:
        found = described(algorithms.module_of(algorithm), "Config")
        parts.append(_part(f"the algorithm {algorithm}", "algorithm", found))
    missing = [option for option, given in (("--task", task), ("--algorithm", algorithm)) if given is None]
    if missing:
        parts.append(f"Settings of the task and of the algorithm are shown with {' and '.join(missing)} given.\n")
    return "\n".join(parts)


def _part(title: str, group: str, settings: Mapping[str, Setting]) -> str:
    width = min(WIDTH, shutil.get_terminal_size().columns)
    lines = [f"settings of {title}, with their defaults (--set KEY=VALUE):"]
    for name, setting in settings.items():
        lines.append(f"  {group}.{name}={in_words(setting.default) or EMPTY}")
        words = setting.text if setting.kind.base is bool else f"{setting.kind.words.capitalize()}. {setting.text}"
        lines += textwrap.wrap(
            " ".join(words.split()), width, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False
        )
    return "\n".join(lines) + "\n"


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _fields(module: str, name: str) -> dict[str, Setting]:
    """The fields of a class and its bases, parsed from source. Raises LookupError where the source is missing."""
    module, node = _class(module, name)
    names = _Names(module)
    found: dict[str, Setting] = {}
    for base in node.bases:
        if not isinstance(base, ast.Subscript):
            found |= _fields(*_origin(module, base))
    following = [*node.body[1:], ast.Pass()]
    for statement, after in zip(node.body, following, strict=True):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        text = str(after.value.value) if documented else ""  # type: ignore[attr-defined]
        default = dataclasses.MISSING if statement.value is None else names.value(statement.value)
        if isinstance(default, dataclasses.Field):
            default = _default(default)
        found[statement.target.id] = Setting(Kind.of(names.value(statement.annotation)), default, text)
    return found


def _class(module: str, name: str) -> tuple[str, ast.ClassDef]:
    """Module and definition of the class that a module has under this name."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _class(node.module, alias.name)
    raise LookupError(f"{module} has no class {name}")


def _origin(module: str, base: ast.expr) -> tuple[str, str]:
    """Module and name of a base class, written as `Name` or `module.Name`."""
    if isinstance(base, ast.Name):
        return module, base.id
    if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
        for node in _tree(module).body:
            if isinstance(node, ast.ImportFrom) and any(alias.name == base.value.id for alias in node.names):
                return f"{node.module}.{base.value.id}", base.attr
    raise LookupError(ast.unparse(base))


@functools.cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise LookupError(f"no source of {module}")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


class _Names(dict[str, Any]):
    """The names of a module, looked up on demand: in the module where it is imported, otherwise in its source. Modules
    of the standard library are imported."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module

    def value(self, expression: ast.expr) -> Any:
        """The value of an expression in the module."""
        return eval(compile(ast.Expression(expression), self.module, "eval"), {}, self)

    def __missing__(self, name: str) -> Any:
        self[name] = value = self._find(name)
        return value

    def _find(self, name: str) -> Any:
        if hasattr(builtins, name):
            return getattr(builtins, name)
        if self.module in sys.modules:
            return getattr(sys.modules[self.module], name)
        for node in _tree(self.module).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _imported(node.module, alias.name)
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == name for target in node.targets
            ):
                return self.value(node.value)
        raise KeyError(name)


def _imported(module: str, name: str) -> Any:
    if module.partition(".")[0] in sys.stdlib_module_names:
        return getattr(importlib.import_module(module), name)
    return _Names(module)[name]
