"""What running trials have measured so far, read from their files as these grow."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rltune.folder import StudyDir

_MOST_BYTES = 4 << 20
"""Of a file that has grown long before anybody looked: its end is what matters."""

_TICKS = 400  # so many tell the pace


class Tick(NamedTuple):
    """A measurement: its step, and the seconds since the trial began."""

    step: int
    seconds: float


@dataclass
class Curve:
    """What one trial has measured.

    Attributes:
        values: The objective, one number for each measurement that had it.
        last: The newest value of each metric, by name.
        step: Of the newest measurement with the objective; None before there is one.
        ticks: The newest measurements, whatever was measured; their steps grow.
        measured: When the newest of them was written, in seconds since the epoch; None before there is one.
        heard: The same with what its folds have measured, which run by themselves.
    """

    values: list[float] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    step: int | None = None
    ticks: deque[Tick] = field(default_factory=lambda: deque(maxlen=_TICKS))
    measured: float | None = None
    heard: float | None = None

    def add(self, row: Mapping[str, Any], metric: str) -> None:
        """Takes one line of a metrics file. What a trainer measures again that began anew takes the place of the old.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: It is no measurement.
        """
        tick = Tick(int(row["step"]), float(row.get("seconds", 0.0)))
        if self.ticks and tick.step < self.ticks[-1].step:
            self.values.clear()
        if self.ticks and (tick.step < self.ticks[-1].step or tick.seconds < self.ticks[-1].seconds):
            self.ticks.clear()
        if not self.ticks or tick.step > self.ticks[-1].step:
            self.ticks.append(tick)
        self.last.update({name: v for name, v in row.items() if isinstance(v, float | int)})
        if metric in row:
            self.values.append(float(row[metric]))
            self.step = tick.step


class Curves:
    """The curves of a study's running trials. Each look reads what has come since the last one.

    Args:
        folder: The study's.
        metric: The objective.
    """

    def __init__(self, folder: StudyDir, metric: str) -> None:
        self._folder, self._metric = folder, metric
        self._files: dict[int, _Growing] = {}

    def of(self, number: int) -> Curve:
        """What a trial has measured so far; empty where there is nothing to read."""
        folder = self._folder.trial(number)
        file = self._files.setdefault(number, _Growing(folder.metrics, self._metric))
        file.read()
        curve = file.curve
        written = (_modified(fold.metrics) for fold in folder.folds())
        curve.heard = max((at for at in (curve.measured, *written) if at is not None), default=None)
        return curve

    def forget_all_but(self, numbers: Sequence[int]) -> None:
        """Trials that have ended are not asked for again."""
        self._files = {number: file for number, file in self._files.items() if number in numbers}


class _Growing:
    """A metrics file, and how far it has been read."""

    def __init__(self, path: Path, metric: str) -> None:
        self._path, self._metric = path, metric
        self._offset = 0
        self.curve = Curve()

    def read(self) -> None:
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._offset:
                    self._offset, self.curve = 0, Curve()
                begin = max(self._offset, size - _MOST_BYTES)
                file.seek(begin)
                text = file.read(size - begin)
        except OSError:
            return
        whole = text.rfind(b"\n") + 1  # the last line may not have been written to its end
        self._offset = begin + whole
        for line in text[:whole].splitlines():
            try:
                self.curve.add(json.loads(line), self._metric)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                continue  # cut short, or no measurement of ours
        if self.curve.ticks:
            self.curve.measured = _modified(self._path)


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
