"""What a study may cost, where trials are no fair unit: a pruned one costs a tenth of a full run, or less.

The unit is the full-run equivalent (FRE): 1 is a trial that has trained to its end. GPU-hours follow from the cost of
one, which the baseline tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from optuna.trial import TrialState

from rltune.records import TrialRecord, effective, own
from rltune.types import FRESH, Purpose

_HOUR = 3600.0


@dataclass(frozen=True)
class FullRun:
    """What a trial that trains to its end is.

    Attributes:
        horizon: The step at which it ends; where it is None, a trial that was cut short is measured by its time.
        gpus: That it has.
    """

    horizon: int | None = None
    gpus: float = 0.0

    def shares(self, records: Iterable[TrialRecord]) -> dict[int, float]:
        """How much of one each trial of this study has been, by number; what runs counts as one that it may become.

        Trials are counted as everywhere: what was lost and is run again is free.
        """
        ours = own(records)
        typical = _typical_seconds(ours)
        return {r.number: self._share(r, typical) for r in effective(ours)}

    def gpu_hours(self, record: TrialRecord) -> float:
        """Of one trial, so far."""
        return (record.seconds or 0.0) * self.gpus / _HOUR

    def _share(self, record: TrialRecord, typical: float | None) -> float:
        if not record.state.is_finished():
            return 1.0
        if self.horizon is not None and record.curve:  # which a study with several objectives does not keep
            return min(1.0, max(record.curve) / self.horizon)
        if record.state is TrialState.COMPLETE or not typical:
            return 1.0
        return min(1.0, _seconds(record) / typical)


@dataclass(frozen=True)
class Budget:
    """How much a study may spend.

    Attributes:
        amount: In units.
        unit: Full runs, or hours of one GPU.
        full_run: What one of them is.
    """

    amount: float
    unit: Literal["FRE", "GPU-hours"]
    full_run: FullRun = FullRun()

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"

    def spent(self, records: Sequence[TrialRecord]) -> float:
        """So far, in units; whatever runs counts as the full run that it may become. GPU-hours are paid for all."""
        if self.unit == "FRE":
            return sum(self.full_run.shares(records).values())
        cost = self.cost(records) or 0.0
        return sum(max(self.full_run.gpu_hours(r), cost * (not r.state.is_finished())) for r in own(records))

    def cost(self, records: Iterable[TrialRecord]) -> float | None:
        """Of a full run, in units: of those that were run to their end, the baseline's first; None before one was."""
        if self.unit == "FRE":
            return 1.0
        complete = [r for r in own(records) if r.state is TrialState.COMPLETE and r.purpose not in FRESH]
        baseline = [r for r in complete if r.purpose is Purpose.BASELINE]
        return median(map(self.full_run.gpu_hours, baseline or complete)) if complete else None

    def n_runs(self, records: Iterable[TrialRecord]) -> int | None:
        """How many full runs the whole budget is; None while that is not known."""
        cost = self.cost(records)
        return int(self.amount / cost + 1e-9) if cost else None

    def has_room(self, records: Sequence[TrialRecord], reserve: int) -> bool:
        """Whether another trial may begin, so that the budget still pays for `reserve` full runs after the search."""
        cost = self.cost(records)
        return cost is None or self.spent(records) + cost * (1 + reserve) <= self.amount * (1 + 1e-9)


def _typical_seconds(records: Iterable[TrialRecord]) -> float | None:
    """Of a full run."""
    complete = [_seconds(r) for r in records if r.state is TrialState.COMPLETE]
    return median(complete) if complete else None


def _seconds(record: TrialRecord) -> float:
    return record.metrics.get("training_time", record.seconds or 0.0)
