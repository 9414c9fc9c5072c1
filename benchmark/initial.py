"""Runs that start from a trained policy, possibly on another task that it fits: fine-tuning after a transfer."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from algorithms.common.learner import OffPolicyLearner
from benchmark.config import RunConfig, TrainingConfig
from benchmark.errors import UserError
from benchmark.policies import Policy, check_fit, load_policy

if TYPE_CHECKING:
    from algorithms.protocols import Learner

DIGITS = 16
"""Hexadecimal digits of the SHA-256 of an initial policy's weights that configurations hold."""


def with_digest(training: TrainingConfig) -> TrainingConfig:
    """The settings with the digest of the initial policy's weights. Raises UserError where the policy cannot be loaded,
    or where its weights are not those named in the settings."""
    found = digest(load_policy(training.initial_policy).acting_weights())
    if training.initial_digest not in ("", found):
        raise UserError(
            f"training.initial_policy={training.initial_policy}: the weights have the digest {found}, not "
            f"{training.initial_digest}: name the policy that the run started from, or give the run another --variant"
        )
    return dataclasses.replace(training, initial_digest=found, initial_policy=str(Path(training.initial_policy)))


def digest(weights: dict[str, Tensor]) -> str:
    """The first digits of the SHA-256 of names, shapes and values."""
    whole = hashlib.sha256()
    for name, value in sorted(weights.items()):
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        whole.update(value.contiguous().numpy().tobytes())
    return whole.hexdigest()[:DIGITS]


def begin_with_policy(learner: Learner, config: RunConfig) -> None:
    """Initialise the acting network of a new learner, and its target network, with that of the initial policy; other
    networks and the optimisers are initialised as usual. Raises UserError where the policy does not fit."""
    path = config.training.initial_policy
    policy = load_policy(path)
    where = f"training.initial_policy={path}"
    if policy.config.algorithm != config.algorithm:
        raise UserError(f"{where} is a policy of {policy.config.algorithm}, the run is of {config.algorithm}")
    check_fit(policy.config.task, policy.spec, config.task, config.spec())
    weights = policy.acting_weights()
    if digest(weights) != config.training.initial_digest:
        raise UserError(f"{where} has changed since the run was set up: start the run again")
    if not isinstance(learner, OffPolicyLearner):
        raise UserError(f"{where}: {config.algorithm} is not made from OffPolicyLearner and cannot start from a policy")
    try:
        learner.begin_with(weights)
    except RuntimeError as error:
        different = _different_settings(policy, config)
        raise UserError(
            f"{where}: its network has other layers than that of this run; its settings were {different or 'the same'}"
        ) from error


def _different_settings(policy: Policy, config: RunConfig) -> str:
    """The policy's values of those algorithm settings in which it differs from the run, in the form of `--set`."""
    theirs, ours = (dataclasses.asdict(each.algorithm_settings) for each in (policy.config, config))
    return ", ".join(f"algorithm.{name}={value}" for name, value in theirs.items() if value != ours.get(name))
