"""Trained policies from files: policy.pt of a finished run, or checkpoint.pt of one that is still going."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import algorithms
import envs
from algorithms.protocols import Learner
from benchmark.config import RunConfig, TrainingConfig
from benchmark.errors import UserError
from results.checkpoints import load_checkpoint
from results.files import read_json
from results.layout import CONFIG


def load_policy(path: str | Path, device: str = "cpu", city: str = "") -> tuple[RunConfig, Learner]:
    """The settings of the run and its learner, ready to act. `city` is where the CityFlow configuration of its task is
    now; by default it is looked for where it was.

    Raises UserError where the file is missing, damaged, or was made by another version of the code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected policy.pt or checkpoint.pt of a run folder")
    state = load_checkpoint(path, device)
    try:
        if "learner" in state:
            record, weights = state["config"], state["learner"]
        else:
            record, weights = read_json(path.parent / CONFIG), state["training"]["learner"]
        if city and envs.locate(city)[0] == record["task"]:
            record["environment"]["map"] = city
        config = config_from_record(record, device)
        spec = config.spec()
        learner = algorithms.make(config.algorithm, spec, config.algorithm_settings, device)
        learner.schedule(config.total_steps, config.total_steps)
        learner.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        detail = str(error).splitlines()[0][:120]
        raise UserError(f"{path} does not fit this version of the code ({detail}): train the run again") from error
    return config, learner


def config_from_record(record: dict[str, Any], device: str = "cpu") -> RunConfig:
    """Settings from `RunConfig.record()` or config.json. Raises KeyError or TypeError where fields differ, and what
    `envs.locate` raises."""
    task, environment = envs.locate(record["task"], record["environment"])
    algorithm = record["algorithm"]
    return RunConfig(
        task,
        algorithm,
        record["seed"],
        record["total_steps"],
        envs.settings(task)(**environment),
        TrainingConfig(**record["training"]),
        algorithms.config_type(algorithm).from_record(record["algorithm_settings"]),
        record["variant"],
        device,
    )
