"""Trials on this machine: each in a process and a process group of its own, `workers` at a time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import cloudpickle

from rltune.errors import ExecutorError, TrainerError
from rltune.executors.gpus import GpuPool, gpu_memory_bytes, visible_gpus
from rltune.executors.measure import kernel_oom_kills, process_tree, resident_bytes
from rltune.executors import zygote
from rltune.executors.zygote import Broken, Ended, Launch, Ready, Setup, Started
from rltune.types import Brain, Cause, Decision, Idle, Measurement, Outcome, Resources, Suggestion, Trainer, Usage

_POLL_SECONDS = 0.2
"""How soon a limit, a stop request or a signal is seen."""

_SAMPLE_SECONDS = 0.5
"""How often a trial's memory is read."""

_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
"""Signals that a process earns by its own doing."""


@dataclass(frozen=True)
class LocalExecutor:
    """Runs up to `workers` trials at once, fewer where there are not GPUs for so many.

    Attributes:
        resources: What each trial may use; the executor enforces it.
        gpus: The GPUs to hand out; None for all that this process may see.
        warm: Load the trainer once and fork, instead of starting a Python for every trial.
        log: Where the fork server's own output goes, such as what a module prints when it is imported.

    Raises:
        TrainerError: From `run`: the trainer cannot be loaded.
        ExecutorError: From `run`: too few GPUs, or the workers cannot be started.
    """

    workers: int = 1
    resources: Resources = field(default_factory=Resources)
    gpus: Sequence[str] | None = None
    warm: bool = True
    log: Path | None = None

    def run(self, brain: Brain, trainer: Trainer, should_stop: Callable[[], bool] = lambda: False) -> None:
        pool = None
        if self.resources.gpus > 0:
            pool = GpuPool(visible_gpus() if self.gpus is None else self.gpus, self.resources.gpus)
        n_slots = self.workers if pool is None else min(self.workers, pool.n_slots)
        with _Server(trainer, warm=self.warm, log=self.log) as server:
            _Session(brain, server, self.resources, n_slots, pool).run(should_stop)


class _Stop(NamedTuple):
    """Why a trial is being ended from outside."""

    cause: Cause
    message: str


@dataclass
class _Running:
    """A trial's process, seen from outside."""

    suggestion: Suggestion
    pipe: Connection[Any, Any]
    gpus: tuple[str, ...]
    began: float
    pid: int | None = None
    outcome: Outcome | None = None
    stop: _Stop | None = None
    term_at: float | None = None
    kill_at: float | None = None
    sampled: float = 0.0
    memory_bytes: int = 0
    gpu_memory_bytes: int | None = None
    oom_kills: int = field(default_factory=kernel_oom_kills)


class _Session:
    """One call of `run`: the trials that are running, and what happens to them."""

    def __init__(self, brain: Brain, server: _Server, resources: Resources, n_slots: int, pool: GpuPool | None) -> None:
        self._brain = brain
        self._server = server
        self._resources = resources
        self._n_slots = n_slots
        self._pool = pool
        self._trials: dict[int, _Running] = {}

    def run(self, should_stop: Callable[[], bool]) -> None:
        while True:
            stopping = should_stop()
            if stopping:
                for trial in self._trials.values():
                    self._end(trial, _Stop(Cause.INTERRUPTED, "the study was stopped while the trial ran"))
            elif self._fill() is Idle.DONE and not self._trials:
                return
            if stopping and not self._trials:
                return
            self._wait()
            for trial in list(self._trials.values()):
                self._enforce(trial)

    def _fill(self) -> Idle | None:
        """Starts trials until every slot is taken; says why where one stays free."""
        while len(self._trials) < self._n_slots:
            suggestion = self._brain.suggest()
            if isinstance(suggestion, Idle):
                if suggestion is Idle.WAIT and not self._trials:
                    raise AssertionError("the brain waits for trials to end, and none is running")
                return suggestion
            self._start(suggestion)
        return None

    def _start(self, suggestion: Suggestion) -> None:
        env: dict[str, str] = {}
        gpus: tuple[str, ...] = ()
        if self._pool is not None:
            gpus = self._pool.take() or ()
            env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        pipe = self._server.launch(suggestion, env)
        self._trials[suggestion.number] = _Running(suggestion, pipe, gpus, time.monotonic())

    # --- what trials say ---------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        pipes = {trial.pipe: trial for trial in self._trials.values() if trial.outcome is None}
        ready = wait([*pipes, self._server.control], timeout=_POLL_SECONDS)
        for pipe in ready:
            if pipe is not self._server.control:
                self._hear(pipes[cast("Connection[Any, Any]", pipe)])
        if self._server.control in ready:
            self._hear_server()

    def _hear(self, trial: _Running) -> bool:
        """Takes one message of a trial; False at the end of its pipe."""
        try:
            message = trial.pipe.recv()
        except (EOFError, OSError):
            trial.outcome = trial.outcome or None
            return False
        if isinstance(message, Outcome):
            trial.outcome = message
        elif isinstance(message, Measurement):
            self._answer(trial, self._brain.observe(trial.suggestion.number, message))
        return True

    def _answer(self, trial: _Running, decision: Decision) -> None:
        if trial.stop is not None:
            decision = Decision.STOP
        if decision is Decision.STOP and trial.term_at is None:
            trial.term_at = time.monotonic() + self._resources.grace_seconds
        try:
            trial.pipe.send(decision)
        except OSError:
            pass  # it died while it waited; its end will be told

    def _hear_server(self) -> None:
        for message in self._server.receive():
            if isinstance(message, Started):
                self._trials[message.number].pid = message.pid
            else:
                self._finish(message)

    def _finish(self, ended: Ended) -> None:
        trial = self._trials.pop(ended.number)
        while trial.outcome is None and trial.pipe.poll() and self._hear(trial):
            pass
        trial.pipe.close()
        if self._pool is not None:
            self._pool.give_back(trial.gpus)
        usage = Usage(
            seconds=time.monotonic() - trial.began,
            memory_bytes=max(trial.memory_bytes, ended.max_rss_bytes),
            gpu_memory_bytes=trial.gpu_memory_bytes,
        )
        self._brain.finish(ended.number, replace(_outcome(trial, ended.status), usage=usage))

    # --- limits ------------------------------------------------------------------------------------------------------

    def _enforce(self, trial: _Running) -> None:
        now, limit = time.monotonic(), self._resources.seconds
        if trial.outcome is None and limit is not None and now - trial.began > limit:
            self._end(trial, _Stop(Cause.TIMEOUT, f"ran longer than {limit:g} s, which is what a trial may"))
        if now - trial.sampled > _SAMPLE_SECONDS and now - trial.began > _SAMPLE_SECONDS / 2:
            trial.sampled = now
            self._sample(trial)
        if trial.term_at is not None and now > trial.term_at:
            _signal_group(trial, signal.SIGTERM)
            trial.term_at, trial.kill_at = None, now + self._resources.grace_seconds
        if trial.kill_at is not None and now > trial.kill_at:
            _signal_group(trial, signal.SIGKILL)

    def _sample(self, trial: _Running) -> None:
        if trial.pid is None:
            return
        processes = process_tree(trial.pid)
        memory = resident_bytes(processes)
        trial.memory_bytes = max(trial.memory_bytes, memory)
        if trial.gpus and (used := gpu_memory_bytes(p.pid for p in processes)) is not None:
            trial.gpu_memory_bytes = max(trial.gpu_memory_bytes or 0, used)
        limit = self._resources.memory_bytes
        if limit is not None and memory > limit and trial.outcome is None:
            message = f"held {memory / 1e9:.2f} GB, and a trial may hold {limit / 1e9:.2f} GB"
            trial.stop = trial.stop or _Stop(Cause.OUT_OF_MEMORY, message)
            _signal_group(trial, signal.SIGKILL)  # at once: the machine's memory is at stake

    def _end(self, trial: _Running, stop: _Stop) -> None:
        """TERM now, KILL after the grace period; a trial that has already told its outcome keeps it."""
        if trial.stop is None and trial.outcome is None:
            trial.stop = stop
            trial.term_at = time.monotonic()


