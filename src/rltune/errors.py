"""What can go wrong on the user's side, as exceptions.

::

    RltuneError                 catch this for everything below
    ├── InputError              something given is wrong; carries every problem found, not only the first
    │   ├── SpaceError          the search space contradicts itself
    │   └── StudyFileError      the study file; its problems carry line numbers
    ├── TrainerError            the trainer cannot be loaded or cannot be called as asked
    ├── FolderError             the study folder is unusable: locked, unwritable, full, of another study
    └── ExecutorError           no worker can be started

`InputError` and its children are also `ValueError`s. The exit code of the command line is a property of the class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

Key = tuple[str | int, ...]
"""Where in a nested mapping something stands: `("search_space", "lr", "min")`."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where, and what to do about it.

    Attributes:
        key: The place, from the root of what was read.
        message: What was found and what is allowed.
        hint: What to do next; empty where the message says it.
        line: Line in the file, counted from 1; None where nothing was read from a file.
    """

    key: Key
    message: str
    hint: str = ""
    line: int | None = None

    def at(self, line: int | None) -> Problem:
        """The same, with its line in a file."""
        return replace(self, line=line)

    def under(self, *prefix: str | int) -> Problem:
        """The same, for whoever has what was read under a key of its own."""
        return replace(self, key=(*prefix, *self.key))

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.key)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class RltuneError(Exception):
    """Anything that the user can mend."""

    exit_code: ClassVar[int] = 2


class InputError(RltuneError, ValueError):
    """Something given is wrong.

    Attributes:
        problems: Every problem found, in the order of the input.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class SpaceError(InputError):
    """The search space contradicts itself."""


class StudyFileError(InputError):
    """The study file cannot be used as it is.

    Attributes:
        file: The file that was read; None for a mapping given from Python.
    """

    def __init__(self, file: Path | None, problems: Iterable[Problem]) -> None:
        super().__init__(problems)
        self.file = file

    def __str__(self) -> str:
        name = str(self.file) if self.file else "study"
        return "\n".join(f"{name}:{p.line}: {p}" if p.line else f"{name}: {p}" for p in self.problems)


class TrainerError(RltuneError):
    """The trainer cannot be loaded or cannot be called as asked."""


class FolderError(RltuneError):
    """The study folder is unusable: locked, unwritable, full, or of another study."""


class ExecutorError(RltuneError):
    """No worker can be started."""
