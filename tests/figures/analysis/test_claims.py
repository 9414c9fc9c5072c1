"""The paper's numbers and claims: quoted as printed, and judged by the rules that the table states."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from pathlib import Path

import pytest

import envs
from benchmark import suites
from figures.analysis import Analysis, interpretation
from figures.analysis.claims import CLAIMED, OPPOSITE, UNDECIDED, compare_means, compare_spreads, find
from figures.analysis.paper_values import FILE, KINDS, Entry, Finding, load_paper
from figures.analysis.settings import find_setting
from figures.analysis.statistics import Summary
from figures.paper import values
from results.errors import ResultsError
from results.keys import RunKey
from results.load import load_results
from results.paper import COMPARED_ALGORITHMS, COMPARED_TASKS, TABLE_1
from results.records import POLICIES, Evaluation, References, Results, Run, Status
from tests.beside import PAPER, needs_paper
from tests.figures.analysis.test_interpretation import AB, even_rows
from tests.figures.analysis.test_interpretation import made_run as counted_run

ROOT = Path(__file__).resolve().parents[3]
N30 = "mpe/cooperative_navigation_30"
ENTRIES = {entry.id: entry for entry in load_paper()}


def run(
    level: float,
    *,
    task: str = N30,
    algorithm: str = "ip",
    variant: str = "default",
    seed: int = 0,
    steps: int = 1_500_000,
    state: str = "finished",
    reward: str = "shared",
) -> Run:
    """A run that scores `level` at its end."""
    evaluations = tuple(Evaluation(steps, policy, (level,), {}) for policy in POLICIES)
    config = {"total_steps": steps, "config_hash": "0", "environment": {"reward": reward}}
    return Run(
        RunKey(task, algorithm, variant, seed), config, {}, Status(state, steps, "", "", 1.0), evaluations, (), ()
    )


def runs(levels: dict[str, float], spread: float = 1.0, seeds: int = 5, **settings: object) -> list[Run]:
    """Seeds of several algorithms, which lie evenly around a level each."""
    offsets = [spread * (seed - (seeds - 1) / 2) for seed in range(seeds)]
    return [
        run(level + offset, algorithm=name, seed=seed, **settings)  # type: ignore[arg-type]
        for name, level in levels.items()
        for seed, offset in enumerate(offsets)
    ]


def judged(entry: str | Entry, made: list[Run], task: str = N30, references: References | None = None) -> Finding:
    results = Results(tuple(made), {task: references} if references else {})
    return find(Analysis(results), ENTRIES[entry] if isinstance(entry, str) else entry, task)


@needs_paper
def test_quotations_are_on_their_lines() -> None:
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    assert [entry.id for entry in load_paper() if entry.quote not in lines[entry.line - 1]] == []


@pytest.mark.parametrize("entry", load_paper(), ids=lambda entry: entry.id)
def test_what_is_printed_is_quoted(entry: Entry) -> None:
    assert entry.quote
    assert entry.printed in entry.quote


@pytest.mark.parametrize("entry", load_paper(), ids=lambda entry: entry.id)
def test_numbers_are_what_is_printed(entry: Entry) -> None:
    """The number that is compared is the one in the quotation."""
    if entry.kind in ("score", "distance"):
        mean, *std = entry.printed.split(" ± ")
        assert (entry.mean, entry.std) == (float(mean), float(std[0]) if std else None)
    elif entry.value is not None:
        digits = re.fullmatch(r"(?:N=)?([\d.]+)(?:\u00d710\^(\d+)|\^(\d+)|\u00d7[\d]+)?", entry.printed)
        assert digits, entry.printed
        base, exponent, power = digits.groups()
        assert entry.value == pytest.approx(float(base) ** int(power or 1) * 10.0 ** int(exponent or 0))
    else:
        assert entry.printed in ("Adam", "ReLU") or (not entry.printed and entry.better)


def test_entries_refer_to_what_there_is() -> None:
    deviations = set(re.findall(r"^\| ([a-z0-9-]+) \|", (ROOT / "DEVIATIONS.md").read_text(), re.MULTILINE))
    variants = {request.key.variant for request in suites.ablations()}
    for entry in load_paper():
        assert set(entry.deviations) <= deviations, entry.id
        assert set(entry.tasks) <= set(COMPARED_TASKS), entry.id
        for side in (*entry.better, *entry.worse):
            name, _, ablation = side.partition(":")
            assert name in COMPARED_ALGORITHMS
            assert not ablation or ablation in variants, side
    assert {entry.kind for entry in load_paper()} == set(KINDS)
    assert set(ENTRIES["ip-best"].worse) | {"ip"} == set(COMPARED_ALGORITHMS)
    best = [task for name in ("ip-best", "ip-best-225", "ip-best-1225") for task in ENTRIES[name].tasks]
    assert sorted(best) == sorted(COMPARED_TASKS), "the claim about all tasks is judged on each of them, once"


def test_every_result_that_the_paper_prints_is_here() -> None:
    printed = {entry.printed for entry in load_paper() if entry.kind in ("score", "distance")}
    assert printed == {
        "-338 ± 20", "-1715 ± 819", "-569", "-4646", "-329229 ± 14730", "-425085 ± 31259", "0.0271", "0.0938", "0.0933"
    }  # fmt: skip


def test_what_is_said_of_this_project_is_so() -> None:
    """Settings that are in no run's config are read from the code."""
    specs = {task: envs.spec(task) for task in COMPARED_TASKS if not task.startswith("cityflow/")}
    steps = {task.name: task.total_steps for task in TABLE_1}
    jungle = envs.make("magent/jungle_20", 1, "cpu")
    from envs.jungle.rules import VIEW_SIDE

    facts = {
        "seeds": len(suites.PAPER_SEEDS),
        "neighbours-many": specs["mpe/cooperative_navigation_200"].max_neighbours,
        "neighbours-few": specs["mpe/cooperative_navigation_15"].max_neighbours,
        "neighbours-range-low": min(suites.NEIGHBOURS),
        "neighbours-range-high": max(suites.NEIGHBOURS),
        "steps-225": steps["cityflow/synthetic_225"],
        "steps-1225": steps["cityflow/synthetic_1225"],
        "steps-200": steps["mpe/cooperative_navigation_200"],
        "steps-push": steps["mpe/cooperative_push_100"],
        "observation-navigation": specs["mpe/cooperative_navigation_200"].observation_dim,
        "observation-prey": specs["mpe/prey_and_predator_100"].observation_dim,
        "observation-push": specs["mpe/cooperative_push_100"].observation_dim,
        "observation-heterogeneous": specs["mpe/heterogeneous_navigation_100"].observation_dim,
        "jungle-size": jungle.jungle.side,  # type: ignore[attr-defined]
        "jungle-view": VIEW_SIDE,
        "intervals": interpretation.KEPT_BINS,
        "interval-steps": 1_600_000 // interpretation.BINS,
        "interval-last": 1_600_000,
        "interval-first": 1_600_000 * (interpretation.BINS - interpretation.KEPT_BINS) // interpretation.BINS,
    }
    said = {entry.id: entry.here for entry in load_paper() if entry.here and entry.where != "Table 2"}
    assert said == {name: str(value) for name, value in facts.items()}
    verdicts = {name: find_setting(Analysis(Results(())), ENTRIES[name]).verdict for name in facts}
    assert [name for name, verdict in verdicts.items() if verdict != "agrees"] == [
        "observation-prey", "observation-heterogeneous", "interval-first"
    ]  # fmt: skip


