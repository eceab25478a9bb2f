"""The tuner's side: a process for each tracker, which it starts, never waits for, and ends."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rltune.folder import StudyDir, explain
from rltune.objective import Direction, Objective
from rltune.records import TrialRecord

CLOSING_SECONDS = 30.0
"""How long all trackers together have at the end of a session to get the rest; MLflow takes ten to make its tables."""

HURRIED_SECONDS = 5.0
"""The same where the study was told to stop: a scheduler may give it no more than half a minute."""

PATIENT_SECONDS = 3.0
"""After which it is said what is waited for."""

_LATER = "the study does without it, and the next `rltune run` on it brings it up to date"

log = logging.getLogger("rltune.trackers")


@dataclass(frozen=True)
class Order:
    """What a tracker's process is told, as one line of JSON.

    Attributes:
        name, options: Of the tracker.
        file: Where it keeps what it has got.
        folder: The study's.
        storage, study: Where the study is, and its name there.
        objectives: Metric and direction of each.
        parameters: Their names.
        base: The folder that relative paths in options are relative to, and where modules of the user's lie.
        path: Where else this process finds modules.
        closing_seconds: How long it may go on once it is told that nothing more comes.
    """

    name: str
    options: Mapping[str, Any]
    file: str
    folder: str
    storage: str
    study: str
    objectives: Sequence[tuple[str, Direction]]
    parameters: Sequence[str]
    base: str
    path: Sequence[str]
    closing_seconds: float

    def to_line(self) -> bytes:
        return json.dumps(asdict(self), default=str).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Order:
        return cls(**json.loads(line))


class Trackers:
    """The trackers of one session of a study. Used as a context, which ends them; nothing here raises.

    Args:
        named: Name and options of each.
        folder: The study's.
        storage: Where the study is.
        study: Its name there.
        objectives: The first is the one that trials are compared by.
        parameters: Their names.
        base: The folder of the study file.

    Attributes:
        closing_seconds: How long the end may take.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, Mapping[str, Any]]],
        folder: StudyDir,
        *,
        storage: str,
        study: str,
        objectives: Iterable[Objective],
        parameters: Iterable[str],
        base: Path,
    ) -> None:
        told = [(o.metric, o.direction) for o in objectives]
        self._orders = [
            Order(
                name=name,
                options=options,
                file=str(folder.tracker(_file_name(name)).absolute()),
                folder=str(folder.path.absolute()),
                storage=storage,
                study=study,
                objectives=told,
                parameters=list(parameters),
                base=str(base.absolute()),
                path=list(sys.path),
                closing_seconds=CLOSING_SECONDS,
            )
            for name, options in named
        ]
        self.closing_seconds = CLOSING_SECONDS
        self._running: list[tuple[Order, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        for order in self._orders:
            try:
                self._running.append((order, _start(order)))
            except OSError as error:
                log.warning("the tracker `%s` cannot be started: %s; the study goes on", order.name, explain(error))
        return self

    def after(self, on_change: Callable[[TrialRecord], None]) -> Callable[[TrialRecord], None]:
        """The same, with a look behind it at whether a tracker has failed, which is told once."""

        def changed(record: TrialRecord) -> None:
            on_change(record)
            self._look()

        return changed if self._orders else on_change

    def hurry(self) -> None:
        """The session is cut short."""
        self.closing_seconds = min(self.closing_seconds, HURRIED_SECONDS)

    def _look(self) -> None:
        for order, process in list(self._running):
            if process.poll() is not None:
                self._running.remove((order, process))
                _tell(order, f"failed: {_why(order, process.returncode)}")

    def __exit__(self, *_: object) -> None:
        self._look()
        deadline = time.monotonic() + self.closing_seconds
        try:
            for _order, process in self._running:
                with contextlib.suppress(OSError):  # it has gone
                    assert process.stdin is not None
                    process.stdin.write(b"end\n")
                    process.stdin.close()
            for order, process in self._running:
                try:
                    status = _wait(order, process, deadline)
                except subprocess.TimeoutExpired:
                    _tell(order, f"did not come to an end within {self.closing_seconds:g} s")
                else:
                    if status:
                        _tell(order, f"failed: {_why(order, status)}")
        finally:  # Ctrl-C while we wait
            for _order, process in self._running:
                with contextlib.suppress(OSError):  # its group has gone
                    os.killpg(process.pid, signal.SIGKILL)  # and what its client has started
                process.wait()
            self._running.clear()


def _wait(order: Order, process: subprocess.Popen[bytes], deadline: float) -> int:
    """Its exit status; somebody who waits long is told for what."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(max(0.0, min(PATIENT_SECONDS, deadline - time.monotonic())))
    if (left := deadline - time.monotonic()) > 0:
        log.warning("waiting up to %.0f s for the tracker `%s` to come to its end", left, order.name)
    return process.wait(max(0.0, left))


def _start(order: Order) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C in the terminal is for the study."""
    file = Path(order.file)
    file.parent.mkdir(exist_ok=True)
    with file.with_suffix(".log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rltune.trackers"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=order.base,
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(order.to_line())
    process.stdin.flush()
    return process


def _file_name(name: str) -> str:
    """`my.module:Class` as a part of a path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def _tell(order: Order, what: str) -> None:
    file = Path(order.file).with_suffix(".log")
    file = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    log.warning("the tracker `%s` %s; %s (its log: %s)", order.name, what, _LATER, file)


def _why(order: Order, status: int) -> str:
    """The error of its traceback, whose message may have more lines; else the last line that it said, or its status."""
    if status < 0:
        return f"it was killed by signal {-status}"
    with contextlib.suppress(OSError):
        said = Path(order.file).with_suffix(".log").read_text(encoding="utf-8", errors="replace").strip()
        if said:
            lines = said.rpartition("\n--- ")[2].split("\n")  # of this session
            errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
            return (errors or lines)[-1][:300].rstrip(". ")
    return f"exit status {status}"
