"""What a user may change about an environment of another package."""

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
    """Settings of every `pettingzoo/` task. Any other setting is an argument of the function that makes the
    environment; one that is called like a setting here goes into `arguments`."""

    source: str = ""
    """Where the environment comes from, package.module:function; filled in from the task."""
    arguments: str = ""
    """Arguments of the function, as in N=3,continuous_actions=false: values as in JSON; filled in from settings of
    other names."""
    package: str = ""
    """Distribution and version of the source, or the SHA-256 of its module's file; filled in, and refused where it
    differs from what is here."""
    episode_length: Count | None = None
    """Environment steps until truncation; none: the time limit of the environment itself, found by playing."""
    reward: Reward = "local"
    """Who is paid: `local` gives each agent the reward of the environment, `shared` gives everyone the sum."""
    graph: Hearing = "full"
    """Who hears whom: `full` (everybody), `nearest` (those nearest by `columns` of the observation), `infos` (agents
    that "neighbours" in an agent's info lists by name or number) or `state` (`columns` of `state()`, agents times
    agents, row i not zero where i hears)."""
    columns: Annotated[str, Form(r"|\d+:\d+", "columns such as 2:4, the last one not included")] = ""
    """Part of the observation that is a position, or of the state that is a graph."""
    num_neighbours: Count | None = None
    """Width of the neighbour lists; none: everybody else, or for `nearest` 4 below 30 agents and 8 from there on."""
    workers: Natural = 0
    """Processes among which the copies are divided; 0: copies are stepped in turn. Changes no number."""

    def __post_init__(self) -> None:
        """Raises ValueError for columns that are missing or are not needed."""
        check(self)
        needed = self.graph in ("nearest", "state")
        if needed and not self.columns:
            raise ValueError(f"graph = {self.graph!r}: needs columns, such as columns=2:4")
        if self.columns and not needed:
            raise ValueError(f"columns = {self.columns!r}: graph = {self.graph!r} has no use for it; leave it out")

    @property
    def span(self) -> slice:
        """The columns."""
        first, _, end = self.columns.partition(":")
        return slice(int(first), int(end))


def width(settings: Settings, num_agents: int) -> int:
    """Width of the neighbour lists, at least 1: an agent without neighbours has one masked slot. Raises ValueError for
    more neighbours than there are others."""
    from envs.checks import neighbour_count

    usual = None if settings.graph == "nearest" else num_agents - 1
    if settings.num_neighbours is None and usual is not None:
        return max(1, usual)
    if settings.graph == "full":
        raise ValueError(f"num_neighbours = {settings.num_neighbours}: graph = 'full' joins all agents; leave it out")
    return max(1, neighbour_count(settings.num_neighbours, num_agents))


def make_spec(settings: Settings) -> EnvironmentSpec:
    """What a learner sees of the environment. Raises as `located.facts_of` does, and ValueError for settings that do
    not fit it."""
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