def test_means_are_told_apart_by_welchs_interval() -> None:
    """Standard errors 3 / sqrt(2): with 2 and 2 degrees of freedom the interval is 4.303 * 3 = 12.9 to either side."""
    low = Summary(0.0, 3.0, 2)
    for difference, expected in ((13.0, CLAIMED), (12.8, UNDECIDED), (-12.8, UNDECIDED), (-13.0, OPPOSITE)):
        assert compare_means(Summary(difference, 3.0, 2), low) == expected
    assert compare_means(Summary(99.0, None, 1), low) == UNDECIDED
    assert compare_means(Summary(math.nan, 1.0, 3), low) == UNDECIDED


def test_spreads_are_told_apart_by_an_f_test() -> None:
    """The 97.5 % point of F with 4 and 4 degrees of freedom is 9.605: deviations 3.10 times as large."""
    one = Summary(0.0, 1.0, 5)
    for deviation, expected in ((3.15, CLAIMED), (3.05, UNDECIDED), (1 / 3.05, UNDECIDED), (1 / 3.15, OPPOSITE)):
        assert compare_spreads(one, Summary(0.0, deviation, 5)) == expected
    assert compare_spreads(one, Summary(0.0, None, 1)) == UNDECIDED
    assert compare_spreads(Summary(0.0, 20.0, 5), Summary(0.0, 819.0, 5)) == CLAIMED, "the paper's own at N = 225"


