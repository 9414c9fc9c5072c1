"""Acting, environment steps and gradient steps never make the host wait for a GPU, nor add floats in any order there.

Everything runs on the `meta` device, which takes the ways of a GPU. What is excepted stands in `EXCEPTIONS`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from algorithms import ALGORITHMS
from algorithms.common import edges, exploration, graph
from algorithms.iql import IQL
from benchmark.config import resolve
from benchmark.randomness import stream_seed
from benchmark.training import Training
from tests.waits import FETCHED, READ, SENT, UNORDERED, Finding, Waits

SMALL = {
    "training.num_envs": 2,
    "training.update_interval": 2,
    "training.gradient_steps": 1,
    "training.batch_size": 4,
    "training.learning_starts": 1,
    "training.replay_capacity": 100,
    "training.evaluation_episodes": 1,
    "training.environment_threads": 1,
    "algorithm.hidden": 8,
}
"""A block is one environment step of two copies, and one gradient step."""
FAMILIES = ("mpe/cooperative_navigation_3", "magent/jungle_6", "cityflow/synthetic_4", "game/ring_8")
SETTINGS: list[tuple[str, str, dict[str, Any]]] = [
    ("mpe/heterogeneous_navigation_4", "iql", {"environment.reward": "local"}),
    ("mpe/cooperative_push_3", "iql", {"environment.reward": "difference"}),
    ("mpe/prey_and_predator_3", "iql", {"environment.neighbour_order": "true"}),
    ("mpe/cooperative_navigation_3", "ip", {"environment.actions": "continuous"}),
    ("mpe/cooperative_navigation_3", "iql", {"environment.backend": "numba"}),
    ("magent/jungle_6", "iql", {"environment.backend": "numba", "environment.reward": "shared"}),
    ("cityflow/synthetic_4", "ip", {"algorithm.kernel": "gather", "training.observation_dtype": "float16"}),
    ("mpe/cooperative_navigation_3", "ip", {"algorithm.kernel": "gather"}),
    ("mpe/cooperative_navigation_3", "ip", {"algorithm.inference": "belief_propagation"}),
    ("mpe/cooperative_navigation_3", "ip", {"algorithm.graph": "full", "algorithm.heads": 2}),
    ("mpe/cooperative_navigation_3", "ip", {"algorithm.tune_alpha": True, "algorithm.micro_batch": 3}),
    ("mpe/cooperative_navigation_3", "dgn", {"algorithm.kernel": "gather"}),
    ("mpe/cooperative_navigation_3", "dgn", {"training.reward_scale": "per_agent"}),
]
"""Ways that the tables of families and algorithms do not go."""


class Excepted(NamedTuple):
    """What may be found, by kind, place and how often in a block, in runs that a pattern fits."""

    kind: str
    place: str
    most: int
    runs: str
    why: str


HOSTED = "cityflow|backend=numba"
EXCEPTIONS = (
    Excepted(FETCHED, "envs/host.py:fetch", 1, HOSTED, "the engine is on the CPU and needs the actions"),
    Excepted(SENT, "envs/host.py:send", 3, HOSTED, "observations, rewards, changing neighbours, from pinned buffers"),
    Excepted(FETCHED, "benchmark/training.py:_environment_step", 1, "game/", "returns, at the end of an episode"),
    Excepted(
        UNORDERED, "backward of IndexSelectBackward0", 2, "heterogeneous|maddpgs", "a permutation: nothing is added"
    ),
    Excepted(UNORDERED, "algorithms/common/graph.py:__init__", 5, "ip|dgn|mfq", "ones and zeros: exact in any order"),
    Excepted(UNORDERED, "backward of GatherBackward0", 1, "dgn", "weights of distinct neighbours: nothing is added"),
)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` has no generators of random numbers, and networks choose what they would on a GPU."""

    def uniform_actions(shape: Any, num_actions: int, missing: Any, generator: torch.Generator) -> Tensor:
        keys = torch.rand(*shape, num_actions, generator=generator, device="meta")
        return keys.argmax(-1) if missing is None else keys.masked_fill(missing, -1.0).argmax(-1)

    monkeypatch.setattr(
        "benchmark.training.stream", lambda seed, name, _: torch.Generator().manual_seed(stream_seed(seed, name))
    )
    monkeypatch.setattr(exploration, "uniform_actions", uniform_actions)
    monkeypatch.setattr(edges, "UNORDERED", ("cuda", "meta"))
    monkeypatch.setattr(graph, "COMPILED", ("cpu",))


def of_a_block(task: str, algorithm: str, settings: dict[str, Any] | None = None) -> Counter[Finding]:
    """What is found in the second block of a run; the first makes what is made once."""
    with Waits():
        training = Training(resolve(task, algorithm, 0, 1000, SMALL | (settings or {}), "meta", "meta"))
    for part in vars(training.learner).values():
        if isinstance(part, torch.optim.Optimizer):  # one fused kernel on a GPU
            part.step = lambda: None  # type: ignore[method-assign, assignment]
    with Waits():
        training.advance()
    with Waits() as waits:
        training.advance()
    assert training.updates == 2
    return waits.found


