"""One training run: rollouts with a frozen policy, gradient steps, evaluations, exact resume.

    python -m benchmark.train --task mpe/cooperative_navigation_3 --algorithm ip --seed 0 --total-steps 30000

The same command again continues a run that was stopped, from its last checkpoint and with the same numbers as if it had
never been stopped. A finished run is left as it is.
"""

from __future__ import annotations

import argparse
import math
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import algorithms
import envs
from algorithms.common.learner import OffPolicyLearner
from benchmark import acceleration, evaluation, kernels, memory
from benchmark.blocks import MetricSums, Recorded, in_place_of_its_own, overwrite, read
from benchmark.budget import replay_capacity, require_learning, rounds_of
from benchmark.config import RunConfig, parse_assignments, resolve
from benchmark.console import first_line, tell
from benchmark.errors import UserError, report_errors
from benchmark.files import load_checkpoint, readable_os_errors, save_checkpoint, write_json
from benchmark.folder import RunFolder, run_path, status_of
from benchmark.lock import holder_of
from benchmark.options import choose_device, engine_override
from benchmark.process import set_process_state
from benchmark.progress import Progress
from benchmark.randomness import stream, stream_seed
from benchmark.replay import Replay
from benchmark.rewards import RewardScale
from benchmark.signals import stopping
from benchmark.tasks import TASKS, default_total_steps, located
from envs.protocols import Graph, Interpretable, Recordable, Step

CHECKPOINT_FORMAT = 1
_GENERATORS = ("actions", "replay", "update")


