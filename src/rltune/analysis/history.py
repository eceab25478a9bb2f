"""How the best value so far grew: over trials, over what they cost, and over wall time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rltune.analysis.metric import searched
from rltune.analysis.times import busy_until, cost_seconds
from rltune.objective import Objective
from rltune.records import TrialRecord, own
from rltune.types import FRESH, Purpose


@dataclass(frozen=True)
class Step:
    """The search just after one of its trials had ended.

    Attributes:
        number: The trial that had ended.
        value: Its own value; None where it has none, or is not feasible.
        best: The best feasible value so far; None before the first.
        n_trials: How many trials had ended.
        cost_seconds: What they had cost together, and those that were run again beside them.
        wall_seconds: Wall time so far, without pauses of the study.
    """

    number: int
    purpose: Purpose
    value: float | None
    best: float | None
    n_trials: int
    cost_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class History:
    """The search, trial by trial in the order in which they ended; finals and trials of earlier studies are no part."""

    steps: tuple[Step, ...] = ()

    @property
    def improvements(self) -> tuple[Step, ...]:
        """The steps that brought a new best."""
        before = (None, *(step.best for step in self.steps))
        return tuple(step for step, best in zip(self.steps, before, strict=False) if step.best != best)

    @property
    def best(self) -> Step | None:
        """Where the present best was found."""
        return self.improvements[-1] if self.improvements else None

    @property
    def n_since_best(self) -> int | None:
        """How many trials have ended since."""
        return None if self.best is None else self.steps[-1].n_trials - self.best.n_trials


def history(records: Sequence[TrialRecord], objective: Objective) -> History:
    """The best value so far, after each trial of the baseline and the search that has ended.

    Args:
        records: Every trial; only feasible ones can be the best.
        objective: Whose value a record's first one is.
    """
    counted = {r.number for r in searched(own(records))}
    wall = busy_until(records)
    steps: list[Step] = []
    cost, best = 0.0, None
    for record in sorted((r for r in own(records) if r.finished is not None), key=lambda r: (r.finished, r.number)):
        if record.purpose in FRESH or not record.state.is_finished():
            continue
        cost += cost_seconds(record)
        if record.number not in counted:
            continue  # it was run again; what it cost is not given back
        value = record.value if record.feasible and not math.isnan(record.value or 0.0) else None
        if value is not None and (best is None or objective.better(value, best)):
            best = value
        assert record.finished is not None
        n = len(steps) + 1
        steps.append(Step(record.number, record.purpose, value, best, n, cost, wall(record.finished)))
    return History(tuple(steps))
