"""Export the trained policy of a finished run as a folder to share, which `load_policy` reads.

    python -m benchmark.export results/signals/cityflow/synthetic_49/iql/signals/seed_0
    python -m benchmark.export RUN --output my_policy --sampled

    weights.pt     the acting network alone, tensors by name: torch.load(..., weights_only=True) reads it
    config.json    all settings of the run
    scores.json    last evaluation, reference policies on the same episodes, recorded episode, machine and code
    card.md        a readable summary with the learning curve and the episode
    curve.png, episode.gif

The evaluation is repeated with the exported policy, and the export is refused where it differs from that of the run.

Exit code: 0 if the folder was written, 2 for an error, which is one line on stderr.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import envs
from benchmark.console import first_line, tell
from benchmark.errors import UserError, report_errors
from benchmark.options import add_import
from benchmark.record import LARGEST, SMALLEST, Recording, record_episode, why_not
from results.arguments import Parser, within
from results.checkpoints import save_checkpoint
from results.files import PARTIAL, read_json, readable_os_errors, write_atomically, write_json
from results.keys import RunKey
from results.layout import CARD, CONFIG, CURVE, GIF, SCORES, WEIGHTS
from results.records import POLICIES, Evaluation, Run

if TYPE_CHECKING:
    from benchmark.policies import Policy

MADE_BY = ("commit", "dirty", "started", "python", "torch", "cpu", "gpu", "cores")
"""Facts from machine.json that are exported, without host and command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m benchmark.export`."""
    options = parse_arguments(arguments)
    import torch

    torch.set_num_threads(1)  # sums in one order, so that equal policies give equal episodes
    folder = export(options.run, options.output, Recording("sampled" if options.sampled else "greedy", options.size))
    size = sum(file.stat().st_size for file in folder.iterdir())
    tell(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))} ({size / 1000:.0f} kB)")
    return 0


def export(run_folder: Path, output: Path | None = None, recording: Recording | None = None) -> Path:
    """Write the policy of a finished run to a new folder, by default `ALGORITHM_TASK` in the working directory; returns
    its path. Raises UserError where the run is not finished, the folder exists, or the written policy does not
    reproduce the run's evaluation."""
    from benchmark.policies import load_policy
    from results.runs import load_run

    policy = load_policy(run_folder)
    if (run_folder / WEIGHTS).exists() or not run_folder.is_dir():
        raise UserError(f"{run_folder} is not a run folder: expected the folder of a run with its logs")
    run = load_run(run_folder)
    if reason := why_not(run.key, run_folder):
        raise UserError(f"{run_folder} cannot be exported: {reason}")
    last = last_evaluations(run)
    folder = output or Path(f"{run.key.algorithm}_{run.key.task.partition('/')[2]}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} already exists: remove it, or choose another --output")
    recording = recording or Recording()
    with readable_os_errors(folder, option="--output"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=PARTIAL) as hidden:
            made = Path(hidden) / folder.name
            made.mkdir()
            save_checkpoint(made / WEIGHTS, {"acting": policy.acting_weights()})
            write_json(made / CONFIG, read_json(run_folder / CONFIG))
            again = load_policy(made)
            check_equal(again, last, folder)
            gif, facts = record_episode(made, recording)
            write_atomically(made / GIF, gif)
            write_atomically(made / CURVE, learning_curve(run))
            scores = scores_of(again, run, last, facts)
            write_json(made / SCORES, scores)
            write_atomically(made / CARD, card(scores, folder.name))
            made.replace(folder)  # complete, or not there at all
    return folder


def last_evaluations(run: Run) -> dict[str, Evaluation]:
    """Evaluations at the end of a run by policy. Raises UserError where one is missing."""
    last = {
        evaluation.policy: evaluation for evaluation in run.evaluations if evaluation.step == run.last_evaluation_step()
    }
    if set(last) != set(POLICIES):
        raise UserError(f"{run.key.label} has no evaluation of both policies at its end: rerun it")
    return last


def check_equal(policy: Policy, last: Mapping[str, Evaluation], folder: Path) -> None:
    """Raises UserError where a policy does not reproduce the evaluation of its run, up to float32, the precision of
    recorded evaluations."""
    import numpy as np

    for name, evaluation in last.items():
        played = policy.evaluate(policy=name)
        if np.asarray(played.returns, dtype=np.float32).tolist() != list(evaluation.returns):
            raise UserError(
                f"{folder}: the {name} policy returns {mean(played.returns):.4f}, in the run it returned "
                f"{mean(evaluation.returns):.4f}: export it with the code, packages and processor that made it"
            )


def scores_of(policy: Policy, run: Run, last: Mapping[str, Evaluation], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of scores.json."""
    from benchmark.references import play

    training = policy.config.training
    episodes, seed = training.evaluation_episodes, training.evaluation_seed
    settings = {name: value for name, value in policy.settings_for(run.key.task).items() if name != "dtype"}
    names = envs.reference_policies(run.key.task)
    return {
        **run.key._asdict(),
        "total_steps": run.total_steps,
        "wall_seconds": run.status.wall_seconds,
        "made_by": {name: run.machine.get(name) for name in MADE_BY},
        "evaluation": {
            "seed": seed,
            "episodes": episodes,
            "policies": {
                name: {"mean": round(mean(end.returns), 4), "returns": list(end.returns), "scores": end.scores}
                for name, end in last.items()
            },
            "references": {
                name: round(mean(play(run.key.task, name, episodes, seed, **settings)), 4) for name in names
            },
        },
        "episode": dict(facts),
    }


def learning_curve(run: Run) -> bytes:
    """Mean returns of evaluations over environment steps, as a PNG. Raises UserError where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UserError(f"the curve of a card needs {error.name}: pip install {error.name}") from error
    figure = Figure(figsize=(4.8, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, style in zip(POLICIES, ("-", "--"), strict=True):
        rows = [evaluation for evaluation in run.evaluations if evaluation.policy == name]
        axes.plot([row.step for row in rows], [mean(row.returns) for row in rows], style, label=name)
    axes.set(xlabel="environment steps", ylabel="return")
    axes.locator_params(axis="x", nbins=5)  # so that long numbers do not overlap
    axes.legend(frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()


def card(scores: Mapping[str, Any], name: str) -> str:
    """The text of card.md."""
    key = RunKey.of(scores)
    evaluation, episode, made = scores["evaluation"], scores["episode"], scores["made_by"]
    changed = " with changes that were not committed" if made["dirty"] else ""
    hardware = made["gpu"] or made["cpu"]
    episodes = (
        "return of 1 episode" if evaluation["episodes"] == 1 else f"mean return over {evaluation['episodes']} episodes"
    )
    rows = [(f"trained, {policy}", scored["mean"]) for policy, scored in evaluation["policies"].items()]
    rows += [(f"reference: {policy}", value) for policy, value in evaluation["references"].items()]
    return "\n".join(
        [
            f"# {key.algorithm} on {key.task}",
            "",
            f"Trained for {scores['total_steps']:,} environment steps, seed {key.seed}, variant `{key.variant}`, in "
            f"{scores['wall_seconds'] / 60:.0f} minutes on {hardware} ({made['cores']} cores), torch {made['torch']}, "
            f"commit `{made['commit']}`{changed}. All settings are in `{CONFIG}`.",
            "",
            f"| {episodes} (seed {evaluation['seed']}) | |",
            "|---|---:|",
            *(f"| {row} | {value:,.2f} |" for row, value in rows),
            "",
            f"![learning curve]({CURVE})",
            "",
            f"![an episode]({GIF})",
            "",
            f"The episode: {episode['policy']}, seed {episode['seed']}, {episode['steps']} of "
            f"{episode['episode_steps']} steps, return {episode['return']:,.2f}.",
            "",
            "```python",
            "import benchmark",
            "",
            f'policy = benchmark.load_policy("{name}")',
            "print(policy.evaluate().returns)",
            "```",
            "",
        ]
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.export`."""
    parser = Parser(prog="python -m benchmark.export", description=first_line(__doc__))
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="a new folder; default: ALGORITHM_TASK")
    parser.add_argument("--sampled", action="store_true", help="record an episode of the sampled policy")
    parser.add_argument(
        "--size", type=within(SMALLEST, LARGEST), default=160, metavar="PIXELS", help="side of the frames; default: 160"
    )
    add_import(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
