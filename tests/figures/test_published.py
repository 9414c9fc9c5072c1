"""The published results: documents agree with them, and learners do what was promised."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from figures.analysis import Analysis
from figures.analysis.interpretation import summaries_of
from figures.analysis.scores import Score
from figures.documents import PICTURE, documents, is_current, parts, picture
from figures.tables import plus_minus
from results.load import load_results
from results.paper import COMPARED_ALGORITHMS
from results.records import POLICIES, Results, Run

ROOT = Path(__file__).resolve().parents[2]
PIC_PROGRAM = {
    3: {
        "random": -407,
        "assignment": -147,
        "returns": {
            5_000: -377.3,
            10_000: -336.0,
            15_000: -286.7,
            20_000: -280.2,
            25_000: -268.6,
            30_000: -271.7,
            35_000: -261.0,
            40_000: -267.7,
            45_000: -266.9,
            50_000: -265.4,
            55_000: -267.1,
            60_000: -262.8,
        },
    },
    6: {
        "random": -4532,
        "assignment": -1838,
        "returns": {
            5_000: -5475.8,
            10_000: -4899.2,
            15_000: -4452.9,
            20_000: -4352.1,
            25_000: -4470.5,
            30_000: -4206.0,
            35_000: -4178.0,
        },
    },
}
"""Evaluations of one run of the published program of PIC, mean of 20 episodes each, and its own reference policies."""


@cache
def published() -> Results:
    return load_results(ROOT / "results" / "published")


@cache
def analysed() -> Analysis:
    return Analysis(published())


def runs_of(task: str, algorithm: str, variant: str) -> list[Run]:
    return [
        run
        for run in published().runs
        if (run.key.task, run.key.algorithm, run.key.variant) == (task, algorithm, variant)
    ]


def normalised_scores(run: Run, policy: str) -> dict[int, float]:
    """Normalised score between random play (0) and the assignment (1), by step."""
    means = {name: float(np.mean(returns)) for name, returns in published().references[run.key.task].returns.items()}
    scale = means["assignment"] - means["random"]
    return {
        evaluation.step: (float(np.mean(evaluation.returns)) - means["random"]) / scale
        for evaluation in run.evaluations
        if evaluation.policy == policy
    }


def test_generated_parts_of_the_documents_are_those_of_the_published_runs() -> None:
    """`python -m figures.documents` regenerates them."""
    made = documents(analysed())
    assert [path.name for path, text in made.items() if path.read_text() != text] == []
    assert {path.relative_to(ROOT).as_posix() for path in made} == {part.file for part in parts()}


def test_figure_of_the_readme_is_that_of_the_published_runs() -> None:
    """Its numbers, which it holds as text, and its looks."""
    assert is_current(ROOT / PICTURE, picture(analysed()))
    assert sum(file.stat().st_size for file in (ROOT / PICTURE).parent.iterdir()) < 200_000


@pytest.mark.parametrize("agents", [3, 6])
@pytest.mark.parametrize("algorithm", COMPARED_ALGORITHMS)
def test_every_algorithm_learns_small_navigation(agents: int, algorithm: str) -> None:
    """Three seeds of the quick suite, each clearly above random play at the end, in the better of its two policies."""
    runs = runs_of(f"mpe/cooperative_navigation_{agents}", algorithm, "quick")
    assert len(runs) == 3
    for run in runs:
        final = max(np.mean(list(normalised_scores(run, policy).values())[-3:]) for policy in ("greedy", "sampled"))
        assert final > {3: 0.25, 6: 0.05}[agents]


@pytest.mark.parametrize("agents", [3, 6])
def test_pic_learns_as_fast_as_the_published_implementation(agents: int) -> None:
    """Normalised scores at equal environment steps, each on the scale of its implementation: ours, mean of three seeds,
    is at least as good overall and at the end; a single point may be worse by the noise of the program's 20
    episodes."""
    program = PIC_PROGRAM[agents]
    scale = program["assignment"] - program["random"]  # type: ignore[operator]
    ours = [
        normalised_scores(run, "sampled") for run in runs_of(f"mpe/cooperative_navigation_{agents}", "pic", "program")
    ]
    assert len(ours) == 3
    lead = [
        np.mean([run[step] for run in ours]) - (value - program["random"]) / scale
        for step, value in program["returns"].items()  # type: ignore[attr-defined]
    ]
    assert np.mean(lead) > -0.02
    assert np.mean(lead[-3:]) > 0
    assert min(lead) > -0.12


def generated(name: str) -> list[str]:
    """The lines of a table in algorithms/README.md, between its comments."""
    text = (ROOT / "algorithms" / "README.md").read_text()
    return text.split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0].strip().splitlines()


def score_of(task: str, variant: str, algorithm: str) -> Score | None:
    return analysed().scores_by_cell.get((task, variant, algorithm))


SMALL_TASKS = {
    ("mpe/cooperative_navigation_3", "quick"): "3 agents, shared reward, 30,000 steps",
    ("mpe/cooperative_navigation_6", "quick"): "6 agents, shared reward, 30,000 steps",
    ("mpe/cooperative_navigation_15", "difference"): "15 agents, difference reward, 15,000 steps",
}


def test_table_of_small_navigation_in_the_documents_is_that_of_the_published_runs() -> None:
    names = [algorithm.upper() for algorithm in COMPARED_ALGORITHMS]
    lines = [f"| cooperative navigation | | {' | '.join(names)} |", f"|---|---|{'---:|' * len(names)}"]
    for (task, variant), title in SMALL_TASKS.items():
        for policy in POLICIES:
            scores = [score_of(task, variant, algorithm) for algorithm in COMPARED_ALGORITHMS]
            cells = [plus_minus(score.normalised_scores[policy], 0) if score else "\u2013" for score in scores]
            first = f"| {title} |" if policy == POLICIES[0] else "| |"
            lines.append(f"{first} {policy} | {' | '.join(cells)} |")
    assert generated("small navigation") == lines


def test_table_of_pics_program_in_the_documents_is_that_of_the_published_runs() -> None:
    """The last evaluation; of ours, the least and the largest seed."""
    lines = ["| agents | steps | PIC here, three seeds | published program, one run |", "|---:|---:|---:|---:|"]
    for agents, program in PIC_PROGRAM.items():
        returns: dict[int, float] = program["returns"]  # type: ignore[assignment]
        scale = program["assignment"] - program["random"]  # type: ignore[operator]
        last = max(returns)
        theirs = 100 * (returns[last] - program["random"]) / scale  # type: ignore[operator]
        ours = [
            100 * normalised_scores(run, "sampled")[last]
            for run in runs_of(f"mpe/cooperative_navigation_{agents}", "pic", "program")
        ]
        lines.append(f"| {agents} | {last:,} | {min(ours):.0f} to {max(ours):.0f} % | {theirs:.0f} % |")
    assert generated("pic program") == lines


PROPAGATION = ((6, ("shared", "local", "difference")), (15, ("shared", "difference")))


def test_table_of_propagation_in_the_documents_is_that_of_the_published_runs() -> None:
    """Two rounds, a policy of the same size without messages, no rounds."""
    lines = ["| agents | reward | | M = 2 | deaf | M = 0 |", "|---:|---|---|---:|---:|---:|"]
    for agents, rewards in PROPAGATION:
        for reward in rewards:
            task = f"mpe/cooperative_navigation_{agents}"
            scores = [score_of(task, f"{reward}-{arm}", "ip") for arm in ("M2", "deaf", "M0")]
            for policy in ("sampled", "greedy"):
                cells = [plus_minus(score.normalised_scores[policy], 0) for score in scores if score]
                first = f"| {agents} | {reward} |" if policy == "sampled" else "| | |"
                lines.append(f"{first} {policy} | {' | '.join(cells)} |")
    assert generated("rounds of messages") == lines


ROUNDS = ("q-1", "q-2")
ROUNDS_TABLE = ("| | one round of Q | two rounds |", "|---|---:|---:|")


def test_table_of_the_critics_rounds_in_the_documents_is_that_of_the_published_runs() -> None:
    """Means and standard deviations over three seeds, of each seed's last three evaluations."""
    lines = list(ROUNDS_TABLE)
    for policy in ("sampled", "greedy"):
        finals = [
            [
                100 * np.mean(list(normalised_scores(run, policy).values())[-3:])
                for run in runs_of(FIFTEEN, "ip", variant)
            ]
            for variant in ROUNDS
        ]
        lines.append(table_row(f"navigation, 15 agents, normalised score in %, {policy}", finals))
    for policy in ("sampled", "greedy"):
        finals = [[final_return(run, policy) for run in runs_of("magent/jungle_20", "ip", name)] for name in ROUNDS]
        lines.append(table_row(f"Jungle, 20 agents, team return, {policy}", finals))
    for policy in ("sampled", "greedy"):
        finals = [
            [final_return(run, policy) for run in runs_of("cityflow/synthetic_49", "ip", name)] for name in ROUNDS
        ]
        lines.append(table_row(f"49 signals, {policy}", finals))
    assert generated("rounds of critics") == lines


