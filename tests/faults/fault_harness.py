"""A study on disk, its real command line in real processes, and what can be seen of it from outside."""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from rltune import records as rec
from rltune.folder import StudyDir
from rltune.records import TrialRecord
from rltune.types import Cause

COOKIE = "RLTUNE_FAULT_TEST"
"""A variable that all processes of a study inherit, also those that leave their group."""

JOBS = Path(__file__).with_name("fault_jobs.py")

Condition = Callable[[], Any]


def wait_for(condition: Condition, seconds: float = 20.0, what: str = "it") -> Any:
    """What `condition` says once it says something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.005)
    return found


class Ended(NamedTuple):
    """How a run ended; `output` is what it printed, both streams."""

    code: int | None
    output: str


class Note(NamedTuple):
    """A line of the ledger that the trainer keeps."""

    what: str
    number: int
    seed: int
    pid: int


# --- processes -------------------------------------------------------------------------------------------------------


class _Process(Protocol):
    @property
    def pid(self) -> int | None: ...

    def end(self, seconds: float) -> int | None:
        """Its exit status, negative for a signal; None where it still runs after so long."""
        ...


class _Cold:
    """`python -m rltune`, as a user starts it, in a session of its own."""

    def __init__(self, arguments: Sequence[str], cwd: Path, log: Path, env: dict[str, str]) -> None:
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "rltune", *arguments],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | env,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def end(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


class _Warm:
    """The same command line in a fork of a Python that has imported it already: no second is lost to imports."""

    def __init__(
        self, arguments: Sequence[str], cwd: Path, log: Path, env: dict[str, str], first: Callable[[], None] | None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["optuna", "sqlalchemy", "rltune.config.build", "rltune.cli.app", "rltune.cli.run"]
        )
        self._process = context.Process(target=_command_line, args=(arguments, cwd, log, env, first))
        self._process.start()
        self.pid = self._process.pid

    def end(self, seconds: float) -> int | None:
        self._process.join(seconds)
        return self._process.exitcode


def _command_line(
    arguments: Sequence[str], cwd: Path, log: Path, env: dict[str, str], first: Callable[[], None] | None
) -> None:
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    os.chdir(cwd)
    os.environ.update(env)
    sys.path = [entry for entry in sys.path if entry != str(JOBS.parent)]  # the study has its own `fault_jobs`
    sys.argv = ["rltune", *arguments]
    if first is not None:
        first()
    from rltune.cli.main import main

    main(arguments)


class Session:
    """One `rltune run`, while it runs and after."""

    def __init__(self, process: _Process, log: Path) -> None:
        self._process = process
        self._log = log
        assert process.pid is not None
        self.pid: int = process.pid

    @property
    def output(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def runs(self) -> bool:
        return self._process.end(0) is None

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self, seconds: float = 60.0) -> Ended:
        code = self._process.end(seconds)
        assert code is not None, f"it still runs after {seconds:g} s; it has printed:\n{self.output}"
        return Ended(code, self.output)

    def kill(self) -> None:
        if self.runs:
            os.kill(self.pid, signal.SIGKILL)
            self._process.end(10)


# --- the study -------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A study: its file, its trainer, its folder, its ledger."""

    root: Path
    cookie: str = field(default_factory=lambda: secrets.token_hex(8))
    sessions: list[Session] = field(default_factory=list)
    storage: str | None = None
    name: str = "study"

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.folder = StudyDir(self.root / "runs" / self.name)
        self.ledger = self.root / "ledger.txt"
        self.file = self.root / "study.yaml"

    def write(
        self,
        *,
        kind: str = "function",
        n_trials: int = 6,
        workers: int = 1,
        faults: dict[int | str, str] | None = None,
        steps: int = 3,
        seconds: float = 0.02,
        mended: Path | None = None,
        executor: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        """Writes the study file and the trainer.

        Args:
            kind: `function` or `command`.
            faults: What goes wrong, by the trial's number or for `all`; a function of `fault_jobs`.
            steps: Reports of a trial that goes well.
            seconds: Between them.
            mended: Once this file exists, nothing goes wrong any more.
            executor: Keys of that section.
            changes: Other keys of the study file.
        """
        self.folder = StudyDir(self.root / "runs" / self.name)
        shutil.copy(JOBS, self.root)
        job = {
            "ledger": str(self.ledger),
            "faults": {str(n): f for n, f in (faults or {}).items()},
            "steps": steps,
            "seconds": seconds,
            "mended": None if mended is None else str(mended),
        }
        (self.root / "job.json").write_text(json.dumps(job))
        command = ["{python}", "-S", "-E", "fault_jobs.py", "{x}"]
        study = {
            "name": self.name,
            "out": "runs",
            "algorithm": "random",
            "n_trials": n_trials,
            "trainer": {"function": "fault_jobs:train"} if kind == "function" else {"command": command},
            "search_space": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
            "evaluation": {"metric": "loss", "direction": "minimize"},
            "executor": {"workers": workers, "grace_seconds": 1.0, **(executor or {})},
            "protocol": "simple",
            **({} if self.storage is None else {"storage": self.storage}),
            **changes,
        }
        self.file.write_text(json.dumps(study))  # JSON is YAML

    def start(self, *arguments: str, cold: bool = False, first: Callable[[], None] | None = None) -> Session:
        """Starts `rltune run`.

        Args:
            arguments: Beside the study file.
            cold: In a Python of its own, instead of a fork of one that has imported everything.
            first: Called in the new process before the command line; may be pickled.
        """
        return self._start(["run", self.file.name, *arguments], cold=cold, first=first)

    def _start(self, words: Sequence[str], *, cold: bool = False, first: Callable[[], None] | None = None) -> Session:
        log = self.root / f"session-{len(self.sessions)}.txt"
        env = {COOKIE: self.cookie}
        process = _Cold(words, self.root, log, env) if cold else _Warm(words, self.root, log, env, first)
        self.sessions.append(Session(process, log))
        return self.sessions[-1]

    def run(self, *arguments: str, seconds: float = 60.0, cold: bool = False) -> Ended:
        """Runs it to its end."""
        return self.start(*arguments, cold=cold).end(seconds)

    def call(self, *arguments: str) -> Ended:
        """Another verb than `run`."""
        return self._start(arguments).end()

    def notes(self, what: str = "started") -> list[Note]:
        """The ledger's lines of one kind."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        rows = [line.split() for line in text.splitlines()]
        return [Note(w, int(n), int(seed), int(pid)) for w, n, seed, pid in rows if w == what]

    def wait_for_trials(self, n: int = 1, what: str = "started", seconds: float = 20.0) -> None:
        """Until `n` trials more than there were at this call have started or finished."""
        before = len(self.notes(what))
        wait_for(lambda: len(self.notes(what)) >= before + n, seconds, f"{n} trials {what}")

    def study(self) -> optuna.Study:
        """As anybody would open it, without us."""
        storage = self.storage or JournalStorage(JournalFileBackend(str(self.folder.journal)))
        return optuna.load_study(study_name=self.name, storage=storage)

    def records(self) -> list[TrialRecord]:
        return rec.load(self.study())

    def complete(self) -> list[TrialRecord]:
        """Trials that have a value and were not replaced by another run."""
        return [r for r in rec.effective(self.records()) if r.state is TrialState.COMPLETE]

    def processes(self) -> list[psutil.Process]:
        """Every living process that belongs to the study, except for the command line itself."""
        found = []
        for process in psutil.process_iter():
            try:
                theirs = process.environ().get(COOKIE) == self.cookie
                if theirs and process.status() != psutil.STATUS_ZOMBIE and process.pid not in self._own:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def server(self) -> psutil.Process:
        """The fork server."""
        return next(p for p in self.processes() if "server" in p.cmdline())

    def assert_nothing_lives(self, within: float = 2.0) -> None:
        deadline = time.monotonic() + within
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.03)
        assert not left, [(p.pid, p.status(), p.cmdline()) for p in left]

    def close(self) -> None:
        """Ends whatever a failed test has left."""
        for session in self.sessions:
            session.kill()
        for process in self.processes():
            process.kill()

    @property
    def _own(self) -> set[int]:
        return {session.pid for session in self.sessions}


def assert_sound(case: Case) -> None:
    """What holds for every journal, whatever has happened: nothing that has finished was lost or run twice."""
    records = case.records()
    replaced = {r.retry_of for r in records if r.retry_of is not None}
    starts = [note.number for note in case.notes()]
    assert len(starts) == len(set(starts)), "a trial's number was started twice"
    for record in records:
        outcome = case.folder.trial(record.number).read_outcome()
        if record.state is TrialState.COMPLETE:
            assert record.number not in replaced, f"trial {record.number} is complete and was run again"
        if outcome is not None and outcome.cause is None and not outcome.stopped:
            assert record.cause is not Cause.LOST, f"trial {record.number} left a result, which was not taken"
    runs = [_run(r) for r in rec.originals(records)]
    assert len(set(runs)) == len(runs)
    for run in runs:
        values = [r.number for r in records if _run(r) == run and r.state is TrialState.COMPLETE]
        assert len(values) <= 1, f"trials {values} are one configuration, run to the end twice with one seed"
    for number in replaced:
        assert sum(r.retry_of == number for r in records) == 1, f"trial {number} was asked again twice"


def _run(record: TrialRecord) -> tuple[int | None, frozenset[tuple[str, Any]]]:
    """What makes it this run and no other: finalists have their seeds in common."""
    return record.seed, frozenset(record.params.items())
