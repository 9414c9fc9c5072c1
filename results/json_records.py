"""Records made from their JSON, which run folders and published sets share. `where` names the file in errors, which are
ResultsError."""

from __future__ import annotations

from typing import Any

import numpy as np

from results.errors import ResultsError
from results.records import POLICIES, Evaluation, References, Trial


def evaluation_from_json(row: dict[str, Any], where: str) -> Evaluation:
    """One evaluation."""
    try:
        policy, returns = str(row["policy"]), _single(row["returns"])
        scores = {str(name): float(value) for name, value in (row.get("scores") or {}).items()}
        step = int(row["step"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"corrupt file {where}: expected step, policy, returns (numbers) and scores") from error
    if policy not in POLICIES:
        raise ResultsError(f"corrupt file {where}: policy is {policy!r}, expected one of {', '.join(POLICIES)}")
    if returns.ndim != 1 or not returns.size:
        raise ResultsError(f"corrupt file {where}: returns must be a list with one number for each episode")
    return Evaluation(step, policy, tuple(returns.tolist()), scores)


def full_evaluations_from_json(rows: list[dict[str, Any]], where: str) -> tuple[Evaluation, ...]:
    """Evaluations on longer episodes."""
    return tuple(evaluation_from_json(row, where) for row in rows)


def trials_from_json(rows: list[dict[str, Any]], where: str) -> tuple[Trial, ...]:
    """Trials, only the last of equal ones."""
    found: dict[tuple[Any, ...], Trial] = {}
    for number, row in enumerate(rows, start=1):
        try:
            references = {
                str(name): tuple(map(float, returns)) for name, returns in (row.get("references") or {}).items()
            }
            trial = Trial(
                task=str(row["task"]),
                agents=int(row["agents"]),
                policy=str(row["policy"]),
                seed=int(row["seed"]),
                steps=int(row["steps"]),
                returns=tuple(map(float, row["returns"])),
                scores={str(name): float(value) for name, value in (row.get("scores") or {}).items()},
                drop=float(row.get("drop", 0.0)),
                drop_agents=float(row.get("drop_agents", 0.0)),
                delay=int(row.get("delay", 0)),
                references=references,
                commit=str(row.get("commit") or ""),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ResultsError(
                f"corrupt file {where}, line {number}: expected task, agents, policy, seed, steps and returns (numbers)"
            ) from error
        if trial.policy not in POLICIES or not trial.returns:
            raise ResultsError(
                f"corrupt file {where}, line {number}: expected a policy, {' or '.join(POLICIES)}, and its returns"
            )
        found[trial.place] = trial
    return tuple(found.values())


def references_from_json(task: str, value: dict[str, Any], where: str) -> References:
    """The reference policies of one task."""
    try:
        returns = {str(name): tuple(_single(policy["returns"]).tolist()) for name, policy in value["policies"].items()}
        full = value.get("full_evaluation", {}).get("policies", {})
        full_returns = {str(name): tuple(map(float, policy["returns"])) for name, policy in full.items()}
        references = References(task, int(value["evaluation_seed"]), int(value["episodes"]), returns, full_returns)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(
            f"corrupt file {where}: expected evaluation_seed, episodes and policies, each with its returns"
        ) from error
    wrong = [name for name, values in returns.items() if len(values) != references.episodes]
    if wrong:
        raise ResultsError(f"corrupt file {where}: {', '.join(wrong)} must have {references.episodes} returns")
    return references


def _single(returns: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns rounded to float32, where too large ones become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(returns, dtype=np.float32)
