"""Requests to stop: Ctrl-C, and what schedulers send."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

from rltune.cli.exits import Exit

AGAIN = "press Ctrl-C again to end at once"


class StopSignals:
    """While entered, a signal asks the study to stop; its trials are interrupted and can be resumed.

    Ctrl-C, and once more to end at once: our death ends all trials, because the process that started them notices.
    TERM and USR1 are what a scheduler sends before it takes the machine away; HUP is a terminal that closes.

    Attributes:
        received: The first one.
        pause_seconds: How long trials may take to save a checkpoint first; 0 where they cannot.
        on_first: Called from the signal's handler at the first request, with what to tell the user.
        on_last: Called just before we end at once.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.pause_seconds = 0.0
        self.on_first: Callable[[str], None] = lambda _: None
        self.on_last: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        caught = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else it runs under nohup
            caught.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._receive) for number in caught}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.received is not None

    @property
    def exit_code(self) -> Exit:
        return Exit.INTERRUPTED if self.received is signal.SIGINT else Exit.PREEMPTED

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            why = "stopping" if number == signal.SIGINT else f"stopping, as {self.received.name} asks"
            what = "what runs is cut short, and runs again next time"
            if self.pause_seconds:
                limit = f"{self.pause_seconds:g} s"
                what = f"what can finishes its step and saves a checkpoint, within {limit}, and goes on there next time"
            self.on_first(f"{why}: {what}\n{AGAIN}")
        elif number == signal.SIGINT:
            self.on_last()
            os._exit(Exit.INTERRUPTED)