class Training:
    """A run in memory: environment, learner, replay and counters. `advance` makes it longer, `state_dict` saves it."""

    def __init__(self, config: RunConfig) -> None:
        self.config, self.settings = config, config.training
        self.device = torch.device(config.device)
        set_process_state(config)
        self.environment = config.make_environment(self.settings.num_envs)
        self.evaluation_environment = config.make_environment(self.settings.evaluation_episodes)
        self.spec = self.environment.spec
        self.learner = algorithms.make(
            config.algorithm,
            self.spec,
            config.algorithm_settings,
            config.device,
            stream_seed(config.seed, "weights"),
            fused=self.settings.fused,
        )
        self.learn = acceleration.accelerate(self.learner, self.settings.acceleration, self.device)
        self.generators = {name: stream(config.seed, name, self.device) for name in _GENERATORS}
        capacity = replay_capacity(config)
        observation_dtype = getattr(torch, self.settings.observation_dtype)
        self.records = acceleration.records_blocks(self.settings.acceleration, self.device)
        """Whether steps are recorded and replayed."""
        counts_on_device = self.records or self.device.type != "cpu"
        width = self.learner.action_width
        self.replay = Replay(
            self.spec, self.settings.num_envs, capacity, self.device, observation_dtype, width, counts_on_device
        )
        self.reward_scale = RewardScale(self.settings.reward_scale, self.spec.num_agents, self.device)
        self.environment_step = 0
        """Environment steps so far, over all copies."""
        self.updates = 0
        self.owed = 0
        """Gradient steps owed, in units of 1 / update_interval."""
        self.metrics = MetricSums()
        self.ended_returns: list[torch.Tensor] = []
        """Returns of the episodes that have ended since the last line of the log, on the device."""
        self.seconds = dict.fromkeys(("act", "environment", "update", "evaluation"), 0.0)
        self.current = self.environment.reset(stream_seed(config.seed, "environment"))
        self.replay.begin_episode(self.current)
        self._prepare()

    def _prepare(self) -> None:
        """Choose how steps are made: as they are written, or recorded at their first calls from here on."""
        self._play: Callable[[], None] = self._act_and_step
        self._learn: Callable[[], None] = self._learn_from_batch
        if not self.records:
            return
        if not isinstance(self.learner, OffPolicyLearner):
            raise UserError("training.acceleration=cuda_blocks needs a learner made from OffPolicyLearner: choose none")
        self.learner.keep_in_tensors()
        replay, update = self.generators["replay"], self.generators["update"]
        self._learn = Recorded(self._learn_from_batch, [replay, update], self.device)
        if isinstance(self.environment, Recordable) and self.environment.recordable:
            self.current = in_place_of_its_own(self.current)
            self._rollout = Recorded(self._roll, [self.generators["actions"]], self.device)
            self._play = self._play_recorded

    def advance(self) -> None:
        """One block: about `update_interval` environment steps with a frozen policy, then the gradient steps due."""
        rounds = rounds_of(self.settings)
        self.learner.schedule(self.environment_step, self.config.total_steps)
        for _ in range(rounds):
            self._environment_step()
        if len(self.replay) >= self.settings.learning_starts:
            self.owed += rounds * self.settings.num_envs * self.settings.gradient_steps
        with self._timed("update"):
            while self.owed >= self.settings.update_interval:
                self.owed -= self.settings.update_interval
                self._gradient_step()

    def _environment_step(self) -> None:
        if self.replay.time == self.spec.episode_length:
            self.ended_returns.append(self.environment.scores()["return"].clone())
            self._begin_episode()
        self._play()
        self.environment_step += self.settings.num_envs

    def _begin_episode(self) -> None:
        step = self.environment.reset()
        if self._play == self._play_recorded:
            overwrite(self.current, step)
        else:
            self.current = step
        self.replay.begin_episode(self.current)

    def _act_and_step(self) -> None:
        """Choose actions, step and store."""
        with self._timed("act"):
            actions = self.learner.act(
                self.current.observation, self.current.graph, self.generators["actions"], greedy=False
            )
        with self._timed("environment"):
            self.current = self.environment.step(actions)
            self.replay.add(actions, self.current)
            self.reward_scale.observe(self.current.reward)

    def _play_recorded(self) -> None:
        """The same where it is recorded: plain numbers are counted here."""
        assert isinstance(self.environment, Recordable)
        with self._timed("environment"):
            self.environment.count_step()
            self._rollout()
            self.replay.count_step()

    def _roll(self) -> None:
        """What is recorded of it: all on tensors, from the present step to the next in its place."""
        assert isinstance(self.environment, Recordable)
        now = self.current
        actions = self.learner.act(now.observation, now.graph, self.generators["actions"], greedy=False)
        step = self.environment.advance(actions)
        self.replay.write(actions, step)
        self.reward_scale.observe(step.reward)
        overwrite(now, step)

    def _gradient_step(self) -> None:
        self._learn()
        self.metrics.count += 1
        self.updates += 1

    def _learn_from_batch(self) -> None:
        """A gradient step on tensors alone: a batch, its rewards as learners see them, the update, its metrics."""
        batch = self.replay.sample(self.settings.batch_size, self.generators["replay"])
        batch = batch._replace(reward=self.reward_scale.apply(batch.reward))
        self.metrics.add(self.learn(batch, self.generators["update"]))

    def take_metrics(self) -> dict[str, Any]:
        """Means since the last call, for metrics.jsonl. Raises UserError where a metric is not finite."""
        record: dict[str, Any] = {"step": self.environment_step, "update": self.updates}
        returns, count = self._episode_returns(), self.metrics.count
        if returns:
            record["train/return"] = sum(returns) / len(returns)
        sums = self.metrics.sums if count else {}
        scale = self.reward_scale
        *totals, mean, deviation = read([*sums.values(), scale.mean(), scale.standard_deviation()])
        record |= {name: total / count for name, total in zip(sums, totals, strict=True)}
        record |= {"reward/mean": mean, "reward/std": deviation}
        self.metrics.clear(in_place=self.records)
        self.ended_returns = []
        for name, value in record.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{name} is {value} at step {self.environment_step}: training diverged; "
                    "try a lower --set algorithm.learning_rate"
                )
        return record

    def _episode_returns(self) -> list[float]:
        return torch.cat(self.ended_returns).tolist() if self.ended_returns else []

    def evaluate(self) -> list[dict[str, Any]]:
        """Greedy and sampled episodes on the fixed evaluation starts; training is not touched."""
        with self._timed("evaluation"):
            return evaluation.evaluate(
                self.evaluation_environment, self.learner, self.settings.evaluation_seed, self.environment_step
            )

    def evaluate_fully(self, full: dict[str, Any]) -> dict[str, Any]:
        """The trained policies on episodes with the environment settings `full`, for full_evaluation.json."""
        environment = self.config.make_environment(self.settings.evaluation_episodes, **full)
        with self._timed("evaluation"):
            records = evaluation.evaluate(
                environment, self.learner, self.settings.evaluation_seed, self.environment_step
            )
        return {"settings": full, "evaluation_seed": self.settings.evaluation_seed, "evaluations": records}

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        begin = self._now()
        yield
        self.seconds[phase] += self._now() - begin

    def _now(self) -> float:
        """Seconds on a clock that goes on; with `training.synchronise_timing`, once the GPU has done its work."""
        if self.settings.synchronise_timing and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the rest of the run."""
        replay_fits = self.replay.nbytes <= self.settings.checkpoint_replay_gib * 2**30
        step = self.current
        return {
            "learner": self.learner.state_dict(),
            "environment": self.environment.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "replay": self.replay.state_dict() if replay_fits else None,
            "reward_scale": self.reward_scale.state_dict(),
            "counters": [self.environment_step, self.updates, self.owed, self.metrics.count],
            "metric_sums": {name: total.clone() for name, total in self.metrics.sums.items()},
            "episode_returns": self._episode_returns(),
            "current": [step.observation, *step.graph, step.reward, step.terminated, step.truncated],
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Continue from `state_dict`; returns whether the replay was part of it."""
        self.learner.load_state_dict(state["learner"])
        self.environment.load_state_dict(state["environment"])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name].cpu())
        self.reward_scale.load_state_dict(state["reward_scale"])
        self.environment_step, self.updates, self.owed, self.metrics.count = state["counters"]
        self.metrics.sums = dict(state["metric_sums"])
        self.ended_returns = [torch.tensor(state["episode_returns"], dtype=torch.float64, device=self.device)]
        observation, neighbours, mask, *rest = state["current"]
        self.current = Step(observation, Graph(neighbours, mask), *rest)
        if state["replay"] is not None:
            self.replay.load_state_dict(state["replay"])
        else:
            self.current = self.environment.reset()
            self.replay.begin_episode(self.current)
        self._prepare()
        return state["replay"] is not None


