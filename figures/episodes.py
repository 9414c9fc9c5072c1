"""Recorded episodes in the report: a few of them, each with what it shows; they rest for readers who want it so."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

from figures.scores import Score
from figures.style import algorithm_label, task_title
from figures.tables import number
from results.episodes import read_gif
from results.keys import RunKey
from results.paper import COMPARED_TASKS
from results.records import Episode, Results

OURS = "ip"
MOST = 12
MOST_BYTES = 3_000_000
"""Of all GIFs in a report together."""


def episodes_section(results: Results, scores: list[Score]) -> str | None:
    """Moving pictures with captions, as HTML; None where no run has a recorded episode.

    Raises ResultsError where a GIF is missing or is not the one that was recorded.
    """
    if not results.episodes:
        return None
    shown = chosen_episodes(results, scores)
    figures = "\n".join(_figure(key, results.episodes[key]) for key in shown)
    others = len(results.episodes) - len(shown)
    more = f" {others} more recorded episodes are beside their runs." if others else ""
    return f'<p>{INTRODUCTION}{more}</p>\n<div class="episodes">\n{figures}\n</div>'


def chosen_episodes(results: Results, scores: list[Score]) -> list[RunKey]:
    """Of each task and variant the episode of IP, and that of the best other algorithm; the paper's tasks first, as
    many as the page should hold."""
    means = {
        (score.task, score.variant, score.algorithm): max(own.mean for own in score.summaries.values())
        for score in scores
        if score.summaries
    }

    def rank(key: RunKey) -> tuple[bool, float, int]:
        mean = means.get((key.task, key.variant, key.algorithm), float("-inf"))
        return key.algorithm != OURS, -mean, key.seed

    groups: dict[tuple[str, str], list[RunKey]] = {}
    for key in sorted(results.episodes, key=lambda own: (own.task not in COMPARED_TASKS, own.order())):
        groups.setdefault((key.task, key.variant), []).append(key)
    ordered = [sorted(own, key=rank) for own in groups.values()]
    firsts = [own[0] for own in ordered]
    others = [[key for key in own if key.algorithm != own[0].algorithm] for own in ordered]
    seconds = [own[0] for own in others if own]
    shown: list[RunKey] = []
    for key in [*firsts, *seconds]:
        size = sum(results.episodes[own].bytes for own in [*shown, key])
        if len(shown) < MOST and size <= MOST_BYTES:
            shown.append(key)
    return sorted(shown, key=lambda own: (own.task not in COMPARED_TASKS, own.order()))


def _figure(key: RunKey, episode: Episode) -> str:
    data = read_gif(episode)
    length = f"{episode.steps:,} steps"
    if not episode.whole:
        length = f"the first {episode.steps:,} of {episode.episode_steps:,} steps"
    title = f"{task_title(key.task, key.variant)}, {algorithm_label(key.algorithm)}"
    caption = (
        f"<strong>{escape(title)}</strong><br>{length}, {episode.policy} policy, seed {key.seed}; "
        f"return {number(episode.episode_return)}"
    )
    side = episode.pixels
    return (
        f'<figure><button type="button" class="play" hidden>Play</button><picture>'
        f'<source media="(prefers-reduced-motion: reduce)" srcset="{_data_uri("png", first_frame(data))}">'
        f'<img src="{_data_uri("gif", data)}" width="{side}" height="{side}" loading="lazy" '
        f'alt="Recorded episode: {escape(title)}"></picture><figcaption>{caption}</figcaption></figure>'
    )


def first_frame(gif: bytes) -> bytes:
    """The first frame of a GIF as PNG."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(gif)) as image:
        image.convert("RGB").quantize(64).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")


INTRODUCTION = (
    "Trained policies at work, on the first episode of the evaluation: of each task that of IP, and that of the best "
    "other algorithm that was recorded."
)