def test_rankings_agree_differ_or_are_not_shown() -> None:
    claim = "qmix-30"  # QMIX better than MADDPG, MADDPGS and IQL
    others = {"maddpg": 0.0, "maddpgs": 10.0, "iql": 20.0}
    assert judged(claim, runs({"qmix": 50.0, **others})).verdict == "agrees"
    assert judged(claim, runs({"qmix": 20.5, **others})).verdict == "not shown (1 of 3 undecided)"
    assert judged(claim, runs({"qmix": 15.0, **others})).verdict == "differs (1 of 3 opposite)"
    assert judged(claim, []) == Finding("not run", "not tested")
    ours = judged(claim, runs({"qmix": 50.0, **others})).ours
    assert ours.startswith("QMIX 50.00 ± 1.58, IQL 20.00 ± 1.58, MADDPGS 10.00 ± 1.58, MADDPG 0.000 ± 1.581")
    assert ours.endswith("(5 seeds, 1,500,000 steps, variant default)")


@pytest.mark.parametrize(
    "settings",
    [{"variant": "small"}, {"steps": 900_000}, {"state": "running"}],
    ids=["other settings", "short", "unfinished"],
)
def test_only_finished_runs_with_the_papers_settings_and_length_test_anything(settings: dict[str, object]) -> None:
    levels = {"qmix": 15.0, "maddpg": 0.0, "maddpgs": 10.0, "iql": 20.0}
    verdict = judged("qmix-30", runs(levels, **settings)).verdict
    assert verdict == "smaller runs: 2 of 3 as claimed, 1 opposite"
    number = judged("score-ip-200", runs({"ip": -329_229.0}, task="mpe/cooperative_navigation_200", **settings),
                    "mpe/cooperative_navigation_200")  # fmt: skip
    assert number.verdict == "smaller runs: not comparable"
    assert number.ours.startswith("run with other settings: \u2212329,229 ± 2 (5 seeds")


def test_missing_algorithms_keep_a_claim_untested() -> None:
    assert judged("qmix-30", runs({"qmix": 50.0, "iql": 0.0})).verdict == (
        "smaller runs: 1 of 3 as claimed, 2 not measured"
    )
    assert judged("qmix-30", runs({"qmix": 50.0})).verdict == "not tested"
    jungle = "magent/jungle_20"
    without_ip = runs({"qmix": 50.0, "dgn": 40.0}, task=jungle, reward="local")
    assert judged("ip-best", without_ip, task=jungle).verdict == "not tested", "though these two have unequal rewards"
    assert "no MADDPG, no MADDPGS" in judged("qmix-30", runs({"qmix": 50.0, "iql": 0.0})).ours


def test_printed_means_are_compared_with_their_deviation() -> None:
    """-329229 ± 14730 over five seeds: a difference of 10,000 is within the interval, one of 40,000 is not."""
    task = "mpe/cooperative_navigation_200"
    for shift, verdict in ((10_000, "agrees"), (-10_000, "agrees"), (40_000, "differs"), (-40_000, "differs")):
        made = runs({"ip": -329_229.0 + shift}, spread=5_000.0, task=task)
        assert judged("score-ip-200", made, task).verdict == verdict
    assert judged("score-ip-200", [run(-329_229.0, task=task)], task).verdict == "not tested", "one seed"
    longer = runs({"ip": -329_229.0}, task=task, steps=1_600_000)
    assert judged("score-ip-200", longer, task).verdict == "smaller runs: not comparable", "not the paper's length"


