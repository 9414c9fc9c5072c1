"""Recorded episodes in the report: which are shown, whole and at rest for readers who want it so."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from figures.analysis import Analysis
from figures.report.episodes import MOST, chosen_episodes, episode_pictures, first_frame
from figures.report.page import build_report
from results.errors import ResultsError
from results.keys import RunKey
from results.records import Episode, Results
from results.runs import load_runs
from tests.figures.synthetic import both, rising, write_run

JUNGLE, NAVIGATION = "magent/jungle_20", "mpe/cooperative_navigation_3"


def record(path: Path, shade: int = 0) -> Episode:
    """A GIF of two frames, the first of one shade of grey, with its facts."""
    frames = [Image.new("RGB", (8, 8), (level, level, level)) for level in (shade, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)
    data = path.read_bytes()
    return Episode(path, hashlib.sha256(data).hexdigest(), len(data), -12.5, 20, 25, "greedy", 7, 2, 8)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Four algorithms on two tasks, later ones better, each with an episode; IP has one for each of two seeds."""
    episodes = {}
    for task in (NAVIGATION, JUNGLE):
        for place, algorithm in enumerate(("ip", "pic", "dgn", "iql")):
            for seed in range(2):
                write_run(tmp_path, both(rising(-9, place, 4000, 1000)), task=task, algorithm=algorithm, seed=seed)
                if algorithm == "ip" or seed == 1:
                    name = f"{task.replace('/', '-')}-{algorithm}-{seed}.gif"
                    episodes[RunKey(task, algorithm, "default", seed)] = record(tmp_path / name)
    runs = load_runs(tmp_path)
    return Results(runs.runs, runs.references, episodes=episodes)


def test_ip_and_the_best_other_of_each_task_are_shown_the_papers_first(results: Results) -> None:
    shown = [(cell.task, cell.algorithm, cell.seed) for cell in chosen_episodes(Analysis(results))]
    assert shown == [(JUNGLE, "ip", 0), (JUNGLE, "iql", 1), (NAVIGATION, "ip", 0), (NAVIGATION, "iql", 1)]


def test_no_more_than_the_page_should_hold(results: Results) -> None:
    (episode, *_) = results.episodes.values()
    cells = {
        RunKey(f"mpe/task_{number}", name, "default", 0): episode for number in range(20) for name in ("ip", "iql")
    }
    shown = chosen_episodes(Analysis(Results((), episodes=cells)))
    assert len(shown) == MOST
    assert {cell.algorithm for cell in shown} == {"ip"}  # one of each task comes before a second of any


def test_the_page_holds_whole_gifs_a_still_picture_and_the_facts(results: Results) -> None:
    pictures = episode_pictures(Analysis(results))
    expected = [results.episodes[cell].path.read_bytes() for cell in chosen_episodes(Analysis(results))]
    assert [base64.b64decode(picture.gif.removeprefix("data:image/gif;base64,")) for picture in pictures] == expected
    assert all(picture.still.startswith("data:image/png;base64,") for picture in pictures)
    assert pictures[0].title == "Jungle, N = 20, IP"
    assert pictures[0].facts == "the first 20 of 25 steps, greedy policy, seed 0; return \u221212.50"
    assert episode_pictures(Analysis(Results(results.runs))) == []


def test_the_report_has_them_at_rest_for_who_wants_it_so(results: Results) -> None:
    text = build_report(Analysis(results), [], [])
    chapter = text[text.index('<section id="episodes"') : text.index('<section id="curves"')]
    assert chapter.count('media="(prefers-reduced-motion: reduce)"') == chapter.count('loading="lazy"') == 4
    assert "6 more recorded episodes" in chapter


def test_the_still_picture_is_the_first_frame(tmp_path: Path) -> None:
    episode = record(tmp_path / "own.gif", shade=40)
    with Image.open(io.BytesIO(first_frame(episode.path.read_bytes()))) as image:
        assert np.unique(np.asarray(image.convert("RGB"))).tolist() == [40]


def test_a_gif_that_is_not_the_recorded_one_is_refused(results: Results) -> None:
    next(iter(results.episodes.values())).path.write_bytes(b"GIF89a")
    with pytest.raises(ResultsError, match="record it again"):
        episode_pictures(Analysis(results))
