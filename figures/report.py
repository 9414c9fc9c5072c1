"""One self-contained report: what was found, every score, every curve, and what was run to get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from figures import ranks
from figures.cost import cost_section, total_text
from figures.deviations import deviations_section, link_deviations
from figures.drawing import Content, Drawing, NamedTable
from figures.drilldown import STATES, block_anchor, drilldown_section, issues_table
from figures.episodes import episodes_section
from figures.full_episodes import full_episode_table
from figures.page import figure_block, page
from figures.proof import proof_html
from figures.provenance import count_text, machines_table
from figures.scores import GAP_TOPS, Score, aggregate, leaders, reference_scores
from figures.selection import PAPER_VARIANT
from figures.style import algorithm_styles, task_title
from figures.tables import (
    AGGREGATE_CAPTION,
    DASH,
    SCORES_CAPTION,
    Cell,
    aggregate_table,
    html_table,
    number,
    plus_minus,
    reference_table,
    score_rows,
)
from results.checks import find_issues, group_runs
from results.paper import COMPARED_ALGORITHMS, COMPARED_TASKS
from results.records import POLICIES, Results, Run

TITLE = "Intention Propagation benchmark"


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of the report; its anchor is what the table of contents links to."""

    anchor: str
    heading: str
    content: str | None
    """HTML; None where there is nothing to show, and the chapter is left out."""


def build_report(results: Results, scores: list[Score], content: Content) -> str:
    """The report as HTML text. The same results and drawings give the same text, byte for byte.

    Raises ResultsError where a recorded episode cannot be read.
    """
    chapters = [
        Section("headline", "Who ranks where", _headline(results, scores, content)),
        Section("figures", "The paper\u2019s figures", _paper_figures(content)),
        Section("paper", "The paper\u2019s tables and claims", _tables(content.tables)),
        Section("comparison", "All tasks together", _drawings(content.comparison)),
        Section("scores", "Final scores", _scores(results, scores)),
        Section("proof", "Proving ground", proof_html(results, scores)),
        Section("episodes", "Episodes", episodes_section(results, scores)),
        Section("curves", "Learning curves", "\n".join([CURVES_INTRODUCTION, _drawings(content.curves) or ""])),
        Section("runs", "Every run", drilldown_section(results)),
        Section("cost", "Cost", _cost(results)),
        Section("deviations", "Deviations from the paper", deviations_section()),
        Section("coverage", "Coverage and issues", _coverage(results) + _issues(results)),
        Section("method", "How to read this report", METHOD),
    ]
    sections = [own for own in chapters if own.content is not None]
    parts = [_header(results)]
    parts += [f'<section id="{own.anchor}">\n<h2>{own.heading}</h2>\n{own.content}\n</section>' for own in sections]
    parts.append("<footer>Drawn by <code>python -m figures</code> from results files alone.</footer>")
    return page(f"{TITLE}: report", _navigation(sections), "\n".join(parts))


def _navigation(sections: list[Section]) -> str:
    entries = "".join(f'<li><a href="#{own.anchor}">{own.heading}</a></li>' for own in sections)
    return f'<nav aria-label="Contents"><ol>{entries}</ol></nav>'


