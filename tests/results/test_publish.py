"""What is published can be read back unchanged, or is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures.analysis.scores import final_scores
from results.collect import collect
from results.compact import COMPACT_NOTE, WHOLE_EVALUATIONS, compacted
from results.episodes import MOST_BYTES, published_name, read_gif
from results.errors import NoSpaceError, ResultsError
from results.files import write_output
from results.keys import RunKey
from results.layout import GIF
from results.publish import main, publish, read_published
from results.records import Results, Run
from results.runs import load_runs
from tests.figures.synthetic import TASK, write_lines, write_run, write_study

FILES = ["evaluations.parquet", "interpretation.parquet", "metrics.parquet", "manifest.json"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Runs with all that a run may leave behind, two of them with an account of what agents did."""
    root = tmp_path / "raw"
    write_study(root)
    for seed, factor in ((0, 1), (1, 10)):
        folder = write_run(
            root,
            {"greedy": [(0, [1.0]), (4000, [2.0])]},
            algorithm="dgn",
            seed=seed,
            metrics=[{"step": 0, "loss/q": float("inf")}],  # the step of the first timing
        )
        rows = [{"step": step, "actions": {"all": factor * step}, "pressure": {"low": 0.5}} for step in (2000, 4000)]
        write_lines(folder / "interpretation.jsonl", rows)
    return root


def write_episode(folder: Path, gif: bytes, **facts: object) -> Path:
    """Made-up files of a recorded episode in a run folder."""
    (folder / "episode.gif").write_bytes(gif)
    usual = {"policy": "greedy", "seed": 7, "return": -12.5, "steps": 25, "episode_steps": 25, "frames": 26}
    usual |= {"pixels": 240, "bytes": len(gif), "sha256": hashlib.sha256(gif).hexdigest()}
    (folder / "episode.json").write_text(json.dumps(usual | facts))
    return folder


def without_machines(results: Results) -> list[Run]:
    return [replace(run, machine={}) for run in results.runs]


def test_round_trip_keeps_every_number(study: Path, tmp_path: Path) -> None:
    results = load_runs(study)
    paths = publish(results, tmp_path / "published")
    assert [path.name for path in paths] == FILES
    returned = read_published(tmp_path / "published")
    assert without_machines(returned) == without_machines(results)
    assert returned.references == results.references
    assert returned.notes == results.notes
    assert any("interpretation/actions/all" in row.values for run in returned.runs for row in run.metrics)


def test_interpretation_has_a_file_of_its_own(study: Path, tmp_path: Path) -> None:
    """Its names have no prefix there, and metrics.parquet has none of them."""
    publish(load_runs(study), tmp_path / "published")
    counted, metrics = (pd.read_parquet(tmp_path / "published" / f"{n}.parquet") for n in ("interpretation", "metrics"))
    assert list(counted.columns) == ["task", "algorithm", "variant", "seed", "step", "name", "value"]
    rows = counted[counted["seed"] == 1]
    assert list(zip(rows["step"], rows["name"], rows["value"], strict=True)) == [
        (2000, "actions/all", 20_000.0),
        (2000, "pressure/low", 0.5),
        (4000, "actions/all", 40_000.0),
        (4000, "pressure/low", 0.5),
    ]
    assert set(counted["algorithm"]) == {"dgn"}
    assert set(metrics["name"]) == {
        "loss/q",
        "policy/entropy",
        "update",
        "timing/wall_seconds",
        "timing/env_steps_per_second",
        "timing/seconds/act",
    }


def test_runs_that_log_nothing_are_published(tmp_path: Path) -> None:
    """All files are there, without rows, and the run comes back."""
    write_run(tmp_path / "raw", {}, state="failed", message="too early")
    publish(load_runs(tmp_path / "raw"), tmp_path / "published")
    assert [len(pd.read_parquet(tmp_path / "published" / name)) for name in FILES[:3]] == [0, 0, 0]
    assert without_machines(read_published(tmp_path / "published")) == without_machines(load_runs(tmp_path / "raw"))


def test_manifest_says_what_made_the_runs_but_not_on_whose_computer(study: Path, tmp_path: Path) -> None:
    machine = {"starts": [{"host": "secret", "note": "x"}]}
    folder = write_run(study, {}, algorithm="maddpg", state="running", machine=machine)
    assert main(["--results", str(study), "--output", str(tmp_path / "published")]) == 0
    text = (tmp_path / "published" / "manifest.json").read_text()
    run = next(run for run in json.loads(text)["runs"] if run["algorithm"] == "maddpg")
    assert run["config"] == json.loads((folder / "config.json").read_text())
    assert run["config_hash"] == run["config"]["config_hash"]
    assert (run["machine"]["commit"][:4], run["machine"]["cpu"]) == ("0123", "Example CPU")
    assert run["machine"]["starts"] == [{"note": "x"}]
    assert (run["status"]["state"], run["status"]["wall_seconds"]) == ("running", 120.0)
    assert "secret" not in text


