"""The scripted prey: a fixed network that samples a soft action.

    l = W3 relu(W2 relu(W1 o + b1) + b2) + b3,   a = softmax(l - log(-log U)),   force = 4 (a1 - a2, a3 - a4)

with U uniform in (0, 1), drawn for every prey, action and step. Everything before the differences is float32. The
published tasks come with fixed weights (`original`); this project ships its own (`shipped`, see prey_training.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from envs.checks import why_unreadable
from envs.data_folder import VARIABLE, data_folder
from envs.errors import PreyWeightsError
from envs.mpe.scenarios import NUM_ACTIONS, PREY_ACCELERATION
from envs.shapes import Float

SHIPPED = Path(__file__).with_name("prey_weights_small.npz")
_ORIGINAL_FILES = {14: "prey_actor_tag_n3.npz", 26: "prey_actor_tag_n6_15_30_100.npz"}
LAYERS = ("linear1", "linear2", "mu")


class PreyPolicy(NamedTuple):
    """Weights (out, in) and biases (out) of the three layers."""

    weights: tuple[Tensor, Tensor, Tensor]
    biases: tuple[Tensor, Tensor, Tensor]

    def logits(self, observation: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch action"]:
        """Unnormalised log-probabilities of the five actions, float32."""
        hidden = observation.float()
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = linear(hidden, weight, bias).relu_()
        return linear(hidden, self.weights[-1], self.biases[-1])

    def to(self, device: torch.device) -> PreyPolicy:
        """The same policy on another device."""
        first, second, last = (w.to(device) for w in self.weights)
        return PreyPolicy((first, second, last), tuple(b.to(device) for b in self.biases))  # type: ignore[arg-type]


def soft_action(
    logits: Float[Tensor, "*batch action"], gumbel: Float[Tensor, "*batch action"]
) -> Float[Tensor, "*batch action"]:
    """Relaxed one-hot action from logits and Gumbel noise."""
    return (logits + gumbel).softmax(-1)


def gumbel_noise(uniform: np.ndarray) -> Float[Tensor, "*batch action"]:
    """Gumbel noise, float32, from numbers uniform in (0, 1)."""
    return torch.from_numpy((-np.log(-np.log(uniform))).astype(np.float32))


def prey_force(action: Float[Tensor, "*batch action"]) -> Float[Tensor, "*batch xy"]:
    """Force of a prey's soft action, in the dtype of the action."""
    return PREY_ACCELERATION * (action[..., 1::2] - action[..., 2::2])


def load_prey(which: str, observation_dim: int) -> PreyPolicy:
    """The policy `shipped`, `original` or that of an .npz file, for prey that observe `observation_dim` features.

    Raises PreyWeightsError if the file is missing or its arrays do not fit.
    """
    path, prefix = _find(which, observation_dim)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[f"{prefix}{layer}_{part}"] for layer in LAYERS for part in ("weight", "bias")]
    except FileNotFoundError as error:
        raise PreyWeightsError(f"the prey weights {path} do not exist; {_HOW_TO_FIX}") from error
    except Exception as error:  # damaged bytes make numpy, zipfile and zlib raise a dozen unrelated types
        raise PreyWeightsError(f"{path} does not hold prey weights ({why_unreadable(error)}); {_HOW_TO_FIX}") from error
    if any(array.dtype.kind not in "fiu" for array in arrays):
        raise PreyWeightsError(f"{path} does not hold prey weights (some are not real numbers); {_HOW_TO_FIX}")
    w1, b1, w2, b2, w3, b3 = (torch.from_numpy(array.astype(np.float32)) for array in arrays)
    sizes = [observation_dim, *(b.numel() for b in (b1, b2)), NUM_ACTIONS]
    expected = [size for i in range(3) for size in ((sizes[i + 1], sizes[i]), (sizes[i + 1],))]
    given = [tuple(array.shape) for array in arrays]
    if given != expected:
        raise PreyWeightsError(
            f"{path} has layers {given}, but prey that see {observation_dim} numbers need {expected}"
        )
    return PreyPolicy((w1, w2, w3), (b1, b2, b3))


_HOW_TO_FIX = (
    "choose prey_weights='shipped', the path of an .npz file with linear1_weight, linear1_bias, linear2_weight, "
    "linear2_bias, mu_weight, mu_bias (rows = outputs), or 'original' after putting the published files "
    f"{' and '.join(_ORIGINAL_FILES.values())} into the folder prey of the one that {VARIABLE} names"
)


def _find(which: str, observation_dim: int) -> tuple[Path, str]:
    """The path of the file, and the prefix of its array names."""
    if which == "shipped":
        return SHIPPED, f"dim{observation_dim}_"
    if which != "original":
        return Path(which), ""
    return data_folder() / "prey" / _ORIGINAL_FILES[observation_dim], ""
