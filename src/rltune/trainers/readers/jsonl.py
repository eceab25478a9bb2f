"""A file of JSON objects, one a line: `{"step": 3, "loss": 0.5}`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rltune.errors import TrainerError
from rltune.folder import TrialDir
from rltune.trainers.context import Steps
from rltune.trainers.readers import Skipped, below_trial
from rltune.trainers.readers.lines import GrowingFile, measurement_of, row_of
from rltune.types import Measurement


@dataclass(frozen=True)
class JsonLines:
    """Metrics in a file of JSON lines.

    Attributes:
        file: Its path below the trial's folder.
        step: The entry that holds the step; lines without it are counted.

    Raises:
        TrainerError: The file lies outside the trial's folder, or is the one that rltune itself writes there.
    """

    file: str = "reports.jsonl"
    step: str = "step"
    poll_seconds: float = 0.1

    def __post_init__(self) -> None:
        file = below_trial(self.file)
        if Path(file) == TrialDir(Path()).metrics:
            raise TrainerError(
                f"rltune itself writes {file} into the trial's folder; choose another name for the command's"
            )

    def open(self, directory: Path, _log: Path, /) -> JsonLinesReader:
        return JsonLinesReader(directory / below_trial(self.file), self.step)


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
