"""What a guard answers, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from rltune.types import Cause, Measurement


class Verdict(NamedTuple):
    """A trial has gone wrong: why, and the evidence for a person to read."""

    cause: Cause
    message: str


Guard: TypeAlias = Callable[[Sequence[Measurement]], Verdict | None]
"""Judges a running trial by its measurements so far, newest last; None while all is well."""


class Mode(StrEnum):
    """What a guard's verdict does."""

    KILL = "kill"  # ends the trial, which counts as failed
    SHADOW = "shadow"  # is written down, and the trial runs on


@dataclass(frozen=True, eq=False)
class StudyGuard:
    """A guard as a study has it; called like the guard itself.

    Attributes:
        name: As the study file names it.
        judge: The guard, its options filled in.
        mode: What its verdict does.
    """

    name: str
    judge: Guard
    mode: Mode = Mode.KILL

    def __call__(self, measurements: Sequence[Measurement]) -> Verdict | None:
        return self.judge(measurements)
