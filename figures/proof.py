"""The proving ground: who reaches the known optimum of which small game, as one table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from figures.scores import Score, reference_scores
from figures.style import algorithm_styles, family_of, task_title
from figures.tables import DASH, Cell, html_table, markdown_lines, number
from results.checks import flatten
from results.records import Results, Run

FAMILY, POLICY = "game", "greedy"
REACHED = 95.0
"""Per cent of the gap between random and optimal play from which on a seed counts as having reached the optimum."""
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
"""Settings that the caption spells out."""
LESSONS = {
    "climbing": "the best pair of actions ruins both agents when one of them misses it, so that averaging over what "
    "the other may do leads away from it; the second best pair closes about 72 %, the action that looks safe 59 %",
    "penalty": "two best pairs, a large penalty for mixing them and a safe action, which closes about 73 %",
    "two_step": "the first step pays nothing and decides what the second can pay; the safe branch closes about 69 %",
    "chain": "what an agent likes best must give way to what its neighbours on a chain do; it sees its own preferences "
    "only, and the best joint action depends on those of all",
    "ring": "as the chain, but closed",
    "echo": "each agent must name what only its predecessor sees: without messages nothing beats guessing, 0 %",
    "walk": "one agent and nobody to hear: plain reinforcement learning, a near lure against a far reward",
}
"""What each game asks of a learner."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one algorithm reached on one game."""

    share: float
    """Mean over seeds of the gap closed by the greedy policy, in %."""
    reached: int
    """Seeds that closed `REACHED` per cent or more."""
    seeds: int
    provisional: bool


def verdict(score: Score) -> Verdict | None:
    """The verdict of a score; None where there is no evaluation, or no reference policy to compare with."""
    gaps = score.seed_gaps.get(POLICY, ())
    if not gaps:
        return None
    reached = sum(gap >= REACHED for gap in gaps)
    return Verdict(sum(gaps) / len(gaps), reached, len(gaps), score.provisional)


def proof_rows(
    results: Results, scores: Iterable[Score]
) -> tuple[list[str], list[list[Cell]], set[tuple[int, int]]] | None:
    """Header, rows of (text, sort value) with a row for each game and variant, and the (row, column) of bold cells,
    where every seed reached the optimum. None where the results hold no games."""
    own = [score for score in scores if family_of(score.task) == FAMILY]
    if not own:
        return None
    styles = algorithm_styles(score.algorithm for score in own)
    means = {(row.task, row.policy): row.return_mean for row in reference_scores(results)}
    header = ["Game", *(style.label for style in styles.values()), "Random", "Optimal"]
    rows: list[list[Cell]] = []
    bold = set()
    for task, variant in dict.fromkeys((score.task, score.variant) for score in own):
        title = task_title(task, variant)
        row: list[Cell] = [(title, title)]
        here = {score.algorithm: score for score in own if (score.task, score.variant) == (task, variant)}
        for name in styles:
            found = verdict(here[name]) if name in here else None
            if found and found.reached == found.seeds and not found.provisional:
                bold.add((len(rows), len(row)))
            row.append((_text(found), found.share if found else -math.inf))
        for policy in ("random", "optimal"):
            mean = means.get((task, policy))
            row.append((number(mean), -math.inf if mean is None else mean))
        rows.append(row)
    return header, rows, bold


def proof_markdown(results: Results, scores: list[Score]) -> str | None:
    """The table with its explanation as Markdown; None where the results hold no games."""
    table = proof_rows(results, scores)
    if table is None:
        return None
    lessons = [f"- {name}: {lesson}." for name, lesson in _lessons(results)]
    return "\n".join([*markdown_lines(*table, words=1), "", CAPTION, "", _settings_text(results), "", *lessons, ""])


def proof_html(results: Results, scores: list[Score]) -> str | None:
    """The same as a chapter of the report."""
    table = proof_rows(results, scores)
    if table is None:
        return None
    lessons = "".join(f"<li>{escape(f'{name}: {lesson}.')}</li>" for name, lesson in _lessons(results))
    captions = "".join(f'<p class="caption">{escape(text)}</p>' for text in (CAPTION, _settings_text(results)))
    return f'{html_table(*table)}\n{captions}\n<ul class="caption">{lessons}</ul>'


CAPTION = (
    "Small games whose optimum is computed exactly. Each cell: how much of the gap between random and optimal play the "
    "greedy policy closes, mean over finished seeds of their last 3 evaluations, and how many seeds reach the optimum, "
    f"that is close at least {REACHED:.0f} %; bold where all of them do. \u2020: no seed has finished. The last two "
    "columns are mean returns of the scripted policies on the same episodes. What this does not show: how algorithms "
    "scale, how many samples they need, or what they could reach with settings chosen for each game; a cell below the "
    "optimum says that these settings did not find it, not that the method cannot."
)


def _text(found: Verdict | None) -> str:
    if found is None:
        return DASH
    mark = "\u2020" if found.provisional else ""
    share = 0.0 if abs(found.share) < 0.5 else found.share  # no negative zero
    return f"{number(share, 0)} % ({found.reached}/{found.seeds}){mark}"


def _lessons(results: Results) -> list[tuple[str, str]]:
    """Name and lesson of every game that was played, in the order of the rows."""
    names = dict.fromkeys(run.key.task.split("/", 1)[1].rpartition("_")[0] for run in _played(results))
    return [(name.replace("_", " ").capitalize(), LESSONS[name]) for name in names if name in LESSONS]


def _settings_text(results: Results) -> str:
    """The settings of the games' runs, read from their configs; several values where runs differ."""
    configs = [flatten(run.config) for run in _played(results)]
    parts = []
    for name in SETTINGS:
        values = dict.fromkeys(str(config[name]) for config in configs if name in config)
        if values:
            parts.append(f"{name} {' or '.join(values)}")
    return f"Settings of these runs: {', '.join(parts)}; all others are in the config of each run."


def _played(results: Results) -> list[Run]:
    return [run for run in results.runs if family_of(run.key.task) == FAMILY]