class Recorder:
    """Decides when to log, evaluate and checkpoint, and writes it to the run folder."""

    def __init__(self, training: Training, folder: RunFolder, progress: Progress) -> None:
        self.training, self.folder, self.progress = training, folder, progress
        self.config, self.settings = training.config, training.settings
        self.begin = time.monotonic()
        self.wall_before = 0.0
        self.last_checkpoint = self.begin
        self.stop_requested = False

    @property
    def wall_seconds(self) -> float:
        """Wall time of the run, earlier starts counted in up to their last checkpoint."""
        return self.wall_before + time.monotonic() - self.begin

    def resume(self) -> None:
        """Continue from the checkpoint, or record the evaluation of the untrained learner."""
        note = ""
        if self.folder.checkpoint.exists():
            advice = f"restore it, or delete {self.folder.path} to make the run again"
            state = load_checkpoint(self.folder.checkpoint, self.config.device, advice)
            try:
                if state["format"] != CHECKPOINT_FORMAT:
                    raise KeyError(f"format {state['format']}, expected {CHECKPOINT_FORMAT}")
                if not self.training.load_state_dict(state["training"]):
                    note = "the replay was larger than training.checkpoint_replay_gib and is being refilled"
            except (KeyError, RuntimeError, ValueError, TypeError) as error:
                raise UserError(
                    f"{self.folder.checkpoint} does not fit this version of the code ({str(error)[:120]}); "
                    f"delete {self.folder.path} to make the run again"
                ) from error
            for name, position in state["logs"].items():
                self.folder.logs[name].rewind(position)
            self.wall_before = state["wall_seconds"]
            self.progress.scores.update(status_of(self.folder.path).get("scores", {}))
            self.progress.note(f"resumed at step {self.training.environment_step}" + (f": {note}" if note else ""))
        else:
            for log in self.folder.logs.values():
                with readable_os_errors(log.path):
                    log.path.unlink(missing_ok=True)
            self._evaluate()
        config, size = self.config, self.settings.batch_size
        spec, settings = self.training.spec, config.algorithm_settings
        micro_batch = algorithms.micro_batch_size(config.algorithm, spec, settings, size, config.device)
        self.folder.record_machine(self.training.environment_step, config.device, micro_batch, note)
        self._write_status("running")

    def after_block(self, before: int) -> None:
        """Called after every block of training; `before` is the environment step at its start."""
        self._check_lock()
        now = self.training.environment_step
        done = now >= self.config.total_steps
        if done or now // self.settings.log_interval > before // self.settings.log_interval:
            self._log()
        if done or now // self.settings.evaluation_interval > before // self.settings.evaluation_interval:
            self._evaluate()
        due = time.monotonic() - self.last_checkpoint >= self.settings.checkpoint_seconds
        if (due or self.stop_requested) and not done:
            self.save()
        self.progress.advance_to(now)

    def _check_lock(self) -> None:
        """Raises UserError where another process has taken the folder, for which this one was silent for too long."""
        if self.folder.lock.lost:
            holder = holder_of(self.folder.path)
            raise UserError(f"{self.folder.path} was taken over by {holder}: this process gives way")

    def _log(self) -> None:
        self.folder.metrics.append(self.training.take_metrics())
        environment = self.training.environment
        if isinstance(environment, Interpretable):
            self.folder.interpretation.append({"step": self.training.environment_step, **environment.take_statistics()})
        now, wall = self.training.environment_step, self.wall_seconds
        seconds = {phase: round(value, 3) for phase, value in self.training.seconds.items()}
        rate = round(now / wall, 2) if wall else 0.0
        self.folder.timing.append(
            {"step": now, "wall_seconds": round(wall, 3), "env_steps_per_second": rate, "seconds": seconds}
        )
        self._write_status("running")

    def _evaluate(self) -> None:
        for record in self.training.evaluate():
            self.folder.evaluation.append(record)
            mean = sum(record["returns"]) / len(record["returns"])
            self.progress.score(self.training.environment_step, record["policy"], mean)

    def save(self) -> None:
        """Write a checkpoint, tied to the present length of the logs."""
        logs = self.folder.logs
        for log in logs.values():
            log.sync()
        state = {
            "format": CHECKPOINT_FORMAT,
            "training": self.training.state_dict(),
            "logs": {name: log.position() for name, log in logs.items()},
            "wall_seconds": self.wall_seconds,
        }
        save_checkpoint(self.folder.checkpoint, state)
        self.last_checkpoint = time.monotonic()

    def finish(self) -> None:
        """Keep the trained learner, drop the checkpoint, mark the run finished."""
        full = envs.full_evaluation(self.config.task)
        if full:
            with readable_os_errors(self.folder.path):
                write_json(self.folder.full_evaluation, self.training.evaluate_fully(full))
        state = {"learner": self.training.learner.state_dict(), "config": self.config.record()}
        save_checkpoint(self.folder.policy, state)
        self._write_status("finished")
        self.folder.checkpoint.unlink(missing_ok=True)

    def _write_status(self, state: str) -> None:
        step, scores = self.training.environment_step, self.progress.scores
        self.folder.write_status(state, step, self.wall_seconds, scores=scores)


