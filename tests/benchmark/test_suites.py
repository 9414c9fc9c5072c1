"""Suites: names of runs, and the controls of Intention Propagation."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import algorithms
from benchmark import acceleration
from benchmark.config import resolve
from benchmark.requests import CONTROLS, RunRequest, control
from benchmark.suites import SUITES
from benchmark.training import Training
from envs.protocols import Graph
from results.keys import RunKey
from tests.benchmark.conftest import SMALL


@pytest.mark.parametrize("suite", SUITES)
def test_every_run_of_a_suite_has_a_place_of_its_own(suite: str) -> None:
    requests = SUITES[suite]()
    assert requests
    assert len({request.key for request in requests}) == len(requests)


def test_controls_are_variants_of_any_run() -> None:
    request = RunRequest(RunKey("mpe/cooperative_navigation_3", "ip", "default", 0), 100, {"training.batch_size": 8})
    assert control(request, "deaf").key.variant == "deaf"
    deaf = control(control(request, "deaf"), "isac")
    assert deaf.key.variant == "deaf-isac"
    assert deaf.overrides == {"training.batch_size": 8} | CONTROLS["isac"]
    assert request.overrides == {"training.batch_size": 8}


def heard(settings: dict[str, Any]) -> tuple[bool, bool]:
    """Whether agent 0's policy and values depend on what the others see and do."""
    config = resolve("mpe/cooperative_navigation_3", "ip", 0, 100, {"algorithm.hidden": 16} | settings)
    learner: Any = algorithms.make("ip", config.spec(), config.algorithm_settings)
    graph = Graph(torch.tensor([[[1, 2], [0, 2], [0, 1]]]), torch.ones(1, 3, 2, dtype=torch.bool))
    neighbours = learner.neighbourhood(graph)
    seen = torch.randn(1, 3, config.spec().observation_dim, generator=torch.Generator().manual_seed(0)).requires_grad_()
    played = torch.eye(5)[torch.tensor([[0, 1, 2]])].requires_grad_()
    policy = learner.policy_outputs(seen, graph)[:, 0].sum()
    values = learner.value(seen, neighbours)[:, 0].sum() + learner.q1(seen, played, neighbours)[:, 0].sum()
    by_policy = torch.autograd.grad(policy, seen)[0][:, 1:]
    by_values = torch.autograd.grad(values, [seen, played], materialize_grads=True)
    return bool(by_policy.any()), any(bool(gradient[:, 1:].any()) for gradient in by_values)


def test_controls_are_deaf_where_they_say() -> None:
    assert heard({}) == (True, True)
    assert heard(CONTROLS["deaf"]) == (False, True)
    assert heard(CONTROLS["isac"]) == (False, False)


def test_the_papers_settings_are_the_same_on_every_device() -> None:
    """So that a login node knows the runs of a GPU; a CPU makes them too, for the settings have no effect there."""
    for request in SUITES["all"]():
        on = {device: request.resolve(device) for device in ("cpu", "cuda")}
        assert on["cpu"].digest() == on["cuda"].digest()
        assert on["cpu"].training.num_envs == (4 if request.key.task.startswith("cityflow/") else 100)
        assert (on["cpu"].training.tf32, request.key.variant) == (True, "default")
    mode = on["cpu"].training.acceleration
    acceleration.require(mode, "cpu")
    assert not acceleration.captures_blocks(mode, torch.device("cpu"))
    assert acceleration.captures_blocks(mode, torch.device("cuda"))


def test_lockstep_differs_in_the_copies_alone() -> None:
    """Two tasks, two algorithms, three seeds; the gradient steps are as many, to the last one."""
    groups: dict[tuple[str, str, int], list[RunRequest]] = {}
    for request in SUITES["lockstep-cpu"]():
        groups.setdefault((request.key.task, request.key.algorithm, request.key.seed), []).append(request)
    assert len(groups) == 2 * 2 * 3
    for four, hundred in groups.values():
        assert four.overrides | {"training.num_envs": 100} == hundred.overrides
        assert four.total_steps == hundred.total_steps
        assert four.overrides["training.num_envs"] == 4
    counts = []
    for count in (4, 100):
        small = SMALL | {"training.num_envs": count, "training.learning_starts": 64, "training.batch_size": 64}
        training = Training(resolve("mpe/cooperative_navigation_3", "iql", 0, 600, small))
        while training.environment_step < 600:
            training.advance()
        counts.append(training.updates)
    assert counts == [48, 48]


def test_goals_are_by_the_rules_of_published_tables() -> None:
    requests = SUITES["goals-cpu"]()
    assert {(request.key.task, request.key.algorithm) for request in requests} == {
        (f"cityflow/{city}", algorithm) for city in ("hangzhou_16", "manhattan_48") for algorithm in ("ip", "iql")
    }
    for request in requests:
        key = request.key
        run = resolve(key.task, key.algorithm, key.seed, request.total_steps, request.overrides, key.variant)
        assert (run.environment.protocol, run.environment.episode_seconds) == ("libsignal", 3600)
        assert run.algorithm_settings.learning_rate_end == 0


def test_suites_share_only_runs_with_equal_settings() -> None:
    """Published sets are read together, where a run found twice with different settings is an error."""
    known: dict[RunKey, tuple[int, object]] = {}
    for suite, requests in SUITES.items():
        for request in requests():
            settings = (request.total_steps, dict(request.overrides))
            assert known.setdefault(request.key, settings) == settings, f"{suite}: {request.key}"
