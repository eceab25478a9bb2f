"""Divergence: numbers that are no longer numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from rltune.errors import InputError, Problem
from rltune.guards.verdict import Verdict
from rltune.types import Cause, Measurement

WATCHED = ("*loss*", "*grad*norm*", "*kl*")
"""The vital signs of policy-gradient training, by the last part of their names: `train/grad_norm`, `loss/kl`.

Other metrics are left alone: a trainer may well report the mean of nothing as NaN.
"""


def divergence(
    measurements: Sequence[Measurement],
    *,
    objective: str,
    watch: str | Sequence[str] = WATCHED,
    in_a_row: int = 2,
) -> Verdict | None:
    """A NaN or infinite objective, at once; a NaN or infinite loss, gradient norm or KL, when it lasts.

    Args:
        measurements: The trial so far, newest last.
        objective: The metric that is optimised.
        watch: Patterns of the other metrics to watch, matched with the whole name and with its last part.
        in_a_row: How many measurements of a watched metric must be bad. Two by default: a loss scaler that skips
            one step reports one infinite gradient norm, and recovers.

    Raises:
        InputError: `in_a_row` is below 1.
    """
    if in_a_row < 1:
        raise InputError([Problem(("in_a_row",), f"must be at least 1, got {in_a_row}")])
    patterns = [watch] if isinstance(watch, str) else list(watch)
    newest = measurements[-1]
    for name, value in newest.metrics.items():
        if math.isfinite(value):
            continue
        if name == objective:
            return Verdict(Cause.DIVERGED, f"the objective `{name}` is {value} at step {newest.step}")
        if _watched(name, patterns) and (steps := _bad_steps(measurements, name, in_a_row)):
            since = f", {in_a_row} measurements in a row since step {steps[-1]}" if in_a_row > 1 else ""
            return Verdict(Cause.DIVERGED, f"`{name}` is {value} at step {newest.step}{since}")
    return None


def _watched(name: str, patterns: Iterable[str]) -> bool:
    lowered = name.lower()
    last = re.split(r"[/.]", lowered)[-1]
    return any(fnmatchcase(text, pattern.lower()) for pattern in patterns for text in (lowered, last))


def _bad_steps(measurements: Sequence[Measurement], name: str, n: int) -> list[int]:
    """The last `n` steps that measured a metric, newest first; empty where one of them was well, or there are fewer."""
    steps: list[int] = []
    for measurement in reversed(measurements):
        value = measurement.metrics.get(name)
        if value is None:
            continue
        if math.isfinite(value):
            return []
        steps.append(measurement.step)
        if len(steps) == n:
            return steps
    return []
