"""What the tuner keeps of a trial while it runs: its runs, one or one a fold, and what they have said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna

from rltune.evaluation.folds import Folding
from rltune.folder import TrialDir
from rltune.guards import StudyGuard
from rltune.records import ShadowStop, TrialRecord
from rltune.types import Cause, Decision, Measurement, Usage


@dataclass
class Run:
    """One process's share of a trial: all of it, or one fold.

    Attributes:
        job: What executors call it by.
        folder: Where its measurements are written.
        fold: Which of the trial's folds it is, counted over all repeats.
        history: What it has measured so far.
        in_shadow: Guards in shadow mode that would have.
        enough: It has been told to stop and has its value: its own curve is flat, or it has come to its end.
        resumed_at: The step of the checkpoint that it goes on from; what was measured up to there is in its history.
    """

    job: int
    folder: TrialDir
    fold: int | None = None
    history: list[Measurement] = field(default_factory=list)
    in_shadow: list[StudyGuard] = field(default_factory=list)
    enough: bool = False
    resumed_at: int | None = None

    def begin_anew(self) -> None:
        """The trainer has not gone on from the checkpoint, so what was measured before it is not of this run."""
        self.history.clear()
        self.resumed_at = None

    def curve(self, metric: str) -> dict[int, float]:
        """A metric by step."""
        return {m.step: m.metrics[metric] for m in self.history if metric in m.metrics}

    def last_metrics(self) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for measurement in self.history:
            metrics.update(measurement.metrics)
        return metrics


@dataclass
class RunningTrial:
    """A trial that has been started and not closed.

    Attributes:
        record: As it was at its start.
        params: Its configuration, derived values included.
        may_be_pruned: What the winner is compared with, and the winner itself, are worth their cost to the end.
        queue: Folds that have not begun, in their order.
        runs: What runs of it, by job.
        folds: The metrics of each fold that has ended well.
        noted: Steps of which the pruner knows a value.
        usage: What its ended runs have cost.
        cause, message: Why it has failed.
        shadow_stops: Where guards in shadow mode would have ended it.
        stopped_by: The rule that ended it before its time.
        pruned: That rule says that it is no good.
        again: It ended through no doing of its own.
    """

    trial: optuna.Trial
    record: TrialRecord
    params: Mapping[str, Any]
    may_be_pruned: bool
    queue: list[int] = field(default_factory=list)
    runs: dict[int, Run] = field(default_factory=dict)
    folds: dict[int, Mapping[str, float]] = field(default_factory=dict)
    noted: set[int] = field(default_factory=set)
    usage: Usage = field(default_factory=Usage)
    cause: Cause | None = None
    message: str = ""
    shadow_stops: list[ShadowStop] = field(default_factory=list)
    stopped_by: str | None = None
    pruned: bool = False
    again: bool = False

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def over(self) -> bool:
        """Nothing more is wanted of it; what still runs is told to stop."""
        return self.cause is not None or self.stopped_by is not None

    def decision(self, run: Run) -> Decision:
        going_on = not self.over and not run.enough
        return Decision.CONTINUE if going_on else Decision.STOP

    def fail(self, cause: Cause, message: str, *, again: bool = False) -> None:
        """The first failure counts; those that follow from it do not."""
        if self.cause is None:
            self.cause, self.message, self.again = cause, message, again

    def prune(self, by: str) -> None:
        self.stopped_by, self.pruned = by, True

    def next_fold(self, folding: Folding) -> int | None:
        """Takes the next fold from the queue, where one may begin now."""
        if self.over or not self.queue or len(self.runs) >= folding.at_once:
            return None
        return self.queue.pop(0)
