"""A training run with its folder: starting or resuming, logging, evaluation, checkpoints and completion."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import algorithms
import envs
from benchmark import acceleration, kernels, memory, tensorboard
from benchmark.budget import require_learning
from benchmark.config import RunConfig
from benchmark.errors import UserError, says_enough
from benchmark.machine import files_of, machine_facts
from benchmark.progress import Progress
from benchmark.signals import stopping
from benchmark.tensorboard import EventFile
from benchmark.training import Training
from envs.protocols import Interpretable
from results.checkpoints import load_checkpoint, save_checkpoint
from results.files import readable_os_errors, write_json
from results.folder import RunFolder, is_finished, status_of
from results.layout import run_folder
from results.lock import holder_of

CHECKPOINT_FORMAT = 1


class RunWriter:
    """Decides when to log, evaluate and checkpoint, and writes it to the run folder."""

    def __init__(self, training: Training, folder: RunFolder, progress: Progress) -> None:
        self.training, self.folder, self.progress = training, folder, progress
        self.config, self.settings = training.config, training.settings
        self.begin = time.monotonic()
        self.wall_before = 0.0
        self.last_checkpoint = self.begin
        self.stop_requested = False
        self.events: EventFile | None = None
        """The TensorBoard event file if one is written."""

    @property
    def wall_seconds(self) -> float:
        """Wall time of the run in seconds, including earlier starts up to their last checkpoint."""
        return self.wall_before + time.monotonic() - self.begin

    def resume(self) -> None:
        """Continue from the checkpoint, or record the evaluation of the untrained learner."""
        notes: list[str] = []
        block_began = None
        if self.folder.checkpoint.exists():
            advice = f"restore it, or delete {self.folder.path} to rerun it"
            state = load_checkpoint(self.folder.checkpoint, self.config.device, advice)
            try:
                if state["format"] != CHECKPOINT_FORMAT:
                    raise KeyError(f"format {state['format']}, expected {CHECKPOINT_FORMAT}")
                if not self.training.load_state_dict(state["training"]):
                    notes.append("the replay buffer exceeded training.checkpoint_replay_gib and is being refilled")
                block_began = state.get("block_began")
                written = [(self.folder.logs[name], position) for name, position in state["logs"].items()]
                self.wall_before = float(state["wall_seconds"])
            except (AttributeError, KeyError, RuntimeError, ValueError, TypeError) as error:
                if says_enough(error):
                    raise
                raise UserError(
                    f"{self.folder.checkpoint} does not fit this version of the code ({str(error)[:120]}); "
                    f"delete {self.folder.path} to rerun it"
                ) from error
            if self.training.episode_restarted:
                notes.append("the environment did not return to the same state, so a new episode was started")
            for log, position in written:
                log.rewind(position)
            self.progress.scores.update(status_of(self.folder.path).get("scores", {}))
            notes += self._growth()
            more = f": {'; '.join(notes)}" if notes else ""
            self.progress.note(f"resumed at step {self.training.environment_step}{more}")
        else:
            for log in self.folder.logs.values():
                with readable_os_errors(log.path):
                    log.path.unlink(missing_ok=True)
            self._evaluate()
        config, size = self.config, self.settings.batch_size
        spec, settings = self.training.spec, config.algorithm_settings
        micro_batch = algorithms.micro_batch_size(config.algorithm, spec, settings, size, config.device)
        step = self.training.environment_step
        self.folder.record_start(
            machine_facts(config.device)
            | files_of(config.task)
            | {"from_step": step, "micro_batch": micro_batch, "note": "; ".join(notes)}
        )
        self._write_status("running")
        if self.settings.tensorboard:
            self.events = EventFile(self.folder.path)
        if block_began is not None:  # not logged yet: a block's log depends on whether the run ends with it
            self.training.learner.schedule(block_began, self.config.total_steps)
            self.after_block(block_began)

    def _growth(self) -> list[str]:
        """Notes for a run that is extended to more steps."""
        before, now = self.folder.grown_from, self.config.total_steps
        if before is None:
            return []
        schedules = self.config.algorithm_settings.annealed(before, now)
        note = f"grown from {before} to {now} steps"
        if schedules:
            note += f"; until here {' and '.join(schedules)} followed the earlier length, from here on the new one"
        return [note]

    def after_block(self, before: int) -> None:
        """Called after every block of training; `before` is the environment step at its start."""
        self._check_lock()
        now = self.training.environment_step
        done = now >= self.config.total_steps
        if done and self.settings.keep_checkpoint:
            self.save(block_began=before)
        if done or now // self.settings.log_interval > before // self.settings.log_interval:
            self._log()
        if done or now // self.settings.evaluation_interval > before // self.settings.evaluation_interval:
            self._evaluate()
        due = time.monotonic() - self.last_checkpoint >= self.settings.checkpoint_seconds
        if (due or self.stop_requested) and not done:
            self.save()
        self.progress.advance_to(now)

    def _check_lock(self) -> None:
        """Raises UserError where another process has taken over the folder after this one was silent for too long."""
        if self.folder.lock.lost:
            holder = holder_of(self.folder.path)
            raise UserError(f"{self.folder.path} was taken over by {holder}: this process stops")

    def _log(self) -> None:
        row = self.training.take_metrics()
        self.folder.metrics.append(row)
        if self.events is not None:
            self.events.add_metrics(row)
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
            if self.events is not None:
                self.events.add_evaluation(record)
            mean = sum(record["returns"]) / len(record["returns"])
            self.progress.score(self.training.environment_step, record["policy"], mean)

    def save(self, block_began: int | None = None) -> None:
        """Write a checkpoint, tied to the present length of the logs; `block_began` is the environment step at which a
        block began that has not been logged yet."""
        logs = self.folder.logs
        for log in logs.values():
            log.sync()
        state = {
            "format": CHECKPOINT_FORMAT,
            "training": self.training.state_dict(),
            "logs": {name: log.position() for name, log in logs.items()},
            "wall_seconds": self.wall_seconds,
        } | ({} if block_began is None else {"block_began": block_began})
        save_checkpoint(self.folder.checkpoint, state)
        self.last_checkpoint = time.monotonic()

    def finish(self) -> None:
        """Save the trained learner, remove the checkpoint unless it is kept, and mark the run finished."""
        full = envs.full_evaluation(self.config.task)
        if full:
            with readable_os_errors(self.folder.path):
                write_json(self.folder.full_evaluation, self.training.evaluate_fully(full))
        state = {"learner": self.training.learner.state_dict(), "config": self.config.record()}
        save_checkpoint(self.folder.policy, state)
        self._write_status("finished")
        if not self.settings.keep_checkpoint:
            self.folder.checkpoint.unlink(missing_ok=True)

    def _write_status(self, state: str) -> None:
        step, scores = self.training.environment_step, self.progress.scores
        self.folder.write_status(state, step, self.wall_seconds, scores=scores)


def run(config: RunConfig, results: str | Path, quiet: bool = False) -> Path:
    """Train until `config.total_steps`, resuming where a checkpoint exists; returns the run folder.

    Raises UserError for errors that a user can fix (see `benchmark.errors`), and stops with KeyboardInterrupt, after
    writing a checkpoint, on SIGTERM, SIGUSR1, SIGUSR2, SIGHUP (unless that is ignored) and Ctrl-C.
    """
    results = Path(results)
    path = run_folder(results, config.key)
    if not is_finished(path, config.total_steps):
        require(config)
    stop = Stop()
    blocks = blocks_of(config, results, stop, quiet)
    for _ in blocks:  # the run is ready, or already finished
        with stop_signals(stop):
            for _ in blocks:
                pass
    return path


class Stop:
    """A request to write a checkpoint and stop, made by a signal or at `deadline`, a value of `time.monotonic`."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.signalled = False

    @property
    def requested(self) -> bool:
        return self.signalled or (self.deadline is not None and time.monotonic() >= self.deadline)