def run(config: RunConfig, results: str | Path, quiet: bool = False) -> Path:
    """Train until `config.total_steps`, resuming where a checkpoint exists; returns the run folder.

    Raises UserError for what a user can mend (see `benchmark.errors`) and stops with KeyboardInterrupt, after writing a
    checkpoint, on SIGTERM, SIGUSR1, SIGUSR2, SIGHUP (unless that is ignored) and Ctrl-C.
    """
    results = Path(results)
    path = run_path(results, config)
    if not is_finished(path):
        require(config)
    stop = Stop()
    blocks = blocks_of(config, results, stop, quiet)
    for _ in blocks:  # the run is ready, or was finished
        with stop_signals(stop):
            for _ in blocks:
                pass
    return path


class Stop:
    """Asks runs to write a checkpoint and stop, when a signal says so or from `deadline` on, a value of
    `time.monotonic`."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.signalled = False

    @property
    def requested(self) -> bool:
        return self.signalled or (self.deadline is not None and time.monotonic() >= self.deadline)


def blocks_of(
    config: RunConfig, results: Path, stop: Stop, quiet: bool = False, bar: bool = True
) -> Generator[None, None, None]:
    """A run as an iterator that goes on by one block at a time: first it gets ready, then trains, then finishes. A run
    that is finished has no blocks.

    Raises what `run` raises; KeyboardInterrupt, after writing a checkpoint, where it has been asked to stop.
    """
    folder = RunFolder(results, config)
    try:
        if is_finished(folder.path):  # asked again: another process may have had it until now
            return
        title = f"{config.task} {config.algorithm} seed {config.seed}"
        progress = Progress(title, config.total_steps, quiet, bar)
        recorder = Recorder(Training(config), folder, progress)
        with progress:
            yield
            yield from _train(recorder, stop)
    except Exception as error:
        if not folder.lock.lost:
            folder.mark_failed(f"{type(error).__name__}: {error}")
        raise
    finally:
        folder.close()


def is_finished(path: Path) -> bool:
    """Whether the run of a folder is."""
    return status_of(path)["state"] == "finished"


def require(config: RunConfig) -> None:
    """Refuse a run that cannot work here, before anything is written. Raises UserError or UnsupportedTaskError."""
    spec = config.spec()
    algorithms.check_supported(config.algorithm, spec)
    require_learning(config, spec)
    acceleration.require(config.training.acceleration, config.device)
    kernels.require(config.training.kernels, config.device)
    memory.require(config)


def _train(recorder: Recorder, stop: Stop) -> Iterator[None]:
    training = recorder.training
    if stop.requested:
        raise KeyboardInterrupt
    recorder.resume()
    while training.environment_step < recorder.config.total_steps:
        before = training.environment_step
        training.advance()
        recorder.stop_requested = stop.requested
        recorder.after_block(before)
        if recorder.stop_requested and training.environment_step < recorder.config.total_steps:
            raise KeyboardInterrupt
        yield
    recorder.finish()


@contextmanager
def stop_signals(stop: Stop) -> Iterator[None]:
    """Ask runs to write a checkpoint and stop when a scheduler or a user says so. Handlers of signals are for the main
    thread alone: a run in another one is stopped by its deadline, or with the process."""

    def request(number: int, frame: object) -> None:
        stop.signalled = True

    names = stopping(signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
    previous = {name: signal.signal(name, request) for name in names}
    try:
        yield
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of `python -m benchmark.train`."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.train", description=first_line(__doc__))
    parser.add_argument(
        "--task",
        required=True,
        help=f"for example {TASKS[0].name}, see benchmark/tasks.py; or the path of a CityFlow configuration",
    )
    parser.add_argument("--algorithm", required=True, help=f"one of {', '.join(algorithms.ALGORITHMS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--total-steps", type=int, help="environment steps over all copies; default: the paper's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:K")
    parser.add_argument("--results", type=Path, default=Path("results/raw"), help="folder below which runs are kept")
    parser.add_argument("--variant", help="label of these settings; default: made from the --set options")
    parser.add_argument("--engine", help="engine of cityflow tasks: builtin or cityflow")
    parser.add_argument("--backend", help="engine of magent tasks: auto, numba, torch or magent2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


def main() -> int:
    """Entry point of `python -m benchmark.train`."""
    options = parse_arguments()
    task, overrides = located(options.task, parse_assignments(options.assignments))
    config = resolve(
        task,
        options.algorithm,
        options.seed,
        options.total_steps if options.total_steps is not None else default_total_steps(task),
        overrides | engine_override(task, options),
        options.variant,
        choose_device(options.device),
    )
    path = run(config, options.results, options.quiet)
    tell(f"finished: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
