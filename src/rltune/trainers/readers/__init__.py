"""Where a running command leaves its metrics, and how to follow it there.

A `Source` is what the study file names; it opens a `Reader` for one run. A new kind of source is one new file with
these two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rltune.errors import TrainerError
from rltune.types import Measurement


@dataclass
class Skipped:
    """What could not be read: how much, and the first of it."""

    count: int = 0
    first: str = ""

    def add(self, what: str | bytes) -> None:
        self.count += 1
        if self.count == 1:
            self.first = printable(what)


class Reader(Protocol):
    """Follows one run.

    Attributes:
        name: What it reads, for messages.
        skipped: What it could not read, so far.
    """

    name: str
    skipped: Skipped

    def read(self, *, last: bool = False) -> list[Measurement]:
        """What is new since the last call; `last`, once the run has ended, also takes what looked unfinished."""


class Source(Protocol):
    """Where metrics come from. Must survive pickling."""

    @property
    def poll_seconds(self) -> float:
        """How long to wait between two looks."""

    def open(self, directory: Path, log: Path, /) -> Reader:
        """Begin to follow a run in the trial's folder `directory`, which prints to `log`; called before it starts."""


def below_trial(path: str) -> str:
    """A path relative to the trial's folder; `{trial_dir}` at its beginning is that folder.

    Raises:
        TrainerError: It lies elsewhere, where trials that run at the same time would read each other's metrics.
    """
    relative = path.removeprefix("{trial_dir}").lstrip("/") if path.startswith("{trial_dir}") else path
    if Path(relative).is_absolute() or ".." in Path(relative).parts or "{" in relative:
        message = f"metrics are read below the trial's folder, which is that trial's alone, got {path!r}"
        raise TrainerError(f"{message}; let the command write to {{trial_dir}}, or run it there with cwd")
    return relative


def printable(what: str | bytes, limit: int = 200) -> str:
    """A line as text, without a terminal's colours and control characters."""
    text = what.decode(errors="replace") if isinstance(what, bytes) else what
    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)
    text = "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= limit else f"{text[:limit]}..."
