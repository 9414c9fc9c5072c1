"""Recorded episodes of trained policies: a GIF with its facts, in a run folder or in a published set.

    seed_<k>/episode.gif, seed_<k>/episode.json           in a run folder
    episodes/<task>-<algorithm>-<variant>-<seed>.gif      in a published set, whose manifest has the facts

Facts are read with the results. GIFs are read on request, which is when their checksums are verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results.errors import ResultsError
from results.files import read_json
from results.keys import RunKey
from results.layout import FACTS, GIF
from results.records import POLICIES, Episode, Results

FOLDER = "episodes"
"""Folder of the GIFs in a published set."""
MOST_BYTES = 3_000_000
"""Largest total size in bytes of the GIFs in a published set."""
AGAIN = "record it again: python -m benchmark.record"


def read_gif(episode: Episode) -> bytes:
    """The GIF. Raises ResultsError where it is missing or differs from the recorded one."""
    try:
        data = episode.path.read_bytes()
    except OSError as error:
        raise ResultsError(f"cannot read {episode.path}: {error.strerror}; {AGAIN}, or fetch it again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != episode.sha256:
        raise ResultsError(
            f"{episode.path} is not the episode that was recorded: expected sha256 {episode.sha256[:12]}, found "
            f"{found[:12]}; {AGAIN}, or fetch it again"
        )
    return data


def load_episodes(folders: Mapping[RunKey, Path]) -> tuple[dict[RunKey, Episode], list[str]]:
    """The recorded episodes of run folders, and notes on those with a missing file. Raises ResultsError where the facts
    cannot be read."""
    found, notes = {}, []
    for key, folder in folders.items():
        gif, facts = folder / GIF, folder / FACTS
        if gif.exists() and facts.exists():
            found[key] = episode_from_json(read_json(facts), gif, str(facts))
        elif gif.exists() or facts.exists():
            missing = FACTS if gif.exists() else GIF
            notes.append(f"{key} has no {missing}: its episode is not shown; {AGAIN}")
    return found, notes


def episode_from_json(value: Mapping[str, Any], path: Path, where: str) -> Episode:
    """The episode in `path`; `where` names the file of its facts in errors."""
    try:
        policy = str(value["policy"])
        episode = Episode(
            path=path,
            sha256=str(value["sha256"]),
            bytes=int(value["bytes"]),
            episode_return=float(value["return"]),
            steps=int(value["steps"]),
            episode_steps=int(value["episode_steps"]),
            policy=policy,
            seed=int(value["seed"]),
            frames=int(value["frames"]),
            pixels=int(value["pixels"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"corrupt file {where}: {error!r} in the facts of {path.name}; {AGAIN}") from error
    if policy not in POLICIES:
        raise ResultsError(f"corrupt file {where}: policy is {policy!r}, expected one of {', '.join(POLICIES)}")
    return episode


def published_name(key: RunKey) -> str:
    """Path of a run's GIF in a published set, with underscores for the slashes of the task."""
    return f"{FOLDER}/{key.task.replace('/', '_')}-{key.algorithm}-{key.variant}-{key.seed}.gif"


def episodes_of_runs(results: Results) -> dict[RunKey, Episode]:
    """The recorded episodes of the runs in the results, in the order of the runs."""
    return {run.key: results.episodes[run.key] for run in results.runs if run.key in results.episodes}


def too_large(episodes: Iterable[Episode]) -> str:
    """Reason why episodes cannot be published together, and the remedy; empty where they can."""
    sizes = [episode.bytes for episode in episodes]
    if sum(sizes) <= MOST_BYTES:
        return ""
    return (
        f"{len(sizes)} episodes of {sum(sizes) / 1e6:.1f} MB are more than the {MOST_BYTES / 1e6:.1f} MB that a set "
        f"may have: delete some {GIF}, or record them smaller: python -m benchmark.record --size 160 --force"
    )


def episodes_to_json(episodes: Mapping[RunKey, Episode]) -> dict[str, Any]:
    """Manifest entries of GIFs: the key of the run and the facts of each."""
    return {published_name(key): {**key._asdict(), "episode": _facts(episode)} for key, episode in episodes.items()}


def _facts(episode: Episode) -> dict[str, Any]:
    facts = asdict(episode)
    del facts["path"]
    return {"return": facts.pop("episode_return"), **facts}


def episodes_from_manifest(value: Mapping[str, Any], directory: Path, where: str) -> dict[RunKey, Episode]:
    """The episodes of the set in `directory`. Raises ResultsError, also where a GIF is missing or has the wrong
    size."""
    found = {}
    for name, facts in value.items():
        key = RunKey.of(facts)
        if name != published_name(key):
            raise ResultsError(f"corrupt file {where}: the episode of {key} is in {name}; publish the runs again")
        found[key] = _checked(episode_from_json(facts["episode"], directory / name, where))
    return found


def gifs_named_in(manifest: Path) -> set[str]:
    """Names of the GIFs of a published set; empty where there is no set, or its manifest cannot be read."""
    if not manifest.exists():
        return set()
    try:
        return set(read_json(manifest).get("episodes", {}))
    except ResultsError:
        return set()


def remove_gifs(directory: Path, names: Iterable[str]) -> None:
    """Remove GIFs that no longer belong to the set in `directory`, and their folder when it becomes empty."""
    folder = directory / FOLDER
    for name in names:
        (folder / Path(name).name).unlink(missing_ok=True)
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()


def _checked(episode: Episode) -> Episode:
    try:
        size = episode.path.stat().st_size
    except OSError as error:
        raise ResultsError(f"cannot read {episode.path}: {error.strerror}; the published set is incomplete") from error
    if size != episode.bytes:
        raise ResultsError(
            f"{episode.path} has {size} bytes, expected {episode.bytes}: it was changed or copied in part; fetch it "
            "again, or publish the runs again"
        )
    return episode
