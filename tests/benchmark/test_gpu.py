"""Runs on a CUDA device; skipped where there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import algorithms
import envs
from algorithms import ALGORITHMS
from benchmark import acceleration, memory, train
from benchmark.config import resolve
from benchmark.profiling.synthetic import random_batch, road_grid_spec
from benchmark.progress import Progress
from benchmark.runs import RunWriter
from benchmark.training import Training
from envs.host import Staging
from envs.protocols import Step
from results.folder import RunFolder, status_of
from tests.benchmark import moves
from tests.benchmark.conftest import SMALL
from tests.patience import PATIENCE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ROOT = Path(__file__).resolve().parents[2]
FREE = ("mpe/cooperative_navigation_15", "mpe/heterogeneous_navigation_8", "mpe/cooperative_push_6")
"""Particle tasks without the scripted prey."""
PREY = ("mpe/prey_and_predator_6", "mpe/prey_and_predator_30")
FAMILIES = ("mpe/cooperative_navigation_6", "magent/jungle_6", "cityflow/synthetic_4", "game/ring_8")
MODES = ("none", "cuda_graph")
LOGS = ("metrics.jsonl", "evaluation.jsonl")


def gpu_config(algorithm: str, task: str = "mpe/cooperative_navigation_3", steps: int = 900, **overrides: Any) -> Any:
    """A short run; keyword `training__acceleration="none"` sets `training.acceleration`."""
    more = {key.replace("__", "."): value for key, value in overrides.items()}
    if task.startswith("cityflow/"):
        more = {"environment.episode_seconds": 200} | more
    return resolve(task, algorithm, 0, steps, SMALL | more, "gpu", "cuda")


def assert_steps_close(two: Step, one: Step, observation: float, reward: float) -> None:
    torch.testing.assert_close(two.observation.cpu(), one.observation, atol=observation, rtol=0)
    torch.testing.assert_close(two.reward.cpu(), one.reward, atol=reward, rtol=0)


@pytest.mark.parametrize("task", FREE)
def test_environment_steps_as_on_the_cpu(task: str) -> None:
    """The same actions from the same start, float64, one episode, every mode of reward."""
    copies = 3
    for mode in ("shared", "local", "difference"):
        cpu, gpu = (envs.make(task, copies, device, dtype="float64", reward=mode) for device in ("cpu", "cuda"))
        one, two = cpu.reset(7), gpu.reset(7)
        generator = torch.Generator().manual_seed(0)
        for _ in range(cpu.spec.episode_length):
            assert_steps_close(two, one, 1e-8, 1e-8)
            actions = torch.randint(5, (copies, cpu.spec.num_agents), generator=generator)
            one, two = cpu.step(actions), gpu.step(actions.cuda())


@pytest.mark.parametrize("task", PREY)
def test_prey_step_as_on_the_cpu(task: str) -> None:
    """One step at a time, from the state on the CPU: the prey's network is float32 and its sums have another order,
    which contacts magnify to anything within an episode. Forces are equal within 2e-5, which moves a prey by 2e-7."""
    copies = 3
    cpu, gpu = (envs.make(task, copies, device, dtype="float64") for device in ("cpu", "cuda"))
    cpu.reset(7), gpu.reset(7)
    generator = torch.Generator().manual_seed(0)
    for _ in range(cpu.spec.episode_length):
        gpu.load_state_dict(cpu.state_dict())
        actions = torch.randint(5, (copies, cpu.spec.num_agents), generator=generator)
        assert_steps_close(gpu.step(actions.cuda()), cpu.step(actions), 1e-5, 1e-5)


@pytest.mark.parametrize("task", FREE)
def test_forces_move_as_on_the_cpu(task: str) -> None:
    """Continuous actions, beyond their limits too; float64, one episode."""
    cpu, gpu = (envs.make(task, 3, device, dtype="float64", actions="continuous") for device in ("cpu", "cuda"))
    cpu.reset(7), gpu.reset(7)
    generator = torch.Generator().manual_seed(0)
    for _ in range(cpu.spec.episode_length):
        actions = 3 * torch.rand(3, cpu.spec.num_agents, 2, generator=generator) - 1.5
        one, two = cpu.step(actions), gpu.step(actions.cuda())
        torch.testing.assert_close(two.observation.cpu(), one.observation, atol=1e-8, rtol=0)


EXACT: list[tuple[str, dict[str, Any]]] = [
    ("magent/jungle_6", {}),
    ("magent/jungle_20", {}),
    ("magent/jungle_20", {"reward": "shared"}),
    ("magent/jungle_20", {"backend": "numba"}),
    ("mpe/cooperative_navigation_15", {"backend": "numba"}),
    ("cityflow/synthetic_4", {"episode_seconds": 300}),
    ("game/ring_8", {}),
]
"""Tensors that hold what the compiled engine holds, and engines on the CPU beside the GPU."""


@pytest.mark.parametrize(("task", "settings"), EXACT)
def test_steps_are_those_of_the_cpu(task: str, settings: dict[str, Any]) -> None:
    """Bit for bit but for means over agents, through two episodes."""
    copies = 4
    cpu, gpu = (envs.make(task, copies, device, **settings) for device in ("cpu", "cuda"))
    tolerance = 1e-6 if "reward" in settings else 0.0
    generator = torch.Generator().manual_seed(0)
    for episode in range(2):
        seed = 3 if episode == 0 else None
        one, two = cpu.reset(seed), gpu.reset(seed)
        for _ in range(cpu.spec.episode_length):
            actions = torch.randint(cpu.spec.num_actions, (copies, cpu.spec.num_agents), generator=generator)
            one, two = cpu.step(actions), gpu.step(actions.cuda())
            assert all(part.device.type == "cuda" for part in (two.observation, *two.graph, two.reward, two.truncated))
            assert_steps_close(two, one, 0, tolerance)
            assert torch.equal(two.graph.neighbours.cpu(), one.graph.neighbours)
            assert torch.equal(two.graph.mask.cpu(), one.graph.mask)
            assert torch.equal(two.truncated.cpu(), one.truncated)
        for name, score in cpu.scores().items():
            torch.testing.assert_close(gpu.scores()[name].cpu(), score, atol=1e-9, rtol=1e-9)


def test_page_locked_buffers_may_be_used_again_at_once() -> None:
    """What has been sent stays, though the next step is written to the buffer before the device has come to it."""
    staging = Staging(torch.device("cuda"))
    large, sent = torch.rand(4096, 4096, device="cuda"), []
    for number in range(8):
        for _ in range(4):
            large = (large @ large).sigmoid()  # work that copies wait behind
        staging.begin()
        sent.append(staging.send("reward", torch.full((1000, 1000), float(number))))
        staging.end()
    assert [part.unique().tolist() for part in sent] == [[float(number)] for number in range(8)]
    assert all(buffer.is_pinned() for buffer in staging._buffers.values())
    assert staging.fetch(large).tolist() == large.cpu().tolist()


@pytest.mark.parametrize("task", FAMILIES[:3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_block_does_not_wait_for_the_device(algorithm: str, task: str) -> None:
    """Act, environment steps within an episode, replay and update. Engines on the CPU receive their actions by waiting
    for the stream, which is allowed."""
    training = Training(gpu_config(algorithm, task, training__update_interval=20, training__gradient_steps=2))
    training.advance()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        training.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert training.updates == 4


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_update_does_not_wait_for_the_device(algorithm: str, mode: str) -> None:
    training = Training(gpu_config(algorithm, training__acceleration=mode))
    training.advance()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in (100, 200):
            training.learner.schedule(step, 900)
            training.learn(training.replay.sample(16, training.generators["replay"]), training.generators["update"])
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("task", ["mpe/cooperative_navigation_3", "mpe/cooperative_navigation_15", *FAMILIES[1:3]])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_captured_updates_are_the_plain_ones(algorithm: str, task: str) -> None:
    """Two blocks of three updates of whole trainings, between which the learning rate falls and the policy acts; no
    deterministic mode, under which gathers are sorted. An update lost, doubled, or made with other random numbers, an
    old batch or an old learning rate would show (see `moves`)."""
    settings = {key.replace(".", "__"): value for key, value in moves.SETTINGS.items()}
    trainings = [
        moves.smooth_training(gpu_config(algorithm, task, 300, training__acceleration=mode, **settings))
        for mode in MODES
    ]
    before = moves.tensors(trainings[0])
    for training in trainings:
        for _ in range(2):
            training.advance()
    plain, captured = trainings
    assert isinstance(captured.learn, acceleration.CapturedUpdate)
    assert (plain.updates, captured.updates) == (6, 6)
    assert moves.unequal(before, moves.tensors(plain), moves.tensors(captured)) == []
    generators = [training.generators["update"].get_state() for training in trainings]
    assert torch.equal(*generators), "as many random numbers were drawn"
    assert captured.take_metrics() == pytest.approx(plain.take_metrics(), rel=1e-2, abs=1e-4)


ROADS = road_grid_spec(9)
ALL = (True,) * ROADS.num_actions
MASKED = replace(ROADS, action_mask=((*ALL[1:], False),) * 8 + (ALL,))
"""A static graph whose agents lack an action, all but one."""


def on_gpu(batch: Any) -> Any:
    """The batch on the GPU; what is the same for all transitions stays held once."""
    parts = (
        (part[:1].cuda().expand(part.shape) if part.dim() and part.stride(0) == 0 else part.cuda())
        if isinstance(part, torch.Tensor)
        else on_gpu(part)
        for part in batch
    )
    return type(batch)(*parts)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_masks_and_static_graphs_are_heeded_as_on_the_cpu(algorithm: str) -> None:
    """Greedy actions of equal learners, and an update's metrics where nothing is drawn."""
    cpu, gpu = (
        algorithms.make(algorithm, MASKED, algorithms.config_type(algorithm)(hidden=16), device, seed=1)
        for device in ("cpu", "cuda")
    )
    batch = random_batch(MASKED, 64, gpu.action_width, torch.Generator().manual_seed(0))
    there = on_gpu(batch)
    assert there.graph.neighbours.stride(0) == 0
    generator = torch.Generator("cuda").manual_seed(0)
    allowed = torch.tensor(MASKED.action_mask)
    for greedy in (True, False):
        taken = gpu.act(there.observation, there.graph, generator, greedy).cpu()
        weights = taken if taken.is_floating_point() else torch.nn.functional.one_hot(taken, MASKED.num_actions)
        assert (weights[:, ~allowed] == 0).all()
    chosen = [
        learner.act(given.observation, given.graph, generator, True).cpu()
        for learner, given, generator in ((cpu, batch, torch.Generator()), (gpu, there, generator))
    ]
    if chosen[0].is_floating_point():
        chosen = [vectors.argmax(-1) for vectors in chosen]
    assert (chosen[0] == chosen[1]).float().mean() > 0.99, "but for ties that rounding breaks"
    if algorithm in ("dgn", "iql", "qmix", "vdn", "mfq"):
        one, two = cpu.update(batch, torch.Generator()), gpu.update(there, generator)
        assert {name: value.item() for name, value in two.items()} == pytest.approx(
            {name: value.item() for name, value in one.items()}, rel=1e-3, abs=1e-5
        )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_captured_updates_take_masks_and_static_graphs(algorithm: str) -> None:
    """The metrics of the first updates, which come before any weight differs by more than rounding."""
    found = []
    for mode in MODES:
        learner = algorithms.make(
            algorithm, MASKED, algorithms.config_type(algorithm)(hidden=16, learning_rate=1e-6), "cuda", seed=1
        )
        update = acceleration.accelerate(learner, mode, torch.device("cuda"))
        generator, draws = torch.Generator("cuda").manual_seed(2), torch.Generator().manual_seed(0)
        batches = [on_gpu(random_batch(MASKED, 32, learner.action_width, draws)) for _ in range(3)]
        found.append([{name: value.item() for name, value in update(each, generator).items()} for each in batches])
    for plain, captured in zip(*found, strict=True):
        assert captured == pytest.approx(plain, rel=1e-3, abs=1e-5)