def test_travel_times_are_never_compared() -> None:
    task = "cityflow/synthetic_225"
    made = runs({"ip": -338.0}, task=task, steps=1_600_000)
    assert judged("score-ip-225", made, task) == Finding(
        "\u2212338.0 ± 1.6 (5 seeds, 1,600,000 steps, variant default)", "numbers not comparable"
    )
    assert "horizon" in ENTRIES["score-ip-225"].note
    assert all(ENTRIES[name].deviations == ("traffic-decision",) for name in ENTRIES if re.match(r"score-.*225$", name))


def test_spread_claims() -> None:
    task = "cityflow/synthetic_225"
    steady = runs({"ip": 0.0}, task=task, steps=1_600_000)
    wild = runs({"dgn": 0.0}, spread=40.0, task=task, steps=1_600_000)
    assert judged("stable-225", steady + wild, task).verdict == "agrees"
    flipped = [dataclasses.replace(run, key=run.key._replace(algorithm="x")) for run in steady]
    swapped = runs({"ip": 0.0}, spread=40.0, task=task, steps=1_600_000) + [
        dataclasses.replace(run, key=run.key._replace(algorithm="dgn")) for run in flipped
    ]
    assert judged("stable-225", swapped, task).verdict == "differs (1 of 1 opposite)"


def test_doing_well_is_a_normalised_score_of_a_half() -> None:
    """Random play scores -100 and the assignment 0: half of the normalised score is -50."""
    task = "mpe/cooperative_navigation_15"
    references = References(task, 0, 1, {"random": (-100.0,), "assignment": (0.0,)})
    names = ("iql", "maddpg", "maddpgs")
    for level, well in (
        (-20.0, "agrees"),
        (-80.0, "differs (3 of 3 opposite)"),
        (-50.0, "not shown (3 of 3 undecided)"),
    ):
        found = judged("well-15", runs(dict.fromkeys(names, level), task=task), task, references)
        assert found.verdict == well
    assert found.ours.startswith("IQL 50.0 ± 1.6 %")
    poor = {N30: References(N30, 0, 1, {"random": (-100.0,), "assignment": (0.0,)})}[N30]
    assert judged("badly-large", runs(dict.fromkeys(names, -80.0)), N30, poor).verdict == "agrees"
    assert judged("badly-large", runs(dict.fromkeys(names, -20.0)), N30, poor).verdict == "differs (3 of 3 opposite)"


def test_ablations_are_compared_with_their_own_base() -> None:
    task = "cityflow/synthetic_49"
    base = runs({"ip": -100.0, "pic": -120.0}, task=task, steps=1_600_000)
    full = runs({"ip": -150.0}, task=task, steps=1_600_000, variant="graph-full")
    assert judged("traffic-graph", base + full, task).verdict == "agrees"
    assert judged("traffic-graph", base, task) == Finding("not run", "not tested")
    small = runs({"ip": -150.0}, task=task, steps=16_000, variant="small")
    other = runs({"ip": -100.0}, task=task, steps=16_000, variant="small-graph-full")
    found = judged("traffic-graph", base + small + other, task)
    assert found.verdict == "smaller runs: 0 of 1 as claimed, 1 opposite"
    assert found.ours.startswith(
        "IP (graph-full) \u2212100.0 ± 1.6, IP \u2212150.0 ± 1.6 (5 seeds, 16,000 steps, variant small"
    )