def test_manifest_names_suite_time_and_checksums(study: Path, tmp_path: Path) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=1)
    assert main(["--results", str(study), "--output", str(tmp_path / "named"), "--suite", "quick"]) == 0
    publish(load_runs(study), tmp_path / "nameless")
    named, nameless = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("named", "nameless"))
    assert (named["format"], named["suite"], nameless["suite"]) == (2, "quick", "")
    assert begun <= datetime.fromisoformat(named["created"]) <= datetime.now(UTC)
    assert list(named["files"]) == FILES[:3]
    for name, facts in named["files"].items():
        data = (tmp_path / "named" / name).read_bytes()
        assert facts == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def test_compact_set_is_smaller_and_gives_the_same_scores(study: Path, tmp_path: Path) -> None:
    """Final scores are equal, curves equal to rounding, and the set says what it left out."""
    results = load_runs(study)
    assert main(["--results", str(study), "--output", str(tmp_path / "small"), "--compact"]) == 0
    small = read_published(tmp_path / "small")
    publish(results, tmp_path / "whole")
    sizes = [(tmp_path / name / "evaluations.parquet").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < sizes[1]
    assert COMPACT_NOTE in small.notes
    assert COMPACT_NOTE not in results.notes
    assert final_scores(small) == final_scores(compacted(results))
    for before, after in zip(final_scores(results), final_scores(small), strict=True):
        assert before.normalised_seeds == after.normalised_seeds
    for run, short in zip(results.runs, small.runs, strict=True):
        for policy in ("greedy", "sampled"):
            pairs = [
                (one, two)
                for one, two in zip(run.evaluations, short.evaluations, strict=True)
                if one.policy == two.policy == policy
            ]
            assert all(one == two for one, two in pairs[-WHOLE_EVALUATIONS:])
            for one, two in pairs[:-WHOLE_EVALUATIONS]:
                assert two.returns == pytest.approx([np.mean(one.returns)], rel=1e-6)
                assert (one.step, one.scores) == (two.step, two.scores)
    assert any(len(run.evaluations) > 2 * WHOLE_EVALUATIONS for run in results.runs)


def test_parquet_opens_in_pandas(study: Path, tmp_path: Path) -> None:
    publish(load_runs(study), tmp_path / "published")
    frame = pd.read_parquet(tmp_path / "published" / "evaluations.parquet")
    assert list(frame.columns[:6]) == ["task", "algorithm", "variant", "seed", "step", "policy"]
    assert frame["returns"].iloc[0].dtype == "float32"


def test_publishing_twice_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    """But for the time in the manifest."""
    first, second = (publish(load_runs(study), tmp_path / name) for name in ("first", "second"))
    assert [path.read_bytes() for path in first[:-1]] == [path.read_bytes() for path in second[:-1]]
    one, two = (json.loads(paths[-1].read_text()) for paths in (first, second))
    assert {**one, "created": ""} == {**two, "created": ""}


@pytest.mark.parametrize("name", FILES[:3])
def test_a_changed_file_is_refused(study: Path, tmp_path: Path, name: str) -> None:
    publish(load_runs(study), tmp_path / "published")
    path = tmp_path / "published" / name
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ResultsError, match=rf"{name} does not match manifest\.json: expected sha256"):
        read_published(tmp_path / "published")


@pytest.mark.parametrize("name", FILES[:3])
def test_a_missing_file_is_refused(study: Path, tmp_path: Path, name: str) -> None:
    publish(load_runs(study), tmp_path / "published")
    (tmp_path / "published" / name).unlink()
    with pytest.raises(ResultsError, match=rf"{name}: No such file.*incomplete"):
        read_published(tmp_path / "published")


def test_another_format_is_refused(study: Path, tmp_path: Path) -> None:
    *_, path = publish(load_runs(study), tmp_path / "published")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    with pytest.raises(ResultsError, match="format is 1, this version reads 2; publish it again"):
        read_published(tmp_path / "published")


