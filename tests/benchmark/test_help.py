"""Help: every setting is in it as the code has it, and no command loads a heavy library to show it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import algorithms
import envs
from benchmark import train
from benchmark.config import TrainingConfig
from benchmark.described import Setting, described
from envs.fields import Kind, kinds
from slurm.profiles import Profile
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("algorithms", "benchmark", "envs", "figures", "results", "slurm")
HEAVY = ("torch", "pandas", "matplotlib", "pyarrow")
PLATFORM_TASKS = ("mpe/cooperative_navigation_3", "cityflow/synthetic_4", "magent/jungle_6", "game/climbing_2")


def commands() -> list[str]:
    """Every module that can be run."""
    found = []
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if '\nif __name__ == "__main__":' in file.read_text():
                found.append(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    return found


def test_commands_are_found() -> None:
    expected = {"benchmark.train", "benchmark.sweep", "benchmark.play", "figures", "results.publish", "envs.verify"}
    assert expected <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_help_loads_nothing_heavy(command: str) -> None:
    """What takes a second and more to load is not needed to say which options there are."""
    code = (
        f"import runpy, sys\nsys.argv = [{command!r}, '--help']\n"
        f"try:\n    runpy.run_module({command!r}, run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])\n"
    )
    if command.startswith("results."):  # tables are what these are about, and pandas alone takes a quarter of a second
        code = code.replace("'pandas', ", "").replace(", 'pyarrow'", "")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_help_on_a_task_and_an_algorithm_needs_no_torch() -> None:
    code = (
        "import sys\nfrom benchmark.described import settings_help\n"
        f"for task in {PLATFORM_TASKS}:\n"
        f"    for name in {tuple(algorithms.ALGORITHMS)}:\n        assert settings_help(task, name)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "settings",
    [
        *(algorithms.config_type(name) for name in algorithms.ALGORITHMS),
        *(envs.settings(task) for task in PLATFORM_TASKS),
        TrainingConfig,
        Profile,
    ],
)
def test_what_is_read_is_what_the_class_has(settings: type) -> None:
    """Names in their order, defaults and kinds; and every field says what it does."""
    found = described(settings.__module__, settings.__name__)
    fields = dataclasses.fields(settings)
    assert list(found) == [field.name for field in fields]
    for field in fields:
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        assert found[field.name].default == default
        assert found[field.name].kind == kinds(settings)[field.name]
        assert found[field.name].text


def test_a_class_that_its_source_does_not_show_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import dataclasses\nConfig = dataclasses.make_dataclass('Config', [('hops', int, 3)])\n"
    (tmp_path / "made_elsewhere.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert described("made_elsewhere", "Config") == {"hops": Setting(Kind(int), 3, "")}


def test_help_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        train.parse_arguments(["--help", "--task", "cityflow/synthetic_4", "--algorithm", "ip"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for group, settings in (
        ("environment", envs.settings("cityflow/synthetic_4")),
        ("training", TrainingConfig),
        ("algorithm", algorithms.config_type("ip")),
    ):
        for field in dataclasses.fields(settings):
            assert f"  {group}.{field.name}=" in shown
    assert "training.evaluation_episodes=10\n" in shown, "the default of traffic tasks"
    assert "One of attention, mean, sum. Aggregation of messages" in " ".join(shown.split())


def test_help_without_a_task_shows_what_holds_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.parse_arguments(["-h"])
    shown = capsys.readouterr().out
    assert "training.batch_size=1024" in shown
    assert "shown with --task and --algorithm given" in shown


def test_help_on_what_there_is_not_is_one_line() -> None:
    with pytest.raises(envs.UnknownTaskError, match="did you mean"):
        train.parse_arguments(["--help", "--task", "mpe/cooperative_navigation_4"])
    with pytest.raises(algorithms.UnknownAlgorithmError, match="did you mean iql"):
        train.parse_arguments(["--help", "--algorithm", "iqll"])
