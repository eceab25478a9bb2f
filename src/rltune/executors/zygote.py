"""The warm fork server: a process that has loaded the trainer once and forks a child for every trial.

A child costs milliseconds and shares the memory of the loaded libraries, yet its death, its leaks and its globals are
its own. The server is the nearest reaper of whatever a trial leaves behind, and when the tuner dies it kills
everything and ends. Nothing here imports Optuna.

Messages, pickled, over two kinds of sockets:
    tuner → server   Setup, once; then a job's number followed by its socket
    server → tuner   Ready or Broken, once; then Started and Ended
    tuner ↔ trial    Launch; then Measurement → Decision, and an Outcome at the end
"""

from __future__ import annotations

import gc
import os
import pickle
import random
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Never

from rltune.errors import RltuneError
from rltune.folder import TrialDir
from rltune.types import Decision, Measurement, Outcome, Report, Suggestion, Trainer, TrialStopped, Usage
from rltune.worker import Interrupted, attempt

_HOME = Path(__file__).parents[2]
"""Where this package is. Not told by PYTHONPATH, which a command in another environment would inherit."""


@dataclass(frozen=True)
class Setup:
    """What every trial needs.

    Attributes:
        trainer: Pickled, so that it is unpickled after `sys_path` is in place.
        sys_path: The tuner's.
        warm: Load the trainer in the server; otherwise every trial starts a Python of its own.
    """

    trainer: bytes
    sys_path: tuple[str, ...]
    warm: bool


@dataclass(frozen=True)
class Ready:
    warm: bool


@dataclass(frozen=True)
class Broken:
    """The trainer cannot be loaded."""

    message: str
    by_user: bool


@dataclass(frozen=True)
class Launch:
    """What one trial needs. `setup` is given where the trial does not have it from the server."""

    suggestion: Suggestion
    env: Mapping[str, str]
    setup: Setup | None = None


@dataclass(frozen=True)
class Started:
    job: int
    pid: int


@dataclass(frozen=True)
class Ended:
    """A trial's process is gone, and all that it left behind.

    Attributes:
        status: As `os.waitstatus_to_exitcode`: negative for a signal.
        max_rss_bytes: Peak resident memory of its largest process.
    """

    job: int
    status: int
    max_rss_bytes: int


def command(role: Literal["server", "trial"], fd: int) -> list[str]:
    """Starts this module in a Python of its own; not by `-m`, which would make its classes those of `__main__`.

    `-P`: a `random.py` in the working folder is not to be imported in the place of Python's.
    """
    start = f"import sys; sys.path.append({str(_HOME)!r}); from rltune.executors.zygote import main; main()"
    return [sys.executable, "-P", "-c", start, role, str(fd)]


def main() -> Never:
    role, fd = sys.argv[1:]
    if role == "trial":
        _run_trial(Connection(int(fd)), None)
    _Server(Connection(int(fd))).serve()


# --- the server ------------------------------------------------------------------------------------------------------


