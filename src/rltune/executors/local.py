"""Trials on this machine: each in a process and a process group of its own, `workers` at a time."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

from rltune.errors import ExecutorError
from rltune.executors.fork_server import ForkServer, ServerDiedError, signal_name
from rltune.executors.gpus import GpuPool, gpu_memory_bytes, visible_gpus
from rltune.executors.measure import kernel_oom_kills, process_tree, resident_bytes
from rltune.executors.zygote import Launch, Started
from rltune.folder import TrialDir
from rltune.trainers.child import last_lines, log_tail
from rltune.types import Brain, Cause, Decision, Idle, Measurement, Outcome, Resources, Suggestion, Trainer, Usage

_POLL_SECONDS = 0.2
"""How soon a limit, a stop request or a signal is seen."""

_SAMPLE_SECONDS = 0.5
"""How often a trial's memory is read."""

_SIGNAL_SECONDS = 0.5
"""How long a signal that somebody sent to a trial may take to reach us, if it was sent to us too."""

_MAX_SERVER_DEATHS = 3
"""So many deaths of the fork server, with no trial that ended between them, and the study cannot go on."""

_STALL_INTERVALS = 5
"""A silence that is shorter than so many of a trial's usual intervals is none: some steps validate, or save."""

_INTERVALS_KEPT = 20
"""A trial's usual interval is the median of its latest ones."""

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
        """Until the brain is done and nothing runs; or `should_stop` says so, which ends what runs as interrupted.

        A trial that can pause has `resources.pause_seconds` to do so before it is ended.
        """
        pool = None
        if self.resources.gpus > 0:
            pool = GpuPool(visible_gpus() if self.gpus is None else self.gpus, self.resources.gpus)
        n_slots = self.workers if pool is None else min(self.workers, pool.n_slots)
        with ForkServer(trainer, warm=self.warm, log=self.log) as server:
            ProcessSession(brain, server, should_stop, resources=self.resources, n_slots=n_slots, pool=pool).run()


class _Stop(NamedTuple):
    """Why a trial is being ended from outside."""

    cause: Cause
    message: str


_INTERRUPTED = _Stop(Cause.INTERRUPTED, "the study was stopped while the trial ran")


@dataclass
class _Running:
    """A trial's process, seen from outside."""

    suggestion: Suggestion
    pipe: Connection[Any, Any]
    gpus: tuple[str, ...]
    began: float
    reported: deque[float] = field(default_factory=lambda: deque(maxlen=_INTERVALS_KEPT + 1))
    pid: int | None = None
    open: bool = True
    outcome: Outcome | None = None
    stop: _Stop | None = None
    term_at: float | None = None
    kill_at: float | None = None
    pause_until: float | None = None
    sampled: float = 0.0
    memory_bytes: int = 0
    gpu_memory_bytes: int | None = None
    oom_kills: int = field(default_factory=kernel_oom_kills)

    @property
    def is_ending(self) -> bool:
        """Whether it has been told to end, and may clean up in silence."""
        return self.term_at is not None or self.kill_at is not None


