"""Recorded episodes in the report: a few of them, with captions; animations stop for readers who prefer reduced
motion."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from figures.analysis import Analysis
from figures.names import algorithm_label, task_title
from figures.tables import number
from results.episodes import read_gif
from results.keys import RunKey
from results.paper import COMPARED_TASKS
from results.records import Episode

OURS = "ip"
MOST = 16
"""Largest number of GIFs in a report."""
MOST_BYTES = 3_000_000
"""Largest total size of all GIFs in a report in bytes."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An animation ready for the page."""

    title: str
    facts: str
    gif: str
    """The GIF as a data URI."""
    still: str
    """The first frame as a data URI."""
    pixels: int


def episode_pictures(analysis: Analysis) -> list[Picture]:
    """Animations with captions; empty where no run has a recorded episode.

    Raises ResultsError where a GIF is missing or differs from the recorded one.
    """
    episodes = analysis.results.episodes
    return [_picture(cell, episodes[cell]) for cell in chosen_episodes(analysis)]


def chosen_episodes(analysis: Analysis) -> list[RunKey]:
    """For each task and variant the episode of IP and that of the best other algorithm, the paper's tasks first, as
    many as the page should hold."""
    episodes = analysis.results.episodes
    means = {cell: score.summary.mean for cell, score in analysis.scores_by_cell.items() if score.summary is not None}

    def rank(cell: RunKey) -> tuple[bool, float, int]:
        mean = means.get((cell.task, cell.variant, cell.algorithm), float("-inf"))
        return cell.algorithm != OURS, -mean, cell.seed

    groups: dict[tuple[str, str], list[RunKey]] = {}
    for cell in sorted(episodes, key=lambda place: (place.task not in COMPARED_TASKS, place.order())):
        groups.setdefault((cell.task, cell.variant), []).append(cell)
    ordered = [sorted(group, key=rank) for group in groups.values()]
    firsts = [group[0] for group in ordered]
    others = [[cell for cell in group if cell.algorithm != group[0].algorithm] for group in ordered]
    seconds = [group[0] for group in others if group]
    shown: list[RunKey] = []
    for cell in [*firsts, *seconds]:
        size = sum(episodes[member].bytes for member in [*shown, cell])
        if len(shown) < MOST and size <= MOST_BYTES:
            shown.append(cell)
    return sorted(shown, key=lambda place: (place.task not in COMPARED_TASKS, place.order()))


def _picture(cell: RunKey, episode: Episode) -> Picture:
    data = read_gif(episode)
    length = f"{episode.steps:,} steps"
    if not episode.whole:
        length = f"the first {episode.steps:,} of {episode.episode_steps:,} steps"
    title = f"{task_title(cell.task, cell.variant)}, {algorithm_label(cell.algorithm)}"
    facts = f"{length}, {episode.policy} policy, seed {cell.seed}; return {number(episode.episode_return)}"
    return Picture(title, facts, _data_uri("gif", data), _data_uri("png", first_frame(data)), episode.pixels)


def first_frame(gif: bytes) -> bytes:
    """The first frame of a GIF as PNG."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(gif)) as image:
        image.convert("RGB").quantize(64).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")