class _Server:
    def __init__(self, control: Connection[Any, Any]) -> None:
        self._control = control
        self._trainer: Trainer | None = None
        self._trials: dict[int, int] = {}  # process → trial
        self._helpers: set[int] = set()  # processes that the trainer started when it was loaded
        self._wakeup, wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGTERM, _nothing)
        _leave_signals_to_the_tuner()

    def serve(self) -> Never:
        _adopt_orphans()
        try:
            self._load(self._control.recv())
            while True:
                readable, _, _ = select.select([self._control.fileno(), self._wakeup], [], [])
                if self._wakeup in readable:
                    os.read(self._wakeup, 4096)
                    self._reap()
                if self._control.fileno() in readable:
                    job = self._control.recv()
                    self._fork(job, recv_handle(self._control))
        except (EOFError, OSError):
            pass  # the tuner has closed its end, or is no more
        except RltuneError:
            pass  # told to the tuner already
        for pid in self._trials:
            _kill_group(pid)
        self._kill_children(spared=set())
        os._exit(0)

    def _load(self, setup: Setup) -> None:
        if setup.warm:
            try:
                self._trainer = _load_trainer(setup)
            except BaseException as error:
                by_user = isinstance(error, RltuneError)
                self._control.send(Broken(str(error) if by_user else traceback.format_exc(), by_user))
                raise EOFError from error
            if _holds_a_gpu():
                self._trainer = None  # a forked child cannot use the parent's CUDA context
        self._helpers = _children()
        gc.freeze()  # the children's garbage collectors leave the shared pages shared
        self._control.send(Ready(warm=self._trainer is not None))

    def _fork(self, job: int, handle: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the child has no handler of its own yet
        pid = os.fork()
        if pid == 0:
            try:
                self._become_trial(handle)
            finally:
                os._exit(70)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        os.close(handle)
        self._trials[pid] = job
        self._control.send(Started(job, pid))

    def _become_trial(self, handle: int) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, _Term())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        _die_with_parent()
        _adopt_orphans()
        self._control.close()
        if self._trainer is None:
            os.set_inheritable(handle, True)
            os.execv(sys.executable, command("trial", handle))  # noqa: S606
        _run_trial(Connection(handle), self._trainer)

    def _reap(self) -> None:
        """Collects the dead; of a dead trial's group and orphans nobody survives before its end is told."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (job := self._trials.pop(pid, None)) is None:
                continue
            _kill_group(pid)
            self._kill_children(spared=self._helpers | self._trials.keys())
            self._control.send(Ended(job, os.waitstatus_to_exitcode(status), _max_rss_bytes(usage)))

    def _kill_children(self, spared: AbstractSet[int]) -> None:
        """Kills what a dead trial started outside its own group: it has become a child of this process."""
        deadline = time.monotonic() + 5
        while (children := _children() - spared) and time.monotonic() < deadline:
            for pid in children:
                _kill(pid)
                _collect(pid)
            time.sleep(0.001)


# --- a trial's process -----------------------------------------------------------------------------------------------


def _run_trial(pipe: Connection[Any, Any], trainer: Trainer | None) -> Never:
    """Runs the trial that `pipe` tells, says how it ended, and ends this process without further ado."""
    _leave_signals_to_the_tuner()
    term = _Term()
    signal.signal(signal.SIGTERM, term)
    begin = time.monotonic()
    try:
        launch: Launch = pipe.recv()
        directory = TrialDir(launch.suggestion.directory)
        _redirect(directory.log)
        os.environ.update(launch.env)
        _seed(launch.suggestion.seed)

        def report(measurement: Measurement) -> None:
            decision = _ask(pipe, measurement)
            if decision is not Decision.CONTINUE:
                term.heard = True
                raise Interrupted if decision is None else TrialStopped

        if trainer is None:
            assert launch.setup is not None
            trainer = _Unloaded(launch.setup)
        outcome = attempt(trainer, launch.suggestion, report)
        term.heard = True
        peak = max(_max_rss_bytes(resource.getrusage(who)) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        outcome = replace(outcome, usage=Usage(time.monotonic() - begin, peak))
        _flush()
        _write_outcome(directory, outcome)
        pipe.send(outcome)
    except (OSError, EOFError, Interrupted):  # the tuner is gone, or does not want to hear more
        pass
    os._exit(0)


@dataclass(frozen=True)
class _Unloaded:
    """A trainer that is loaded when it runs, so that a failure to load it is the trial's outcome."""

    setup: Setup

    def __call__(self, suggestion: Suggestion, report: Report) -> Mapping[str, float] | None:
        return _load_trainer(self.setup)(suggestion, report)


def _ask(pipe: Connection[Any, Any], measurement: Measurement) -> Decision | None:
    """None: the trial is being ended, and TERM is on its way."""
    try:
        pipe.send(measurement)
        decision: Decision | None = pipe.recv()
    except (OSError, EOFError):  # the tuner has died: whatever comes now is nobody's
        os.killpg(0, signal.SIGKILL)
        raise
    return decision


def _write_outcome(directory: TrialDir, outcome: Outcome) -> None:
    """A full disk must not turn a finished trial into a lost one: the tuner hears of it over the pipe as well."""
    try:
        directory.write_outcome(outcome)
    except OSError as error:
        print(f"rltune: cannot write {directory.outcome}: {error}", file=sys.stderr)


class _Term:
    """A trial's answer to TERM: raised once; told to stop, the trial cleans up undisturbed until its time is up."""

    def __init__(self) -> None:
        self.heard = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        if not self.heard:
            self.heard = True
            raise Interrupted


def _nothing(_signal: int, _frame: FrameType | None) -> None:
    pass


def _leave_signals_to_the_tuner() -> None:
    """A scheduler may send its signals to every process. The tuner hears them too, and ends what is to end.

    They are handled rather than ignored, since a program that a trial starts would go on ignoring them.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _nothing)


def _load_trainer(setup: Setup) -> Trainer:
    sys.path[:] = setup.sys_path
    trainer: Trainer = pickle.loads(setup.trainer)  # noqa: S301 - from our own tuner
    load = getattr(trainer, "load", None)
    if load is not None:
        load()
    return trainer


def _redirect(log: Path) -> None:
    """Sends both output streams to the trial's log, and reads from nowhere."""
    _flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(nothing)
    os.close(file)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed by the trainer, or on a full disk


def _seed(seed: int) -> None:
    """Seeds the global generators: children of one server would otherwise share NumPy's and PyTorch's state."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _holds_a_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


# --- the operating system --------------------------------------------------------------------------------------------

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, argument: int) -> None:
    """Linux only; elsewhere groups and sockets have to do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _adopt_orphans() -> None:
    """Processes below this one whose parent dies become its children instead of the system's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _children() -> set[int]:
    try:
        return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
    except OSError:
        return set()


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _collect(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _max_rss_bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
