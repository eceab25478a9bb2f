"""Which configurations are the best so far, and whether the winner is worth shipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.records import TrialRecord, effective
from rltune.types import Purpose

SHIP_Z = 0.5
"""The winner ships when its gain is above this many standard errors: P(better) of about 0.7."""


def ranked(records: Iterable[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Complete trials, best first: the feasible ones by their value, then the others by what they miss."""
    complete = [r for r in effective(records) if r.state is TrialState.COMPLETE]
    return sorted(complete, key=lambda r: objective.standing(r.value, r.violations.values()))


def recommended(records: Iterable[TrialRecord], objective: Objective, verdict: Verdict | None) -> TrialRecord | None:
    """The trial to ship: the winner of the finals or the default, where they were compared; else the best single run.

    None where no trial is feasible.
    """
    order = [r for r in ranked(records, objective) if r.feasible]
    if verdict is not None:
        arm = verdict.baseline if verdict.ship is False or verdict.winner is None else verdict.winner
        assert arm is not None
        return next((r for r in order if r.params == arm.params), None)
    return order[0] if order else None


def finalists(
    records: Iterable[TrialRecord],
    objective: Objective,
    n: int,
    exclude: Mapping[str, Any] | None = None,
) -> list[TrialRecord]:
    """The best `n` feasible trials of distinct configurations other than `exclude`."""
    chosen: list[TrialRecord] = []
    for record in ranked(records, objective):
        seen = any(record.params == other.params for other in chosen)
        if record.feasible and not seen and record.params != exclude:
            chosen.append(record)
    return chosen[:n]


def since_improved(records: Iterable[TrialRecord], objectives: Sequence[Objective]) -> int:
    """How many trials of the search have ended since the last that was an improvement.

    With one objective an improvement is a feasible trial that is better than all before it, the baseline among them;
    with several, one that none before it equals or dominates. Trials that failed or were pruned are none.
    """
    ended = [r for r in effective(records) if r.purpose is not Purpose.FINAL and r.finished and r.state.is_finished()]
    front: list[list[float]] = []
    count = 0
    for record in sorted(ended, key=lambda r: (r.finished, r.number)):
        losses = [o.standing(v).loss for o, v in zip(objectives, record.values or (), strict=False)]
        beaten = any(all(a <= b for a, b in zip(other, losses, strict=True)) for other in front)
        if record.feasible and not beaten:
            front.append(losses)
            count = 0
        elif record.purpose is Purpose.SEARCH:
            count += 1
    return count


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
        """NaN where no run has a value."""
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


def verdict(records: Sequence[TrialRecord], objective: Objective, default: Mapping[str, Any] | None) -> Verdict | None:
    """Compares the finalists with the default on the seeds that neither had seen.

    None before the finals, and where no final has a value.

    The standard deviation is pooled over all configurations that ran more than once, the baseline's first runs among
    them, since two or three runs cannot estimate one of their own; the standard error of the difference of two means
    follows from it (Student's formula for equal variances).
    """
    arms = _arms(records, Purpose.FINAL)
    if not arms:
        return None
    sign = -1.0 if objective.direction == "minimize" else 1.0
    baseline = next((a for a in arms if a.params == default and a.values), None)
    candidates = [a for a in arms if a.params != default and a.values and not a.failed]
    winner = max(candidates, key=lambda a: sign * a.mean, default=None)
    if winner is None and baseline is None:
        return None
    if winner is None or baseline is None:
        return Verdict(winner, baseline, math.nan, math.nan, ship=None if baseline is None else False)
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