class ProcessSession:
    """Runs what a brain suggests, each trial in a process that `server` forks, until it has nothing more.

    Args:
        brain: Decides.
        server: Started already, and left running.
        should_stop: Asked several times a second; what runs is then interrupted.
        resources: What each trial may use.
        n_slots: How many trials run at once.
        pool: The GPUs, where trials need some.
    """

    def __init__(
        self,
        brain: Brain,
        server: ForkServer,
        should_stop: Callable[[], bool],
        *,
        resources: Resources,
        n_slots: int,
        pool: GpuPool | None,
    ) -> None:
        self._brain = brain
        self._server = server
        self._should_stop = should_stop
        self._resources = resources
        self._n_slots = n_slots
        self._pool = pool
        self._trials: dict[int, _Running] = {}
        self._server_deaths = 0

    def run(self) -> None:
        while True:
            try:
                if self._should_stop():
                    for trial in self._trials.values():
                        self._interrupt(trial)
                    if not self._trials:
                        return
                elif self._fill() is Idle.DONE and not self._trials:
                    return
                self._wait()
            except ServerDiedError as error:
                self._bury(error)
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
        ours, theirs = Pipe()
        self._trials[suggestion.job] = _Running(suggestion, ours, gpus, time.monotonic())
        with theirs:
            self._server.launch(suggestion.job, theirs)
        try:
            ours.send(Launch(suggestion, env, self._server.setup))
        except OSError:
            pass  # it has died already; its end will be told

    # --- what trials say ---------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        pipes = {trial.pipe: trial for trial in self._trials.values() if trial.open and trial.outcome is None}
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
            trial.open = False
            return False
        if isinstance(message, Outcome):
            trial.outcome = message
        elif isinstance(message, Measurement):
            trial.reported.append(time.monotonic())
            measured = replace(message, memory_bytes=trial.memory_bytes or None)
            self._answer(trial, self._brain.observe(trial.suggestion.job, measured))
        return True

    def _answer(self, trial: _Running, decision: Decision) -> None:
        """None in place of a decision to a trial that is being ended: it is to hear the same from here as from TERM."""
        if decision is Decision.STOP and trial.term_at is None:
            trial.term_at = time.monotonic() + self._resources.grace_seconds
        try:
            trial.pipe.send(decision if trial.stop is None else None)
        except OSError:
            pass  # it died while it waited; its end will be told

    def _hear_server(self) -> None:
        for message in self._server.receive():
            if isinstance(message, Started):
                self._trials[message.job].pid = message.pid
            else:
                trial = self._trials.pop(message.job)
                self._server_deaths = 0
                self._finish(trial, _death(trial, message.status), message.max_rss_bytes)

    def _bury(self, error: ServerDiedError) -> None:
        """After the fork server's death: its trials are lost, through no doing of theirs."""
        self._server.kill_remains()
        trials, self._trials = self._trials, {}
        for trial in trials.values():
            self._finish(trial, Outcome(Cause.LOST, str(error), again=True))
        self._server_deaths += 1
        if self._server_deaths >= _MAX_SERVER_DEATHS:
            raise ExecutorError(f"{error}; this happened {_MAX_SERVER_DEATHS} times, and no trial ended between")

    def _finish(self, trial: _Running, death: Outcome, max_rss_bytes: int = 0) -> None:
        """Tells the brain how a trial has ended.

        Args:
            trial: Its process is gone, and it is among the running ones no more.
            death: What its process's end means where the trial has said nothing itself.
            max_rss_bytes: Of its largest process.
        """
        self._drain(trial)
        trial.pipe.close()
        TrialDir(trial.suggestion.directory).pause_request.unlink(missing_ok=True)
        if self._pool is not None:
            self._pool.give_back(trial.gpus)
        usage = Usage(
            seconds=time.monotonic() - trial.began,
            memory_bytes=max(trial.memory_bytes, max_rss_bytes) or None,
            gpu_memory_bytes=trial.gpu_memory_bytes,
        )
        outcome = self._outcome(trial, trial.outcome or _written(trial) or death)
        self._brain.finish(trial.suggestion.job, replace(outcome, usage=usage))

    def _outcome(self, trial: _Running, told: Outcome) -> Outcome:
        """How a trial ended: as we made it end, else as it says itself or its process's death tells."""
        if trial.stop is not None:
            return Outcome(*trial.stop)
        if self._was_our_stop(told):
            return told if told.cause is Cause.INTERRUPTED else Outcome(*_INTERRUPTED)
        if told.cause is Cause.INTERRUPTED:
            return Outcome(Cause.LOST, "the trial's process was sent TERM by something other than rltune")
        return told

    def _was_our_stop(self, told: Outcome) -> bool:
        """Whether a failure is the study's stop: a scheduler's signal to all processes may reach a trial before us."""
        if told.cause not in (Cause.ERROR, Cause.LOST, Cause.INTERRUPTED):
            return False
        patience = 0.0 if told.cause is Cause.ERROR or told.again else _SIGNAL_SECONDS
        deadline = time.monotonic() + patience
        while not self._should_stop():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def _drain(self, trial: _Running) -> None:
        """Takes what a trial has said so far."""
        while trial.outcome is None and trial.open and trial.pipe.poll() and self._hear(trial):
            pass

    # --- limits ------------------------------------------------------------------------------------------------------

    def _enforce(self, trial: _Running) -> None:
        now, limit = time.monotonic(), self._resources.seconds
        if TrialDir(trial.suggestion.directory).waiting.exists():
            trial.began = now
        if trial.outcome is None and limit is not None and now - trial.began > limit:
            self._end(trial, _Stop(Cause.TIMEOUT, f"ran longer than {limit:g} s, which is what a trial may"))
        if trial.outcome is None and trial.pause_until is None and not trial.is_ending:
            self._end_if_silent(trial)
        if now - trial.sampled > _SAMPLE_SECONDS and now - trial.began > _SAMPLE_SECONDS / 2:
            trial.sampled = now
            self._sample(trial)
        if trial.pid is None:  # the server has not told it yet
            return
        if trial.term_at is not None and now > trial.term_at:
            _signal_group(trial.pid, signal.SIGTERM)
            trial.term_at, trial.kill_at = None, now + self._resources.grace_seconds
        if trial.kill_at is not None and now > trial.kill_at:
            _signal_group(trial.pid, signal.SIGKILL)

    def _end_if_silent(self, trial: _Running) -> None:
        """Ends a trial that makes no progress."""
        if _silence(trial, self._resources) is None:
            return
        self._drain(trial)  # we may have been busy ourselves, and its report waits
        if why := _silence(trial, self._resources):
            self._end(trial, _Stop(Cause.STALLED, why))

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
            _signal_group(trial.pid, signal.SIGKILL)  # at once: the machine's memory is at stake

    def _interrupt(self, trial: _Running) -> None:
        """Asks a trial that can pause to do so, and ends any other; one that takes too long is ended as well."""
        if trial.pause_until is None:
            trial.pause_until = time.monotonic() + self._time_to_pause(trial)
        if time.monotonic() >= trial.pause_until:
            late = TrialDir(trial.suggestion.directory).pause_request.exists()
            self._end(trial, _not_paused(self._resources.pause_seconds) if late else _INTERRUPTED)

    def _time_to_pause(self, trial: _Running) -> float:
        """Asks for a pause; how many seconds it may take, which is none where there can be no pause."""
        folder = TrialDir(trial.suggestion.directory)
        if self._resources.pause_seconds <= 0 or trial.is_ending or not folder.pausable.exists():
            return 0.0
        try:
            folder.pause_request.touch()
        except OSError:  # where there is no room for this, there is none for a checkpoint
            return 0.0
        return self._resources.pause_seconds

    def _end(self, trial: _Running, stop: _Stop) -> None:
        """TERM now, KILL after the grace period; a trial that has already told its outcome keeps it."""
        if trial.stop is None:
            self._drain(trial)
        if trial.stop is None and trial.outcome is None:
            trial.stop = stop
            trial.term_at = time.monotonic()