TEMPERATURES = [(scale, ["0.02", "0.2", "tuned"]) for scale in ("raw", "standardised")]
TEMPERATURES += [("advantage", ["0.02", "0.2", "0.5", "tuned"])]
SCALE_NAMES = {
    "raw": "unscaled rewards",
    "standardised": "standardised rewards",
    "advantage": "standardised rewards, alpha in units of advantages",
}


def test_table_of_temperatures_in_the_documents_is_that_of_the_published_runs() -> None:
    """Means and standard deviations over three seeds, of each seed's last three evaluations."""
    lines = [
        "| rewards | alpha | navigation, 15 agents, normalised score in %, sampled | greedy "
        "| Jungle, 20 agents, team return, sampled | greedy |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for scale, weights in TEMPERATURES:
        for weight in weights:
            cells = []
            for task in ("mpe/cooperative_navigation_15", "magent/jungle_20"):
                runs = runs_of(task, "ip", f"{scale}-{weight}")
                assert len(runs) == 3
                for policy in ("sampled", "greedy"):
                    if task.startswith("mpe/"):
                        finals = [100 * np.mean(list(normalised_scores(r, policy).values())[-3:]) for r in runs]
                    else:
                        finals = [final_return(run, policy) for run in runs]
                    cells.append(f"{round(np.mean(finals))} ± {round(np.std(finals, ddof=1))}")
            lines.append(f"| {SCALE_NAMES[scale]} | {weight} | {' | '.join(cells)} |")
    assert generated("temperatures") == lines


LOCKSTEP_TASKS = {
    "mpe/cooperative_navigation_6": "navigation, 6 agents, normalised score in %",
    "magent/jungle_20": "Jungle, 20 agents, team return",
}


def test_table_of_copies_in_lockstep_is_that_of_the_published_runs() -> None:
    """Means and standard deviations over three seeds, of each seed's last three evaluations."""
    lines = ["| | 4 copies | 100 copies |", "|---|---:|---:|"]
    for task, name in LOCKSTEP_TASKS.items():
        for algorithm in ("iql", "ip"):
            for policy in ("sampled", "greedy"):
                runs = [runs_of(task, algorithm, kind) for kind in ("copies-4", "copies-100")]
                if task.startswith("mpe/"):
                    finals = [
                        [100 * np.mean(list(normalised_scores(r, policy).values())[-3:]) for r in seeds]
                        for seeds in runs
                    ]
                else:
                    finals = [[final_return(run, policy) for run in seeds] for seeds in runs]
                lines.append(table_row(f"{algorithm.upper()}, {name}, {policy}", finals))
    assert generated("copies in lockstep") == lines


VALUE_TASKS = {"Jungle, 20 agents, team return": "magent/jungle_20", "9 signals": "cityflow/synthetic_9"}
VALUES_TABLE = ("| | team value | per-agent values | random play |", "|---|---:|---:|---:|")


def test_table_of_what_critics_are_fitted_to_is_that_of_the_published_runs() -> None:
    """MADDPG: means and standard deviations over three seeds, of each seed's last three evaluations."""
    lines = list(VALUES_TABLE)
    for name, task in VALUE_TASKS.items():
        for policy in ("sampled", "greedy"):
            kinds = ("value-team", "value-own")
            finals = [[final_return(run, policy) for run in runs_of(task, "maddpg", kind)] for kind in kinds]
            random = np.mean(published().references[task].returns["random"])
            lines.append(f"{table_row(f'{name}, {policy}', finals)} {round(random)} |")
    assert generated("critics of maddpg") == lines


FIFTEEN = "mpe/cooperative_navigation_15"


def table_row(name: str, finals: list[list[float]]) -> str:
    assert [len(values) for values in finals] == [3, 3]
    cells = [f"{round(np.mean(values))} ± {round(np.std(values, ddof=1))}" for values in finals]
    return f"| {name} | {' | '.join(cells)} |"


def final_return(run: Run, policy: str) -> float:
    return float(
        np.mean([np.mean(evaluation.returns) for evaluation in run.evaluations if evaluation.policy == policy][-3:])
    )


SIGNAL_TASKS = ("cityflow/synthetic_9", "cityflow/hangzhou_16")
SIGNAL_RUNS = [(name, "signals") for name in COMPARED_ALGORITHMS]
SIGNAL_RUNS += [(name, "signals-penalty") for name in ("maddpg", "maddpgs", "pic")]


def travel_times(task: str, algorithm: str, variant: str, policy: str, hour: bool) -> list[float]:
    """Average travel time (s) at the end of training, one for each seed."""
    runs = runs_of(task, algorithm, variant)
    last = [
        [evaluation for evaluation in (r.full_evaluations if hour else r.evaluations) if evaluation.policy == policy][
            -1
        ]
        for r in runs
    ]
    return [-float(np.mean(evaluation.returns)) for evaluation in last]


def signals_table() -> str:
    """Rows: algorithms and reference policies; columns: task, 1000 s and the whole hour, greedy and sampled."""
    columns = [(task, hour, policy) for task in SIGNAL_TASKS for hour in (False, True) for policy in POLICIES]
    lines = []
    for algorithm, variant in SIGNAL_RUNS:
        name = algorithm.upper() + ("" if variant == "signals" else ", larger logit penalty")
        cells = [travel_times(task, algorithm, variant, policy, hour) for task, hour, policy in columns]
        lines.append([name, *(f"{np.mean(cell):.0f} ± {np.std(cell, ddof=1):.0f}" for cell in cells)])
    for reference in ("random", "fixed_time", "max_pressure", "sotl"):
        cells = []
        for task, hour, policy in columns:
            played = published().references[task]
            returns = (played.full_returns if hour else played.returns)[reference]
            cells.append(f"{-np.mean(returns):.0f}" if policy == "greedy" else "")
        lines.append([f"`{reference}`", *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def test_table_of_signals_in_the_documents_is_that_of_the_published_runs() -> None:
    text = (ROOT / "envs" / "traffic" / "README.md").read_text()
    table = text.split("<!-- signals table -->\n")[1].split("<!-- end of signals table -->")[0]
    rows = [line for line in table.strip().splitlines() if line.startswith("|")]
    assert "\n".join(rows[2:]) == signals_table()


FORTY_NINE = "cityflow/synthetic_49"
FORTY_NINE_RUNS = [(name, "small") for name in COMPARED_ALGORITHMS]
FORTY_NINE_RUNS += [(name, "small-penalty") for name in ("maddpg", "maddpgs", "pic")]


def goals_table() -> str:
    """Rows: algorithms; columns: average travel time (s) of the final policy on each map, greedy and sampled."""
    lines = []
    for algorithm in ("ip", "iql"):
        cells = []
        for task in ("cityflow/hangzhou_16", "cityflow/manhattan_48"):
            for policy in POLICIES:
                if runs_of(task, algorithm, "libsignal"):
                    times = travel_times(task, algorithm, "libsignal", policy, hour=False)
                    assert len(times) == 3
                    cells.append(f"{np.mean(times):.1f} ± {np.std(times, ddof=1):.1f}")
                else:
                    cells.append("no runs yet")
        lines.append(f"| {algorithm.upper()}, this project | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_table_of_protocols_in_the_documents_is_that_of_the_published_runs() -> None:
    text = (ROOT / "envs" / "traffic" / "README.md").read_text()
    assert goals_table() in text.split("### Protocols\n")[1]


def forty_nine_table() -> str:
    """Rows: algorithms and reference policies; columns: 1000 s and the whole hour, greedy and sampled; how far greens
    are from traffic, for the settings that Figure 7 shows."""
    columns = [(hour, policy) for hour in (False, True) for policy in POLICIES]
    account = analysed().account(FORTY_NINE)
    assert account is not None
    lines = []
    for algorithm, variant in FORTY_NINE_RUNS:
        name = algorithm.upper() + ("" if variant == "small" else ", larger logit penalty")
        cells = [travel_times(FORTY_NINE, algorithm, variant, policy, hour) for hour, policy in columns]
        line = [name, *(f"{np.mean(cell):.0f} ± {np.std(cell, ddof=1):.0f}" for cell in cells)]
        summary = summaries_of(account, algorithm) if variant == "small" else None
        line += [plus_minus(summary.distance, 3), plus_minus(summary.divergence, 3)] if summary else ["", ""]
        lines.append(line)
    references = published().references[FORTY_NINE]
    for reference in ("random", "fixed_time", "max_pressure", "sotl"):
        short, long = (
            f"{-np.mean(returns[reference]):.0f}" for returns in (references.returns, references.full_returns)
        )
        lines.append([f"`{reference}`", short, "", long, "", "", ""])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def test_table_of_49_signals_in_the_documents_is_that_of_the_published_runs() -> None:
    text = (ROOT / "envs" / "traffic" / "README.md").read_text()
    table = text.split("<!-- 49 signals -->\n")[1].split("<!-- end of 49 signals -->")[0]
    rows = [line for line in table.strip().splitlines() if line.startswith("|")]
    assert "\n".join(rows[2:]) == forty_nine_table()


@pytest.mark.parametrize("task", SIGNAL_TASKS)
@pytest.mark.parametrize("algorithm", ["ip", "iql", "dgn"])
def test_signals_are_learned(task: str, algorithm: str) -> None:
    """Every seed ends far above a fixed cycle, and the mean is about as good as max pressure or better."""
    references = {name: -float(np.mean(returns)) for name, returns in published().references[task].returns.items()}
    for policy in POLICIES:
        times = travel_times(task, algorithm, "signals", policy, hour=False)
        assert len(times) == 3
        assert max(times) < (references["fixed_time"] + references["max_pressure"]) / 2
        assert np.mean(times) < 1.03 * references["max_pressure"]


@pytest.mark.parametrize("task", SIGNAL_TASKS)
def test_runs_of_signals_keep_account_of_movements(task: str) -> None:
    """Every decision of training is there: agents times environment steps."""
    agents = int(task.rpartition("_")[2])
    for algorithm, variant in SIGNAL_RUNS:
        for run in runs_of(task, algorithm, variant):
            rows = [row.values for row in run.metrics if "interpretation/actions/all" in row.values]
            assert sum(row["interpretation/actions/all"] for row in rows) == agents * run.total_steps


JUNGLE = "magent/jungle_20"
JUNGLE_RUNS = [(name, "individual") for name in COMPARED_ALGORITHMS]
JUNGLE_RUNS += [(name, "penalty") for name in ("maddpg", "maddpgs", "pic")]
JUNGLE_RUNS += [(name, "team") for name in ("ip", "dgn", "iql")]
JUNGLE_NAMES = {"individual": "", "penalty": ", larger logit penalty", "team": ", mean reward"}


def blows(run: Run, policy: str) -> list[float]:
    """Attacks on agents in an episode, of all agents together, at every evaluation."""
    return [
        20 * evaluation.scores["attacks_per_agent"] for evaluation in run.evaluations if evaluation.policy == policy
    ]


def jungle_table() -> str:
    """Rows: algorithms and reference policies; columns: final return, greedy and sampled, as the figures have it;
    return per agent; maximum and final attacks of the greedy policy."""
    scores = {(score.algorithm, score.variant): score for score in analysed().scores if score.task == JUNGLE}
    lines = []
    for algorithm, variant in JUNGLE_RUNS:
        summaries = scores[algorithm, variant].summaries
        runs = runs_of(JUNGLE, algorithm, variant)
        worst, last = (
            np.mean([pick(blows(run, "greedy")) for run in runs]) for pick in (max, lambda values: values[-1])
        )
        returns = [
            f"{round(summary.mean)} ± {summary.std:.0f}" for summary in (summaries["greedy"], summaries["sampled"])
        ]
        per_agent = f"{summaries['greedy'].mean / 20:.1f}"
        lines.append([algorithm.upper() + JUNGLE_NAMES[variant], *returns, per_agent, f"{worst:.0f}", f"{last:.0f}"])
    for reference in ("random", "greedy_in_sight", "greedy", "aggressor"):
        mean = float(np.mean(published().references[JUNGLE].returns[reference]))
        lines.append([f"`{reference}`", f"{mean:.0f}", "", f"{mean / 20:.1f}", "", ""])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def test_table_of_jungle_in_the_documents_is_that_of_the_published_runs() -> None:
    text = (ROOT / "envs" / "jungle" / "README.md").read_text()
    table = text.split("<!-- jungle table -->\n")[1].split("<!-- end of jungle table -->")[0]
    rows = [line for line in table.strip().splitlines() if line.startswith("|")]
    assert "\n".join(rows[2:]) == jungle_table()


@pytest.mark.parametrize("algorithm", ["ip", "dgn", "iql", "qmix"])
def test_jungle_is_learned(algorithm: str) -> None:
    """Every seed ends above 250: agents that have learned to eat, and not to hit each other."""
    runs = runs_of(JUNGLE, algorithm, "individual")
    assert len(runs) == 3
    for run in runs:
        final = [float(np.mean(evaluation.returns)) for evaluation in run.evaluations if evaluation.policy == "greedy"][
            -3:
        ]
        assert min(final) > 250
        assert max(blows(run, "greedy")[-3:]) < 20


def test_dilemma_shows() -> None:
    """Independent learners that are paid for themselves first learn to hit one another, and then not to."""
    for algorithm in ("iql", "dgn"):
        for run in runs_of(JUNGLE, algorithm, "individual"):
            attacks = blows(run, "greedy")
            assert attacks[0] < 30
            assert max(attacks) > 150
            assert attacks[-1] < 20