def test_enough_is_not_contradicted_or_differs() -> None:
    base, three = runs({"ip": 0.0}), runs({"ip": 0.5}, variant="hops-3")
    assert judged("hops-enough", base + three + runs({"ip": 0.0}, variant="hops-4")).verdict == "not contradicted"
    better = runs({"ip": 20.0}, variant="hops-4")
    assert judged("hops-enough", base + three + better).verdict == "differs (1 of 2 opposite)"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("hops", "differs (2 of 2 opposite)"), ("rounds", "smaller runs: 0 of 2 as claimed, 2 opposite")],
)
def test_more_hops_are_compared_with_two_in_all_networks(name: str, verdict: str) -> None:
    """Rather than with the default, whose Q has one; also in the suites of a CPU, whose variants have other names."""
    default, small = runs({"ip": 20.0}), runs({"ip": 20.0}, variant="small")
    others = [run for hops in (3, 4) for run in runs({"ip": 10.0}, variant=f"{name}-{hops}")]
    two = runs({"ip": 0.0}, variant=f"{name}-2")
    assert judged("hops-enough", default + small + two + others).verdict == verdict


def test_interpretation_claims() -> None:
    """The smaller divergence is the better one, and distances are shown without being compared with the paper's."""
    task, total = "cityflow/synthetic_49", 1_600_000
    greens = {"ip": (299, 100), "pic": (200, 200), "dgn": (150, 250)}

    def study(variant: str, swap: bool = False) -> list[Run]:
        return [
            counted_run(
                even_rows(80, 20_000, {"a": (300, first + seed), "b": (100, second)}),
                total, task=task, algorithm={"ip": "pic", "pic": "ip"}.get(name, name) if swap else name,
                variant=variant, seed=seed,
            )
            for name, (first, second) in greens.items()
            for seed in range(3)
        ]  # fmt: skip

    assert judged("closer", study("default"), task).verdict == "agrees"
    assert judged("closer", study("default", swap=True), task).verdict == "differs (1 of 2 opposite)"
    assert judged("closer", study("small"), task).verdict == "smaller runs: 2 of 2 as claimed"
    assert judged("interpretation", study("default"), task).verdict == "smaller runs: 2 of 6 as claimed, 4 not measured"
    assert judged("distance-ip", study("default"), task).verdict == "numbers not comparable"
    assert judged("distance-ip", study("small"), task).verdict == "smaller runs: not comparable"
    alone = counted_run(even_rows(80, 20_000, AB), total, task=task, variant="default")
    assert judged("distance-pic", [alone], task) == Finding("not run", "not tested")


def test_nothing_of_the_published_runs_tests_the_paper() -> None:
    """They come from suites for a CPU: their verdicts say so, and those of what was not run say that."""
    table = values.table(Analysis(load_results(ROOT / "results" / "published")))
    about, verdict = table.header.index("About"), table.header.index("Verdict")
    entries = {entry.text: entry for entry in load_paper()}
    measured = [row[verdict][0] for row in table.rows if entries[row[about][0]].kind != "setting"]
    assert measured
    assert all(words == "not tested" or words.startswith("smaller runs: ") for words in measured)
    assert any("as claimed" in words for words in measured)
    assert len(table.markdown().splitlines()) == len(table.rows) + 4, "one line for each row, no bar or break in a cell"
    assert all(
        line.count("|") == len(table.header) + 1 for line in table.markdown().splitlines()[: len(table.rows) + 2]
    )


def test_every_entry_has_a_row_even_where_nothing_was_run() -> None:
    rows = values.table(Analysis(Results(()))).rows
    outside = [entry for entry in load_paper() if not entry.where.startswith("Table ")]
    assert [row[0][0] for row in rows] == [entry.text for entry in outside]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "expected a list of entries"),
        ('[{"id": "x"}]', "missing"),
        ('[{"colour": 1}]', "colour"),
        ("[3]", "expected a list of entries"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "values.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=words):
        load_paper(path)


def test_unknown_kinds_and_repeated_ids_are_refused(tmp_path: Path) -> None:
    value = dict.fromkeys(("id", "where", "quote", "printed", "text"), "x") | {"kind": "guess", "line": 1}
    path = tmp_path / "values.json"
    path.write_text(json.dumps([value, value]))
    with pytest.raises(ResultsError, match=r"unknown kinds \['guess'\], ids used twice \['x'\]"):
        load_paper(path)


def test_the_file_is_part_of_the_package() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert any(FILE.match(pattern) for pattern in packages["package-data"]["*"])
    assert FILE.parent.name == "analysis"
    assert "figures*" in packages["packages"]["find"]["include"]
