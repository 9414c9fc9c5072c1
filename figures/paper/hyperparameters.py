"""The hyperparameters of the paper's Table 2, compared with those of the runs."""

from __future__ import annotations

from figures.analysis import Analysis
from figures.analysis.paper_values import Entry, load_paper
from figures.analysis.selection import PAPER_VARIANT
from figures.analysis.settings import find_setting, setting_runs
from figures.names import task_title
from figures.tables import DASH, Cell, Table

HEADER = ("Parameter", "The paper", "Here", "Same", "Deviation", "Remark")
SAME = {"agrees": "yes", "smaller runs: as printed": "yes", "not tested": DASH}


def table(analysis: Analysis) -> Table:
    """Table with one row for each parameter, named as in the paper."""
    entries = [entry for entry in load_paper() if entry.where == "Table 2"]
    rows = [_row(analysis, entry) for entry in entries]
    bold = {(index, 3) for index, row in enumerate(rows) if row[3][0] == "no"}
    return Table(HEADER, rows, _caption(analysis), bold, words=len(HEADER))


def _row(analysis: Analysis, entry: Entry) -> list[Cell]:
    finding = find_setting(analysis, entry)
    same = SAME.get(finding.verdict, "no")
    deviations = ", ".join(entry.deviations) or DASH
    texts = (entry.text, entry.printed, finding.ours, same, deviations, entry.note or DASH)
    return [(text, text) for text in texts]


def _caption(analysis: Analysis) -> str:
    runs = setting_runs(analysis)
    shown = list(dict.fromkeys(task_title(run.key.task, run.key.variant) for run in runs))
    usual = bool(runs) and all(run.key.variant == PAPER_VARIANT for run in runs)
    source = (
        "of variant default, the paper's settings" if usual else "of smaller runs, because variant default was not run"
    )
    where = f"Values are {source}: {', '.join(shown)}. " if runs else "No runs. "
    return (
        f"{where}Where algorithms or tasks differ, each value is named with them. Optimizer, nonlinearity and target "
        "update interval are fixed in the code. Deviation: rows of DEVIATIONS.md that say what differs, in which "
        "runs, and why."
    )
