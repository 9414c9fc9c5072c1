"""Everything that figures, tables and the report show, derived once from the results."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from figures.analysis.ablations import AblationResult, ablation_results
from figures.analysis.bootstrap import Estimate
from figures.analysis.comparison import (
    GAME_PLATFORM,
    Comparison,
    Profile,
    comparison,
    improvement_estimates,
    normalised_estimates,
    profiles,
)
from figures.analysis.curves import Curve, StepCost, learning_curve, run_evaluations, step_cost
from figures.analysis.interpretation import PAPER_TASK, PLATFORM, Account, account_of
from figures.analysis.policies import headline_policy
from figures.analysis.ranks import MeanRanks, RankRow, mean_rank_groups, rank_rows
from figures.analysis.scaling import ScalingPanel, scaling_panels
from figures.analysis.scores import Aggregate, ReferenceScore, Score, aggregate, final_scores, reference_scores
from figures.analysis.selection import shown_variants
from figures.analysis.speed import Measurement, load_speed
from figures.analysis.statistics import Values
from figures.analysis.transfer import TrialPanel, TrialScore, loss_panels, size_panels, trial_scores
from figures.names import platform_of
from results.checks import Issue, find_issues, group_runs
from results.keys import RunKey, natural_key
from results.paper import COMPARED_TASKS
from results.records import POLICIES, Results, Run

CellName = tuple[str, str]
"""Task and variant."""


class Analysis:
    """The facts of one set of results; each is computed on first access and cached."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._curves: dict[tuple[str, str, str, str], Curve] = {}
        self._accounts: dict[str, Account | None] = {}

    @cached_property
    def groups(self) -> dict[CellName, dict[str, list[Run]]]:
        """(task, variant) -> algorithm -> its runs, in the order of figures."""
        return group_runs(self.results)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Every task that was run."""
        return tuple(dict.fromkeys(task for task, _ in self.groups))

    @cached_property
    def platforms(self) -> tuple[str, ...]:
        """Platforms of the tasks that were run, by name."""
        return tuple(sorted({platform_of(task) for task in self.tasks}))

    @cached_property
    def algorithms(self) -> frozenset[str]:
        """Every algorithm that was run."""
        return frozenset(run.key.algorithm for run in self.results.runs)

    @cached_property
    def shown(self) -> dict[str, str]:
        """Task -> the variant that the paper's figures show."""
        return shown_variants(self.groups)

    def shown_algorithms(self, task: str) -> dict[str, list[Run]]:
        """The runs of a task's shown variant by algorithm; empty where the task was not run."""
        return self.groups[task, self.shown[task]] if task in self.shown else {}

    def shown_runs(self, task: str) -> tuple[Run, ...]:
        """The runs of a task's shown variant in one sequence."""
        return tuple(run for runs in self.shown_algorithms(task).values() for run in runs)

    @cached_property
    def issues(self) -> tuple[Issue, ...]:
        """Runs that failed, stopped early, are missing or do not match."""
        return find_issues(self.results)

    @cached_property
    def scores(self) -> list[Score]:
        """One score for each task, variant and algorithm that has a run."""
        return final_scores(self.results, self.groups)

    @cached_property
    def scores_by_cell(self) -> dict[tuple[str, str, str], Score]:
        """(task, variant, algorithm) -> score."""
        return {(score.task, score.variant, score.algorithm): score for score in self.scores}

    @cached_property
    def scores_of(self) -> dict[CellName, list[Score]]:
        """(task, variant) -> the scores of its algorithms."""
        found: dict[CellName, list[Score]] = {}
        for score in self.scores:
            found.setdefault((score.task, score.variant), []).append(score)
        return found

    def aggregates(self, policy: str | None = None) -> list[Aggregate]:
        """Normalised score over the tasks of each variant, by the headline policies unless one policy is named."""
        return aggregate(self.scores, policy)

    @cached_property
    def references(self) -> list[ReferenceScore]:
        """Every reference policy on every task."""
        return reference_scores(self.results)

    def reference_means(self, task: str) -> dict[str, float]:
        """Mean return of every reference policy of a task."""
        references = self.results.references.get(task)
        return {name: float(np.mean(returns)) for name, returns in references.returns.items()} if references else {}

    @cached_property
    def evaluations(self) -> dict[tuple[RunKey, str], tuple[Values, Values]]:
        """(run, policy) -> environment steps of its evaluations, and their mean returns."""
        return run_evaluations(self.results)

    def curve(self, task: str, variant: str, algorithm: str, policy: str | None = None) -> Curve:
        """Learning curve of one algorithm, for the headline policy unless one is named. Raises ValueError for an
        unknown policy."""
        policy = headline_policy(algorithm) if policy is None else policy
        if policy not in POLICIES:
            raise ValueError(f"policy is {policy!r}, expected one of {', '.join(POLICIES)}")
        key = task, variant, algorithm, policy
        if key not in self._curves:
            runs = self.groups.get((task, variant), {}).get(algorithm, [])
            self._curves[key] = learning_curve(runs, policy, self.evaluations)
        return self._curves[key]

    @cached_property
    def step_costs(self) -> dict[tuple[str, str, str], StepCost]:
        """(task, variant, algorithm) -> cost of an environment step, where its runs logged it."""
        found = {}
        for cell, algorithms in self.groups.items():
            for name, runs in algorithms.items():
                cost = step_cost(runs)
                if cost is not None:
                    found[(*cell, name)] = cost
        return found

    @cached_property
    def headline_rows(self) -> list[RankRow]:
        """Ranks on the shown variants of the paper's tasks, in the paper's order."""
        cells = [(task, self.shown[task]) for task in COMPARED_TASKS if task in self.shown]
        return self._rank_rows(cells)

    @cached_property
    def other_rows(self) -> list[RankRow]:
        """Ranks on every other task and variant."""
        headline = {(task, self.shown[task]) for task in COMPARED_TASKS if task in self.shown}
        return self._rank_rows([cell for cell in self.groups if cell not in headline])

    @cached_property
    def mean_ranks(self) -> list[MeanRanks]:
        """Mean ranks over the shown variants of all tasks other than matrix and toy games."""
        tasks = sorted(self.shown, key=natural_key)
        return mean_rank_groups(
            self._rank_rows([(task, self.shown[task]) for task in tasks if platform_of(task) != GAME_PLATFORM])
        )

    def _rank_rows(self, cells: list[CellName]) -> list[RankRow]:
        return [row for cell in cells for row in rank_rows(*cell, self.scores_of[cell])]

    @cached_property
    def comparison(self) -> Comparison | None:
        """Comparison over all tasks; None where fewer than two can be compared."""
        return comparison(self.scores, self.shown)

    @cached_property
    def normalised_estimates(self) -> dict[str, Estimate]:
        """Interquartile mean of the normalised score over the compared tasks; empty without a comparison."""
        return normalised_estimates(self.comparison) if self.comparison is not None else {}

    @cached_property
    def improvements(self) -> dict[str, Estimate]:
        """Probability that a run of IP beats one of each baseline; empty without a comparison or IP."""
        return improvement_estimates(self.comparison) if self.comparison is not None else {}

    @cached_property
    def profiles(self) -> dict[str, Profile]:
        """Performance profile of each compared algorithm; empty without a comparison."""
        return profiles(self.comparison) if self.comparison is not None else {}

    @cached_property
    def ablations(self) -> list[AblationResult]:
        """The panels of the paper's Figure 6."""
        return ablation_results(self.results)

    def account(self, task: str) -> Account | None:
        """Traffic statistics of the shown runs of a task; None where there are none."""
        if task not in self._accounts:
            shown = self.shown.get(task)
            self._accounts[task] = account_of(task, shown, self.shown_runs(task)) if shown is not None else None
        return self._accounts[task]

    @cached_property
    def accounts(self) -> list[Account]:
        """Traffic statistics of the paper's task where it has intervals to show, otherwise of every traffic task that
        has."""
        tasks = sorted((task for task in self.tasks if platform_of(task) == PLATFORM), key=natural_key)
        found = [account for task in tasks if (account := self.account(task)) is not None]
        return [account for account in found if account.task == PAPER_TASK] or found

    @cached_property
    def scaling(self) -> list[ScalingPanel]:
        """Normalised score by number of agents."""
        return scaling_panels(self.scores, self.groups)

    @cached_property
    def trial_scores(self) -> list[TrialScore]:
        """Scores of policies with other numbers of agents, on other maps, and with lost messages."""
        return trial_scores(self.results.runs)

    @cached_property
    def size_panels(self) -> list[TrialPanel]:
        """Normalised scores of policies with other numbers of agents than in training."""
        return size_panels(self.trial_scores)

    @cached_property
    def loss_panels(self) -> list[TrialPanel]:
        """Normalised scores of policies with lost messages."""
        return loss_panels(self.trial_scores)

    @cached_property
    def speed(self) -> list[Measurement]:
        """Measured speed of this project and of others."""
        return load_speed()
