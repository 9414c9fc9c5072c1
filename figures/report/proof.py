"""Matrix and toy games: which algorithms reach the known optimum of each game, as one table."""

from __future__ import annotations

from dataclasses import dataclass

from figures.analysis import Analysis
from figures.analysis.policies import POLICY_WORDS, headline_policy, other_policy
from figures.analysis.scores import Score
from figures.names import platform_of, task_title
from figures.style import algorithm_styles
from figures.tables import ABSENT, Cell, Table, number
from results.checks import flatten
from results.records import Run

PLATFORM = "game"
REACHED = 95.0
"""Normalised score in % from which on a seed counts as having reached the optimum."""
SETTINGS = (
    "total_steps",
    "environment.reward",
    "training.num_envs",
    "training.batch_size",
    "training.update_interval",
    "training.gradient_steps",
    "training.reward_scale",
    "algorithm_settings.hidden",
)
"""Settings named in the caption."""
LESSONS = {
    "climbing": "the best joint action is costly if one agent deviates from it, so that averaging over the other "
    "agent's actions leads away from it; the second-best joint action reaches about 72 %, the seemingly safe one 59 %",
    "penalty": "two optimal joint actions, a large penalty for mixing them, and a safe action that reaches about 73 %",
    "two_step": "the first step pays nothing and determines the payoffs of the second; the safe branch reaches about "
    "69 %",
    "chain": "an agent has to trade its preferences off against its neighbours' actions on a chain; it observes only "
    "its own preferences, but the best joint action depends on those of all agents",
    "ring": "like the chain, but closed",
    "echo": "each agent must name the symbol that only its predecessor observes: without messages it can only guess, "
    "which scores 0 %",
    "walk": "a single agent without messages: standard reinforcement learning with a small reward nearby and a larger "
    "one far away",
}
"""Difficulty that each game poses to a learner."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of one policy of an algorithm on one game."""

    share: float
    """Mean over seeds of the normalised score, in %."""
    reached: int
    """Number of seeds with a normalised score of at least `REACHED` %."""
    seeds: int
    provisional: bool

    @property
    def text(self) -> str:
        """Text of the cell: `98 % (3/3)`."""
        share = 0.0 if abs(self.share) < 0.5 else self.share  # no negative zero
        return f"{number(share, 0)} % ({self.reached}/{self.seeds}){chr(0x2020) if self.provisional else ''}"


def verdict(score: Score, policy: str | None = None) -> Verdict | None:
    """The verdict on a score, by the headline policy unless one is named; None without an evaluation or reference
    policies to compare with."""
    normalised_scores = score.normalised_seeds.get(policy or score.policy, ())
    if not normalised_scores:
        return None
    reached = sum(normalised >= REACHED for normalised in normalised_scores)
    return Verdict(sum(normalised_scores) / len(normalised_scores), reached, len(normalised_scores), score.provisional)


def table(analysis: Analysis) -> Table:
    """Table with a row for each game, in the variant that figures show, by the headline policies, and one by the other
    policies below it; bold where every seed reached the optimum. Without rows where the results hold no games."""
    games = [
        (task, variant)
        for task, variant in analysis.scores_of
        if platform_of(task) == PLATFORM and variant == analysis.shown.get(task)
    ]
    styles = algorithm_styles(score.algorithm for cell in games for score in analysis.scores_of[cell])
    header = ("Game", *(style.label for style in styles.values()), "Random", "Optimal")
    rows: list[list[Cell]] = []
    bold = set()
    for task, variant in games:
        here = {score.algorithm: score for score in analysis.scores_of[task, variant]}
        means = analysis.reference_means(task)
        for title, policy_of in ((task_title(task, variant), headline_policy), (OTHER, other_policy)):
            row: list[Cell] = [(title, f"{task_title(task, variant)} {title}")]
            for name in styles:
                found = verdict(here[name], policy_of(name)) if name in here else None
                if found and title != OTHER and found.reached == found.seeds and not found.provisional:
                    bold.add((len(rows), len(row)))
                row.append((found.text, found.share) if found else ABSENT)
            for policy in ("random", "optimal") if title != OTHER else ():
                row.append((number(means[policy]), means[policy]) if policy in means else ABSENT)
            rows.append([*row, *[("", float("-inf"))] * (len(header) - len(row))])
    return Table(header, rows, CAPTION, bold)


def markdown(analysis: Analysis) -> str:
    """The table with its explanation as Markdown; empty where the results hold no games."""
    shown = table(analysis)
    if not shown.rows:
        return ""
    lessons = [f"- {name}: {lesson}." for name, lesson in lessons_of(analysis)]
    return "\n".join([shown.markdown(), settings_text(analysis), "", *lessons, ""])


OTHER = "\u21b3 other policy"
CAPTION = (
    "Small games whose optimum is computed exactly. Each cell gives the normalised score in % (0: random play, 100: "
    "the optimum), the mean over finished seeds of their last 3 evaluations, and the number of seeds that reach the "
    f"optimum, that is, at least {REACHED:.0f} %; bold if all of them do. {POLICY_WORDS} The row below shows the "
    "other policy: greedy if the headline policy is sampled, and the exploration policy for Q-learners. \u2020: no "
    "seed has finished. The last two columns are mean returns of the reference policies on the same episodes. The "
    "table does not show how algorithms scale, how many samples they need, or what they could reach with settings "
    "tuned for each game; a score below the optimum means that these settings did not find it, not that the method "
    "cannot."
)


def lessons_of(analysis: Analysis) -> list[tuple[str, str]]:
    """Name and difficulty of every game that was played, in the order of the rows."""
    names = dict.fromkeys(run.key.task.split("/", 1)[1].rpartition("_")[0] for run in _played(analysis))
    return [(name.replace("_", " ").capitalize(), LESSONS[name]) for name in names if name in LESSONS]


def settings_text(analysis: Analysis) -> str:
    """The settings of the games' runs, read from their configs; several values where runs differ."""
    configs = [flatten(run.config) for run in _played(analysis)]
    parts = []
    for name in SETTINGS:
        values = dict.fromkeys(str(config[name]) for config in configs if name in config)
        if values:
            parts.append(f"{name} {' or '.join(values)}")
    return f"Settings of these runs: {', '.join(parts)}; all others are recorded in the config of each run."


def _played(analysis: Analysis) -> list[Run]:
    """The runs in the table."""
    games = [task for task in analysis.tasks if platform_of(task) == PLATFORM]
    return [run for task in games for run in analysis.shown_runs(task)]
