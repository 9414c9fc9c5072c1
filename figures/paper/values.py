"""The paper's printed results and claims, compared with measurements."""

from __future__ import annotations

from collections.abc import Sequence

from figures.analysis import Analysis
from figures.analysis.claims import PAPER_SEEDS, WELL, find
from figures.analysis.paper_values import MISSING, Entry, Finding, load_paper
from figures.analysis.policies import POLICY_WORDS
from figures.names import task_title
from figures.tables import DASH, Cell, Table


def table(analysis: Analysis) -> Table:
    """Every printed result and claim, with a row for each task that was run and one row for all others; then the
    settings outside Tables 1 and 2."""
    rows = []
    for entry in load_paper():
        if not entry.where.startswith("Table "):
            findings = {task: find(analysis, entry, task) for task in entry.tasks or ("",)}
            absent = [task for task, finding in findings.items() if finding == MISSING]
            rows += [_row(entry, [task], finding) for task, finding in findings.items() if finding != MISSING]
            rows += [_row(entry, absent, MISSING)] if absent else []
    return Table(("About", "Task", "The paper", "Here", "Verdict", "Remark"), rows, CAPTION, words=6)


def _row(entry: Entry, tasks: Sequence[str], finding: Finding) -> list[Cell]:
    words = entry.quote.replace("$", "").replace("*", "")  # markup of formulas and italics
    quote = f"\u201c{words}\u201d ({entry.where})"
    paper = f"{entry.printed}: {quote}" if entry.printed else quote
    remarks = [entry.note, f"DEVIATIONS.md: {', '.join(entry.deviations)}" if entry.deviations else ""]
    remark = "; ".join(text for text in remarks if text) or DASH
    title = "; ".join(task_title(task) for task in tasks if task) or DASH
    return [(text, text) for text in (entry.text, title, paper, finding.ours, finding.verdict, remark)]


CAPTION = (
    "Every result and claim that the paper prints, in its own words, compared with the final scores of this project. "
    f"{POLICY_WORDS} Scores: mean \u00b1 sample standard deviation over seeds. Only finished runs of variant default "
    "with the paper's length test a result. A ranking agrees if Welch's 95 % interval excludes a tie in the claimed "
    "direction for every pair, differs if it does so in the other direction for one, and is not shown otherwise. A "
    f"printed mean and deviation, taken as those of {PAPER_SEEDS} seeds, agree if that interval includes a tie. "
    f"Variances over seeds are compared by a two-sided F test at 5 %. Doing well means more than {WELL:g} % of the "
    "normalised score (0 % is random play, 100 % the reference policy), a threshold of this project, and is shown by "
    "the 95 % interval of the mean. A claim that a setting suffices is not contradicted where no other is shown to be "
    "better. Smaller runs have other settings than the paper's, named by their variant: they do not test the paper, "
    "and their numbers are not comparable with its numbers. The settings of Tables 1 and 2 are in separate tables."
)
