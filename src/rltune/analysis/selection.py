"""Which configurations are the best so far, and whether the winner is worth shipping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rltune.objective import Objective
from rltune.records import TrialRecord, effective
from rltune.types import Purpose

SHIP_Z = 0.5
"""The winner ships when its gain is above this many standard errors: P(better) of about 0.7."""


def ranked(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[TrialRecord]:
    """Complete trials, best first by the first objective: the feasible ones, then the others by what they miss."""

    def order(record: TrialRecord) -> tuple[float, float]:
        missed = sum(max(v, 0.0) for v in record.violations.values())
        value = record.value if record.value is not None else math.nan
        return missed, value if objectives[0].direction == "minimize" else -value

    return sorted((r for r in effective(records) if r.values is not None and is_complete(r)), key=order)


def is_complete(record: TrialRecord) -> bool:
    return record.state.name == "COMPLETE"


def finalists(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    n: int,
    exclude: Mapping[str, Any] | None = None,
) -> list[TrialRecord]:
    """The best `n` feasible trials of distinct configurations other than `exclude`."""
    chosen: list[TrialRecord] = []
    for record in ranked(records, objectives):
        seen = any(record.params == other.params for other in chosen)
        if record.feasible and not seen and record.params != exclude:
            chosen.append(record)
    return chosen[:n]


@dataclass(frozen=True)
class Arm:
    """One configuration's runs on fresh seeds.

    Attributes:
        values: The first objective, one a run.
        failed: Runs without a usable value.
    """

    params: Mapping[str, Any]
    values: tuple[float, ...]
    failed: int = 0

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values) if self.values else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation; NaN below two runs."""
        n = len(self.values)
        if n < 2:
            return math.nan
        return math.sqrt(sum((v - self.mean) ** 2 for v in self.values) / (n - 1))


@dataclass(frozen=True)
class Verdict:
    """What to ship, and why.

    Attributes:
        winner: The finalist with the best mean on fresh seeds; None where no finalist has a value.
        baseline: The default on the same seeds.
        gain: The winner's mean less the baseline's, positive where better; NaN without either.
        standard_error: Of the gain, from the spread of all arms taken together; NaN below two runs.
        ship: Whether the gain is above zero and above `SHIP_Z` standard errors; None where nothing can be compared.
    """

    winner: Arm | None
    baseline: Arm | None
    gain: float
    standard_error: float
    ship: bool | None


def verdict(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], default: Mapping[str, Any] | None
) -> Verdict | None:
    """Compares the finalists with the default on the seeds that neither had seen; None before the finals.

    The standard deviation is pooled over all configurations that ran more than once, the baseline's first runs among
    them, since two or three runs cannot estimate one of their own; the standard error of the difference of two means
    follows from it (Student's formula for equal variances).
    """
    arms = _arms(records, Purpose.FINAL)
    if not arms:
        return None
    sign = -1.0 if objectives[0].direction == "minimize" else 1.0
    baseline = next((a for a in arms if a.params == default and a.values), None)
    candidates = [a for a in arms if a.params != default and a.values and not a.failed]
    winner = max(candidates, key=lambda a: sign * a.mean, default=None)
    if winner is None or baseline is None:
        return Verdict(winner, baseline, math.nan, math.nan, ship=False if baseline else None)
    gain = sign * (winner.mean - baseline.mean)
    sd = _pooled_sd([*arms, *_arms(records, Purpose.BASELINE)])
    error = sd * math.sqrt(1 / len(winner.values) + 1 / len(baseline.values))
    return Verdict(winner, baseline, gain, error, ship=gain > 0 and gain > SHIP_Z * error)


def _arms(records: Sequence[TrialRecord], purpose: Purpose) -> list[Arm]:
    runs: dict[frozenset[tuple[str, Any]], list[TrialRecord]] = {}
    for record in effective(records):
        if record.purpose is purpose and record.state.is_finished():
            runs.setdefault(frozenset(record.params.items()), []).append(record)
    arms = []
    for group in runs.values():
        values = tuple(r.values[0] for r in group if r.feasible and r.values)
        arms.append(Arm(group[0].params, values, failed=len(group) - len(values)))
    return arms


def _pooled_sd(arms: Sequence[Arm]) -> float:
    freedom = sum(len(a.values) - 1 for a in arms if len(a.values) > 1)
    if not freedom:
        return math.nan
    return math.sqrt(sum(a.sd**2 * (len(a.values) - 1) for a in arms if len(a.values) > 1) / freedom)
