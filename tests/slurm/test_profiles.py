"""Cluster profiles: options of a file or command line reach sbatch, and mistakes give one clear line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmark.errors import UserError
from slurm.launcher import submit
from slurm.profiles import KEYS, SRUN_CPUS, Profile, load, names, override

LEAST = "cpus = 2\nmemory_gib = 3.5\nminutes = 60\n"
SMALL = Profile(cpus=2, memory_gib=3.5, minutes=60)


def written(folder: Path, text: str) -> str:
    """Path of a profile with this text."""
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


def message(error: pytest.ExceptionInfo[UserError]) -> str:
    """What the user sees: always one line."""
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", names())
def test_shipped_profiles_load(name: str) -> None:
    profile = load(name)
    assert profile.name == name
    assert (profile.gpus > 0) == (name == "gpu")


def test_there_are_profiles_for_the_development_cluster_and_for_others() -> None:
    assert names() == ["cpu", "dev", "gpu"]


def test_the_gpu_profile_explains_every_key() -> None:
    """Uncommented, it names all of them: who copies it has seen everything there is."""
    text = (Path(__file__).parents[2] / "slurm" / "profiles" / "gpu.toml").read_text()
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    assert {line.split(" = ")[0] for line in lines if " = " in line} - {"gres", "mail-type", "exclusive"} == (
        KEYS.keys() - {"extra"}
    )
    assert "[extra]" in lines


def test_a_file_says_what_it_says(tmp_path: Path) -> None:
    text = LEAST + 'partition = "long"\nsetup = ["module load cuda"]\n[extra]\nnice = 100\n"mail-type" = "FAIL"\n'
    path = written(tmp_path, text)
    assert load(path) == Profile(
        cpus=2,
        memory_gib=3.5,
        minutes=60,
        partition="long",
        setup=("module load cuda",),
        extra={"nice": 100, "mail-type": "FAIL"},
        name=path,
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cpu = 4", "unknown key cpu: did you mean cpus?"),
        ("mem = 4", "unknown key mem: did you mean memory_gib?"),
        ('time = "1:00"', "unknown key time: did you mean minutes?"),
        ("colour = 1", "unknown key colour: the keys are cpus, memory_gib, minutes, partition,"),
        ("name = 1", "unknown key name"),
        ('gpus = "1"', "gpus = '1': expected a whole number from 0 to 64"),
        ("gpus = 1.0", "gpus = 1.0: expected a whole number"),
        ("gpus = true", "gpus = True: expected a whole number"),
        ("gpus = -1", "gpus = -1: expected a whole number from 0 to 64"),
        ("runs_per_job = 0", "runs_per_job = 0: expected a whole number from 1 to 256"),
        ("max_requeues = -1", "max_requeues = -1: expected a whole number from 0 to"),
        ("array_parallelism = 1001", "array_parallelism = 1001: expected a whole number from 1 to 1000"),
        (
            "signal_seconds = 3600",
            "signal_seconds = 3600: expected less than the time limit, minutes = 60, which is 3600",
        ),
        ("partition = 3", "partition = 3: expected none or text without spaces"),
        ('partition = ""', "partition = '': expected none or text without spaces"),
        ('partition = "a b"', "partition = 'a b': expected none or text without spaces"),
        ('setup = "module load cuda"', "setup = 'module load cuda': expected a list of shell lines"),
        ("setup = [1]", "setup = (1,): expected a list of shell lines"),
        ("extra = 3", "extra = 3: expected a table"),
        ("extra = {time = 3}", "extra.time: set minutes instead"),
        ("extra = {mem-per-cpu = 3}", "extra.mem-per-cpu: set memory_gib instead"),
        ('extra = {output = "x"}', "extra.output: the sweep decides this itself"),
        ("extra = {p = 3}", "extra.p: expected the long name"),
        ("extra = {nice = [3]}", "extra.nice = [3]: expected one line of text"),
        ('extra = {comment = "a\\nb"}', "extra.comment = 'a\\nb': expected one line of text"),
    ],
)
def test_mistakes_in_a_file_are_one_line(tmp_path: Path, line: str, expected: str) -> None:
    path = written(tmp_path, LEAST + line + "\n")
    with pytest.raises(UserError) as error:
        load(path)
    assert message(error).startswith(f"profile {path}: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpus = 1\nminutes = 5\n", "no value for memory_gib: every profile needs cpus, memory_gib, minutes"),
        ("cpus = 0\nmemory_gib = 1\nminutes = 5\n", "cpus = 0: expected a whole number from 1 to 4096"),
        ("cpus = 1\nmemory_gib = 0\nminutes = 5\n", "memory_gib = 0: expected a number from 0.1 to 65536"),
        ("cpus = 1\nmemory_gib = nan\nminutes = 5\n", "memory_gib = nan: expected a number"),
        ("cpus = 1\nmemory_gib = 1\nminutes = 0\n", "minutes = 0: expected a whole number from 1 to"),
        (
            "cpus = 1\nmemory_gib = 1\nminutes = 2\n",
            "signal_seconds = 120: expected less than the time limit, minutes = 2",
        ),
    ],
)
def test_what_a_profile_needs(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        load(path)
    assert message(error).startswith(f"profile {path}: {expected}")


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at line 2, column"):
        load(written(tmp_path, "cpus = 1\npartition = gpu\n"))
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(UserError, match="not text in UTF-8"):
        load(str(tmp_path / "latin.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UserError, match=r"cannot read profile .*folder\.toml: is a directory"):
        load(str(tmp_path / "folder.toml"))


def test_missing_profiles_list_those_there_are(tmp_path: Path) -> None:
    for name in ("gpus", "../profiles/gpu", ""):
        with pytest.raises(UserError) as error:
            load(name)
        assert message(error).startswith(f"no profile {name!r}: there are cpu, dev, gpu, or give the path")
    with pytest.raises(UserError, match=r"absent\.toml: no such file or directory; named profiles are cpu, dev, gpu"):
        load(str(tmp_path / "absent.toml"))


def test_command_lines_change_keys() -> None:
    assert override(SMALL, []) == SMALL
    changed = override(
        SMALL,
        [
            "cpus=4",
            "memory_gib=8",
            "partition=long",
            "constraint=a100&nvlink",
            "setup=module load cuda",
            "extra.nice=100",
        ],
    )
    assert changed == dataclasses.replace(
        SMALL,
        cpus=4,
        memory_gib=8,
        partition="long",
        constraint="a100&nvlink",
        setup=("module load cuda",),
        extra={"nice": 100},
    )
    again = override(changed, ["partition=none", "extra.exclusive=true", 'setup=["a", "b=c"]', "extra.mail-type=FAIL"])
    assert again.partition is None
    assert again.setup == ("a", "b=c")
    assert again.extra == {"nice": 100, "exclusive": True, "mail-type": "FAIL"}
    assert changed.extra == {"nice": 100}
    assert override(again, ["setup=none"]).setup == ()


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("cpus", "cpus: expected key=value, for example minutes=60"),
        ("cpus=", "cpus=: expected key=value"),
        ("=4", "=4: expected key=value"),
        ("cpsu=4", "unknown key cpsu: did you mean cpus?"),
        ("name=x", "unknown key name"),
        ("cpus=four", "cpus=four: expected a whole number"),
        ("cpus=1.5", "cpus=1.5: expected a whole number"),
        ("cpus=true", "cpus=true: expected a whole number"),
        ("cpus=0", "cpus=0: expected a whole number from 1 to 4096"),
        ("memory_gib=much", "memory_gib=much: expected a number"),
        ("memory_gib=inf", "memory_gib=inf: expected a number"),
        ("minutes=1", "signal_seconds = 120: expected less than the time limit, minutes = 1, which is 60 seconds"),
        ("partition=a b", "partition=a b: expected none or text without spaces"),
        ("setup=[a", "setup=[a: expected a list of shell lines"),
        ("setup=[1]", "setup=[1]: expected a list of shell lines"),
        ("extra=nice", "extra=nice: give one option at a time, for example extra.nice=100"),
        ("extra.partition=x", "extra.partition: set partition instead"),
        ("extra.--nice=1", "extra.--nice: expected the long name"),
    ],
)
def test_mistakes_on_a_command_line_are_one_line(assignment: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        override(SMALL, [assignment])
    assert message(error).startswith(expected)


def test_a_key_is_given_once() -> None:
    with pytest.raises(UserError, match="cpus: given twice"):
        override(SMALL, ["cpus=1", "cpus=2"])


def test_a_job_asks_for_what_its_runs_need() -> None:
    parameters = override(SMALL, ["runs_per_job=3", "gpus=1"]).submitit_parameters()
    assert parameters["cpus_per_task"] == 6
    assert parameters["mem_gb"] == 10.5
    assert parameters["gpus_per_node"] == 1
    assert not {"slurm_partition", "slurm_account", "slurm_qos", "slurm_additional_parameters"} & parameters.keys()


def test_jobs_ask_for_gpus_in_one_way() -> None:
    """Requested in two ways, SLURM would grant both or refuse."""
    assert "gpus_per_node" not in SMALL.submitit_parameters()
    assert override(SMALL, ["gpus=2", "extra.gres=disk:9"]).submitit_parameters()["gpus_per_node"] == 2
    for option, value in (("gres", "gpu:a100:1"), ("gpus-per-task", "1"), ("gpus", "a100:1")):
        parameters = override(SMALL, ["gpus=1", f"extra.{option}={value}"]).submitit_parameters()
        assert "gpus_per_node" not in parameters
        with pytest.raises(UserError, match="extra asks for GPUs but gpus = 0: set gpus to their number"):
            override(SMALL, [f"extra.{option}={value}"])


def test_false_takes_an_option_away_however_it_is_spelt() -> None:
    profile = dataclasses.replace(SMALL, extra={"mail-type": "FAIL", "nice": 5})
    changed = override(profile, ["extra.mail_type=false"])
    assert changed.submitit_parameters()["slurm_additional_parameters"] == {"nice": 5}


def test_submitit_writes_it_into_the_batch_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through submitit itself, with commands of SLURM that do nothing but answer."""
    import submitit

    commands = tmp_path / "bin"
    commands.mkdir()
    for name, answer in {"srun": "", "sbatch": f'cp "$1" {tmp_path}/script; echo Submitted batch job 12'}.items():
        (commands / name).write_text(f"#!/bin/sh\n{answer}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=":")
    profile = override(
        SMALL,
        [
            "partition=long",
            "account=me",
            "qos=high",
            "constraint=a100&nvlink",
            "exclude=node[1-2]",
            "gpus=1",
            "runs_per_job=2",
            "signal_seconds=90",
            "array_parallelism=7",
            "setup=module load cuda",
            "extra.mail-type=FAIL",
            "extra.exclusive=true",
        ],
    )
    executor = submitit.AutoExecutor(folder=tmp_path / "logs", cluster="slurm")
    executor.update_parameters(**profile.submitit_parameters())
    executor.map_array(print, range(20))
    lines = (tmp_path / "script").read_text().splitlines()
    options = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert {
        "partition=long",
        "account=me",
        "qos=high",
        "constraint='a100&nvlink'",
        "exclude='node[1-2]'",
        "gpus-per-node=1",
        "cpus-per-task=4",
        "mem=7GB",
        "time=60",
        "signal=USR2@90",
        "array=0-19%7",
        "mail-type=FAIL",
        "exclusive",
    } <= options
    assert lines.index(SRUN_CPUS) < lines.index("module load cuda") < len(lines) - 1


def test_a_byte_order_mark_is_no_part_of_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xef\xbb\xbf" + LEAST.encode())
    assert load(str(file)) == dataclasses.replace(SMALL, name=str(file))


def test_percent_signs_in_a_path_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM would write logs to a folder of another name for every job."""
    monkeypatch.setattr("slurm.launcher.require_slurm", lambda: None)
    with pytest.raises(UserError) as caught:
        submit([], tmp_path / "per%j cent", "smoke", SMALL, "cpu")
    assert "replaces percent signs in paths with job numbers" in message(caught)
    assert not list(tmp_path.iterdir())
