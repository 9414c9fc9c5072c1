"""Environment steps a second here and in other suites, on one thread: `python -m tests.benchmarks.peers [--write]`.

The other suites are the optional dependencies `peers` of pyproject.toml; one that is not installed is left out, and
said so. Every suite plays the same task, cooperative navigation, with random actions and starts of episodes, in copies
of its own kind: compiled here, tensors in VMAS, a compiled scan over vectorised copies in JaxMARL. `--write` puts the
rates into results/speed.json, in the place of an older measurement of the same hardware. With `--original` it is
Jungle instead, beside magent2 driven bare, and traffic beside the rates of CityFlow that were recorded on a quiet
machine.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

import envs
from envs.traffic import Simulation
from figures.analysis.speed import FILE, HERE
from tests.benchmarks import test_bench_jungle, test_bench_traffic
from tests.benchmarks.test_bench_jungle import steps_per_second as jungle_rate

SIZES = ((3, 4), (15, 64), (30, 64), (100, 64))
"""Agents and copies."""
STEPS = 25
"""Of an episode."""
ACTIONS = 5
HARDWARE = f"one thread of {platform.processor() or platform.machine()}, no GPU"
COMMAND = "python -m tests.benchmarks.peers --write"
SETUP = "random actions, starts of episodes included; jaxmarl as a compiled scan"


def here(agents: int, copies: int) -> Callable[[], None]:
    """An episode of all copies of this project."""
    environment = envs.make(task_of(agents), copies)
    actions = torch.randint(ACTIONS, (STEPS, copies, agents), generator=torch.Generator().manual_seed(0))

    def episode() -> None:
        environment.reset()
        for action in actions:
            environment.step(action)

    return episode


def vmas(agents: int, copies: int) -> Callable[[], None]:
    """The same of VMAS, https://doi.org/10.48550/arXiv.2207.03530: its scenario simple_spread."""
    from vmas import make_env

    environment = make_env(
        "simple_spread",
        num_envs=copies,
        device="cpu",
        continuous_actions=False,
        max_steps=STEPS,
        seed=0,
        n_agents=agents,
    )
    actions = torch.randint(ACTIONS, (STEPS, agents, copies, 1), generator=torch.Generator().manual_seed(0))

    def episode() -> None:
        environment.reset()
        for action in actions:
            environment.step(list(action))

    return episode


def jaxmarl(agents: int, copies: int) -> Callable[[], None]:
    """The same of JaxMARL, https://doi.org/10.48550/arXiv.2311.10090: its MPE_simple_spread_v3, one compiled scan."""
    import jax
    from jaxmarl import make

    environment: Any = make("MPE_simple_spread_v3", num_agents=agents, num_landmarks=agents)

    def step(state: Any, key: Any) -> tuple[Any, Any]:
        keys = jax.random.split(key, copies + 1)
        actions = {
            name: jax.random.randint(jax.random.fold_in(keys[-1], place), (copies,), 0, ACTIONS)
            for place, name in enumerate(environment.agents)
        }
        _, state, reward, _, _ = jax.vmap(environment.step)(keys[:-1], state, actions)
        return state, reward[environment.agents[0]]

    @jax.jit
    def play(key: Any) -> Any:
        first, others = jax.random.split(key)
        _, state = jax.vmap(environment.reset)(jax.random.split(first, copies))
        return jax.lax.scan(step, state, jax.random.split(others, STEPS))[1].sum()

    keys = iter(range(sys.maxsize))

    def episode() -> None:
        play(jax.random.PRNGKey(next(keys))).block_until_ready()

    return episode


SUITES: dict[str, Callable[[int, int], Callable[[], None]]] = {HERE: here, "vmas": vmas, "jaxmarl": jaxmarl}
SLOW = {("jaxmarl", 100)}
"""Suite and agents whose compilation takes minutes: left out."""


def task_of(agents: int) -> str:
    """The task that is played."""
    return f"mpe/cooperative_navigation_{agents}"


def installed(name: str) -> bool:
    """Whether a suite can be measured here."""
    return name == HERE or importlib.util.find_spec(name) is not None


