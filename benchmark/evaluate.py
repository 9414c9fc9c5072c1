"""Play a trained policy on fixed episodes: where it was trained, with other numbers of agents, or with lost messages.

    python -m benchmark.evaluate results/policies/iql_synthetic_49
    python -m benchmark.evaluate RUN --agents 225 --episodes 2
    python -m benchmark.evaluate RUN --task cityflow/hangzhou_16 --full
    python -m benchmark.evaluate RUN --policy sampled --drop 0.2 --json out.json

RUN is the folder of a finished run, a folder written by `benchmark.export`, a policy.pt or a checkpoint.pt. Without
options the policy plays the run's evaluation episodes, so that the score is that of its last evaluation. Messages are
dropped by `--drop` (independently), by `--drop-agents` (all messages of some agents) or delayed by `--delay 1` (one
step).

Exit code: 0 if the episodes were played, 2 for an error, which is one line on stderr.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from benchmark.config import environment_settings, parse_assignments
from benchmark.console import first_line, tell
from benchmark.errors import report_errors
from benchmark.messages import Losses
from benchmark.options import add_import, add_settings
from results.arguments import Parser
from results.files import write_output
from results.records import POLICIES, Trial
from results.words import counted

if TYPE_CHECKING:
    from benchmark.policies import Policy


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m benchmark.evaluate`."""
    options = parse_arguments(arguments)
    losses = Losses(options.drop, options.drop_agents, options.delay)
    import torch

    from benchmark.policies import load_policy, sized

    torch.set_num_threads(1)  # sums in one order, so that equal policies give equal episodes
    policy = load_policy(options.run)
    task = sized(options.task or policy.config.task, options.agents)
    settings = environment_settings(task, parse_assignments(options.assignments))
    trial = policy.evaluate(
        options.task or None,
        options.episodes,
        options.seed,
        options.policy,
        agents=options.agents,
        losses=losses,
        full=options.full,
        settings=settings,
    )
    tell(in_words(trial), *([] if policy.uses_messages or not losses.any else [deaf(policy)]))
    if options.json is not None:
        record = {"run": str(options.run), **policy.config.key._asdict(), "trial": asdict(trial)}
        write_output(options.json, json.dumps(record, indent=2) + "\n", option="--json")
    return 0


def in_words(trial: Trial) -> str:
    """A trial and its result in one line."""
    count = len(trial.returns)
    spread = f" ± {stdev(trial.returns):.2f}" if count > 1 else ""
    words = [f"{trial.task}, {trial.policy}: return {mean(trial.returns):.2f}{spread} over {counted(count, 'episode')}"]
    words += [f"{100 * trial.drop:g} % of messages lost"] if trial.drop else []
    words += [f"{100 * trial.drop_agents:g} % of agents silent"] if trial.drop_agents else []
    words += ["messages one step late"] if trial.delay else []
    words += [f"{name} {value:g}" for name, value in trial.scores.items()]
    return ", ".join(words)


def deaf(policy: Policy) -> str:
    """Note that losses have no effect on this policy."""
    return f"{policy.config.algorithm} uses no messages here, so that losses have no effect"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.evaluate`."""
    parser = Parser(prog="python -m benchmark.evaluate", description=first_line(__doc__))
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run or of an exported policy, or a file")
    parser.add_argument(
        "--task", help="task to play instead of the training task, or the path of a CityFlow configuration"
    )
    parser.add_argument("--agents", type=int, metavar="N", help="play the task with another number of agents")
    parser.add_argument("--episodes", type=int, metavar="E", help="default: those of an evaluation of the task")
    parser.add_argument("--seed", type=int, help="seed of the episodes; default: that of the run's evaluations")
    parser.add_argument("--policy", choices=POLICIES, default="greedy", help="choice of actions; default: greedy")
    parser.add_argument(
        "--full", action="store_true", help="play longer episodes where the task has them: an hour of traffic"
    )
    add_losses(parser)
    add_import(parser)
    add_settings(parser, "change a setting of the environment, such as environment.num_neighbours=4")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write returns and scores to this file")
    return parser.parse_args(arguments)


def add_losses(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add the options for lost and late messages; with `several`, each accepts several shares, tried in turn."""
    words = {
        "drop": "probability that a message is lost; default: 0",
        "drop-agents": "probability that all messages of an agent are lost; default: 0",
    }
    many: dict[str, Any] = {"nargs": "+", "default": [0.0]} if several else {"default": 0.0}
    for name, text in words.items():
        parser.add_argument(f"--{name}", type=share, metavar="SHARE", help=text, **many)
    parser.add_argument("--delay", type=int, default=0, metavar="STEPS", help="delay of messages, 0 or 1; default: 0")


def share(text: str) -> float:
    """A number, whose range is checked by `Losses`. Raises ArgumentTypeError."""
    try:
        return float(text)
    except ValueError as error:
        words = f"expected a share of messages or agents, from 0 to 1, such as 0.2, not {text!r}"
        raise argparse.ArgumentTypeError(words) from error


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
