"""Lines of a growing file, and rows of JSON as measurements."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rltune.errors import TrainerError
from rltune.trainers.context import Steps, split_row
from rltune.types import Measurement

_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 20


class GrowingFile:
    """A file that another process appends to, read from its present end.

    A file that shrank is read anew. The end of a line longer than 1 MiB is dropped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._unfinished = b""

    def lines(self, *, last: bool = False) -> Iterator[bytes]:
        """The lines finished since the last call, without their ends; `last` gives an unfinished one as well."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self._offset:
                self._offset, self._unfinished = 0, b""
            file.seek(self._offset)
            while chunk := file.read(_CHUNK):
                self._offset += len(chunk)
                *lines, rest = (self._unfinished + chunk).split(b"\n")
                self._unfinished = rest[:_LONGEST_LINE]
                yield from lines
        if last and self._unfinished:
            line, self._unfinished = self._unfinished, b""
            yield line


def row_of(line: bytes) -> Mapping[str, Any]:
    """A line that holds a JSON object; the words NaN and Infinity are numbers.

    Raises:
        ValueError: It holds something else.
    """
    try:
        row = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(row, dict):
        raise ValueError("not an object")  # noqa: TRY004  # one error for all that is no row
    return row


def measurement_of(row: Mapping[str, Any], steps: Steps, step_key: str) -> Measurement | None:
    """The numbers of a row, also those written as text; None for a row that measures nothing.

    Raises:
        ValueError: Its step is not a whole number.
    """
    step, checkpoint, rest = split_row(row, step_key)
    numbers = {name: number for name, value in rest.items() if (number := number_of(value)) is not None}
    if not numbers and checkpoint is None:
        return None
    return Measurement(step_of(step, steps), numbers, checkpoint=checkpoint)


def step_of(step: object, steps: Steps) -> int:
    """The step that a row names, also as text; the next one for None.

    Raises:
        ValueError: It is not a whole number.
    """
    number = number_of(step)
    if number is None and step is not None:
        raise ValueError(f"step {step!r} is no number")
    try:
        return steps.take(number)
    except TrainerError as error:
        raise ValueError(str(error)) from error


def number_of(value: object) -> float | None:
    """A number, or a text that is one; None for anything else."""
    if not isinstance(value, (bool, int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
