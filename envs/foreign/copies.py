"""Copies of a third-party environment, stepped in turn or in worker processes. This module does not import torch, so
that workers start faster and use less memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import weakref
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

import numpy as np

from envs.errors import ForeignEnvironmentError
from envs.foreign.located import facts_of, make_environment, mask_of, to_action
from envs.foreign.names import PREFIX
from envs.foreign.settings import Settings, width


class Moment(NamedTuple):
    """The outputs of copies after a reset or a step."""

    observation: np.ndarray
    """(env, agent, feature), float32."""
    reward: np.ndarray
    """(env, agent), float64."""
    ended: np.ndarray
    """(env,) bool, whether the episode terminated, in this step or earlier."""
    neighbours: np.ndarray
    """(env, agent, neighbour), int64; 0 where masked."""
    mask: np.ndarray
    """(env, agent, neighbour) bool, whether a slot of `neighbours` is used."""


class Copies(Protocol):
    """Several copies in lockstep."""

    def reset(self, seeds: list[int]) -> Moment:
        """Begin an episode in each copy."""
        ...

    def step(self, actions: np.ndarray, last: bool) -> Moment:
        """Advance all copies by one step; `last` says whether this step reaches the time limit."""
        ...


class Copy:
    """A single environment, with dictionaries converted to arrays and its guarantees checked."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.where = settings, f"{PREFIX}{settings.source}"
        self.facts = facts_of(settings.source, settings.arguments)
        self.environment = make_environment(settings.source, settings.arguments)
        self.agents = self.facts.agents
        self.number = {agent: i for i, agent in enumerate(self.agents)}
        self.width = width(settings, len(self.agents))
        self.time, self.ended = 0, False
        self.now: Moment

    def reset(self, seed: int) -> Moment:
        observation, infos = self.environment.reset(seed=seed)
        self.time, self.ended = 0, False
        self.require_all(self.environment.agents)
        return self.remember(observation, dict.fromkeys(self.agents, 0.0), infos)

    def step(self, actions: np.ndarray, last: bool) -> Moment:
        """The outputs after the actions. A terminated episode keeps its observation and gives zero reward. Raises
        ForeignEnvironmentError if only some agents end, or if the environment truncates at another time limit."""
        if self.ended:
            return self.now._replace(reward=np.zeros_like(self.now.reward))
        self.time += 1
        given = {agent: to_action(self.facts, action) for agent, action in zip(self.agents, actions, strict=True)}
        observation, reward, terminated, truncated, infos = self.environment.step(given)
        over = {agent for agent in self.agents if terminated.get(agent) or truncated.get(agent)}
        if over and len(over) < len(self.agents):
            some = min(over, key=self.number.__getitem__)
            raise ForeignEnvironmentError(
                f"{self.where}: {some} ended at step {self.time} while others go on; expected all agents to end at once"
            )
        self.ended = bool(over) and any(terminated.get(agent) for agent in self.agents)
        if over and not self.ended and not last:
            raise ForeignEnvironmentError(
                f"{self.where}: its own time limit came after {self.time} steps; give "
                f"--set environment.episode_length={self.time}, or less"
            )
        if not over:
            self.require_all(self.environment.agents)
        return self.remember(observation, reward, infos)

    def require_all(self, present: list[str]) -> None:
        """Raise ForeignEnvironmentError unless exactly the possible agents are present."""
        odd = set(present) ^ set(self.agents)
        if odd:
            raise ForeignEnvironmentError(
                f"{self.where}: {min(odd, key=str)} came or went at step {self.time}; expected the same "
                f"{len(self.agents)} agents throughout"
            )

    def remember(self, observation: Mapping[str, Any], reward: Mapping[str, float], infos: Mapping[str, Any]) -> Moment:
        """The outputs as arrays with a leading axis for the copy; also kept for the time after termination."""
        rows = []
        for agent in self.agents:
            if agent not in observation:
                raise ForeignEnvironmentError(f"{self.where}: no observation of {agent} at step {self.time}")
            rows.append(np.asarray(observation[agent], np.float32).reshape(-1))
        seen = np.stack(rows)
        if seen.shape[1] == 0:
            seen = np.zeros((len(self.agents), 1), np.float32)
        if not self.ended and self.facts.num_actions:
            mask = mask_of(infos, self.agents)
            if mask != self.facts.action_mask:
                raise ForeignEnvironmentError(
                    f"{self.where}: the action_mask changed at step {self.time}; expected a constant mask"
                )
        paid = np.array([float(reward[agent]) for agent in self.agents])
        neighbours, there = self.graph(seen, infos)
        self.now = Moment(seen[None], paid[None], np.array([self.ended]), neighbours[None], there[None])
        return self.now

    def graph(self, seen: np.ndarray, infos: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """The neighbour lists and their mask, both (agent, neighbour)."""
        count, settings = len(self.agents), self.settings
        if settings.graph == "nearest":
            place = seen[:, settings.span].astype(np.float64)
            distance = np.square(place[:, None] - place[None]).sum(-1)
            np.fill_diagonal(distance, np.inf)
            lists = [list(row[: min(self.width, count - 1)]) for row in distance.argsort(1, kind="stable")]
        elif settings.graph == "infos":
            lists = [self.listed(agent, infos) for agent in self.agents]
        elif settings.graph == "state":
            lists = self.of_state()
        else:
            lists = [[j for j in range(count) if j != i] for i in range(count)]
        neighbours = np.zeros((count, self.width), np.int64)
        mask = np.zeros((count, self.width), bool)
        for i, others in enumerate(lists):
            if len(others) > self.width:
                raise ForeignEnvironmentError(
                    f"{self.where}: {self.agents[i]} has {len(others)} neighbours; expected at most {self.width}: give "
                    f"--set environment.num_neighbours={len(others)}"
                )
            neighbours[i, : len(others)], mask[i, : len(others)] = others, True
        return neighbours, mask

    def listed(self, agent: str, infos: Mapping[str, Any]) -> list[int]:
        """The neighbours that an agent's info lists, as agent numbers."""
        listed = infos.get(agent, {}).get("neighbours")
        if listed is None:
            raise ForeignEnvironmentError(
                f'{self.where}: the info of {agent} has no "neighbours", which graph=infos needs: choose another graph'
            )
        numbers = [self.number.get(other, other) for other in listed]
        mistaken = [one for one in numbers if not isinstance(one, int | np.integer) or not 0 <= one < len(self.agents)]
        if mistaken:
            raise ForeignEnvironmentError(
                f"{self.where}: {agent} has the neighbour {mistaken[0]!r}, which is not another agent"
            )
        return list(dict.fromkeys(int(one) for one in numbers if one != self.number[agent]))

    def of_state(self) -> list[list[int]]:
        """The neighbours of every agent, as agent numbers, from the graph in the state."""
        count, span = len(self.agents), self.settings.span
        try:
            state = np.asarray(self.environment.state()).reshape(-1)[span]
        except (AttributeError, NotImplementedError) as error:
            raise ForeignEnvironmentError(f"{self.where}: there is no state(), which graph=state needs") from error
        if len(state) != count**2:
            raise ForeignEnvironmentError(
                f"{self.where}: columns={self.settings.columns} of state() are {len(state)} numbers; expected "
                f"{count**2}, a row of {count} for each of {count} agents"
            )
        matrix = state.reshape(count, count) != 0
        return [[int(j) for j in np.flatnonzero(row) if j != i] for i, row in enumerate(matrix)]


def joined(moments: list[Moment]) -> Moment:
    """The outputs of several copies, concatenated."""
    return Moment(*(np.concatenate(parts) for parts in zip(*moments, strict=True)))


class InTurn:
    """Copies stepped one after another in this process."""

    def __init__(self, settings: Settings, count: int) -> None:
        self.copies = [Copy(settings) for _ in range(count)]

    def reset(self, seeds: list[int]) -> Moment:
        return joined([copy.reset(seed) for copy, seed in zip(self.copies, seeds, strict=True)])

    def step(self, actions: np.ndarray, last: bool) -> Moment:
        return joined([copy.step(action, last) for copy, action in zip(self.copies, actions, strict=True)])


class InWorkers:
    """Copies divided among worker processes, each of which steps its share one after another."""

    def __init__(self, settings: Settings, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.shares = [len(part) for part in np.array_split(np.arange(count), min(settings.workers, count))]
        self.where = f"{PREFIX}{settings.source}"
        self.pipes: list[Connection] = []
        processes: list[BaseProcess] = []
        for share in self.shares:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, settings, share), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            processes.append(process)
        self.close = weakref.finalize(self, _end, self.pipes, processes)
        for pipe in self.pipes:
            self._answer(pipe)

    def reset(self, seeds: list[int]) -> Moment:
        return self._ask([("reset", part.tolist()) for part in self._divided(np.array(seeds))])

    def step(self, actions: np.ndarray, last: bool) -> Moment:
        return self._ask([("step", part, last) for part in self._divided(actions)])

    def _divided(self, rows: np.ndarray) -> list[np.ndarray]:
        return np.split(rows, np.cumsum(self.shares)[:-1])

    def _ask(self, questions: list[tuple[Any, ...]]) -> Moment:
        for pipe, question in zip(self.pipes, questions, strict=True):
            try:
                pipe.send(question)
            except OSError as error:
                raise self._lost() from error
        return joined([self._answer(pipe) for pipe in self.pipes])

    def _answer(self, pipe: Connection) -> Any:
        try:
            answer = pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(answer, ForeignEnvironmentError):
            raise answer
        return answer

    def _lost(self) -> ForeignEnvironmentError:
        return ForeignEnvironmentError(
            f"{self.where}: a worker process was lost; --set environment.workers=0 shows the error in this process"
        )


def serve(pipe: Connection, settings: Settings, count: int) -> None:
    """The loop of a worker: answers `reset` and `step` requests until its pipe is closed."""
    try:
        copies = InTurn(settings, count)
        pipe.send(None)
        while True:
            name, *arguments = pipe.recv()
            answer: Callable[..., Moment] = getattr(copies, name)
            pipe.send(answer(*arguments))
    except (EOFError, KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        wrong = error if isinstance(error, ForeignEnvironmentError) else _described(settings, error)
        with contextlib.suppress(OSError):  # the parent process is gone
            pipe.send(wrong)


def _described(settings: Settings, error: Exception) -> ForeignEnvironmentError:
    first = (str(error).splitlines() or [""])[0][:160]
    return ForeignEnvironmentError(f"{PREFIX}{settings.source}: a worker failed: {type(error).__name__}: {first}")


def _end(pipes: list[Connection], processes: list[BaseProcess]) -> None:
    """Close the pipes of workers, which makes them exit."""
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.terminate()


def make_copies(settings: Settings, count: int) -> Copies:
    """`count` copies, in this process or in workers as the settings say."""
    return InWorkers(settings, count) if settings.workers else InTurn(settings, count)