def not_excepted(task: str, algorithm: str, settings: dict[str, Any] | None = None) -> Counter[Finding]:
    """What is left: findings that no row has, or more of them than it allows. Copies must be asynchronous."""
    found = of_a_block(task, algorithm, settings)
    left, run = Counter(found), f"{task} {algorithm} {' '.join(f'{k}={v}' for k, v in (settings or {}).items())}"
    for kind, place, most, runs, _ in EXCEPTIONS:
        fitting = [finding for finding in found if (finding.kind, finding.place) == (kind, place)]
        if re.search(runs, run) and sum(found[finding] for finding in fitting) <= most:
            for finding in fitting:
                if kind != SENT or finding.operation == "asynchronous copy":
                    del left[finding]
    return left


@pytest.mark.parametrize("task", FAMILIES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_block_never_waits(algorithm: str, task: str) -> None:
    assert not_excepted(task, algorithm) == {}


@pytest.mark.parametrize(("task", "algorithm", "settings"), SETTINGS)
def test_nor_with_other_settings(task: str, algorithm: str, settings: dict[str, Any]) -> None:
    assert not_excepted(task, algorithm, settings) == {}


def test_an_engine_on_the_cpu_takes_one_wait_and_its_copies() -> None:
    """Of traffic, whose graph is static, two copies to the device; of compiled particles three."""
    fetched, sent = (Finding(kind, name, f"envs/host.py:{place}") for kind, name, place in (
        (FETCHED, "copy_", "fetch"), (SENT, "asynchronous copy", "send"),
    ))  # fmt: skip
    assert of_a_block("cityflow/synthetic_4", "iql") == {fetched: 1, sent: 2}
    particles = of_a_block("mpe/cooperative_navigation_3", "iql", {"environment.backend": "numba"})
    assert particles == {fetched: 1, sent: 3}


def test_a_number_read_in_a_loss_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = IQL.loss

    def reading(self: Any, batch: Any) -> Any:
        value, metrics = loss(self, batch)
        return value if value.item() > 1 else 2 * value, metrics

    monkeypatch.setattr(IQL, "loss", reading)
    left = not_excepted("mpe/cooperative_navigation_3", "iql")
    assert left == {Finding(READ, "_local_scalar_dense", "tests/benchmark/test_waits.py:reading"): 1}


def backward_of_a_gather(tensor: Tensor) -> None:
    weights = torch.zeros(3, 4, device="meta", requires_grad=True)
    weights.gather(1, torch.zeros(3, 2, dtype=torch.int64, device="meta")).sum().backward()


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (READ, lambda tensor: tensor.sum().item()),
        (READ, lambda tensor: bool((tensor > 0).any())),
        (READ, lambda tensor: float(tensor[0, 0])),
        (READ, lambda tensor: tensor.nonzero_static(size=2)),
        (READ, lambda tensor: torch.nn.functional.one_hot(tensor.long())),
        (FETCHED, lambda tensor: tensor.cpu()),
        (FETCHED, lambda tensor: torch.zeros(3, 4).copy_(tensor)),
        (SENT, lambda tensor: torch.tensor([1.0, 2.0], device="meta")),
        (SENT, lambda tensor: torch.zeros(3, 4).to("meta")),
        (SENT, lambda tensor: tensor.copy_(torch.zeros(3, 4))),
        (UNORDERED, lambda tensor: tensor.scatter_add(1, torch.zeros_like(tensor).long(), tensor)),
        (UNORDERED, lambda tensor: tensor.index_add(0, tensor[0, :3].long(), tensor)),
        (UNORDERED, lambda tensor: tensor.index_put((tensor[0, :3].long(),), tensor, accumulate=True)),
        (UNORDERED, backward_of_a_gather),
    ],
)
def test_every_kind_is_found(kind: str, call: Any) -> None:
    tensor = torch.zeros(3, 4, device="meta")
    with Waits() as waits:
        call(tensor)
    assert kind in {finding.kind for finding in waits.found}


def test_what_does_not_wait_is_not_found() -> None:
    """One index along an axis, whole numbers at an index, copies on the host and on the device, sorting."""
    tensor, index = torch.zeros(3, 4, device="meta", requires_grad=True), torch.zeros(3, 1, device="meta").long()
    with Waits() as waits:
        tensor.gather(1, index).sum().backward()
        index.scatter_add(1, index, index)
        tensor.detach().clone().sort()
        tensor[:, index[:, 0]].argmax(-1)
        torch.zeros(3).to(torch.float64).tolist()
    assert waits.found == {}
