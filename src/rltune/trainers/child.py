"""One external process: ended with all that it started, and what can be said about its end."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from rltune.trainers.readers import printable
from rltune.types import Cause
from rltune.worker import out_of_memory_text

_TAIL_BYTES = 1 << 16
_TAIL_LINES = 20
_KILL_SECONDS = 2.0
"""How long a killed process may take to vanish; one that hangs in the kernel takes longer, and is left to it."""

_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
"""Signals that a program doesn't raise by its own fault."""


def end_tree(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End `process` and its descendants: TERM, then KILL for what is left after `grace_seconds`.

    Does nothing once `process` has ended by itself. If interrupted while waiting, it kills at once.
    """
    if process.poll() is not None:
        return
    family = set(_descendants(process.pid))
    deadline = time.monotonic() + grace_seconds
    try:
        process.terminate()
        for member in family:
            _quietly(member.terminate)
        process.wait(grace_seconds)
        _wait_for(family, deadline)
    except subprocess.TimeoutExpired:
        pass
    finally:
        family.update(_descendants(process.pid))
        for member in family:
            _quietly(member.kill)
        process.kill()
        process.wait()
        _wait_for(family, time.monotonic() + _KILL_SECONDS)


def explain_end(status: int, tail: str) -> tuple[Cause, str]:
    """Why a process ended that did not end well, and one line for a person.

    Args:
        status: As `subprocess` gives it: negative for a signal.
        tail: The end of what it printed.
    """
    number = -status if status < 0 else status - 128  # a shell in between adds 128
    name = _signal_name(number)
    how = f"ended by {name}" if status < 0 and name else f"exit status {status}"
    if status > 128 and name:
        how += f", which stands for {name}"
    memory = out_of_memory_text(tail)
    if memory is not None:
        return Cause.OUT_OF_MEMORY, f"out of memory ({how}): {printable(memory)}"
    if name and number in _FROM_OUTSIDE:
        why = "; often the system's own answer to full memory" if number == signal.SIGKILL else ""
        return Cause.LOST, f"{how}, sent from outside{why}"
    return Cause.ERROR, how


def log_tail(log: Path, begin: int = 0) -> str:
    """The end of what was printed after position `begin`: as text, with what progress bars overwrote left out."""
    with log.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(begin, end - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join(re.split(r"\r(?!$)", line)[-1].rstrip() for line in text.split("\n"))


def last_lines(tail: str) -> str:
    """The last lines that are not empty, each printable and of bearable length."""
    lines = [printable(line, 500) for line in tail.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:])


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def _wait_for(family: Iterable[psutil.Process], deadline: float) -> None:
    while any(map(_lives, family)) and time.monotonic() < deadline:
        time.sleep(0.01)


def _lives(member: psutil.Process) -> bool:
    """Whether it still runs; an orphan may stay a zombie for long where nobody collects it."""
    try:
        return bool(member.is_running() and member.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _quietly(send: Callable[[], object]) -> None:
    try:
        send()
    except psutil.Error:  # gone already
        pass


def _signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None
