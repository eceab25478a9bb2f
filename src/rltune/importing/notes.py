"""What a reader of another tool's file has found: problems that stop it, and remarks; each with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rltune.config.reader import Document
from rltune.errors import Key, Problem, StudyFileError
from rltune.importing.draft import Remark


@dataclass
class Notes:
    """Grows while a document is read."""

    document: Document
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def refuse(self, key: Key, message: str, hint: str = "") -> None:
        """What has no counterpart, so that the study would mean something else."""
        self.problems.append(Problem(key, message, hint))

    def add(self, found: Sequence[Problem]) -> None:
        self.problems += found

    def remark(self, key: Key, text: str) -> None:
        """What has no counterpart, and can be left out."""
        file, line = self.document.file, self.document.line(key)
        place = f"{file}:{line}" if line else str(file)
        self.remarks.append(Remark(": ".join([place, ".".join(map(str, key))] if key else [place]), text))

    def stop(self) -> None:
        """Raises: StudyFileError: Something was refused: every problem, with its line."""
        if self.problems:
            raise StudyFileError(self.document.file, (self.document.locate(each) for each in self.problems))
