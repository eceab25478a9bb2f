"""What a guard answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from rltune.types import Cause, Measurement


class Verdict(NamedTuple):
    """A trial has gone wrong: why, and the evidence for a person to read."""

    cause: Cause
    message: str


Guard: TypeAlias = Callable[[Sequence[Measurement]], Verdict | None]
"""Judges a running trial by its measurements so far, newest last; None while all is well."""
