"""What holds for the project as a whole: directions of imports, lists that must agree, the recipes of the pages."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import benchmark
from algorithms import ALGORITHMS
from benchmark.config import resolve
from benchmark.launchers import LAUNCHERS, LaunchOptions, launcher
from benchmark.suites import SUITES
from benchmark.training import Training
from envs.mpe import scenarios
from figures import __main__ as drawing_command
from figures import registry
from results import layout
from results.paper import COMPARED_ALGORITHMS
from tests.figures.synthetic import write_study
from tests.pages import recipe
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("algorithms", "benchmark", "envs", "figures", "results", "slurm")
ALLOWED = {
    "envs": {"envs"},
    "algorithms": {"algorithms", "envs.protocols", "envs.shapes", "envs.fields", "envs.numba_cache"},
    "benchmark": {"benchmark", "algorithms", "envs", "results"},
    "slurm": {"slurm", "benchmark", "results", "envs.fields", "envs.data_folder"},
    "results": {"results"},
    "figures": {"figures", "results"},
}
SENTENCES = {layout.LOST_CONFIG, layout.LOST_STATUS, layout.AGAIN, layout.WITHOUT_IT}
"""Strings of the layout that are advice, not names."""
LIGHT = ("checks", "errors", "files", "folder", "forms", "identity", "keys", "layout", "lock", "paper", "records")
"""Modules of results that a status needs: they load nothing heavy."""


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
            if not any(name == prefix or name.startswith(prefix + ".") for prefix in ALLOWED[package]):
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
        "from benchmark.training import Training\n"
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


def test_the_format_of_runs_is_light() -> None:
    """Looking at run folders loads neither arrays nor tables, although checkpoints hold tensors."""
    code = f"import sys; {'; '.join(f'import results.{name}' for name in LIGHT)}; import results.checkpoints; "
    code += "sys.exit(', '.join({'torch', 'numpy', 'pandas', 'pyarrow', 'envs', 'benchmark'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def test_launchers_are_named_once_and_loaded_when_used() -> None:
    """A sweep imports no launcher by name, and each does what the protocol says."""
    named = set(imports(ROOT / "benchmark" / "sweep.py"))
    assert not {module for module, _ in LAUNCHERS.values()} & named
    for name in LAUNCHERS:
        made = launcher(name, LaunchOptions(ROOT / "none", "smoke"))
        for method in ("prepare", "refuse", "submit", "jobs", "explain", "cancel", "wait"):
            assert callable(getattr(made, method)), (name, method)
        assert made.detached == (name == "slurm")


def test_layout_is_described_once() -> None:
    """The README of results quotes the module that knows names of files, and every name there is in it."""
    described = layout.__doc__ or ""
    block = described[
        described.index("    DIR/<task>/references.json") : described.index("`<task>` is itself")
    ].rstrip()
    assert block in (ROOT / "results" / "README.md").read_text()
    names = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)}
    names -= SENTENCES
    assert len(names) == 23
    assert not {name for name in names if name not in block}


def test_names_of_runs_files_are_written_once() -> None:
    """No other module writes a file name of the layout as a string of its own."""
    names = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)}
    names -= {*SENTENCES, layout.LOCK, layout.TENSORBOARD}  # the last two are words, too
    wrong = []
    for package in ("benchmark", "figures", "results", "slurm"):  # CityFlow has a config.json of its own
        for file in (ROOT / package).rglob("*.py"):
            if file.name == "layout.py":
                continue
            strings = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
            wrong += [f"{file.relative_to(ROOT)}: {node.value!r}" for node in strings if node.value in names]
    assert not wrong


def test_every_algorithm_of_the_paper_is_here() -> None:
    assert set(COMPARED_ALGORITHMS) <= set(ALGORITHMS)


def test_suites_are_of_the_papers_algorithms() -> None:
    """Another algorithm changes no published suite."""
    assert {request.key.algorithm for suite in SUITES.values() for request in suite()} == set(COMPARED_ALGORITHMS)


def test_modules_explain_themselves() -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if file.read_text().strip():
                assert ast.get_docstring(ast.parse(file.read_text())), f"{file} has no docstring"


def deviations_named_in(file: Path) -> tuple[bool, set[str]]:
    """Whether the docstring of a module refers to DEVIATIONS.md, and the ids that it names."""
    _, marker, ids = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("(see DEVIATIONS.md):")
    return bool(marker), set(ids.split(".")[0].replace(",", " ").split())


def test_deviations_named_in_code_are_explained() -> None:
    """Every id that a file refers to has a row in DEVIATIONS.md."""
    explained = {
        line.split("|")[1].strip() for line in (ROOT / "DEVIATIONS.md").read_text().splitlines() if line.count("|") > 3
    }
    named = set()
    for file in (ROOT / "algorithms").glob("*.py"):
        marker, ids = deviations_named_in(file)
        assert marker or file.name in ("__init__.py", "protocols.py", "maddpgs.py"), file
        named |= ids
    assert named
    of_scenarios = deviations_named_in(Path(scenarios.__file__))[1]
    assert "push-100" in of_scenarios
    named |= of_scenarios
    assert named <= explained, named - explained


def test_recipe_for_an_algorithm_is_the_file() -> None:
    code = recipe("algorithms/README.md", "algorithms/vdn.py")
    assert code == (ROOT / "algorithms" / "vdn.py").read_text()
    assert len(code.splitlines()) <= 60
    assert f'"vdn": {ALGORITHMS["vdn"]!r}'.replace("'", '"') in (ROOT / "algorithms/README.md").read_text()


def test_recipe_for_an_algorithm_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file under another name, registered with the line on the page, trains on a task."""
    (tmp_path / "sum_from_the_page.py").write_text(recipe("algorithms/README.md", "algorithms/vdn.py"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ALGORITHMS, "sum", ("sum_from_the_page", "VDN"))
    settings = {"training.batch_size": 16, "training.learning_starts": 16}
    training = Training(resolve("mpe/cooperative_navigation_3", "sum", 0, 200, settings))
    training.advance()
    training.advance()
    assert training.updates == 16
    assert training.take_metrics()["loss/q"] > 0


def test_recipe_from_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    code = recipe("benchmark/README.md", "from Python")
    assert len(code.splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "recipe", "exec"), {})
    shown = capsys.readouterr().out
    assert "seed_0" in shown
    assert "seed_1" in shown
    assert "torch.Size([4, 30, " in shown


