"""Packs of leases are added to a published set whole, or refused by name while the set stays as it was."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmark.lease import pack as written
from benchmark.lease.pack import Packer
from benchmark.profiling import gpu_timings
from results import packs
from results.errors import ResultsError
from results.packs import MANIFEST, add_timings, read_pack, read_timings, with_packs
from results.publish import main, read_published
from tests.figures.synthetic import TASK, rising, write_references, write_run

CURVE = rising(-470.0, -270.0, 4000, 500)
GPU = {"gpu": "NVIDIA H100 80GB HBM3", "torch": "2.11.0", "commit": "abc"}
EXAMPLE: dict[str, Any] = {
    "format": 1,
    "timings": [
        GPU
        | {
            "what": "training",
            "task": "mpe/cooperative_navigation_15",
            "algorithm": "iql",
            "mode": "graph",
            "agents": 15,
        }
        | {"copies": 100, "round_ms": 1.0, "gradient_step_ms": 0.25, "block_ms": 3.0, "first_block_ms": 900.0}
        | {"evaluation_ms": 60.0, "peak_gib": 0.5, "replay_gib": 0.1, "losses": {"loss/q": 0.5}, "seconds": 1.0},
        GPU | {"what": "environment", "task": "magent/jungle_20", "agents": 20, "copies": 100, "step_ms": 0.75},
        GPU
        | {"what": "together", "task": "mpe/cooperative_navigation_15", "algorithm": "iql", "mode": "graph"}
        | {"runs": 5, "times_one": 2.0},
    ],
}
"""A small example of `results/gpu_timings.json`; nothing in it was measured."""


def write_pack(
    folder: Path, seeds: tuple[int, ...], rehearsal: bool = False, score: float = 0.0, **settings: Any
) -> Path:
    """A pack with runs of IP."""
    runs = folder.with_name(f"{folder.name}-runs")
    for seed in seeds:
        curve = [(step, [value + score for value in returns]) for step, returns in CURVE]
        machine = {"gpu": "NVIDIA H100 80GB HBM3", "cores": 16}
        write_run(runs, {"greedy": curve, "sampled": curve}, seed=seed, machine=machine, **settings)
    runs.mkdir(exist_ok=True)
    if seeds:
        write_references(runs, random=[-480.0, -460.0])
    folder.mkdir()
    texts = {"timings.json": json.dumps(EXAMPLE), "report.txt": "said\n", "gpu_tests.txt": "none\n"}
    Packer(runs, folder).pack({"rehearsal": rehearsal}, texts)
    return folder


def publish(output: Path, *folders: Path) -> int:
    timings = output.with_name("gpu_timings.json")
    packs_of = ["--packs", *map(str, folders), "--output", str(output), "--suite", "all"]
    return main([*packs_of, "--timings", str(timings)])


def seeds_of(output: Path) -> list[int]:
    return [run.key.seed for run in read_published(output).runs]


def contents(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.iterdir()}


def test_packs_of_several_leases_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "paper"
    assert publish(output, write_pack(tmp_path / "one", (0, 1))) == 0
    assert publish(output, write_pack(tmp_path / "two", (2,)), write_pack(tmp_path / "three", (4,))) == 0
    assert seeds_of(output) == [0, 1, 2, 4]
    assert f"{tmp_path / 'two'}: 1 of 1 runs added" in capsys.readouterr().out
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["suite"] == "all"
    hardware = {"gpu": "NVIDIA H100 80GB HBM3", "cpu": "Example CPU", "cores": 16, "runs": 4}
    assert manifest["hardware"] == [hardware]
    assert read_published(output).references[TASK].returns == {"random": (-480.0, -460.0)}


def test_of_a_run_made_twice_the_first_published_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "paper"
    publish(output, write_pack(tmp_path / "one", (0,)))
    before = read_published(output).runs
    assert publish(output, write_pack(tmp_path / "two", (0, 1), score=50.0)) == 0
    after = read_published(output).runs
    assert after[0] == before[0]
    assert after[1].evaluations[0].returns[0] == before[0].evaluations[0].returns[0] + 50
    said = capsys.readouterr().out
    assert f"{TASK}/ip/default/seed_0 is in {output} already: that of {tmp_path / 'two'} is left out" in said


def test_other_settings_of_the_same_run_are_an_error_that_names_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "paper"
    publish(output, write_pack(tmp_path / "one", (0,)))
    before = contents(output)
    assert publish(output, write_pack(tmp_path / "two", (0, 1), gamma=0.5)) == 1
    error = capsys.readouterr().err
    assert f"{TASK}/ip/default/seed_0 is in {output} and in {tmp_path / 'two'} with other settings (config " in error
    assert contents(output) == before


def cut(folder: Path) -> str:
    archive = folder / "runs-1.zip"
    archive.write_bytes(archive.read_bytes()[:-100])
    return f"{archive} is cut off"


def change(folder: Path) -> str:
    archive = folder / "runs-1.zip"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    return f"{archive} does not match {MANIFEST}"


def remove(folder: Path) -> str:
    (folder / "runs-1.zip").unlink()
    return f"cannot read {folder / 'runs-1.zip'}"


def lose_the_manifest(folder: Path) -> str:
    (folder / MANIFEST).unlink()
    return f"{folder} is not a pack of a lease: it has no {MANIFEST}"


def tear_the_manifest(folder: Path) -> str:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text[: len(text) // 2])
    return f"corrupt file {folder / MANIFEST}"


def claim_more(folder: Path) -> str:
    record = json.loads((folder / MANIFEST).read_text())
    record["runs"].append(record["runs"][0] | {"seed": 9})
    (folder / MANIFEST).write_text(json.dumps(record))
    return f"{folder}: {MANIFEST} and the archives do not agree on {TASK}/ip/default/seed_9"


@pytest.mark.parametrize("damage", [cut, change, remove, lose_the_manifest, tear_the_manifest, claim_more])
def test_a_damaged_pack_is_refused_by_name_and_nothing_is_lost(
    damage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "paper"
    publish(output, write_pack(tmp_path / "one", (0,)))
    before = contents(output)
    good, bad = write_pack(tmp_path / "two", (1,)), write_pack(tmp_path / "three", (2,))
    message = damage(bad)
    assert publish(output, good, bad) == 1
    assert message in capsys.readouterr().err
    assert contents(output) == before
    assert publish(output, good) == 0
    assert seeds_of(output) == [0, 1]


def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "one", (0,))
    with zipfile.ZipFile(folder / "runs-1.zip", "a") as archive:
        archive.writestr("../outside", "x")
    record = json.loads((folder / MANIFEST).read_text())
    data = (folder / "runs-1.zip").read_bytes()
    facts = {"sha256": packs.hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    record["files"]["runs-1.zip"] = facts
    (folder / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(ResultsError, match=r"holds \.\./outside, outside its folder"):
        read_pack(folder)


def test_rehearsals_are_not_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pack(tmp_path / "one", (0,), rehearsal=True)
    assert publish(tmp_path / "paper", folder) == 1
    assert f"{folder} is from a rehearsal" in capsys.readouterr().err
    assert not (tmp_path / "paper").exists()


def test_a_pack_without_runs_brings_its_timings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, empty = tmp_path / "paper", write_pack(tmp_path / "one", ())
    assert publish(output, empty) == 1
    assert "nothing to publish" in capsys.readouterr().err
    assert publish(output, empty, write_pack(tmp_path / "two", (3,))) == 0
    assert seeds_of(output) == [3]
    assert len(read_timings(tmp_path / "gpu_timings.json")) == 3


def test_other_returns_of_reference_policies_are_left_out(tmp_path: Path) -> None:
    first, second = write_pack(tmp_path / "one", (0,)), write_pack(tmp_path / "two", (1,))
    runs = tmp_path / "two-runs"
    (runs / TASK / "references.json").unlink()
    write_references(runs, random=[-1.0, -2.0])
    texts = {"timings.json": json.dumps(EXAMPLE)}
    Packer(runs, second).pack({"rehearsal": False}, texts)
    results, lines = with_packs(None, tmp_path, [read_pack(first), read_pack(second)])
    assert results.references[TASK].returns == {"random": (-480.0, -460.0)}
    assert any("reference policies" in line and str(second) in line for line in lines)


def test_timings_replace_older_ones_of_the_same_card(tmp_path: Path) -> None:
    """Those without a GPU are left out; the file is read by the benchmark, too."""
    file = tmp_path / "gpu_timings.json"
    file.write_text(json.dumps(EXAMPLE))
    base = EXAMPLE["timings"][1]
    newer, other = base | {"step_ms": 0.5}, base | {"gpu": "NVIDIA H200"}
    few, none = base | {"copies": 4}, base | {"gpu": None}
    brought = packs.Pack(tmp_path, None, (newer, other, few, none), False)
    assert add_timings(file, [brought]) == 5
    found = gpu_timings.read_timings(file)
    assert found == [EXAMPLE["timings"][0], newer, EXAMPLE["timings"][2], other, few]
    assert found == read_timings(file)


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gpu_timings.json"
    file.write_text('{"format": 99, "timings": []}')
    with pytest.raises(ResultsError, match="expected format 1"):
        read_timings(file)


def test_both_sides_agree_on_names() -> None:
    """Writer and reader may not import each other."""
    assert (written.FORMAT, written.MANIFEST) == (packs.FORMAT, packs.MANIFEST)
    assert (gpu_timings.FORMAT, gpu_timings.KEY) == (packs.TIMINGS_FORMAT, packs.TIMING_KEY)
