"""The configuration of a run: task, algorithm, seed and three groups of settings, resolved before the run starts."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import algorithms
import envs
from benchmark.errors import MENDABLE, UserError
from benchmark.tasks import located, training_defaults
from envs.fields import Count, Natural, Range, Weight, check, kinds
from results.identity import FILES, OF_PACKAGES, WITHOUT_EFFECT, digest_of, identity_of
from results.keys import RunKey

if TYPE_CHECKING:
    from envs.protocols import Environment, EnvironmentSpec

Made = TypeVar("Made")

GROUPS = ("environment", "training", "algorithm")
RENAMED = {"algorithm.piece": "algorithm.micro_batch"}
"""Earlier names of settings -> current names."""
MOST_SEED, MOST_STEPS = 2**31 - 1, 2**63 - 1
MOST_LABEL = 100
"""Most characters in the name of a variant."""
MessageKernels = Literal["reference", "fused"]
"""Implementations of messages between neighbours on a GPU."""
Acceleration = Literal["none", "compile", "cuda_graph", "cuda_blocks", "auto"]
"""Execution modes of training."""
Threads = Annotated[int, Range(1, 1024)]
"""A number of CPU threads; far greater ones end the process without a word."""
MESSAGE_KERNELS, ACCELERATIONS = get_args(MessageKernels), get_args(Acceleration)
OF_UPDATES = ("none", "compile", "cuda_graph")
"""Accelerations of updates only."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The schedule of training, the same for every algorithm."""

    num_envs: Count = 4
    """Copies of the task stepped in lockstep with one policy."""
    update_interval: Count = 100
    """Environment steps between blocks of gradient steps, summed over all copies."""
    gradient_steps: Natural = 8
    """Gradient steps per `update_interval` environment steps (paper, Table 2)."""
    batch_size: Count = 1024
    """Transitions per gradient step (paper, Table 2)."""
    replay_capacity: Count = 1_000_000
    """Capacity of the replay buffer in transitions (paper, Table 2); never more than the run collects."""
    learning_starts: Count = 1024
    """Transitions in the replay buffer before the first gradient step."""
    observation_dtype: Literal["float32", "float16"] = "float32"
    """Type of observations in the replay buffer: float32 or float16 (half the memory)."""
    reward_scale: Literal["standardise", "per_agent", "raw"] = "standardise"
    """Scaling of the rewards that learners see: standardise (subtract the running mean, divide by the running standard
    deviation), per_agent (divide by the number of agents) or raw. The reported score is never scaled."""
    evaluation_interval: Count = 10_000
    """Environment steps between evaluations."""
    evaluation_episodes: Count = 100
    """Episodes per evaluation, the same ones every time and for every algorithm and seed."""
    evaluation_seed: Annotated[int, Range(0, 2**63 - 1)] = 20_200
    """Seed of the evaluation episodes."""
    log_interval: Count = 1_000
    """Environment steps averaged in each line of metrics.jsonl."""
    checkpoint_seconds: Weight = 300.0
    """Minimum time between checkpoints in seconds; 0 writes one after every block of gradient steps. A run resumed from
    any checkpoint gives the same numbers."""
    checkpoint_replay_gib: Weight = 4.0
    """Largest replay buffer in GiB that is saved in checkpoints; 0: never. A run resumed without it refills the buffer,
    and its record says so. While it is written, a checkpoint takes twice its size on the disk, for every active run."""
    keep_checkpoint: bool = False
    """Whether a finished run keeps its last checkpoint, from which a larger --total-steps continues it."""
    tensorboard: bool = False
    """Whether metrics are also written for TensorBoard, in the run's folder tensorboard; needs that package."""
    threads: Threads = 1
    """CPU threads; a setting because sums in another order round differently."""
    environment_threads: Threads | None = None
    """Threads that step copies of traffic tasks, without effect on numbers; none: `threads` on a CPU, one per core with
    a GPU."""
    synchronise_timing: bool = False
    """Whether phases wait for the GPU before they are timed. Without it timing.jsonl shows where the host waited; with
    it the time of each phase, at the cost of a slower run. No effect on a CPU or on any number but times."""
    acceleration: Acceleration = "none"
    """Execution of training: none (eager), compile (torch.compile of updates), cuda_graph (updates captured as CUDA
    graphs), cuda_blocks (whole gradient steps and, where the environment works on tensors, environment steps captured)
    or auto (cuda_blocks on a GPU, none on a CPU); see benchmark/acceleration.py. A setting because compiled code rounds
    differently."""
    kernels: MessageKernels = "reference"
    """Messages between neighbours on a GPU: reference (torch operations) or fused (Triton kernels, see
    algorithms/common/slot_triton.py). A CPU has compiled loops and refuses fused. A setting because sums in another
    order round differently."""
    initial_policy: str = ""
    """Folder of a run, or one written by benchmark.export, whose acting network initialises that of this run, also for
    another task that it fits; other networks are initialised as usual. Empty: none."""
    initial_digest: str = ""
    """First digits of the SHA-256 of the initial policy's weights: filled in, or checked where given."""
    tf32: bool = False
    """Whether matrix products on a GPU round their factors to TF32 (10 bits of mantissa); no effect on a CPU."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def fused(self) -> bool:
        """Whether messages between neighbours are computed by fused kernels."""
        return self.kernels == "fused"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run, fully resolved."""

    task: str
    algorithm: str
    seed: int
    total_steps: int
    environment: Any
    """Settings of the task's environment (`envs.settings`)."""
    training: TrainingConfig
    algorithm_settings: Any
    """Settings of the algorithm (its `Config`)."""
    variant: str = "default"
    """Label of the settings, the name of the folder of all runs with them."""
    device: str = field(default="cpu", compare=False)

    @property
    def key(self) -> RunKey:
        """The key of the run."""
        return RunKey(self.task, self.algorithm, self.variant, self.seed)

    def identity(self) -> dict[str, Any]:
        """The identity of the run: everything but the device and settings without effect on numbers."""
        record = dataclasses.asdict(self)
        del record["device"]
        return identity_of(record)

    def record(self) -> dict[str, Any]:
        """The recorded settings: the identity, the path of the task's city where its files are not part of the project,
        and the path of the initial policy."""
        record = self.identity()
        if city := getattr(self.environment, "map", ""):
            record["environment"]["map"] = city
        if self.training.initial_policy:
            record["training"]["initial_policy"] = self.training.initial_policy
        return record

    def spec(self) -> EnvironmentSpec:
        """The specification of the task. Raises UserError for settings that do not fit the task, and what `envs.spec`
        raises for a task that is not available."""
        return _explained(lambda: envs.spec(self.task, **dataclasses.asdict(self.environment)))

    def make_environment(self, num_envs: int, **changes: Any) -> Environment:
        """Copies of the task on the run's device, with changed settings. Raises like `spec`."""
        from envs.protocols import Threaded

        settings = dataclasses.asdict(self.environment) | changes
        environment = _explained(lambda: envs.make(self.task, num_envs, self.device, **settings))
        if isinstance(environment, Threaded):
            on_cpu = self.training.threads if self.device == "cpu" else None
            environment.use_threads(self.training.environment_threads or on_cpu)
        return environment

    def digest(self) -> str:
        """Short hash of the identity."""
        return digest_of(self.identity())