def _not_paused(seconds: float) -> _Stop:
    return _Stop(Cause.INTERRUPTED, f"{_INTERRUPTED.message}, and it did not save a checkpoint within {seconds:g} s")


def _silence(trial: _Running, resources: Resources) -> str | None:
    """Why a trial has been silent for too long; None where it has not."""
    now = time.monotonic()
    setup, stall = resources.setup_seconds, resources.stall_seconds
    if not trial.reported:
        silent = setup is not None and now - trial.began > setup
        return f"reported nothing in its first {setup:g} s" if silent else None
    if stall is None:
        return None
    intervals = [b - a for a, b in pairwise(trial.reported)]
    usual = median(intervals or [trial.reported[0] - trial.began])
    limit = max(stall, _STALL_INTERVALS * usual)
    if now - trial.reported[-1] <= limit:
        return None
    return f"reported nothing for {limit:.3g} s; before, a report came about every {usual:.2g} s"


def _written(trial: _Running) -> Outcome | None:
    """What the trial left in its folder where it could not tell us."""
    return TrialDir(trial.suggestion.directory).read_outcome()


def _last_words(trial: _Running) -> str:
    """The end of the trial's log, as lines below a message."""
    try:
        printed = last_lines(log_tail(TrialDir(trial.suggestion.directory).log))
    except OSError:
        printed = ""
    return f"\n{printed}" if printed else ""


def _death(trial: _Running, status: int) -> Outcome:
    """What a process's end means that had told no outcome; below it the last lines of its log."""
    if status >= 0:
        cause, how = Cause.LOST, f"the trial's process ended with status {status} before its trainer had returned"
    elif -status in _CRASHES:
        cause, how = Cause.ERROR, f"the trial's process crashed ({signal_name(-status)})"
    elif -status == signal.SIGKILL and kernel_oom_kills() > trial.oom_kills:
        cause, how = Cause.OUT_OF_MEMORY, "the kernel killed the trial for want of memory"
    else:
        cause, how = Cause.LOST, f"the trial's process was killed from outside ({signal_name(-status)})"
    return Outcome(cause, how + _last_words(trial))


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:  # macOS says so of a group of zombies
        pass
