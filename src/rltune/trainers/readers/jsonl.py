"""A file of JSON objects, one a line: `{"step": 3, "loss": 0.5}`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rltune.trainers.context import Steps
from rltune.trainers.readers import Skipped
from rltune.trainers.readers.lines import GrowingFile, measurement_of, row_of
from rltune.types import Measurement


@dataclass(frozen=True)
class JsonLines:
    """Metrics in a file of JSON lines.

    Attributes:
        file: Its path below the trial's folder.
        step: The entry that holds the step; lines without it are counted.
    """

    file: str = "reports.jsonl"
    step: str = "step"
    poll_seconds: float = 0.1

    def open(self, directory: Path, _log: Path, /) -> JsonLinesReader:
        return JsonLinesReader(directory / self.file, self.step)


class JsonLinesReader:
    """Follows one file; every line is one measurement, entries that are no numbers are left out."""

    def __init__(self, path: Path, step_key: str = "step") -> None:
        self.name = path.name
        self.skipped = Skipped()
        self._file = GrowingFile(path)
        self._step_key = step_key
        self._steps = Steps()

    def read(self, *, last: bool = False) -> list[Measurement]:
        found = []
        for line in self._file.lines(last=last):
            if not line.strip():
                continue
            try:
                measurement = measurement_of(row_of(line), self._steps, self._step_key)
            except ValueError:
                self.skipped.add(line)
                continue
            if measurement is not None:
                found.append(measurement)
        return found