def test_dirty_duplicates_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rate in (("monday", 0.1), ("tuesday", 0.2)):
        write_run(tmp_path / "raw" / name, {"greedy": [(0, [1.0])]}, learning_rate=rate)
    assert main(["--results", str(tmp_path / "raw"), "--output", str(tmp_path / "published")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "run twice with different configs" in error
    assert not (tmp_path / "published").exists()


def test_a_set_does_not_hide_run_folders_or_other_sets(study: Path, tmp_path: Path) -> None:
    results = load_runs(study)
    with pytest.raises(ResultsError, match=r"holds run folders \(.*seed_0, \.\.\.\), which a set in it would hide"):
        publish(results, study)
    publish(results, tmp_path / "sets" / "one")
    with pytest.raises(ResultsError, match=r"holds published sets \(one\), .* write to .*sets/two instead"):
        publish(results, tmp_path / "sets", "two")
    assert not (study / "manifest.json").exists()
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["one"]


IP_0, IP_1 = (RunKey(TASK, "ip", "default", seed) for seed in (0, 1))
GIF_0 = "episodes/mpe_cooperative_navigation_3-ip-default-0.gif"


def test_episodes_are_read_from_run_folders_without_opening_a_gif(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_runs(study).episodes == {}
    folder = write_episode(study / str(IP_1), b"GIF of one")
    opened: list[str] = []
    read_bytes = Path.read_bytes

    def read(self: Path) -> bytes:
        opened.append(self.name)
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    episodes = load_runs(study).episodes
    assert list(episodes) == [IP_1]
    assert "evaluation.jsonl" in opened
    assert GIF not in opened
    episode = episodes[IP_1]
    assert (episode.path, episode.episode_return, episode.steps, episode.policy, episode.seed) == (
        folder / GIF,
        -12.5,
        25,
        "greedy",
        7,
    )
    assert episode.whole
    assert not replace(episode, steps=7).whole
    assert read_gif(episode) == b"GIF of one"
    episode.path.write_bytes(b"GIF of two")
    with pytest.raises(ResultsError, match=r"episode\.gif is not the episode that was recorded: expected sha256"):
        read_gif(episode)


@pytest.mark.parametrize("name", ["episode.gif", "episode.json"])
def test_half_an_episode_is_noted(study: Path, name: str) -> None:
    (write_episode(study / str(IP_0), b"GIF") / name).unlink()
    results = load_runs(study)
    assert results.episodes == {}
    assert any(f"{IP_0} has no {name}: its episode is not shown; record it again" in note for note in results.notes)


@pytest.mark.parametrize("facts", [{"steps": None}, {"return": "much"}, {"policy": "lucky"}])
def test_facts_that_are_none_are_refused(study: Path, facts: dict[str, object]) -> None:
    write_episode(study / str(IP_0), b"GIF", **facts)
    with pytest.raises(ResultsError, match=r"corrupt file .*seed_0/episode\.json"):
        load_runs(study)


def test_episodes_are_published(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set has the same episodes as the run folders, with other paths; a compact one, too."""
    contents = {IP_0: b"GIF of zero", IP_1: b"GIF of number one"}
    for cell, data in contents.items():
        write_episode(study / str(cell), data)
    results, output = load_runs(study), tmp_path / "published"
    assert main(["--results", str(study), "--output", str(output), "--compact"]) == 0
    assert f"wrote {output / 'episodes'} (2 GIFs, 28 bytes)" in capsys.readouterr().out
    found = read_published(output).episodes
    assert found == results.episodes
    assert list(found) == [IP_0, IP_1]
    assert {cell: read_gif(episode) for cell, episode in found.items()} == contents
    assert found[IP_0].path == output / GIF_0 == output / published_name(IP_0)
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["format"] == 2
    assert list(manifest["files"]) == FILES[:3]
    entry = manifest["episodes"][GIF_0]
    assert entry["episode"]["sha256"] == hashlib.sha256(contents[IP_0]).hexdigest()
    assert (entry["algorithm"], entry["seed"], entry["episode"]["return"]) == ("ip", 0, -12.5)


def test_a_set_without_episodes_does_not_speak_of_them(study: Path, tmp_path: Path) -> None:
    """Sets of the time before there were any are read as ever."""
    write_episode(study / str(IP_0), b"GIF")
    assert main(["--results", str(study), "--output", str(tmp_path / "published"), "--without-episodes"]) == 0
    assert "episodes" not in json.loads((tmp_path / "published" / "manifest.json").read_text())
    assert read_published(tmp_path / "published").episodes == {}
    assert not (tmp_path / "published" / "episodes").exists()


def test_a_new_set_takes_the_old_ones_episodes_away(study: Path, tmp_path: Path) -> None:
    """But no file that was not of the set."""
    output = tmp_path / "published"
    for cell in (IP_0, IP_1):
        write_episode(study / str(cell), b"GIF")
    results = load_runs(study)
    publish(results, output)
    (output / "episodes" / "own.gif").write_text("not of the set")
    publish(replace(results, runs=tuple(run for run in results.runs if run.key != IP_1)), output)
    assert list(read_published(output).episodes) == [IP_0], "an episode goes with its run"
    assert sorted(path.name for path in (output / "episodes").iterdir()) == [Path(GIF_0).name, "own.gif"]
    (output / "episodes" / "own.gif").unlink()
    publish(replace(results, episodes={}), output)
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)


def test_a_damaged_episode_of_a_set_is_told(study: Path, tmp_path: Path) -> None:
    write_episode(study / str(IP_0), b"GIF")
    publish(load_runs(study), tmp_path / "published")
    gif = tmp_path / "published" / GIF_0
    gif.write_bytes(b"gif")
    with pytest.raises(ResultsError, match=r"default-0\.gif is not the episode that was recorded: expected sha256"):
        read_gif(read_published(tmp_path / "published").episodes[IP_0])
    gif.write_bytes(b"GI")
    with pytest.raises(ResultsError, match=r"default-0\.gif has 2 bytes, expected 3"):
        read_published(tmp_path / "published")
    gif.unlink()
    with pytest.raises(ResultsError, match=r"default-0\.gif: No such file.*incomplete"):
        read_published(tmp_path / "published")


def test_an_episode_under_another_name_is_refused(study: Path, tmp_path: Path) -> None:
    """A manifest cannot lead out of its folder."""
    write_episode(study / str(IP_0), b"GIF")
    *_, path = publish(load_runs(study), tmp_path / "published")
    path.write_text(path.read_text().replace(GIF_0, "../raw/elsewhere.gif"))
    with pytest.raises(ResultsError, match=r"episode of .*seed_0 is in \.\./raw/elsewhere\.gif"):
        read_published(tmp_path / "published")


def test_a_damaged_episode_is_not_published(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (write_episode(study / str(IP_0), b"GIF") / GIF).write_bytes(b"fig")
    assert main(["--results", str(study), "--output", str(tmp_path / "published")]) == 1
    assert "is not the episode that was recorded" in capsys.readouterr().err
    assert not (tmp_path / "published").exists()


def test_too_many_bytes_of_episodes(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set is rejected; the collected form of a suite omits them, with a note."""
    write_episode(study / str(IP_0), bytes(MOST_BYTES - 3))
    write_episode(study / str(IP_1), b"GIF")
    publish(load_runs(study), tmp_path / "published")
    write_episode(study / str(IP_1), b"GIF8")
    output = tmp_path / "refused"
    assert main(["--results", str(study), "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert "not published: 2 episodes of 3.0 MB are more than the 3.0 MB that a set may have" in error
    assert "--size 160 --force; or leave them out: --without-episodes" in error
    assert not output.exists()
    lines = collect(study, [IP_0, IP_1], output, "small")
    assert any(line.startswith("note: the set has no episodes: 2 episodes of 3.0 MB") for line in lines)
    assert read_published(output).episodes == {}
    lines = collect(study, [IP_1], output, "small")
    assert f"wrote {output / 'episodes'} (1 GIFs, 4 bytes)" in lines
    assert list(read_published(output).episodes) == [IP_1], "only episodes of the suite count"


FULL = OSError(28, "No space left on device")


def check_contents(folder: Path, results: Results) -> None:
    """The folder has that set, what else was in it before, and no litter."""
    assert without_machines(read_published(folder)) == without_machines(results)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "README.md"])


@pytest.mark.parametrize("name", FILES)
def test_a_set_that_could_not_be_written_leaves_the_old_one(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    output, old = tmp_path / "published", load_runs(study)
    publish(old, output)
    (output / "README.md").write_text("not of the set")
    write_bytes = Path.write_bytes

    def write(self: Path, data: bytes) -> int:
        if self.name == name:
            raise FULL
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(NoSpaceError, match=r"cannot write .*published: the disk is full"):
        publish(replace(old, runs=old.runs[:2]), output)
    check_contents(output, old)


@pytest.mark.parametrize("moved", [0, 1, 2, 3, 4])
def test_a_set_of_which_some_files_took_their_places_is_refused(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """None: the old set. All: the new one. The manifest, which makes a folder a set, comes last."""
    output, old = tmp_path / "published", load_runs(study)
    publish(old, output)
    (output / "README.md").write_text("not of the set")
    done: list[Path] = []
    move = Path.replace

    def move_some(self: Path, target: Path) -> Path:
        if len(done) == moved:
            raise FULL
        done.append(target)
        return move(self, target)

    monkeypatch.setattr(Path, "replace", move_some)
    new = replace(old, runs=old.runs[:2])
    if moved == 4:
        publish(new, output)
        check_contents(output, new)
        assert [path.name for path in done] == FILES
        return
    with pytest.raises(NoSpaceError, match="cannot write"):
        publish(new, output)
    if moved == 0:
        check_contents(output, old)
    else:
        with pytest.raises(ResultsError, match=r"does not match manifest\.json"):
            read_published(output)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_output(path, "old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(NoSpaceError, match=r"file\.txt: the disk is full"):
        write_output(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
