"""Concurrent runs on this machine, each in a separate process, started warm (`benchmark.launchers.warm`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

from tqdm import tqdm

from benchmark.config import RunConfig
from benchmark.console import unheard
from benchmark.errors import InUseError, NoSpaceError, UserError
from benchmark.launchers.warm import SERVER_DIED, WarmProcess
from benchmark.plan import PlannedRun
from benchmark.references import evaluation_of, origin_of
from benchmark.requests import RunRequest
from benchmark.signals import stopping
from benchmark.status import duration, state_of
from results.files import readable_os_errors
from results.folder import status_of
from results.layout import OUTPUT, SWEEP, run_folder

POLL_SECONDS = 0.5
"""Longest interval in seconds between two checks of the processes."""
REFERENCES_LOG = f"{SWEEP}/references.log"
"""Log of the process that plays the reference policies, in the results folder."""
MOST_DEATHS = 3
"""Number of times that a run may be killed without having made progress."""


Process = WarmProcess | subprocess.Popen[bytes]


def command_of(request: RunRequest, device: str, results: Path) -> list[str]:
    """The module and arguments that start or continue a run."""
    task, algorithm, variant, seed = request.key
    command = ["benchmark.train", "--task", task, "--algorithm", algorithm, "--seed", str(seed)]
    command += ["--total-steps", str(request.total_steps), "--variant", variant]
    command += ["--device", device, "--results", str(results)]
    return command + [f"--set={key}={value}" for key, value in request.overrides.items()]


def references_command(configs: Sequence[RunConfig], results: Path) -> list[str]:
    """The module and arguments that play the reference policies of one task for its runs."""
    command = ["benchmark.references", "--tasks", configs[0].task, "--results", str(results)]
    episodes, seed = evaluation_of(configs)
    command += ["--episodes", str(episodes), "--seed", str(seed)]
    return command + [f"--set=environment.{name}={value}" for name, value in origin_of(configs[0]).items() if value]


def environment_of(threads: int) -> dict[str, str]:
    """Environment variables of a run's process: the number of threads of its settings, for all libraries, and the path
    of the packages that this process uses, so that a folder called envs in the working directory does not shadow the
    project's."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}


def start(request: RunRequest, config: RunConfig, device: str, results: Path) -> Process:
    """Start or continue a run in a separate process, which does not receive this one's Ctrl-C. Its output goes to
    output.log in its folder. Raises UserError where that cannot be written."""
    log = run_folder(results, request.key) / OUTPUT
    with readable_os_errors(log.parent):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.open("ab").close()
    return start_process(command_of(request, device, results), log, config.training.threads)


def start_process(command: Sequence[str], log: Path, threads: int) -> Process:
    """Start `python -m COMMAND` in a new session, with its output appended to `log`. The process is warm with one
    thread and cold with more, because libraries read the number of threads at import."""
    module, *arguments = command
    environment = environment_of(threads)
    if threads == 1:
        return WarmProcess(module, arguments, log, environment)
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def reason_of(folder: Path, returncode: int) -> str:
    """The reason why a process that ended did not finish the run of a folder; empty where it did."""
    try:
        status = status_of(folder)
    except UserError:
        status = {"state": "absent"}
    if returncode == 0 and status.get("state") == "finished":
        return ""
    if returncode == NoSpaceError.exit_status:  # the process may have been unable to record it
        return f"cannot write {folder}: the disk is full or the quota exceeded: free some space"
    if returncode < 0:
        return f"stopped by {signal.Signals(-returncode).name}; its last checkpoint is kept"
    message = status.get("message") if status.get("state") == "failed" else ""
    return message or _last_line(folder / OUTPUT) or f"exit status {returncode}"


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
    return lines[-1] if lines else ""