def _header(results: Results) -> str:
    runs = results.runs
    states = [run.status.state for run in runs]
    facts = {
        "runs": len(runs),
        "finished": states.count("finished"),
        "unfinished": states.count("running"),
        "failed": states.count("failed"),
        "tasks": len({run.key.task for run in runs}),
        "algorithms": len({run.key.algorithm for run in runs}),
        "seeds": len({run.key.seed for run in runs}),
        "steps in all": count_text(sum(run.status.step for run in runs)),
        "computing time": total_text(runs).replace(" hours", " h").replace(" and ", " + "),
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    compared = ", ".join(style.label for style in algorithm_styles(run.key.algorithm for run in runs).values())
    lede = f"Cooperative multi-agent reinforcement learning at scale: {escape(compared)}."
    return f'<header><h1>{TITLE}</h1>\n<p class="lede">{lede}</p></header>\n<dl class="facts">{tiles}</dl>'


def _headline(results: Results, scores: list[Score], content: Content) -> str:
    """What was run and what was not, in a sentence; then the ranks."""
    missing = ranks.missing_words(ranks.headline_rows(results, scores))
    parts = [f"<p>{escape(scope_words(results))} {escape(missing)}</p>"]
    if content.headline is not None and content.headline.rows:
        caption = content.headline.caption.removeprefix(missing).strip()
        rows = [[(text.replace(" (", "\n("), key) for text, key in row] for row in content.headline.rows]
        parts.append(f'<div class="matrix">{replace(content.headline, rows=rows, caption=caption).html()}</div>')
    return "\n".join(parts)


def scope_words(results: Results) -> str:
    """How many of the paper's tasks were run, with whose settings, and which algorithms were not."""
    own = {run.key.task for run in results.runs} & set(COMPARED_TASKS)
    usual = {run.key.task for run in results.runs if run.key.variant == PAPER_VARIANT} & own
    algorithms = {run.key.algorithm for run in results.runs}
    without = [name for name in COMPARED_ALGORITHMS if name not in algorithms]
    words = [f"Of the paper\u2019s {len(COMPARED_TASKS)} tasks these results hold {len(own) or 'none'}."]
    if own and not usual:
        words.append("None was run with the paper\u2019s own settings; words in brackets name the variants that were.")
    elif len(usual) < len(own):
        words.append(
            f"{len(usual)} of them {'was' if len(usual) == 1 else 'were'} run with the paper\u2019s own settings; "
            "words in brackets name the variants of the others."
        )
    if without:
        labels = [style.label for style in algorithm_styles(without).values()]
        words.append(f"Without any run: {', '.join(labels)}.")
    return " ".join(words)


def _paper_figures(content: Content) -> str | None:
    drawn = _drawings(content.figures)
    absent = [heading for heading in content.absent if heading.startswith("Figure")]
    if absent:
        note = f"<p>Not drawn, because nothing of it was run: {escape('; '.join(absent))}.</p>"
        return "\n".join([note, drawn or ""])
    return drawn


def _tables(tables: Sequence[NamedTable]) -> str | None:
    text = "\n".join(f"<h3>{escape(own.heading)}</h3>\n{own.table.html()}" for own in tables)
    return link_deviations(text) or None


def _drawings(drawings: Sequence[Drawing]) -> str | None:
    return "\n".join(map(_drawing, drawings)) or None


def _cost(results: Results) -> str:
    return f"{cost_section(results)}\n<h3>Code and hardware</h3>\n{machines_table(results)}"


def _coverage(results: Results) -> str:
    names = set(COMPARED_ALGORITHMS) | {run.key.algorithm for run in results.runs}
    styles = algorithm_styles(names)
    head = "".join(f'<th class="plain" scope="col">{escape(style.label)}</th>' for style in styles.values())
    rows = []
    for (task, variant), algorithms in group_runs(results).items():
        cells = "".join(f"<td>{_coverage_cell(algorithms.get(name, []))}</td>" for name in styles)
        link = f'<a href="#{block_anchor(task, variant)}">{escape(task)}</a>'
        rows.append(f"<tr><td>{link}</td><td>{escape(variant)}</td>{cells}</tr>")
    return (
        '<p>Runs by task and algorithm. A dash is a cell that nobody ran.</p>\n<div class="scroll"><table><thead><tr>'
        f'<th class="plain" scope="col">Task</th><th class="plain" scope="col">Variant</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _coverage_cell(runs: list[Run]) -> str:
    if not runs:
        return f'<span class="none">{DASH}</span>'
    states = [run.status.state for run in runs]
    return "<br>".join(
        f'<span class="{word}">{states.count(state)} {word}</span>' for state, word in STATES.items() if state in states
    )


def _issues(results: Results) -> str:
    issues = find_issues(results)
    if not issues:
        return "<h3>Issues</h3>\n<p>None: every run finished, and every algorithm has every seed.</p>"
    return f"<h3>Issues</h3>\n{issues_table(issues)}"


def _scores(results: Results, scores: list[Score]) -> str:
    parts = []
    groups = group_runs(results)
    compared = [cell for cell, algorithms in groups.items() if len(algorithms) > 1]
    alone = [cell for cell in groups if cell not in compared]
    if any("greedy" in score.summaries for score in scores):
        parts.append("<h3>Return, greedy policy</h3>")
        if compared:
            parts.append(_score_matrix(results, scores, "greedy", compared))
        if alone:
            matrix = _score_matrix(results, scores, "greedy", alone)
            parts.append(f"<details><summary>Settings of one algorithm alone</summary>\n{matrix}\n</details>")
    parts.append(f'<p class="caption">{escape(SCORES_CAPTION)}</p>')
    if any("sampled" in score.summaries for score in scores):
        matrix = _score_matrix(results, scores, "sampled", list(groups))
        parts.append(f"<details><summary>Return, sampled policy</summary>\n{matrix}\n</details>")
    others = ranks.other_table(results, scores)
    if others is not None:
        parts += ["<h3>Ranks on other tasks and settings</h3>", f'<div class="matrix">{others.html()}</div>']
    for policy in POLICIES:
        rows = aggregate(scores, policy)
        if rows:
            parts += [f"<h3>Gap closed over tasks, {policy} policy</h3>", aggregate_table(rows)]
            parts.append(f'<p class="caption">{escape(AGGREGATE_CAPTION)}</p>')
    parts += ["<details><summary>Every score</summary>", html_table(*score_rows(scores)), "</details>"]
    hours = full_episode_table(results)
    if hours:
        parts += ["<h3>Longer episodes</h3>", hours]
    references = reference_scores(results)
    if references:
        parts += ["<details><summary>Reference policies</summary>", reference_table(references), "</details>"]
    return "\n".join(parts)


def _score_matrix(results: Results, scores: list[Score], policy: str, cells: list[tuple[str, str]]) -> str:
    """Tasks and variants down, algorithms across, and the reference policies at both ends of the gap."""
    styles = algorithm_styles(score.algorithm for score in scores if (score.task, score.variant) in cells)
    references = {(row.task, row.policy): row.return_mean for row in reference_scores(results)}
    rows: list[list[Cell]] = []
    bold = set()
    for task, variant in cells:
        own = {score.algorithm: score for score in scores if (score.task, score.variant) == (task, variant)}
        best = leaders(list(own.values()), policy)
        title = task_title(task, variant)
        row: list[Cell] = [(title, title)]
        for name in styles:
            summary = own[name].summaries.get(policy) if name in own else None
            mark = "†" if summary and own[name].provisional else ""
            if name in best:
                bold.add((len(rows), len(row)))
            row.append((plus_minus(summary).replace(" ±", "\n±") + mark, summary.mean if summary else float("-inf")))
        random, top = references.get((task, "random")), _top(task, references)
        row.append((number(random), float("-inf") if random is None else random))
        row.append((f"{number(top[1])}\n{top[0].replace('_', ' ')}", top[1]) if top else (DASH, float("-inf")))
        rows.append(row)
    table = html_table(["Task", *(style.label for style in styles.values()), "random", "100 %"], rows, bold)
    return f'<div class="matrix">{table}</div>'


def _top(task: str, references: Mapping[tuple[str, str], float]) -> tuple[str, float] | None:
    """The reference policy that stands for 100 % of the gap, and its return; None where the task has none."""
    return next(((name, references[task, name]) for name in GAP_TOPS if (task, name) in references), None)


def _drawing(drawing: Drawing) -> str:
    return f"<h3>{escape(drawing.heading)}</h3>\n" + figure_block(drawing.svg, drawing.heading, drawing.caption)


CURVES_INTRODUCTION = """<p>Episodes are averaged within a seed. Seeds meet only at the steps they share exactly: the
curve runs over every step that any seed was evaluated at, and nothing is interpolated. Where fewer than all seeds have
come that far, a jump may only mean that a seed is missing. Horizontal lines are scripted reference policies; an arrow
beside a name means that it lies outside the axis.</p>"""

METHOD = """<p><strong>Return.</strong> MPE: the team reward summed over the steps of an episode and over the agents.
CityFlow: minus the average travel time of all vehicles, in seconds, as CityFlow defines it. Jungle: the sum of the
rewards of all agents. Games: the sum of the payoffs; where all agents have one payoff in common, that payoff. Larger is
better. Every evaluation plays the same fixed episodes, apart from training.</p>
<p><strong>Greedy and sampled.</strong> Greedy takes the most probable action of each agent, sampled draws from the
policy as in training. Both are shown, because a stochastic policy can be good in one and poor in the other.</p>
<p><strong>Gap closed.</strong> 0 % is the random policy. 100 % is the optimum on the games of the proving ground, where
it is known, and elsewhere a scripted policy that is a yardstick, not an upper bound: an assignment of agents to goals
for MPE, max pressure for CityFlow, agents that see all of the map and never hit one another for Jungle. All are
measured on the task itself.</p>
<p><strong>Seeds.</strong> A seed is one independent training run, and the unit of every deviation and interval here;
episodes only make the value of one seed more exact. With few seeds the deviation is itself uncertain: read small
differences as noise.</p>
<p><strong>Completeness.</strong> Runs that failed, stopped early or were never made are listed under coverage and
issues. Nothing is filled in for them.</p>"""