def rate(episode: Callable[[], None], copies: int, seconds: float) -> float:
    """Environment steps a second of all copies together, after one episode that compiles."""
    episode()
    episodes, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        episode()
        episodes += 1
    return episodes * STEPS * copies / (time.perf_counter() - begin)


def measure(sizes: Sequence[tuple[int, int]], suites: Sequence[str], seconds: float, hardware: str) -> dict[str, Any]:
    """One entry of results/speed.json."""
    rows = []
    for agents, copies in sizes:
        row: dict[str, Any] = {"task": task_of(agents), "copies": copies}
        for name in suites:
            if (name, agents) not in SLOW:
                found = rate(SUITES[name](agents, copies), copies, seconds)
                row[name] = rounded(found)
                print(f"{task_of(agents)}, {copies} copies, {name}: {found:,.0f} steps a second", flush=True)
        rows.append(row)
    return facts(hardware, "environment steps", SETUP, COMMAND, rows)


def measure_originals(hardware: str) -> list[dict[str, Any]]:
    """Entries of results/speed.json for Jungle and for traffic."""
    jungle = [
        {"task": test_bench_jungle.TASK, "copies": copies, HERE: rounded(jungle_rate("numba", copies)),
         "magent2": rounded(jungle_rate("bare", copies))}
        for copies in test_bench_jungle.COPIES
    ]  # fmt: skip
    traffic = []
    for city in test_bench_traffic.cities():
        simulation = Simulation(*test_bench_traffic.build(city.side))
        test_bench_traffic.drive(simulation, 100, 10)  # compiles
        found = max(test_bench_traffic.drive(simulation, city.seconds, 10) for _ in range(2))
        task = f"cityflow/synthetic_{city.side**2}" if city.side else "cityflow/hangzhou_16"
        traffic.append({"task": task, "copies": 1, HERE: rounded(found), "CityFlow, recorded": city.original})
    command = COMMAND.replace("--write", "--original --write")
    return [
        facts(
            hardware,
            "environment steps",
            "random actions; magent2 bare, without neighbours and checks",
            command,
            jungle,
        ),
        facts(
            hardware,
            "simulated seconds",
            "random phases every 10 s; CityFlow recorded on a quiet machine",
            command,
            traffic,
        ),
    ]


def rounded(rate_: float) -> float:
    """Three significant digits."""
    return float(f"{rate_:.3g}")


def facts(hardware: str, what: str, setup: str, command: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One entry of results/speed.json, measured now and here."""
    date = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m")
    return {"date": date, "hardware": hardware, "what": what, "setup": setup, "command": command, "rows": rows}


def with_measurement(measured: list[dict[str, Any]], new: dict[str, Any]) -> list[dict[str, Any]]:
    """The new measurement in the place of those of the same hardware and kind, at the end."""
    same = ("hardware", "what", "setup")
    return [*(old for old in measured if any(old[name] != new[name] for name in same)), new]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when this project and at least one other suite were measured, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.peers", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="to measure each for; default: %(default)s")
    parser.add_argument(
        "--agents", type=int, nargs="+", default=[agents for agents, _ in SIZES], help="default: %(default)s"
    )
    parser.add_argument("--hardware", default=HARDWARE, help="what it is measured on; default: %(default)s")
    parser.add_argument("--original", action="store_true", help="measure the originals of Jungle and traffic instead")
    parser.add_argument("--write", action="store_true", help="put the rates into results/speed.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.original:
        new = measure_originals(options.hardware)
    else:
        suites = [name for name in SUITES if installed(name)]
        for name in SUITES:
            if name not in suites:
                print(f"{name} is not installed: pip install '.[peers]'")
        if len(suites) < 2:
            print("error: no other suite is installed, so there is nothing to compare with", file=sys.stderr)
            return 1
        sizes = [size for size in SIZES if size[0] in options.agents]
        new = [measure(sizes, suites, options.seconds, options.hardware)]
    measured = json.loads(FILE.read_text(encoding="utf-8"))
    for measurement in new:
        measured = with_measurement(measured, measurement)
        print(json.dumps(measurement, indent=2))
    if options.write:
        FILE.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
