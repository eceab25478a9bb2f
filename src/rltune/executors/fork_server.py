"""The tuner's end of the warm fork server: starts it, asks it for trials, hears of their ends, survives its death."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any, Self

import cloudpickle
import psutil

from rltune.errors import ExecutorError, TrainerError
from rltune.executors import zygote
from rltune.executors.measure import processes_with
from rltune.executors.zygote import Broken, Ended, Ready, Setup, Started
from rltune.types import Trainer

_MARK = "RLTUNE_SERVER"
"""A variable by which everything that a fork server has started can be found after the server's death."""


class ServerDiedError(ExecutorError):
    """The fork server is no more."""


class ForkServer:
    """The tuner's end of the fork server. After its death the next `launch` starts another.

    Args:
        trainer: What runs.
        warm: Load it once, for all trials.
        log: Where the server's own output goes.
        environ: What the server and its trials inherit.
    """

    def __init__(
        self, trainer: Trainer, *, warm: bool, log: Path | None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._setup = Setup(cloudpickle.dumps(trainer), tuple(sys.path), warm)
        self._log = log
        self._environ = environ
        self._mark = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self.control.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def setup(self) -> Setup | None:
        """What a trial must be given, since the server has not loaded it."""
        return None if self._warm else self._setup

    def launch(self, job: int, pipe: Connection[Any, Any]) -> None:
        """Starts a trial's process, which gets this end of a pipe."""
        process = self._process or self._start()
        try:
            self.control.send(job)
            send_handle(self.control, pipe.fileno(), process.pid)
        except OSError as error:
            raise self._died() from error

    def receive(self) -> list[Started | Ended]:
        """What the server has to say, without waiting longer than for the first message."""
        messages: list[Started | Ended] = []
        try:
            messages.append(self.control.recv())
            while self.control.poll():
                messages.append(self.control.recv())
        except (EOFError, OSError) as error:
            if not messages:  # else the next call meets the end again
                raise self._died() from error
        return messages

    def kill_remains(self) -> None:
        """Kills what a dead server's trials have left; what starts others meanwhile is met in the next round."""
        deadline = time.monotonic() + 5
        while (remains := processes_with(_MARK, self._mark)) and time.monotonic() < deadline:
            for process in remains:
                try:
                    process.kill()
                except psutil.Error:  # gone already
                    pass

    def _start(self) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair()
        with theirs, open(self._log or os.devnull, "ab") as log:  # noqa: PTH123
            try:
                process = subprocess.Popen(
                    zygote.command("server", theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in the terminal is the tuner's to handle
                    env={**self._environ, _MARK: self._mark},
                )
            except OSError as error:
                raise ExecutorError(f"no process can be started: {error}") from error
        self._process, self.control = process, Connection(ours.detach())
        try:
            self.control.send(self._setup)
            answer: Ready | Broken = self.control.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if isinstance(answer, Broken):
            self.__exit__()
            raise (TrainerError if answer.by_user else ExecutorError)(answer.message)
        self._warm = answer.warm
        return process

    def _died(self) -> ServerDiedError:
        assert self._process is not None
        status = self._process.wait()
        self._process = None
        self.control.close()
        how = f"was killed ({signal_name(-status)})" if status < 0 else f"ended with status {status}"
        where = f"; its output is in {self._log}" if self._log else ""
        return ServerDiedError(f"the process that starts the trials {how}{where}")


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals, of which only the first and the last have names
        return f"signal {number}"
