"""report.html, kept fresh while a study runs, without costing it anything that matters."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

from rltune.folder import write_atomic
from rltune.records import TrialRecord
from rltune.reporting.html.page import page
from rltune.reporting.model import Report

PAUSE = 30.0
"""Seconds between two pages at least."""

SHARE = 0.05
"""Of the tuner's time that pages may take: with a thousand trials one takes a second or more, and comes less often."""


class LivePage:
    """The page in a study's folder. A fault in it is told once, as a warning, and ends nothing."""

    def __init__(self, path: Path, report: Callable[[], Report], clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._report, self._clock = path, report, clock
        self._due = clock() + PAUSE
        self._told = False

    def after(self, on_change: Callable[[TrialRecord], None]) -> Callable[[TrialRecord], None]:
        """The same, with a new page behind it where one is due."""

        def changed(record: TrialRecord) -> None:
            on_change(record)
            if self._clock() >= self._due:
                self.write()

        return changed

    def write(self, report: Callable[[], Report] | None = None) -> None:
        """A new page, now; of a report that somebody else wants too, where one is given."""
        begun = self._clock()
        try:
            write_atomic(self._path, page((report or self._report)()))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a page, the study is worth more
            if not self._told:
                self._told = True
                warnings.warn(f"{self._path} was not written ({error}); the study goes on", stacklevel=2)
        ended = self._clock()
        self._due = ended + max(PAUSE, (ended - begun) / SHARE)
