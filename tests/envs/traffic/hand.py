"""A city driven by hand, second by second, through CityFlow's interface: what the environment must agree with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import envs
from envs.traffic import Engine
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.tasks import write_files


def city(task: str, num_envs: int = 1, **settings: Any) -> TrafficEnvironment:
    """An environment of a traffic task, with its full type."""
    environment = envs.make(task, num_envs, **settings)
    assert isinstance(environment, TrafficEnvironment)
    return environment


def random_actions(environment: TrafficEnvironment, generator: torch.Generator) -> torch.Tensor:
    """Uniform actions (env, agent) that every agent has."""
    return envs.reference_policies(environment.task)["random"](environment).act(generator)


class HandDriven:
    """An `Engine` on the files of a task. Everything about roads is read from the JSON file here."""

    def __init__(self, task: str, folder: Path, seed: int, yellow: int = 5, decision: int = 10) -> None:
        write_files(task, folder)
        names = {"dir": f"{folder}/", "roadnetFile": "roadnet.json", "flowFile": "flow.json"}
        flags = {"interval": 1.0, "rlTrafficLight": True, "saveReplay": False, "laneChange": False}
        (folder / "config.json").write_text(json.dumps({**names, **flags, "seed": seed}))
        self.engine = Engine(folder / "config.json")
        self.yellow, self.decision = yellow, decision
        self.roadnet = json.loads((folder / "roadnet.json").read_text())
        self.agents = [i["id"] for i in self.roadnet["intersections"] if not i["virtual"]]
        self.shown: list[int | None] = [None] * len(self.agents)
        self.lanes_to: dict[str, list[str]] = {name: [] for name in self.agents}
        for road in self.roadnet["roads"]:
            if road["endIntersection"] in self.lanes_to:
                lanes = [f"{road['id']}_{lane}" for lane in range(len(road["lanes"]))]
                self.lanes_to[road["endIntersection"]] += lanes

    def step(self, actions: Sequence[int]) -> list[int]:
        """Show phases until the next decision; vehicle-seconds on the incoming lanes of every agent."""
        before, self.shown = self.shown, list(actions)
        seconds = [0] * len(self.agents)
        for second in range(self.decision):
            for name, old, new in zip(self.agents, before, actions, strict=True):
                in_yellow = old != new and second < self.yellow
                self.engine.set_tl_phase(name, 0 if in_yellow else new + 1)
            self.engine.next_step()
            running, waiting = self.engine.get_lane_vehicle_count(), self.engine.waiting_vehicles()
            for i, name in enumerate(self.agents):
                seconds[i] += sum(running[lane] + len(waiting.get(lane, [])) for lane in self.lanes_to[name])
        return seconds
