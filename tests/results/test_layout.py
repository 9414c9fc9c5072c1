"""Keys and folders of runs, and what is left half written in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from results.errors import InUseError, ResultsError, UserError
from results.files import read_json, remove_partial, write_atomically
from results.folder import RunFolder, is_finished, status_of
from results.keys import RunKey
from results.layout import LOGS, run_folder, seed_folders

RECORD = {
    "task": "game/echo_8",
    "algorithm": "iql",
    "variant": "test",
    "seed": 3,
    "total_steps": 100,
    "environment": {},
    "training": {"batch_size": 8},
    "algorithm_settings": {},
}
KEY = RunKey("game/echo_8", "iql", "test", 3)


def test_a_key_is_its_folder_and_back(tmp_path: Path) -> None:
    assert RunKey.of(RECORD) == KEY == RunKey(*json.loads(json.dumps(KEY)))
    assert str(KEY) == "game/echo_8/iql/test/seed_3"
    assert KEY.label == "game/echo_8 iql test seed 3"
    assert KEY.kind == ("game/echo_8", "iql", "test")
    folder = run_folder(tmp_path, KEY)
    for other in (folder, tmp_path / "collected" / str(KEY), tmp_path / ".hidden" / str(KEY), folder / "seed_9"):
        other.mkdir(parents=True)
    assert list(seed_folders(tmp_path)) == [folder]


def test_a_folder_belongs_to_one_writer_and_its_settings(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, RECORD)
    with pytest.raises(InUseError):
        RunFolder(tmp_path, RECORD)
    folder.write_status("finished", 100, 1.5)
    folder.close()
    assert is_finished(folder.path, 100)
    assert not is_finished(folder.path, 200)
    assert list(folder.logs) == [name.removesuffix(".jsonl") for name in LOGS]
    RunFolder(tmp_path, RECORD | {"training": {"batch_size": 8, "checkpoint_seconds": 1.0}}).close()
    with pytest.raises(UserError, match=r"made with other settings .training.batch_size was 8, now 9.: use --variant"):
        RunFolder(tmp_path, RECORD | {"training": {"batch_size": 9}})
    assert status_of(run_folder(tmp_path, KEY._replace(seed=4)))["state"] == "absent"


def test_what_was_half_written_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    """Under the names of this version and of earlier ones; whole files stay."""
    folder = run_folder(tmp_path, KEY)
    folder.mkdir(parents=True)
    for name in (".checkpoint.pt.12345.partial", "checkpoint.pt.tmp", "output.log"):
        (folder / name).touch()
    RunFolder(tmp_path, RECORD).close()
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "lock", "output.log"]
    remove_partial(folder)
    assert (folder / "config.json").exists()


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomically(file, "old")
    with pytest.raises(ZeroDivisionError):
        write_atomically(file, lambda stream: stream.write(b"half") / 0)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{\n1", r"corrupt file .*file, line 2: not JSON .*; mend it"),
        (b"[]", r"corrupt file .*file: expected a JSON object, found a list; mend it"),
        (bytes(range(128, 256)), r"cannot read .*file: .*; mend it"),
        (None, r"cannot read .*file: .*; mend it"),
    ],
)
def test_json_that_cannot_be_read_is_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(ResultsError, match=message) as caught:
        read_json(tmp_path / "file", "mend it")
    assert "\n" not in str(caught.value)
