"""Which configurations are the best so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.records import TrialRecord, effective
from rltune.types import FRESH, Purpose


def ranked(records: Iterable[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Complete trials, best first: the feasible ones by their value, then the others by what they miss."""
    complete = [r for r in effective(records) if r.state is TrialState.COMPLETE]
    return sorted(complete, key=lambda r: objective.standing(r.value, r.violations.values()))


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
    ended = [r for r in effective(records) if r.purpose not in FRESH and r.finished and r.state.is_finished()]
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
class Runs:
    """One configuration's runs on several seeds.

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