def _explained(make: Callable[[], Made]) -> Made:
    """The result of `make`; errors that are not meant for users become UserError."""
    try:
        return make()
    except MENDABLE:
        raise
    except ValueError as error:
        raise UserError(f"bad setting: {error}") from error


def resolve(
    task: str,
    algorithm: str,
    seed: int,
    total_steps: int,
    overrides: dict[str, Any] | None = None,
    variant: str | None = None,
    device: str = "cpu",
) -> RunConfig:
    """Build the settings of a run from defaults and overrides such as `{"algorithm.alpha": 0.1}`.

    `task` is a name, or the path of a CityFlow configuration (`envs.locate`). Values may be strings, as typed on a
    command line. Raises UserError naming the invalid part and the valid ones, and what `envs.locate` raises.
    """
    task, overrides = located(task, overrides)
    if total_steps < 1:
        raise UserError(f"--total-steps {total_steps}: expected a positive number of environment steps")
    if total_steps > MOST_STEPS:
        raise UserError(
            f"--total-steps {total_steps}: expected at most 2^63 - 1, as published sets hold steps in 64 bits"
        )
    if seed < 0:
        raise UserError(f"--seed {seed}: expected zero or a positive whole number")
    if seed > MOST_SEED:
        raise UserError(f"--seed {seed}: expected at most {MOST_SEED}, as published sets hold seeds in 32 bits")
    types = setting_types(task, algorithm)
    defaults = {"training": training_defaults(task)}
    values: dict[str, dict[str, Any]] = {group: dict(defaults.get(group, {})) for group in GROUPS}
    for key, value in overrides.items():
        group, name = _split_key(key, types)
        values[group][name] = _converted(key, value, types)
    try:
        built = {group: types[group](**values[group]) for group in GROUPS}
    except ValueError as error:
        raise UserError(f"bad setting: {error}") from error
    if built["training"].initial_policy:
        from benchmark.initial import with_digest

        built["training"] = with_digest(built["training"])
    elif built["training"].initial_digest:
        raise UserError(
            f"training.initial_digest={built['training'].initial_digest}: no policy to check; give "
            "training.initial_policy, the folder of the policy with these weights"
        )
    usual = {group: types[group](**defaults.get(group, {})) for group in GROUPS}
    filled = ["training.initial_digest"] if built["training"].initial_digest else []
    changed = {key: value for key in [*overrides, *filled] if (value := _read(built, key)) != _read(usual, key)}
    label = variant_label(changed) if variant is None else variant
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.,=+-]*", label) or len(label) > MOST_LABEL:
        raise UserError(f"variant {label!r}: use letters, digits and _ . , = + - only, at most {MOST_LABEL} of them")
    return RunConfig(
        task, algorithm, seed, total_steps, built["environment"], built["training"], built["algorithm"], label, device
    )


