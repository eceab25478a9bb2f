"""What a command prints: JSON objects among ordinary lines, or text that a regular expression finds numbers in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rltune.errors import TrainerError
from rltune.trainers.context import Steps
from rltune.trainers.readers import Skipped
from rltune.trainers.readers.lines import GrowingFile, measurement_of, number_of, row_of, step_of
from rltune.types import Measurement


@dataclass(frozen=True)
class Stdout:
    """Metrics in the output.

    Attributes:
        pattern: A regular expression whose named groups are metrics, and the step where a group is called so. None:
            lines that are JSON objects.
        step: The name of the step's group or entry. A match with nothing but a step sets it for what follows.

    Raises:
        TrainerError: The pattern is no regular expression, or names no metric.
    """

    pattern: str | None = None
    step: str = "step"
    poll_seconds: float = 0.1

    def __post_init__(self) -> None:
        if self.pattern is None:
            return
        try:
            names = re.compile(self.pattern).groupindex
        except re.error as error:
            raise TrainerError(f"{self.pattern!r} is no regular expression: {error}") from error
        if not set(names) - {self.step}:
            raise TrainerError(f"{self.pattern!r} names no metric; write one as a group: (?P<loss>[-+.\\w]+)")

    def open(self, _directory: Path, log: Path, /) -> StdoutReader:
        return StdoutReader(log, self.pattern, self.step)


class StdoutReader:
    """Follows a log from its present end. A progress bar's carriage return begins a new line."""

    def __init__(self, path: Path, pattern: str | None = None, step_key: str = "step") -> None:
        self.name = path.name
        self.skipped = Skipped()
        self._file = GrowingFile(path)
        self._pattern = None if pattern is None else re.compile(pattern)
        self._step_key = step_key
        self._step: int | None = None
        self._steps = Steps()

    def read(self, *, last: bool = False) -> list[Measurement]:
        parts = (part for line in self._file.lines(last=last) for part in line.split(b"\r"))
        found = map(self._from_json if self._pattern is None else self._from_text, parts)
        return [measurement for measurement in found if measurement is not None]

    def _from_json(self, line: bytes) -> Measurement | None:
        if not line.lstrip().startswith(b"{"):
            return None
        try:
            return measurement_of(row_of(line), self._steps, self._step_key)
        except ValueError:
            self.skipped.add(line)
            return None

    def _from_text(self, line: bytes) -> Measurement | None:
        assert self._pattern is not None
        row: dict[str, str] = {}
        for match in self._pattern.finditer(line.decode(errors="replace")):
            row |= {name: text for name, text in match.groupdict().items() if text is not None}
        if not row:
            return None
        step = row.pop(self._step_key, None)
        numbers = {name: number for name, text in row.items() if (number := number_of(text)) is not None}
        try:
            if step is not None:
                self._step = step_of(step, self._steps)
        except ValueError:
            self.skipped.add(line)
            return None
        if len(numbers) < len(row):
            self.skipped.add(line)
        return Measurement(self._steps.take(self._step), numbers) if numbers else None
