"""One metric over a trial, found by the names that trainers give it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from rltune.errors import InputError, Problem
from rltune.types import Measurement

Names: TypeAlias = str | Sequence[str]
"""What a metric may be called, the likeliest first."""

_HELD_OUT = re.compile(r"(val|valid|validation|eval|evaluation|test)(?![a-z])")  # `validation-math/kl`, `eval_kl`


class Point(NamedTuple):
    """One value of a metric.

    Attributes:
        at: Index of its measurement in the trial.
        step: The trainer's own count.
    """

    at: int
    step: int
    value: float


def find(metrics: Mapping[str, float], names: Names) -> str | None:
    """Which of a measurement's metrics is meant: one of that very name, else one whose last part is that of a name.

    `train/kl_penalty` finds `loss/kl_penalty`. A metric of validation, `validation/reward`, is found by its whole name
    only: it is never taken for that of training.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name in metrics:
            return name
    for name in wanted:
        for metric in metrics:
            if _last_part(metric) == _last_part(name) and not _HELD_OUT.match(metric.lower()):
                return metric
    return None


def latest(measurements: Sequence[Measurement], names: Names, n: int) -> list[Point]:
    """The last `n` values of a metric, or as many as there are, oldest first.

    Empty where the newest measurement has no such metric: then there is nothing new to judge. A value that is no
    number is left out, for `divergence` watches for those.
    """
    name = find(measurements[-1].metrics, names)
    if name is None or not math.isfinite(measurements[-1].metrics[name]):
        return []
    points = []
    for point in _backwards(measurements, name):
        points.append(point)
        if len(points) == n:
            break
    return points[::-1]


def first(measurements: Sequence[Measurement], names: Names) -> float | None:
    """The first value of a metric; None where there is none yet."""
    for measurement in measurements:
        name = find(measurement.metrics, names)
        if name is not None and math.isfinite(measurement.metrics[name]):
            return measurement.metrics[name]
    return None


def at_least(least: float, **options: float) -> None:
    """Judges a guard's options.

    Raises:
        InputError: One of them is below `least`, or no number.
    """
    problems = [
        Problem((name,), f"must be at least {least:g}, got {value:g}")
        for name, value in options.items()
        if not value >= least
    ]
    if problems:
        raise InputError(problems)


def _backwards(measurements: Sequence[Measurement], name: str) -> Iterator[Point]:
    for index in range(len(measurements) - 1, -1, -1):
        value = measurements[index].metrics.get(name, math.nan)
        if math.isfinite(value):
            yield Point(index, measurements[index].step, value)


def _last_part(name: str) -> str:
    return re.split(r"[/.]", name.lower())[-1]
