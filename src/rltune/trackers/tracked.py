"""What a tracker is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.types import Measurement


@dataclass(frozen=True)
class TrackedStudy:
    """The study as a tracker sees it.

    Attributes:
        id: Of this study alone, and the same in every session: `grpo-digits-3f2a9c1d`.
        name: The study's, which others may have too.
        folder: Its folder, absolute.
        objectives: The first is the one that trials are compared by.
        parameters: Their dotted names.
    """

    id: str
    name: str
    folder: Path
    objectives: tuple[Objective, ...]
    parameters: tuple[str, ...]


class Tracker(Protocol):
    """Mirrors the trials of a study; made with a `TrackedStudy` as its first argument, and its options by name.

    Called by one thread, in a process that does nothing else. An exception ends it for this session.
    """

    def begin(self, trial: TrialRecord, /) -> None:
        """A trial has started: its number, purpose, parameters and seed are known.

        Called again in a later session for a trial that had begun and not ended: then it is the same run that goes on.
        """

    def measure(self, trial: TrialRecord, measurements: Sequence[Measurement], /) -> None:
        """What the trial has measured since the last call, in its order; a step may come more than once."""

    def end(self, trial: TrialRecord, /) -> None:
        """The trial has ended: its state, values, cause and message are known."""

    def close(self) -> None:
        """Nothing more comes in this session."""
