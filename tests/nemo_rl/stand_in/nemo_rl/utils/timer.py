"""When a run must save and stop."""

from __future__ import annotations

import sys
import time


def convert_to_seconds(text: str) -> int:
    """Of `DD:HH:MM:SS`."""
    days, hours, minutes, seconds = map(int, text.split(":"))
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


class TimeoutChecker:
    """Says once that it is time to save.

    Args:
        timeout: `DD:HH:MM:SS` after the loop began; None for never.
        fit_last_save_time: Whether another step of average length must fit in before.
    """

    def __init__(self, timeout: str | None = "00:03:45:00", fit_last_save_time: bool = False) -> None:
        self.last_save_time = float("inf") if timeout is None else convert_to_seconds(timeout)
        self.start_time = time.time()
        self.last_saved = False
        self.iteration_times: list[float] = []
        self.previous_iteration_time: float | None = None
        self.fit_last_save_time = fit_last_save_time

    def check_save(self) -> bool:
        sys.stdout.flush()
        sys.stderr.flush()
        if self.last_saved:
            return False
        elapsed = time.time() - self.start_time
        if self.fit_last_save_time and self.iteration_times:
            elapsed += sum(self.iteration_times) / len(self.iteration_times)
        self.last_saved = elapsed >= self.last_save_time
        return self.last_saved

    def start_iterations(self) -> None:
        self.previous_iteration_time = time.time()

    def mark_iteration(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        now = time.time()
        if self.previous_iteration_time is not None:
            self.iteration_times.append(now - self.previous_iteration_time)
        self.previous_iteration_time = now
