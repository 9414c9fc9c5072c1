"""Settings: what is accepted, what is refused and how it is explained."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from algorithms import UnknownAlgorithmError
from benchmark.config import parse_assignments, resolve, variant_label
from benchmark.errors import UserError
from benchmark.policies import config_from_record
from envs import UnknownTaskError
from results.identity import digest_of, hash_of

ROOT = Path(__file__).resolve().parents[2]
TASK = "mpe/cooperative_navigation_3"


def make(**overrides: Any) -> Any:
    return resolve(TASK, "ip", 0, 100, {key.replace("__", "."): value for key, value in overrides.items()}, "test")


def test_table_2_is_the_default() -> None:
    """The paper's Table 2, number by number."""
    config = make()
    training, settings = config.training, config.algorithm_settings
    assert (settings.learning_rate, settings.gamma, settings.hidden) == (0.01, 0.95, 128)
    assert (settings.tau, settings.alpha, settings.hops) == (0.01, 0.2, 2)
    assert (training.replay_capacity, training.batch_size, training.gradient_steps) == (1_000_000, 1024, 8)
    assert config.environment.reward == "shared"


def test_text_becomes_the_fields_type() -> None:
    config = make(
        training__batch_size="64",
        training__replay_capacity="1e5",
        algorithm__alpha="1e-3",
        environment__reward="difference",
        environment__num_neighbours="none",
    )
    assert config.training.batch_size == 64
    assert config.training.replay_capacity == 100_000
    assert config.algorithm_settings.alpha == 1e-3
    assert config.environment.reward == "difference"
    assert config.environment.num_neighbours is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", "64", "did you mean training.batch_size"),
        ("training.batchsize", "64", "did you mean training.batch_size"),
        ("nonsense", "1", "the settings are: environment"),
        ("training.batch_size", "many", "expected a positive whole number"),
        ("training.batch_size", "0", "expected a positive whole number"),
        ("training.batch_size", "1.5", "expected a positive whole number"),
        ("algorithm.gamma", "1.5", "expected a number from 0 to 1"),
        ("algorithm.gamma", "nan", "expected a number"),
        ("algorithm.aggregation", "max", "expected one of attention, mean"),
        ("training.reward_scale", "big", "expected one of standardise"),
        ("environment.reward", "mine", "reward"),
    ],
)
def test_wrong_settings_are_explained(key: str, value: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(TASK, "ip", 0, 100, {key: value})
    assert "\n" not in str(caught.value)


def test_wrong_names_and_numbers_are_explained() -> None:
    with pytest.raises(UnknownTaskError, match="did you mean mpe/cooperative_navigation_30"):
        resolve("mpe/coperative_navigation_30", "ip", 0, 100)
    with pytest.raises(UnknownAlgorithmError, match="did you mean iql"):
        resolve(TASK, "iqll", 0, 100)
    with pytest.raises(UserError, match="--total-steps -5"):
        resolve(TASK, "ip", 0, -5)
    with pytest.raises(UserError, match=r"--total-steps 9223372036854775808: expected at most 2\^63 - 1"):
        resolve(TASK, "ip", 0, 2**63)
    with pytest.raises(UserError, match="--seed -1"):
        resolve(TASK, "ip", -1, 100)
    for variant in ("../elsewhere", "", "a b"):
        with pytest.raises(UserError, match=f"variant '{variant}': use letters"):
            resolve(TASK, "ip", 0, 100, variant=variant)


def test_a_hint_names_what_is_similar_alone() -> None:
    """Names of groups, which all settings share, make nothing similar."""
    with pytest.raises(UserError, match=r"--set algorithm\.hiden: .*; did you mean algorithm\.hidden\?$"):
        resolve(TASK, "ip", 0, 100, {"algorithm.hiden": "64"})
    with pytest.raises(UserError, match=r"--set algorithm\.batch_sise: .*; did you mean training\.batch_size\?$"):
        resolve(TASK, "ip", 0, 100, {"algorithm.batch_sise": "64"})
    with pytest.raises(UserError, match=r"--set algorithm\.qqqqqq: no such setting here; the settings are: "):
        resolve(TASK, "ip", 0, 100, {"algorithm.qqqqqq": "64"})


def test_assignments() -> None:
    assert parse_assignments(["a.b=1", "c.d=x=y"]) == {"a.b": "1", "c.d": "x=y"}
    for wrong in (["a.b"], ["=1"], ["a.b="], ["a.b=1", "a.b=2"]):
        with pytest.raises(UserError):
            parse_assignments(wrong)


def test_variant_label_is_readable_and_safe() -> None:
    assert variant_label({}) == variant_label({"training.checkpoint_seconds": "5"}) == "default"
    assert variant_label({"training.batch_size": "64", "algorithm.alpha": "0.1"}) == "alpha=0.1,batch_size=64"
    assert variant_label({"environment.prey_weights": "/tmp/x y.npz"}).startswith("settings-")


def test_digest_tells_settings_apart_but_not_devices() -> None:
    assert make().digest() == make().digest()
    assert make().digest() != make(algorithm__alpha=0.1).digest()
    assert make().digest() == make(training__checkpoint_seconds=1.0).digest(), "how often it is saved changes nothing"
    on_gpu = resolve(TASK, "ip", 0, 100, variant="test", device="cuda")
    assert on_gpu.digest() == make().digest()


def test_a_renamed_setting_is_told_its_name() -> None:
    for key in ("algorithm.piece", "piece"):
        with pytest.raises(UserError, match=r"has been renamed; did you mean algorithm\.micro_batch\?"):
            resolve(TASK, "ip", 0, 100, {key: "64"})


@pytest.mark.parametrize(
    "setting",
    [
        ("algorithm__micro_batch", 64),
        ("training__synchronise_timing", True),
        ("training__environment_threads", 3),
        ("training__checkpoint_replay_gib", 0.0),
    ],
)
def test_settings_without_effect_are_no_part_of_a_run(setting: tuple[str, Any]) -> None:
    """Nor of the label of its folder."""
    changed = make(**dict([setting]))
    assert changed.identity() == make().identity()
    assert changed.digest() == make().digest()
    assert changed != make()
    assert variant_label({setting[0].replace("__", "."): str(setting[1])}) == "default"


def test_threads_of_environments_are_positive_or_none() -> None:
    assert make(training__environment_threads="none").training.environment_threads is None
    with pytest.raises(UserError, match="environment_threads=0: expected none or a whole number from 1 to"):
        make(training__environment_threads="0")


def test_environments_get_their_threads() -> None:
    """As many as requested, otherwise as many as torch uses on a CPU, otherwise one per core."""
    for device, settings, threads in (
        ("cpu", {}, 1),
        ("cpu", {"training.threads": 2}, 2),
        ("cpu", {"training.environment_threads": 3}, 3),
        ("meta", {"training.environment_threads": 3}, 3),
        ("meta", {}, min(len(os.sched_getaffinity(0)), 4)),
    ):
        config = resolve("cityflow/synthetic_4", "iql", 0, 100, settings, device=device)
        environment: Any = config.make_environment(4)
        assert getattr(environment, "host", environment).batch.threads == threads


def test_digest_of_runs_before_micro_batches_had_that_name() -> None:
    """The hashes of published runs of that time are those of their settings today, and a run in which a size was set is
    the same run."""
    manifest = json.loads((ROOT / "results/published/signals/manifest.json").read_text())
    for run in manifest["runs"]:
        record = run["config"]
        assert record["algorithm_settings"]["piece"] is None
        assert digest_of(record) == hash_of(record) == record["config_hash"]
    config = make(algorithm__micro_batch=64)
    record = config.identity()
    record["algorithm_settings"]["piece"], record["config_hash"] = 64, "of another size"
    again = config_from_record(record)
    assert again == config
    assert again.digest() == hash_of(record) == make().digest()


def test_settings_that_came_later_leave_older_folders_theirs() -> None:
    """At what they were before, they are no part of the identity; otherwise they are."""
    config, other = make(), make(training__tf32="true")
    assert other.training.tf32 is True
    assert "tf32" not in config.identity()["training"]
    assert other.identity()["training"]["tf32"] is True
    assert config.digest() != other.digest()


@pytest.mark.parametrize(
    ("algorithm", "key", "spellings", "label"),
    [
        ("iql", "algorithm.gamma", ("0.9", "0.90", "9e-1", ".9", 0.9), "gamma=0.9"),
        ("iql", "algorithm.gamma", ("1", "1.0", "1e0", 1, 1.0), "gamma=1"),
        ("iql", "algorithm.gamma", ("0.95", "95e-2", 0.95), "default"),
        ("ip", "training.batch_size", ("64", "6.4e1", "+64", "6_4", 64), "batch_size=64"),
        ("ip", "training.batch_size", ("1024", "1_024"), "default"),
        ("ip", "algorithm.policy_messages", ("false", "False", False), "policy_messages=false"),
        ("ip", "algorithm.policy_messages", ("true", "True", True), "default"),
        ("ip", "training.acceleration", ("auto",), "acceleration=auto"),
    ],
)
def test_one_setting_has_one_folder_however_it_is_spelt(
    algorithm: str, key: str, spellings: tuple[Any, ...], label: str
) -> None:
    made = [resolve(TASK, algorithm, 0, 100, {key: value}) for value in spellings]
    assert {config.variant for config in made} == {label}
    assert len({config.digest() for config in made}) == 1
    if label == "default":
        assert made[0].digest() == resolve(TASK, algorithm, 0, 100).digest()


def test_defaults_of_a_task_said_aloud_are_defaults() -> None:
    """Traffic is evaluated on 10 episodes, other tasks on 100."""
    said = {"training.evaluation_episodes": "10"}
    assert resolve("cityflow/synthetic_4", "iql", 0, 100, said).variant == "default"
    assert resolve(TASK, "iql", 0, 100, said).variant == "evaluation_episodes=10"