def _outcome(trial: _Running, status: int) -> Outcome:
    """How a trial ended: as we made it end, as it says itself, or as its process's death tells."""
    if trial.stop is not None:
        return Outcome(trial.stop.cause, trial.stop.message)
    if trial.outcome is None:
        return Outcome(*_death(trial, status))
    if trial.outcome.cause is Cause.INTERRUPTED:
        return Outcome(Cause.LOST, "the trial's process was sent TERM by something other than rltune")
    return trial.outcome


def _death(trial: _Running, status: int) -> tuple[Cause, str]:
    if status >= 0:
        return Cause.LOST, f"the trial's process ended with status {status} before its trainer had returned"
    name = signal.Signals(-status).name
    if -status in _CRASHES:
        return Cause.ERROR, f"the trial's process crashed ({name}); its output is in stdout.log"
    if -status == signal.SIGKILL and kernel_oom_kills() > trial.oom_kills:
        return Cause.OUT_OF_MEMORY, "the kernel killed the trial for want of memory"
    return Cause.LOST, f"the trial's process was killed from outside ({name})"


def _signal_group(trial: _Running, number: signal.Signals) -> None:
    if trial.pid is None:
        return
    try:
        os.killpg(trial.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:  # macOS says so of a group of zombies
        pass


class _Server:
    """The tuner's end of the fork server."""

    def __init__(self, trainer: Trainer, *, warm: bool, log: Path | None) -> None:
        self._setup = Setup(cloudpickle.dumps(trainer), tuple(sys.path), warm)
        self._log = log
        self._pending: list[Started | Ended] = []

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in self._setup.sys_path if p)}
        with open(self._log or os.devnull, "ab") as log:  # noqa: PTH123
            self._process = subprocess.Popen(
                zygote.command("server", theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is the tuner's to handle
                env=env,
            )
        theirs.close()
        self.control: Connection[Any, Any] = Connection(ours.detach())
        self.control.send(self._setup)
        answer = self._first_answer()
        if isinstance(answer, Broken):
            self.__exit__()
            raise (TrainerError if answer.by_user else ExecutorError)(answer.message)
        self._warm = answer.warm
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def launch(self, suggestion: Suggestion, env: dict[str, str]) -> Connection[Any, Any]:
        """Starts a trial; returns our end of its pipe."""
        ours, theirs = Pipe()
        try:
            self.control.send(suggestion.number)
            send_handle(self.control, theirs.fileno(), self._process.pid)
        except OSError as error:
            raise self._died() from error
        theirs.close()
        ours.send(Launch(suggestion, env, None if self._warm else self._setup))
        return ours

    def receive(self) -> list[Started | Ended]:
        """What the server has to say, without waiting longer than for the first message."""
        messages = []
        try:
            messages.append(self.control.recv())
            while self.control.poll():
                messages.append(self.control.recv())
        except (EOFError, OSError) as error:
            raise self._died() from error
        return messages

    def _first_answer(self) -> Ready | Broken:
        try:
            answer: Ready | Broken = self.control.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        return answer

    def _died(self) -> ExecutorError:
        status = self._process.wait()
        where = f"; its output is in {self._log}" if self._log else ""
        return ExecutorError(f"the process that starts the trials died with status {status}{where}")
