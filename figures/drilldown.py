"""Every task and variant as a block to unfold: its runs, its issues, what happened inside them, their settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from figures.cost import speed_of, total_text
from figures.provenance import commit_text, duration, machine_facts, numbered_machines, settings_table
from figures.scores import final_of
from figures.small_multiples import CAPTION, small_multiples
from figures.style import AlgorithmStyle, algorithm_label, algorithm_styles, task_title
from figures.tables import DASH, Cell, html_table, number
from results.checks import Issue, find_issues, group_runs
from results.records import POLICIES, Results, Run

STATES = {"finished": "finished", "running": "unfinished", "failed": "failed"}
"""State of a run to the word for readers, which is also its class in the style sheet."""
HEADER = ("Algorithm", "Seed", "State", "Greedy", "Sampled", "Steps", "Time", "Steps/s", "Machine", "Commit", "Config")


def drilldown_section(results: Results) -> str:
    """All blocks, closed, as HTML, with a field that filters them."""
    styles = algorithm_styles(run.key.algorithm for run in results.runs)
    machines = numbered_machines(results)
    issues = find_issues(results)
    parts = [INTRODUCTION, CONTROLS]
    for (task, variant), algorithms in group_runs(results).items():
        parts.append(_block(task, variant, algorithms, styles, machines, issues))
    return "\n".join(parts)


def block_anchor(task: str, variant: str) -> str:
    """Name of a block, for links: only characters that need no escape anywhere."""
    return re.sub(r"[^\w.,=+-]", "-", f"runs-{task}-{variant}")


def own_issues(issues: Sequence[Issue], task: str, variant: str, algorithms: Sequence[str]) -> list[Issue]:
    """The issues of one task and variant among all: those of its runs, of itself, and of the task as a whole."""
    subjects = {task, f"{task} ({variant})", *(f"{task}/{name}/{variant}" for name in algorithms)}
    return [issue for issue in issues if issue.subject in subjects]


def issues_table(issues: Sequence[Issue]) -> str:
    """Kind, place, seeds and words of each issue, as HTML."""
    rows = "".join(
        f'<tr><td><span class="badge {issue.kind}">{issue.kind}</span></td>'
        f"<td>{escape(issue.subject)}</td><td>{', '.join(map(str, issue.seeds)) or DASH}</td>"
        f"<td>{escape(issue.message)}</td></tr>"
        for issue in issues
    )
    head = "".join(f'<th class="plain" scope="col">{name}</th>' for name in ("Kind", "Where", "Seeds", "What"))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _block(
    task: str,
    variant: str,
    algorithms: Mapping[str, Sequence[Run]],
    styles: Mapping[str, AlgorithmStyle],
    machines: Mapping[tuple[str, ...], int],
    issues: Sequence[Issue],
) -> str:
    runs = [run for own in algorithms.values() for run in own]
    rows = [_row(run, machines[machine_facts(run)]) for run in runs]
    parts = [
        f'<details class="block" id="{block_anchor(task, variant)}"><summary>{escape(task_title(task, variant))}'
        f"<small>{_summary(algorithms, runs)}</small></summary>",
        f"<p><code>{escape(task)}</code>, variant <code>{escape(variant)}</code>; {total_text(runs)}.</p>",
        html_table(list(HEADER), rows),
    ]
    found = own_issues(issues, task, variant, list(algorithms))
    if found:
        parts += ["<h4>Issues</h4>", issues_table(found)]
    charts = small_multiples(runs, styles)
    if charts is not None:
        parts += ["<h4>Inside the runs</h4>", charts, f'<p class="caption">{escape(CAPTION)}</p>']
    parts.append(
        f"<details><summary>Settings</summary>\n{settings_table(algorithms)}\n{SETTINGS_CAPTION}\n</details>\n</details>"
    )
    return "\n".join(parts)


def _summary(algorithms: Mapping[str, Sequence[Run]], runs: Sequence[Run]) -> str:
    names = ", ".join(escape(algorithm_label(name)) for name in algorithms)
    states = [run.status.state for run in runs]
    counted = ", ".join(
        f'<span class="{word}">{states.count(state)} {word}</span>' for state, word in STATES.items() if state in states
    )
    return f"{names} \u00b7 {counted}"


def _row(run: Run, machine: int) -> list[Cell]:
    status, speed = run.status, speed_of(run)
    commit, state = commit_text(run.machine), STATES[status.state]
    label = algorithm_label(run.key.algorithm)
    finals = [final_of(run, policy) for policy in POLICIES]
    of = "" if status.step == run.total_steps else f" of {run.total_steps:,}"
    return [
        (label, label),
        (str(run.key.seed), run.key.seed),
        (state, state),
        *((number(value), float("-inf") if value is None else value) for value in finals),
        (f"{status.step:,}{of}", status.step),
        (duration(status.wall_seconds), status.wall_seconds),
        (DASH if speed is None else f"{speed:,.0f}", float("-inf") if speed is None else speed),
        (str(machine), machine),
        (commit, commit),
        (run.config_hash[:12], run.config_hash),
    ]


INTRODUCTION = """<p>One block for each task and variant. Greedy and sampled: the mean return over the last evaluations
of that run, finished or not. Steps/s: environment steps a second from start to end, evaluations included. Machines are
listed under <a href="#cost">cost</a>.</p>"""
CONTROLS = """<p class="controls" hidden><input type="search" id="filter" placeholder="Filter: jungle, signals, PIC …"
aria-label="Filter the blocks" autocomplete="off"> <button type="button" data-open="true">Unfold all</button>
<button type="button" data-open="false">Fold all</button> <output for="filter"></output></p>"""
SETTINGS_CAPTION = (
    '<p class="caption">A value alone in its row holds for all algorithms; a dash: it has no such setting.</p>'
)
