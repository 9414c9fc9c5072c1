"""What holds for the project as a whole: directions of imports, lists that must agree, the recipes of the README."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from algorithms import ALGORITHMS, PAPER_ALGORITHMS
from benchmark.config import resolve
from benchmark.suites import SUITES
from benchmark.tasks import TABLE_1
from benchmark.train import Training
from envs.mpe import scenarios
from figures import __main__ as drawing_command
from figures import registry
from results.records import COMPARED_ALGORITHMS, COMPARED_TASKS
from tests.figures.synthetic import write_study
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("algorithms", "benchmark", "envs", "figures", "results", "slurm")
ALLOWED = {
    "envs": {"envs"},
    "algorithms": {"algorithms", "envs.protocols", "envs.shapes", "envs.numba_cache"},
    "benchmark": {"benchmark", "algorithms", "envs", "results.identity", "results.layout"},
    "slurm": {"slurm", "benchmark"},
    "results": {"results"},
    "figures": {"figures", "results"},
}
EXCEPTIONS = {
    "envs/play.py": {"benchmark.policies", "benchmark.errors"},  # the player loads trained policies
    "benchmark/sweep.py": {
        *("slurm.launcher", "slurm.profiles", "slurm.records"),  # one command sends runs to clusters
        *("results.collect", "results.records"),  # ... and collects them
    },
}


def imports(file: Path) -> Iterator[str]:
    """Modules of this project that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    wrong = []
    for file in (ROOT / package).rglob("*.py"):
        for name in imports(file):
            allowed = any(name == prefix or name.startswith(prefix + ".") for prefix in ALLOWED[package])
            if not allowed and name not in EXCEPTIONS.get(file.relative_to(ROOT).as_posix(), ()):
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_training_needs_few_packages() -> None:
    """A bare GPU node has torch, numpy, numba and tqdm: a run must import nothing else."""
    code = (
        "import sys\n"
        "for name in ('scipy', 'pandas', 'matplotlib', 'jinja2', 'pettingzoo', 'PIL', 'pyarrow', 'jaxtyping',"
        " 'beartype', 'submitit', 'gymnasium', 'magent2', 'pygame'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from benchmark.config import resolve\n"
        "from benchmark.train import Training\n"
        "from algorithms import ALGORITHMS\n"
        "for task in ('mpe/cooperative_navigation_3', 'mpe/prey_and_predator_3', 'magent/jungle_6', 'game/echo_8'):\n"
        "    for algorithm in ALGORITHMS:\n"
        "        settings = {'training.batch_size': 8, 'training.learning_starts': 8}\n"
        "        training = Training(resolve(task, algorithm, 0, 100, settings))\n"
        "        training.advance()\n"
        "        training.evaluate()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def test_lists_agree() -> None:
    """Files that may not import each other repeat names: they must be the same."""
    assert tuple(COMPARED_TASKS) == tuple(task.name for task in TABLE_1)
    assert COMPARED_ALGORITHMS == PAPER_ALGORITHMS
    assert set(PAPER_ALGORITHMS) <= set(ALGORITHMS)


def test_suites_are_of_the_papers_algorithms() -> None:
    """Another algorithm changes no published suite."""
    assert {cell.algorithm for suite in SUITES.values() for cell in suite()} == set(PAPER_ALGORITHMS)


def test_modules_explain_themselves() -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if file.read_text().strip():
                assert ast.get_docstring(ast.parse(file.read_text())), f"{file} has no docstring"


def test_deviations_named_in_code_are_explained() -> None:
    """Every id that a file refers to has a row in DEVIATIONS.md."""
    explained = {
        line.split("|")[1].strip() for line in (ROOT / "DEVIATIONS.md").read_text().splitlines() if line.count("|") > 3
    }
    named = set()
    for file in (ROOT / "algorithms").glob("*.py"):
        _, marker, ids = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("(see DEVIATIONS.md):")
        assert marker or file.name in ("__init__.py", "protocols.py", "maddpgs.py"), file
        named |= set(ids.split(".")[0].replace(",", " ").split())
    assert named
    named |= scenarios.DEVIATIONS.keys()
    assert named <= explained, named - explained


def recipe(name: str) -> str:
    """The code block of the README that follows the given marker."""
    text = (ROOT / "README.md").read_text().split(f"<!-- recipe: {name} -->", 1)[1]
    return text.split("```python\n", 1)[1].split("```", 1)[0]


def test_readme_recipe_for_an_algorithm_is_the_file() -> None:
    code = recipe("algorithms/vdn.py")
    assert code == (ROOT / "algorithms" / "vdn.py").read_text()
    assert len(code.splitlines()) <= 60
    assert f'"vdn": {ALGORITHMS["vdn"]!r}'.replace("'", '"') in (ROOT / "README.md").read_text()


def test_readme_recipe_for_an_algorithm_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file under another name, and the line that the README asks for, train on a task."""
    (tmp_path / "sum_from_readme.py").write_text(recipe("algorithms/vdn.py"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ALGORITHMS, "sum", ("sum_from_readme", "VDN"))
    settings = {"training.batch_size": 16, "training.learning_starts": 16}
    training = Training(resolve("mpe/cooperative_navigation_3", "sum", 0, 200, settings))
    training.advance()
    training.advance()
    assert training.updates == 16
    assert training.take_metrics()["loss/q"] > 0


def test_readme_recipe_for_a_task_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    code = recipe("a particle task")
    assert len(code.splitlines()) < 40
    monkeypatch.setattr(scenarios, "SCENARIOS", dict(scenarios.SCENARIOS))
    exec(compile(code, "README.md", "exec"), {})
    training = Training(resolve("mpe/wide_navigation_10", "ip", 0, 200, {"training.evaluation_episodes": 2}))
    training.advance()
    assert training.spec.observation_dim == 26


def test_readme_recipe_for_a_figure_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Alone, and in the report, where it has its files, its heading and its caption."""
    code = recipe("a figure")
    assert len(code.splitlines()) < 40
    monkeypatch.setattr(registry, "EXHIBITS", list(registry.EXHIBITS))
    monkeypatch.setattr(drawing_command, "EXHIBITS", registry.EXHIBITS)
    exec(compile(code, "README.md", "exec"), {})
    write_study(tmp_path / "runs")
    arguments = ["--results", str(tmp_path / "runs"), "--output", str(tmp_path / "drawn")]
    assert drawing_command.main([*arguments, "--only", "spread"]) == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"spread.png", "spread.pdf"}
    assert drawing_command.main(arguments) == 0
    report = (tmp_path / "drawn" / "report.html").read_text()
    assert "<h3>Spread over seeds</h3>" in report
    assert "Dots: tasks and variants." in report
