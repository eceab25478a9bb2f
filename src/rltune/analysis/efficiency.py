"""How well the workers were used, and what the time was spent on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import TrialState

from rltune.analysis.times import Span, cost_seconds, spans
from rltune.records import TrialRecord, busy_seconds
from rltune.types import Cause

ENDS = ("complete", "infeasible", "pruned", "failed", "lost")
"""How trials end, as far as their time is concerned; a trial that was interrupted is lost too."""


@dataclass(frozen=True)
class Efficiency:
    """Of all trials that have ended, finals and re-runs included; times in seconds.

    Attributes:
        workers: How many trials may run at once: as the study says, or as many as did where that is more.
        cost_seconds: Training time of all trials together.
        wall_seconds: Wall time during which at least one trial ran.
        efficiency: The share of the workers' time in which they trained; None before any time has passed.
        peak: The most trials that ran at once.
        mean_concurrency: Trials at once on average, while any ran; folds that ran side by side count each.
        idle_seconds: Time of workers that had nothing to do while others ran, summed over them.
        spent: Training time by how the trials ended; only those of `ENDS` that occurred.
    """

    workers: int
    cost_seconds: float
    wall_seconds: float
    efficiency: float | None
    peak: int
    mean_concurrency: float | None
    idle_seconds: float
    spent: Mapping[str, float]

    @property
    def lost_seconds(self) -> float:
        """Training time that left no value: failed, lost and pruned trials."""
        return sum(self.spent.get(end, 0.0) for end in ("pruned", "failed", "lost"))


def efficiency(records: Sequence[TrialRecord], workers: int) -> Efficiency:
    """How well `workers` were used by the trials that have ended.

    The efficiency is that of parallel computing: work done over workers times wall time, which is 1 without idle time.
    """
    ended = [r for r in records if r.state.is_finished() and r.started is not None and r.finished is not None]
    cost, wall = sum(cost_seconds(r) for r in ended), busy_seconds(ended)
    peak = _peak(spans(ended))
    workers = max(workers, peak)
    spent = {end: sum(cost_seconds(r) for r in ended if _end(r) == end) for end in ENDS}
    ends = {_end(r) for r in ended}
    return Efficiency(
        workers=workers,
        cost_seconds=cost,
        wall_seconds=wall,
        efficiency=cost / (workers * wall) if wall else None,
        peak=peak,
        mean_concurrency=cost / wall if wall else None,
        idle_seconds=max(0.0, workers * wall - cost),
        spent={end: seconds for end, seconds in spent.items() if end in ends},
    )


def _end(record: TrialRecord) -> str:
    if record.state is TrialState.COMPLETE:
        return "complete" if record.feasible else "infeasible"
    if record.state is TrialState.PRUNED:
        return "pruned"
    return "lost" if record.cause in (None, Cause.LOST, Cause.INTERRUPTED) else "failed"


def _peak(running: Sequence[Span]) -> int:
    """A trial that ends where another begins does not run beside it."""
    changes = sorted([(s.start, 1) for s in running] + [(s.end, -1) for s in running])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
