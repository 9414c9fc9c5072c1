"""The tasks of the paper's Table 1 and its algorithms, on which suites, tables and figures are based."""

from __future__ import annotations

from dataclasses import dataclass

COMPARED_ALGORITHMS = ("ip", "qmix", "maddpg", "maddpgs", "pic", "dgn", "iql")
"""Intention Propagation and the six baselines of the paper (section 5.2), in the order of every figure and table."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task: a row of the paper's Table 1, or an additional one."""

    name: str
    """Platform, scenario and number of agents."""
    num_agents: int
    total_steps: int
    """Environment steps of a full run: the end of the axis in the paper's figure, where it can be read."""
    figure: str = ""
    """Figure of the paper that shows the task; empty for tasks that are not in Table 1."""

    @property
    def platform(self) -> str:
        """cityflow, mpe, magent or game."""
        return self.name.split("/")[0]


TABLE_1 = (
    Task("cityflow/hangzhou_16", 16, 1_600_000, "5(a)"),
    Task("cityflow/manhattan_96", 96, 1_600_000, "3(a), 5(c)"),
    Task("cityflow/synthetic_49", 49, 1_600_000, "5(b), 6(a), 7"),
    Task("cityflow/synthetic_100", 100, 1_600_000, "5(d), 6(b)"),
    Task("cityflow/synthetic_225", 225, 1_600_000, "3(b), 5(e)"),
    Task("cityflow/synthetic_1225", 1225, 350_000, "3(c), 5(f)"),
    Task("mpe/cooperative_navigation_15", 15, 1_500_000, "8(a)"),
    Task("mpe/cooperative_navigation_30", 30, 1_500_000, "4(a), 6(c), 6(d), 8(b)"),
    Task("mpe/cooperative_navigation_200", 200, 1_500_000, "8(c)"),
    Task("mpe/heterogeneous_navigation_100", 100, 1_500_000, "4(b)"),
    Task("mpe/cooperative_push_100", 100, 1_500_000, "8(f)"),
    Task("mpe/prey_and_predator_100", 100, 1_500_000, "4(c), 8(e)"),
    Task("magent/jungle_20", 20, 1_500_000, "8(d)"),
)
"""The 13 rows of Table 1."""
COMPARED_TASKS = tuple(task.name for task in TABLE_1)
"""Names of the tasks in Table 1."""