def blocks_of(
    config: RunConfig, results: Path, stop: Stop, quiet: bool = False, bar: bool = True
) -> Generator[None, None, None]:
    """A run as an iterator over its blocks, which prepares, trains and finishes it. A finished run has no blocks.

    Raises what `run` raises; KeyboardInterrupt, after writing a checkpoint, where a stop was requested.
    """
    folder = RunFolder(results, config.record())
    try:
        if is_finished(folder.path, config.total_steps):  # another process may have held it until now
            return
        title = f"{config.task} {config.algorithm} seed {config.seed}"
        progress = Progress(title, config.total_steps, quiet, bar)
        writer = RunWriter(Training(config), folder, progress)
        with progress:
            yield
            try:
                yield from _train(writer, stop)
            finally:
                if writer.events is not None:
                    writer.events.close()
    except Exception as error:
        if not folder.lock.lost:
            folder.mark_failed(f"{type(error).__name__}: {error}")
        raise
    finally:
        folder.close()


def require(config: RunConfig) -> None:
    """Raises UserError or UnsupportedTaskError for a run that this machine cannot make, before anything is written."""
    spec = config.spec()
    algorithms.check_supported(config.algorithm, spec)
    require_learning(config, spec)
    acceleration.require(config.training.acceleration, config.device)
    kernels.require(config.training.kernels, config.device)
    memory.require(config)
    if config.training.tensorboard:
        tensorboard.require()


def _train(writer: RunWriter, stop: Stop) -> Iterator[None]:
    training = writer.training
    if stop.requested:
        raise KeyboardInterrupt
    writer.resume()
    while training.environment_step < writer.config.total_steps:
        before = training.environment_step
        training.advance()
        writer.stop_requested = stop.requested
        writer.after_block(before)
        if writer.stop_requested and training.environment_step < writer.config.total_steps:
            raise KeyboardInterrupt
        yield
    writer.finish()


@contextmanager
def stop_signals(stop: Stop) -> Iterator[None]:
    """Request a stop when a scheduler or user sends a signal. Python allows signal handlers in the main thread only: a
    run in another thread stops at its deadline or with the process."""

    def request(number: int, frame: object) -> None:
        stop.signalled = True

    names = stopping(signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
    previous = {name: signal.signal(name, request) for name in names}
    try:
        yield
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