def files_of(path: Path) -> list[bytes]:
    return [(path / name).read_bytes() for name in LOGS]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", FAMILIES[:3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equal_seeds_give_equal_files(algorithm: str, task: str, mode: str, tmp_path: Path) -> None:
    """And equal weights, bit for bit: no sum has an order that changes from run to run."""
    config = gpu_config(algorithm, task, 400, training__acceleration=mode, algorithm__hidden=32)
    paths = [train.run(config, tmp_path / name, quiet=True) for name in ("one", "two")]
    assert files_of(paths[0]) == files_of(paths[1])
    learners = [torch.load(path / "policy.pt", map_location="cpu", weights_only=True)["learner"] for path in paths]
    states = [dict(acceleration.state_tensors(learner)) for learner in learners]
    assert all(torch.equal(states[1][key], tensor) for key, tensor in states[0].items())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("algorithm", "task"),
    [*((name, FAMILIES[0]) for name in ALGORITHMS), ("ip", FAMILIES[1]), ("qmix", FAMILIES[2]), ("dgn", FAMILIES[2])],
)
def test_a_resumed_run_makes_the_files_of_an_uninterrupted_one(
    algorithm: str, task: str, mode: str, tmp_path: Path
) -> None:
    """Stopped after two blocks, in a checkpoint that holds the state of the GPU's generators too."""
    config = gpu_config(algorithm, task, 400, training__acceleration=mode)
    whole = train.run(config, tmp_path / "whole", quiet=True)
    folder = RunFolder(tmp_path / "resumed", config.record())
    writer = RunWriter(Training(config), folder, Progress("", config.total_steps, quiet=True))
    writer.resume()
    for _ in range(2):
        before = writer.training.environment_step
        writer.training.advance()
        writer.after_block(before)
    folder.close()
    assert (folder.path / "checkpoint.pt").exists()
    resumed = train.run(config, tmp_path / "resumed", quiet=True)
    assert status_of(resumed)["state"] == "finished"
    assert files_of(resumed) == files_of(whole)


def test_largest_city_fits_with_room() -> None:
    """One gradient step of a batch on 1,225 agents, in micro-batches, takes no more than what is set aside for it."""
    problem, settings = road_grid_spec(1225), algorithms.config_type("ip")()
    learner = algorithms.make("ip", problem, settings, "cuda")
    batch = on_gpu(random_batch(problem, 300, learner.action_width, torch.Generator().manual_seed(0)))
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    learner.update(batch, torch.Generator("cuda").manual_seed(0))
    taken = torch.cuda.max_memory_allocated() - before
    assert taken <= memory.reserved_bytes("ip", problem, settings, 300, "cuda")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
@pytest.mark.parametrize("algorithm", ["ip", "iql"])
def test_run_with_compiled_updates_finishes(algorithm: str, tmp_path: Path) -> None:
    """In a process of its own, because the shape checks of the test suite cannot be traced."""
    command = [sys.executable, "-m", "benchmark.train", "--task", "mpe/cooperative_navigation_3", "--quiet"]
    command += ["--algorithm", algorithm, "--total-steps", "900", "--device", "cuda", "--results", str(tmp_path)]
    for key, value in (SMALL | {"training.acceleration": "compile"}).items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
