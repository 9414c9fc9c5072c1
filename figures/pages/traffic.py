"""Tables of envs/traffic/README.md: average travel times of the final policies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from figures.analysis import Analysis
from figures.analysis.interpretation import summaries_of
from figures.names import algorithm_label
from figures.pages.cells import PENALISED, ScoreName, last_of, markdown, over_seeds, runs_of
from figures.tables import DASH, number, plus_minus
from results.paper import COMPARED_ALGORITHMS
from results.records import POLICIES, Run

HEURISTICS = ("random", "fixed_time", "max_pressure", "sotl")
"""Reference policies."""
SPANS = (False, True)
"""Episodes of training, and the full hour."""
HEADS = ("greedy", "sampled", "hour, greedy", "sampled")
SMALL_CITIES = ("cityflow/synthetic_9", "cityflow/hangzhou_16")
FORTY_NINE = "cityflow/synthetic_49"


def travel_time(run: Run, policy: str, hour: bool) -> float:
    """Average travel time (s) of a policy at the end of training, on an episode of training or the full hour."""
    evaluations = run.full_evaluations if hour else run.evaluations
    return -float(np.mean(last_of(evaluations, policy).returns))


def _times(analysis: Analysis, name: ScoreName, hours: Sequence[bool] = SPANS, digits: int = 0) -> list[str]:
    """Travel times for every span and policy."""
    runs = runs_of(analysis, name)
    return [
        over_seeds([travel_time(run, policy, hour) for run in runs], digits) for hour in hours for policy in POLICIES
    ]


def _reference_times(analysis: Analysis, task: str, heuristic: str) -> list[str]:
    """Travel times of a reference policy for both spans, in the columns of greedy policies."""
    references = analysis.results.references.get(task)
    spans = (references.returns, references.full_returns) if references else ({}, {})
    short, hour = (
        number(-float(np.mean(returns[heuristic])), 0) if heuristic in returns else DASH for returns in spans
    )
    return [short, "", hour, ""]


def small_cities(analysis: Analysis) -> str:
    """The suite `signals`: rows by algorithm and reference policy, columns by city, span and policy."""
    kinds = [(name, "signals", "") for name in COMPARED_ALGORITHMS]
    kinds += [(name, "signals-penalty", ", larger logit penalty") for name in PENALISED]
    rows = [
        [
            algorithm_label(name) + words,
            *(cell for task in SMALL_CITIES for cell in _times(analysis, (task, variant, name))),
        ]
        for name, variant, words in kinds
    ]
    rows += [
        [f"`{name}`", *(cell for task in SMALL_CITIES for cell in _reference_times(analysis, task, name))]
        for name in HEURISTICS
    ]
    heads = [
        f"{task.partition('/')[2]}, {HEADS[0]}" if place == 0 else head
        for task in SMALL_CITIES
        for place, head in enumerate(HEADS)
    ]
    return markdown(("", *heads), rows, words=1)


def forty_nine(analysis: Analysis) -> str:
    """49 signals: travel times, and how far green shares are from the traffic."""
    account = analysis.account(FORTY_NINE)
    rows = []
    for name in COMPARED_ALGORITHMS:
        summary = summaries_of(account, name) if account is not None else None
        greens = [plus_minus(value, 3) for value in (summary.distance, summary.divergence)] if summary else [DASH] * 2
        rows.append([algorithm_label(name), *_times(analysis, (FORTY_NINE, "table1", name)), *greens])
    ours = summaries_of(account, "ip") if account is not None else None
    equal = [plus_minus(value, 3) for value in (ours.even_distance, ours.even_divergence)] if ours else [DASH] * 2
    rows.append(["equal green, in the traffic of IP", "", "", "", "", *equal])
    rows += [[f"`{name}`", *_reference_times(analysis, FORTY_NINE, name), "", ""] for name in HEURISTICS]
    return markdown(("", *HEADS, "distance", "KL, nats"), rows, words=1)


QUOTED = (
    ("MaxPressure, [LibSignal](https://arxiv.org/abs/2211.10649)", "365.06", "", "", ""),
    (
        "FRAP, PressLight, MPLight, CoLight, LibSignal (its published table, CityFlow)",
        "327.8, 330.6, 331.3, 337.1",
        "",
        "",
        "",
    ),
    ("[Advanced-XLight](https://arxiv.org/abs/2112.10107)", "323.3", "", "", ""),
    (
        "best published number known: MAPPO with a hypernetwork, 250 episodes, three seeds",
        "314.3 ± 0.5",
        "",
        "177.8 ± 1.2",
        "",
    ),
    ("`max_pressure`, this project", "365.06", "", "203.08", ""),
    ("`sotl`, this project", "344.48", "", "334.95", ""),
)
"""Published travel times, and those of reference policies, which tests/envs/traffic/test_reference_hours.py checks."""


def protocols(analysis: Analysis) -> str:
    """Travel times by LibSignal's protocol: published ones, and those of the suite `goals-cpu`."""
    rows: list[tuple[str, ...]] = list(QUOTED)
    for name in ("ip", "iql"):
        cells = []
        for city in ("hangzhou_16", "manhattan_48"):
            times = _times(analysis, (f"cityflow/{city}", "libsignal", name), (False,), digits=1)
            cells += ["no runs yet" if cell == DASH else cell for cell in times]
        rows.append((f"{algorithm_label(name)}, this project", *cells))
    return markdown(
        ("", "Hangzhou 4 x 4, `hangzhou_16`", "sampled", "Manhattan 16 x 3, `manhattan_48`", "sampled"), rows, words=1
    )
