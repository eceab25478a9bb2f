"""Resident memory of a tuner's processes while it tunes, its trials' own left out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INTERVAL_SECONDS = 0.25


class Peaks:
    """The most that was seen, in MB (10^6 bytes).

    RSS counts a page for every process that holds it; PSS divides a shared page among its holders, so only PSS may be
    summed.
    """

    def __init__(self) -> None:
        self.driver_rss = self.driver_pss = self.rss = self.pss = 0.0

    def look(self, others: Iterable[int]) -> None:
        driver_rss, driver_pss = resident(os.getpid())
        rss, pss = driver_rss, driver_pss
        for pid in others:
            more = resident(pid)
            rss, pss = rss + more[0], pss + more[1]
        self.driver_rss, self.driver_pss = max(self.driver_rss, driver_rss), max(self.driver_pss, driver_pss)
        self.rss, self.pss = max(self.rss, rss), max(self.pss, pss)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@contextmanager
def watched(others: Callable[[], Iterable[int]]) -> Iterator[Peaks]:
    """Looks several times a second, from a thread, at this process and at `others`."""
    peaks, over = Peaks(), threading.Event()

    def watch() -> None:
        while not over.wait(INTERVAL_SECONDS):
            peaks.look(others())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()
        peaks.look(others())


def resident(pid: int) -> tuple[float, float]:
    """RSS and PSS of one process in MB; zeros once it is gone.

    Raises:
        OSError: This system has no /proc, or one without `smaps_rollup`.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        if not Path("/proc/self/smaps_rollup").exists():
            raise
        return 0.0, 0.0
    sizes = {line.split(":")[0]: float(line.split()[1]) * 1024 / 1e6 for line in lines[1:]}
    return sizes["Rss"], sizes["Pss"]


def children(pid: int) -> list[int]:
    """The direct ones."""
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def title(pid: int) -> str:
    """The beginning of its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""
