"""Cluster profiles: what one job of a sweep requests and where it goes, as small TOML files.

    profile = override(load("gpu"), ["partition=long", "minutes=600"])

`slurm/profiles/gpu.toml` explains every key. A profile contains nothing about runs; `slurm_setup` and the like are
submitit's names for lines of the batch script.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from benchmark.errors import UserError
from envs.fields import Form, Range, check, closest, kinds

FOLDER = Path(__file__).resolve().parent / "profiles"
"""Folder of the named profiles."""
MAX_ARRAY = 1000
"""Largest number of jobs in one array with SLURM's default settings (MaxArraySize counts from 0 to 1000)."""
SRUN_CPUS = "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"
"""Command line of srun: from SLURM 22.05 to 23.02 it gives a task one CPU unless the job's request is repeated."""


Word = Annotated[str, Form(r"\S+", "text without spaces")]
"""A name that a cluster gives to one of its resources."""
ShellLines = Annotated[tuple[str, ...], Form(r"(?s).*", 'a list of shell lines, such as ["module load cuda"]')]


@dataclass(frozen=True, slots=True)
class Profile:
    """Resources of a sweep's jobs on one cluster. None leaves the choice to the cluster.

    Raises UserError for an invalid value.
    """

    cpus: Annotated[int, Range(1, 4096)]
    """CPUs per run."""
    memory_gib: Annotated[float, Range(0.1, 65_536)]  # SLURM reads 0 as all memory of a node
    """Memory per run in GiB."""
    minutes: Annotated[int, Range(1, 525_600)]
    """Time limit of a job. If a run needs longer, its job is queued again and continues from the checkpoint."""
    partition: Word | None = None
    """Queue of the cluster."""
    account: Word | None = None
    """Account that is charged."""
    qos: Word | None = None
    """Quality of service."""
    constraint: Word | None = None
    """Features that a node must have."""
    exclude: Word | None = None
    """Nodes not to use."""
    gpus: Annotated[int, Range(0, 64)] = 0
    """GPUs of every job, shared by its runs."""
    runs_per_job: Annotated[int, Range(1, 256)] = 1
    """Concurrent runs in one job, which requests CPUs and memory for all of them."""
    signal_seconds: Annotated[int, Range(1, 65_535)] = 120
    """Time before the limit at which the job is signalled. SLURM may signal it up to a minute earlier."""
    max_requeues: Annotated[int, Range(0, 10_000)] = 20
    """Number of times a job that reached its time limit is queued again (`slurm_max_num_timeout` of submitit)."""
    array_parallelism: Annotated[int, Range(1, MAX_ARRAY)] = 100
    """Jobs of one array that run at once."""
    setup: ShellLines = ()
    """Shell lines before every job."""
    extra: Mapping[str, str | int | float | bool] = field(default_factory=dict, hash=False)
    """Further options of sbatch without their dashes; true for one without a value, false to leave it out."""
    name: str = ""
    """Name or path of the profile; not a key of the file."""

    def __post_init__(self) -> None:
        try:
            check(self)
        except ValueError as error:
            raise UserError(str(error)) from error
        if not isinstance(self.extra, Mapping):
            raise UserError(f"extra = {self.extra!r}: expected a table of sbatch options")
        if self.signal_seconds >= self.minutes * 60:
            raise UserError(
                f"signal_seconds = {self.signal_seconds}: expected less than the time limit, minutes = {self.minutes},"
                f" which is {self.minutes * 60} seconds"
            )
        for option, value in self.extra.items():
            _check_option(option, value)
        if self.gpus == 0 and _asks_for_gpus(self._options()):
            raise UserError("extra asks for GPUs but gpus = 0: set gpus to their number")

    def submitit_parameters(self) -> dict[str, Any]:
        """Arguments of `update_parameters` of submitit's `AutoExecutor(cluster="slurm")`."""
        options = self._options()
        parameters = {
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint,
            "slurm_exclude": self.exclude,
            "gpus_per_node": None if self.gpus == 0 or _asks_for_gpus(options) else self.gpus,
            "cpus_per_task": self.cpus * self.runs_per_job,
            "mem_gb": self.memory_gib * self.runs_per_job,
            "timeout_min": self.minutes,
            "slurm_signal_delay_s": self.signal_seconds,
            "slurm_array_parallelism": self.array_parallelism,
            "slurm_setup": [SRUN_CPUS, *self.setup],
            "slurm_additional_parameters": options or None,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def _options(self) -> dict[str, str | int | float | bool]:
        """The remaining entries of `extra` in submitit's spelling."""
        options = {option.replace("-", "_"): value for option, value in self.extra.items()}
        return {option: value for option, value in options.items() if value is not False}


KEYS = {name: kind for name, kind in kinds(Profile).items() if name != "name"}
"""Every key of a profile, with its type."""
_NEEDED = [
    setting.name
    for setting in dataclasses.fields(Profile)
    if setting.default is dataclasses.MISSING and setting.default_factory is dataclasses.MISSING
]
_STANDS_FOR = {
    "cpus_per_task": "cpus",
    "cpus_per_gpu": "cpus",
    "mem": "memory_gib",
    "mem_per_cpu": "memory_gib",
    "mem_per_gpu": "memory_gib",
    "time": "minutes",
    "signal": "signal_seconds",
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "constraint": "constraint",
    "exclude": "exclude",
}
"""Options of sbatch that correspond to a key of the profile."""
_OF_THE_SWEEP = (
    "array",
    "chdir",
    "error",
    "job_name",
    "no_requeue",
    "nodes",
    "ntasks",
    "ntasks_per_node",
    "open_mode",
    "output",
)
"""Options of sbatch that would interfere with the sweep."""


def load(name_or_path: str) -> Profile:
    """Read a profile: a name such as `gpu` for one of the project's profiles, or a path such as `clusters/mine.toml`.

    Raises UserError for a file that is missing, malformed or has invalid values.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix != ".toml":
        path = FOLDER / f"{name_or_path}.toml"
        if name_or_path not in names():
            raise UserError(
                f"no profile {name_or_path!r}: there are {', '.join(names())}, or give the path of a .toml file"
            )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors write a byte order mark
        return _built(values, name_or_path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot read profile {path}: {reason}; named profiles are {', '.join(names())}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"profile {path} is not TOML: {error}; text must be quoted") from error
    except UnicodeDecodeError as error:
        raise UserError(f"profile {path} is not text in UTF-8") from error
    except UserError as error:
        raise UserError(f"profile {path}: {error}") from error


def names() -> list[str]:
    """Names of the project's profiles."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def override(profile: Profile, assignments: Sequence[str]) -> Profile:
    """The profile with some keys changed, as typed on a command line.

    Args:
        assignments: `cpus=4`, `partition=none` (leave it to the cluster), `extra.nice=100`, `setup=module load cuda`
        (one line that replaces all others) or `setup=["one line", "another"]`.

    Raises UserError for an invalid assignment.
    """
    changes: dict[str, Any] = {}
    extra = dict(profile.extra)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key or not text:
            raise UserError(f"{assignment}: expected key=value, for example minutes=60")
        if key.startswith("extra."):
            extra[key.removeprefix("extra.")] = _scalar(text)
            changes["extra"] = extra
            continue
        _check_key(key)
        if key in changes:
            raise UserError(f"{key}: given twice")
        if key == "extra":
            raise UserError(f"{assignment}: give one option at a time, for example extra.nice=100")
        try:
            changes[key] = KEYS[key].parse(text)
        except ValueError as error:
            raise UserError(f"{assignment}: {error}") from error
    return dataclasses.replace(profile, **changes)


def _built(values: dict[str, Any], name: str) -> Profile:
    for key in values:
        _check_key(key)
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        raise UserError(f"no value for {', '.join(missing)}: every profile needs {', '.join(_NEEDED)}")
    setup = values.get("setup", ())
    return Profile(**values | {"setup": tuple(setup) if isinstance(setup, list) else setup, "name": name})


def _check_key(key: str) -> None:
    if key not in KEYS:
        same = _STANDS_FOR.get(key.replace("-", "_"))
        hint = f"did you mean {same}?" if same else closest(key, KEYS, most=1, cutoff=0.5)
        hint = hint or f"the keys are {', '.join(KEYS)}"
        raise UserError(f"unknown key {key}: {hint} (further options of sbatch belong in the table extra)")


def _asks_for_gpus(options: Mapping[str, Any]) -> bool:
    """Whether the options request GPUs in another way, which replaces `gpus_per_node`."""
    ways = ("gpus", "gpus_per_node", "gpus_per_task", "gpus_per_socket")
    return any(way in options for way in ways) or str(options.get("gres", "")).startswith("gpu")


def _check_option(option: str, value: Any) -> None:
    plain = option.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]+", plain):
        raise UserError(
            f"extra.{option}: expected the long name of an option of sbatch without dashes, as in nice = 100"
        )
    if plain in _STANDS_FOR:
        raise UserError(f"extra.{option}: set {_STANDS_FOR[plain]} instead, a key of the profile itself")
    if plain in _OF_THE_SWEEP:
        raise UserError(f"extra.{option}: the sweep decides this itself; leave it out")
    is_line = isinstance(value, str) and value != "" and value.isprintable()
    if not (is_line or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))):
        raise UserError(f"extra.{option} = {value!r}: expected one line of text, a number, true or false")


def _scalar(text: str) -> str | int | float | bool:
    """A number, true, false, or otherwise the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
