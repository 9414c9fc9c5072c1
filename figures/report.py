"""One self-contained report: what was found, every score, every curve, and what was run to get them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from figures import provenance
from figures.full_episodes import full_episode_table
from figures.page import figure_block, page
from figures.proof import proof_html
from figures.scores import GAP_TOPS, Score, aggregate, leaders, reference_scores
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
from results.checks import COMPARED_ALGORITHMS, find_issues, group_runs
from results.records import POLICIES, Results, Run

TITLE = "Intention Propagation benchmark"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure ready for the page."""

    heading: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of the report; its anchor is what the table of contents links to."""

    anchor: str
    heading: str
    content: str


def build_report(
    results: Results, scores: list[Score], curves: Sequence[Drawing], diagnostics: Sequence[Drawing]
) -> str:
    """The report as HTML text. The same results and drawings give the same text, byte for byte."""
    sections = [
        Section("coverage", "Coverage and issues", _coverage(results) + _issues(results)),
        Section("scores", "Final scores", _scores(results, scores)),
        *_proving_ground(results, scores),
        Section("curves", "Learning curves", "\n".join([CURVES_INTRODUCTION, *map(_drawing, curves)])),
        Section("diagnostics", "Diagnostics", _diagnostics(diagnostics)),
        Section("runs", "What was run", provenance.runs_section(results)),
        Section("method", "How to read this report", METHOD),
    ]
    content = [_header(results)]
    content += [f'<section id="{own.anchor}">\n<h2>{own.heading}</h2>\n{own.content}\n</section>' for own in sections]
    content.append("<footer>Drawn by <code>python -m figures</code> from results files alone.</footer>")
    return page(f"{TITLE}: report", _navigation(sections), "\n".join(content))


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
        "tasks": len({run.cell.task for run in runs}),
        "algorithms": len({run.cell.algorithm for run in runs}),
        "seeds": len({run.cell.seed for run in runs}),
        "steps in all": provenance.count_text(sum(run.status.step for run in runs)),
        "computing time": provenance.short_duration(sum(run.status.wall_seconds for run in runs)),
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    compared = ", ".join(style.label for style in algorithm_styles(run.cell.algorithm for run in runs).values())
    lede = f"Cooperative multi-agent reinforcement learning at scale: {escape(compared)}."
    return f'<header><h1>{TITLE}</h1>\n<p class="lede">{lede}</p></header>\n<dl class="facts">{tiles}</dl>'


def _coverage(results: Results) -> str:
    names = set(COMPARED_ALGORITHMS) | {run.cell.algorithm for run in results.runs}
    styles = algorithm_styles(names)
    head = "".join(f'<th class="plain" scope="col">{escape(style.label)}</th>' for style in styles.values())
    rows = []
    for (task, variant), algorithms in group_runs(results).items():
        cells = "".join(f"<td>{_coverage_cell(algorithms.get(name, []))}</td>" for name in styles)
        rows.append(f"<tr><td>{escape(task)}</td><td>{escape(variant)}</td>{cells}</tr>")
    return (
        '<p>Runs by task and algorithm. A dash is a cell that nobody ran.</p>\n<div class="scroll"><table><thead><tr>'
        f'<th class="plain" scope="col">Task</th><th class="plain" scope="col">Variant</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _coverage_cell(runs: list[Run]) -> str:
    if not runs:
        return f'<span class="none">{DASH}</span>'
    words = {"finished": "finished", "running": "unfinished", "failed": "failed"}
    states = [run.status.state for run in runs]
    return "<br>".join(
        f'<span class="{word}">{states.count(state)} {word}</span>' for state, word in words.items() if state in states
    )


def _issues(results: Results) -> str:
    issues = find_issues(results)
    if not issues:
        return "<h3>Issues</h3>\n<p>None: every run finished, and every algorithm has every seed.</p>"
    rows = "".join(
        f'<tr><td><span class="badge {issue.kind}">{issue.kind}</span></td>'
        f"<td>{escape(issue.subject)}</td><td>{', '.join(map(str, issue.seeds)) or DASH}</td>"
        f"<td>{escape(issue.message)}</td></tr>"
        for issue in issues
    )
    head = "".join(f'<th class="plain" scope="col">{name}</th>' for name in ("Kind", "Where", "Seeds", "What"))
    return (
        f'<h3>Issues</h3>\n<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _scores(results: Results, scores: list[Score]) -> str:
    parts = []
    for policy in POLICIES:
        if any(policy in score.summaries for score in scores):
            parts += [f"<h3>Return, {policy} policy</h3>", _score_matrix(results, scores, policy)]
    parts.append(f'<p class="caption">{escape(SCORES_CAPTION)}</p>')
    for policy in POLICIES:
        rows = aggregate(scores, policy)
        if rows:
            parts += [f"<h3>Gap closed over tasks, {policy} policy</h3>", aggregate_table(rows)]
            parts.append(f'<p class="caption">{escape(AGGREGATE_CAPTION)}</p>')
    parts += ["<h3>Every score</h3>", html_table(*score_rows(scores))]
    hours = full_episode_table(results)
    if hours:
        parts += ["<h3>Longer episodes</h3>", hours]
    references = reference_scores(results)
    if references:
        parts += ["<h3>Reference policies</h3>", reference_table(references)]
    return "\n".join(parts)


def _proving_ground(results: Results, scores: list[Score]) -> list[Section]:
    """A chapter of its own for the games, where there are any."""
    content = proof_html(results, scores)
    return [] if content is None else [Section("proof", "Proving ground", content)]


def _score_matrix(results: Results, scores: list[Score], policy: str) -> str:
    """Tasks down, algorithms across, and the reference policies that bound the gap."""
    styles = algorithm_styles(score.algorithm for score in scores)
    known = {name for own in results.references.values() for name in own.returns}
    bounds = [name for name in ("random", *reversed(GAP_TOPS)) if name in known]
    header = ["Task", *(style.label for style in styles.values()), *bounds]
    references = {(row.task, row.policy): row.return_mean for row in reference_scores(results)}
    rows: list[list[Cell]] = []
    bold = set()
    for task, variant in group_runs(results):
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
        for name in bounds:
            value = references.get((task, name))
            row.append((number(value), float("-inf") if value is None else value))
        rows.append(row)
    return html_table(header, rows, bold)


def _drawing(drawing: Drawing) -> str:
    return f"<h3>{escape(drawing.heading)}</h3>\n" + figure_block(drawing.svg, drawing.heading, drawing.caption)


def _diagnostics(drawings: Sequence[Drawing]) -> str:
    if not drawings:
        return "<p>The runs logged no training metrics.</p>"
    blocks = [
        f"<details{' open' if index == 0 else ''}><summary>{escape(drawing.heading)}</summary>\n"
        f"{figure_block(drawing.svg, drawing.heading, drawing.caption)}\n</details>"
        for index, drawing in enumerate(drawings)
    ]
    return "\n".join(blocks)


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