class Pool:
    """Makes a few runs at a time, starting the next one whenever one ends. GPUs take turns. One further process plays
    the reference policies of the tasks concurrently."""

    def __init__(self, results: Path, workers: int, devices: Sequence[str], references: Sequence[list[str]]) -> None:
        self.results, self.workers, self.devices = results, workers, tuple(devices)
        self.references = list(references)
        """Commands that play the reference policies, run one after the other."""
        self._playing: Process | None = None
        self.unplayed = 0
        """Number of these commands that failed."""
        self.waiting: list[PlannedRun] = []
        self.running: dict[Process, tuple[PlannedRun, str]] = {}
        self.failed: list[PlannedRun] = []
        self._deaths: dict[str, tuple[int, int]] = {}
        self.elsewhere: list[PlannedRun] = []
        """Runs that another process has finished or is working on."""

    def run(self, plans: Sequence[PlannedRun]) -> None:
        """Make all runs; returns when every one has finished or failed. Ctrl-C, SIGTERM and SIGHUP stop all of them
        after a checkpoint and raise KeyboardInterrupt."""
        self.waiting = list(plans)
        total = sum(item.request.total_steps for item in plans)
        bar = tqdm(total=total, desc="sweep", unit="step", unit_scale=True, disable=not sys.stderr.isatty())
        done_steps = 0
        before = {number: signal.signal(number, _interrupt) for number in stopping(signal.SIGTERM)}
        try:
            while self.waiting or self.running or self.references or self._playing:
                self._play_references()
                while self.waiting and len(self.running) < self.workers:
                    self._start(self.waiting.pop(0))
                self._rest()
                done_steps += self._collect()
                bar.n = done_steps + sum(self._steps_of(item) for item, _ in self.running.values())
                with unheard(sys.stderr):
                    bar.set_postfix(running=len(self.running), waiting=len(self.waiting), failed=len(self.failed))
        finally:
            self.stop()
            with unheard(sys.stderr):
                bar.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _rest(self) -> None:
        """Wait until a warm process ends, for a limited time: cold processes must be polled, and progress is shown."""
        processes = [*self.running, self._playing]
        ends = [process.sentinel for process in processes if isinstance(process, WarmProcess)]
        if ends:
            wait(ends, POLL_SECONDS)
        else:
            time.sleep(POLL_SECONDS)

    def _play_references(self) -> None:
        """Start the next command for reference policies once the previous one has ended."""
        log = self.results / REFERENCES_LOG
        if self._playing is not None and self._playing.poll() is not None:
            if self._playing.returncode:
                self.unplayed += 1
                _say(f"FAILED    reference policies: {_last_line(log)} (see {log})")
            self._playing = None
        if self._playing is None and self.references:
            command = self.references.pop(0)
            try:
                with readable_os_errors(log):
                    log.parent.mkdir(parents=True, exist_ok=True)
                    log.open("ab").close()
                self._playing = start_process(command, log, threads=1)
            except UserError as error:
                self.unplayed += 1
                _say(f"FAILED    reference policies: {error}")

    def _start(self, item: PlannedRun) -> None:
        assert item.config is not None
        now = state_of(self.results, item.request)
        if now.state in ("finished", "running"):  # another sweep was faster
            self.elsewhere.append(item)
            return
        busy = [device for _, device in self.running.values()]
        device = min(self.devices, key=busy.count)
        try:
            process = start(item.request, item.config, device, self.results)
        except UserError as error:
            self._fail(item, str(error))
            return
        self.running[process] = (item, device)
        _say(f"started   {item.name}" + (f" on {device}" if len(self.devices) > 1 else ""))

    def _collect(self) -> int:
        """Handle processes that have ended; returns the steps of their runs."""
        steps = 0
        for process in [process for process in self.running if process.poll() is not None]:
            item, _ = self.running.pop(process)
            assert process.returncode is not None
            steps += item.request.total_steps
            reason = reason_of(self._folder(item), process.returncode)
            if process.returncode == InUseError.exit_status or self._goes_on_alone(item, process):
                self.elsewhere.append(item)
            elif process.returncode < 0 and self._may_begin_again(item):
                steps -= item.request.total_steps
                self.waiting.append(item)
                _say(f"KILLED    {item.name}: {reason}; it will continue from there")
            elif reason:
                self._fail(item, reason)
            else:
                _say(f"finished  {item.name} in {duration(status_of(self._folder(item))['wall_seconds'])}")
        return steps

    def _goes_on_alone(self, item: PlannedRun, process: Process) -> bool:
        """Whether a run is still active although the exit status of its process can no longer be known."""
        return process.returncode == SERVER_DIED and state_of(self.results, item.request).state == "running"

    def _may_begin_again(self, item: PlannedRun) -> bool:
        """Whether a run whose process was killed is started once more: not endlessly where it makes no progress, for
        example because it exceeds the memory."""
        step = self._steps_of(item)
        before, deaths = self._deaths.get(item.name, (-1, 0))
        deaths = deaths + 1 if step <= before else 1
        self._deaths[item.name] = (step, deaths)
        return deaths < MOST_DEATHS

    def _fail(self, item: PlannedRun, reason: str) -> None:
        item.reason = reason
        self.failed.append(item)
        _say(f"FAILED    {item.name}: {reason} (see {self._folder(item) / OUTPUT})")

    def _folder(self, item: PlannedRun) -> Path:
        return run_folder(self.results, item.key)

    def _steps_of(self, item: PlannedRun) -> int:
        return state_of(self.results, item.request).step

    def stop(self) -> None:
        """Ask running processes to write a checkpoint and stop, and wait for them."""
        if self._playing is not None and self._playing.poll() is None:
            self._playing.send_signal(signal.SIGTERM)
            self._playing.wait()
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.wait()


def _interrupt(number: int, frame: object) -> None:
    """Handler that treats other signals like Ctrl-C."""
    raise KeyboardInterrupt


def _say(text: str) -> None:
    with unheard(sys.stdout):
        tqdm.write(text) if sys.stderr.isatty() else print(text, flush=True)