def test_recipe_for_a_policy_runs(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Its returns are those of the card."""
    code = recipe("benchmark/POLICIES.md", "a policy")
    assert len(code.splitlines()) <= 8
    monkeypatch.chdir(ROOT)
    exec(compile(code, "recipe", "exec"), {})
    first, other, shape = capsys.readouterr().out.splitlines()
    scores = json.loads((ROOT / "results/policies/iql_synthetic_49/scores.json").read_text())
    assert ast.literal_eval(first) == pytest.approx(scores["evaluation"]["policies"]["greedy"]["returns"], rel=0.05)
    assert len(ast.literal_eval(other)) == 1
    assert shape == "torch.Size([4, 9])"


@pytest.mark.slow
def test_a_shipped_policy_controls_a_large_city() -> None:
    """Trained on 49 signals, on 1,225 that it has never seen: below 240 s, where max pressure has 258.8 s."""
    policy = benchmark.load_policy(ROOT / "results/policies/iql_segments_49")
    (reward,) = policy.evaluate("cityflow/synthetic_1225", 1).returns
    assert reward == pytest.approx(-238.22, rel=0.005)


def test_packages_are_typed() -> None:
    """Their type information is available to users, and py.typed is shipped."""
    assert '"*" = ["py.typed",' in (ROOT / "pyproject.toml").read_text()
    assert all((ROOT / package / "py.typed").exists() for package in PACKAGES)


def test_recipe_for_a_task_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    code = recipe("envs/README.md", "a particle task")
    assert len(code.splitlines()) < 40
    monkeypatch.setattr(scenarios, "SCENARIOS", dict(scenarios.SCENARIOS))
    exec(compile(code, "recipe", "exec"), {})
    training = Training(resolve("mpe/wide_navigation_10", "ip", 0, 200, {"training.evaluation_episodes": 2}))
    training.advance()
    assert training.spec.observation_dim == 26


def test_recipe_for_a_figure_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Alone, and in the report, where it has its files, its heading and its caption."""
    code = recipe("figures/README.md", "a figure")
    assert len(code.splitlines()) < 40
    monkeypatch.setattr(registry, "EXHIBITS", list(registry.EXHIBITS))
    exec(compile(code, "recipe", "exec"), {})
    write_study(tmp_path / "runs")
    arguments = ["--results", str(tmp_path / "runs"), "--output", str(tmp_path / "drawn")]
    assert drawing_command.main([*arguments, "--only", "spread"]) == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"spread.png", "spread.pdf"}
    assert drawing_command.main(arguments) == 0
    report = (tmp_path / "drawn" / "report.html").read_text()
    assert "<h3>Spread over seeds</h3>" in report
    assert "Dots: tasks and variants." in report