def setting_types(task: str, algorithm: str) -> dict[str, type]:
    """The dataclasses of a run's settings by group. Raises UnknownTaskError and UnknownAlgorithmError."""
    types: dict[str, type] = {"environment": envs.settings(task), "training": TrainingConfig}
    return types | {"algorithm": algorithms.config_type(algorithm)}


def _read(groups: dict[str, Any], key: str) -> Any:
    group, name = key.split(".", 1)
    return getattr(groups[group], name)


def variant_label(overrides: dict[str, Any]) -> str:
    """Folder name for runs with these settings: readable if short, otherwise a hash.

    Values have the types of their fields, so that `0.9` and `9e-1` give one name; the caller leaves out settings at
    their defaults.
    """
    names = {key: key.split(".", 1)[-1] for key in sorted(overrides)}
    silent = {name for group in WITHOUT_EFFECT.values() for name in group} | {*FILES, *OF_PACKAGES}
    parts = [f"{name}={in_words(overrides[key])}" for key, name in names.items() if name not in silent]
    label = ",".join(part.removeprefix("arguments=") for part in parts)
    if not label:
        return "default"
    if re.fullmatch(r"[A-Za-z0-9_.,=+-]{1,80}", label):
        return label
    return hashed_label(label)


def hashed_label(label: str) -> str:
    """Replacement for a label that is too long or has characters unsuitable for a folder."""
    return "settings-" + hashlib.sha256(label.encode()).hexdigest()[:10]


def in_words(value: Any) -> str:
    """A value as typed on a command line: numbers without redundant digits; true, false and none in lower case."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    return str(value)


def environment_settings(task: str, assignments: Mapping[str, str]) -> dict[str, Any]:
    """Settings of the task's environment, given as `{"environment.reward": "shared"}`, by their names in `envs.make`.
    Raises UserError like `resolve`."""
    types = {"environment": envs.settings(task)}
    return {_split_key(key, types)[1]: _converted(key, value, types) for key, value in assignments.items()}


def _converted(key: str, value: Any, types: Mapping[str, type]) -> Any:
    """The value of a setting in the type of its field."""
    group, name = _split_key(key, types)
    try:
        return kinds(types[group])[name].convert(value)
    except ValueError as error:
        raise UserError(f"--set {key}={value}: {error}") from error


def _split_key(key: str, types: Mapping[str, type]) -> tuple[str, str]:
    names = [f"{group}.{name}" for group, settings in types.items() for name in kinds(settings)]
    if key not in names:
        raise UserError(f"--set {key}: no such setting here; {name_hint(key, names)}")
    group, name = key.split(".", 1)
    return group, name


def name_hint(key: str, names: Sequence[str]) -> str:
    """A hint at the intended setting for a name that does not exist."""
    same_name = [name for name in names if name.split(".", 1)[1] == key]
    renamed = [now for was, now in RENAMED.items() if key in (was, was.split(".", 1)[1]) and now in names]
    if renamed:
        return f"this setting has been renamed; did you mean {renamed[0]}?"
    if same_name:
        return f"did you mean {' or '.join(same_name)}?"
    by_name = {name.split(".", 1)[1]: name for name in names}  # names of groups make any two settings similar
    close = difflib.get_close_matches(key.rpartition(".")[2], by_name)
    if close:
        return f"did you mean {' or '.join(by_name[name] for name in close)}?"
    return f"the settings are: {', '.join(names)}"


def parse_assignments(pairs: list[str]) -> dict[str, str]:
    """Turn `["a.b=1"]` into `{"a.b": "1"}`. Raises UserError for anything else."""
    result: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise UserError(f"--set {pair}: expected key=value, for example --set algorithm.gamma=0.9")
        if key in result:
            raise UserError(f"--set {key}: given twice")
        result[key] = value
    return result
