"""Settings of third-party environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from envs.fields import Count, Form, Natural, check

if TYPE_CHECKING:
    from envs.protocols import EnvironmentSpec

Reward = Literal["local", "shared"]
Hearing = Literal["full", "nearest", "infos", "state"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings shared by all `pettingzoo/` tasks. Any other setting is an argument of the function that creates the
    environment; an argument with the same name as a setting here goes into `arguments`."""

    source: str = ""
    """Source of the environment, package.module:function; filled in from the task."""
    arguments: str = ""
    """Arguments of the function with JSON values, such as N=3,continuous_actions=false; filled in from all other
    settings."""
    package: str = ""
    """Distribution and version of the source, or the SHA-256 of its module's file; filled in, and rejected if the
    installed one differs."""
    episode_length: Count | None = None
    """Environment steps until truncation; none uses the environment's time limit, which is found by playing."""
    reward: Reward = "local"
    """`local` gives each agent its reward from the environment; `shared` gives every agent the sum over all agents."""
    graph: Hearing = "full"
    """Neighbours of each agent: `full` (all other agents), `nearest` (the nearest by the positions in `columns` of the
    observation), `infos` (the agents listed by name or number under "neighbours" in its info) or `state` (an adjacency
    matrix in `columns` of `state()`, whose row i is non-zero at the neighbours of agent i)."""
    columns: Annotated[str, Form(r"|\d+:\d+", "columns such as 2:4, the last one not included")] = ""
    """Columns of the observation that hold a position, or of the state that hold a graph."""
    num_neighbours: Count | None = None
    """Width of the neighbour lists; none gives all other agents or, for `nearest`, 4 below 30 agents and 8 from 30
    on."""
    workers: Natural = 0
    """Number of worker processes among which the copies are divided; 0 steps them in the main process. Results do not
    depend on it."""

    def __post_init__(self) -> None:
        """Raises ValueError if `columns` is missing or not needed."""
        check(self)
        needed = self.graph in ("nearest", "state")
        if needed and not self.columns:
            raise ValueError(f"graph = {self.graph!r}: needs columns, such as columns=2:4")
        if self.columns and not needed:
            raise ValueError(f"columns = {self.columns!r}: graph = {self.graph!r} does not use it; leave it out")

    @property
    def span(self) -> slice:
        """`columns` as a slice."""
        first, _, end = self.columns.partition(":")
        return slice(int(first), int(end))


def width(settings: Settings, num_agents: int) -> int:
    """Width of the neighbour lists, at least 1, so that an agent without neighbours has one masked slot. Raises
    ValueError for more neighbours than there are other agents."""
    from envs.checks import neighbour_count

    usual = None if settings.graph == "nearest" else num_agents - 1
    if settings.num_neighbours is None and usual is not None:
        return max(1, usual)
    if settings.graph == "full":
        raise ValueError(f"num_neighbours = {settings.num_neighbours}: graph = 'full' joins all agents; leave it out")
    return max(1, neighbour_count(settings.num_neighbours, num_agents))


def make_spec(settings: Settings) -> EnvironmentSpec:
    """The specification of the environment. Raises the same errors as `located.facts_of`, and ValueError for settings
    that do not fit the environment."""
    from envs.foreign.located import facts_of, time_limit
    from envs.protocols import EnvironmentSpec

    facts = facts_of(settings.source, settings.arguments)
    agents = len(facts.agents)
    if settings.graph == "nearest" and settings.span.stop > facts.observation_dim:
        raise ValueError(f"columns = {settings.columns}: observations have {facts.observation_dim} numbers")
    return EnvironmentSpec(
        num_agents=agents,
        observation_dim=facts.observation_dim,
        num_actions=facts.num_actions,
        episode_length=settings.episode_length or time_limit(settings.source, settings.arguments),
        max_neighbours=width(settings, agents),
        agent_kinds=(0,) * agents,
        static_graph=settings.graph == "full",
        action_dim=len(facts.low),
        action_mask=facts.action_mask,
    )
