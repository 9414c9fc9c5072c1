"""A pack is small, flat and whole, however many runs there are, and holds nothing but finished ones."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

from benchmark.lease import pack
from benchmark.lease.pack import MANIFEST, Packer
from results.layout import RECORDS
from tests.figures.synthetic import rising, write_references, write_run

TEXTS = {"timings.json": '{"format": 1, "timings": []}', "report.txt": "said\n", "gpu_tests.txt": "none\n"}


def write_runs(results: Path, seeds: int) -> None:
    curve = rising(-470.0, -270.0, 4000, 50)
    for seed in range(seeds):
        folder = write_run(results, {"greedy": curve, "sampled": curve}, seed=seed)
        (folder / "policy.pt").write_bytes(bytes(range(256)) * 8)
        (folder / "checkpoint.pt").write_bytes(b"large")


def members(output: Path) -> dict[str, list[str]]:
    return {path.name: zipfile.ZipFile(path).namelist() for path in sorted(output.glob("*.zip"))}


def test_finished_runs_and_references_are_packed(tmp_path: Path) -> None:
    results, output = tmp_path / "runs", tmp_path / "pack"
    output.mkdir()
    write_runs(results, 2)
    write_references(results, random=[-480.0, -460.0])
    write_run(results, {}, seed=7, state="running")
    assert Packer(results, output).pack({"rehearsal": False}, TEXTS) == []
    record = json.loads((output / MANIFEST).read_text())
    assert [(run["seed"], run["archive"]) for run in record["runs"]] == [(0, "runs-1.zip"), (1, "runs-1.zip")]
    names = members(output)["runs-1.zip"]
    assert "mpe/cooperative_navigation_3/references.json" in names
    run = "mpe/cooperative_navigation_3/ip/default/seed_1"
    assert {f"{run}/config.json", f"{run}/evaluation.jsonl", f"{run}/policy.pt"} <= set(names)
    assert not any("checkpoint" in name or "seed_7" in name for name in names)


def test_a_pack_is_flat_and_has_at_most_eight_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs that fill several archives; those that do not fit are named."""
    results, output = tmp_path / "runs", tmp_path / "pack"
    output.mkdir()
    write_runs(results, 9)
    packer = Packer(results, output)
    one = sum(packer._size(file) for file in packer.finished()[0].iterdir() if file.name in RECORDS)
    monkeypatch.setattr(pack, "ROOM", 2 * one + one // 2)
    left_out = packer.pack({"rehearsal": False}, TEXTS)
    assert len(left_out) == 1
    assert left_out[0].startswith("mpe/cooperative_navigation_3/ip/default/seed_8: ")
    files = sorted(output.iterdir())
    assert len(files) == 8
    assert all(path.is_file() and re.fullmatch(r"[A-Za-z0-9._-]+", path.name) for path in files)
    assert all(path.stat().st_size <= pack.ROOM for path in output.glob("*.zip"))
    record = json.loads((output / MANIFEST).read_text())
    assert len(record["runs"]) == 8
    assert record["left_out"] == left_out
    whole = [name for names in members(output).values() for name in names if name.endswith("config.json")]
    assert len(whole) == 8


def test_a_later_pack_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    results, output = tmp_path / "runs", tmp_path / "pack"
    output.mkdir()
    results.mkdir()
    packer = Packer(results, output)
    packer.pack({"rehearsal": False}, TEXTS)
    assert json.loads((output / MANIFEST).read_text())["runs"] == []
    write_runs(results, 1)
    packer.pack({"rehearsal": False}, TEXTS)
    assert len(json.loads((output / MANIFEST).read_text())["runs"]) == 1
    assert not list(output.glob(".*"))


def test_texts_keep_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "TEXT_BYTES", 10)
    (tmp_path / "runs").mkdir()
    Packer(tmp_path / "runs", tmp_path).pack({}, TEXTS | {"gpu_tests.txt": "a" * 50 + "the end"})
    assert (tmp_path / "gpu_tests.txt").read_text() == "aaathe end"
    assert (tmp_path / "timings.json").read_text() == TEXTS["timings.json"]
