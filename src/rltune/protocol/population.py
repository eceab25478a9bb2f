"""Population-based training: which members of a population make way, and where their successors start from.

Jaderberg et al. 2017, arXiv:1711.09846. A trial keeps one configuration for as long as it runs. A member that is among
the worst at the end of an interval is stopped, and its successor is a new trial, which goes on from the checkpoint of
one of the best, with that one's configuration, perturbed. A member and its successors are a lineage.

Pure functions of the trials: there is no state but the journal, so a study that was killed goes on where it was.

Members are compared at the same step, where the paper compares whatever each has come to: who is worse does not depend
on who is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.records import TURN, Origin, TrialRecord, effective
from rltune.types import Idle, Measurement, Purpose

CheckpointStep: TypeAlias = Callable[[int, int], int | None]
"""Of a trial's number and a step: the step of the last checkpoint up to there that another trial can start from."""


@dataclass(frozen=True)
class Population:
    """How a population trains.

    Attributes:
        objective: What members are compared by.
        size: How many lineages there are.
        interval: Steps between two comparisons.
        warmup: The step of the first comparison.
        quantile: The share of the population that makes way, and the share that is taken over from.
        seed: Of the choice among the best.
        workers: How many trials can run at once; where these are fewer than members, the members take turns.
    """

    objective: Objective
    size: int
    interval: int
    warmup: int
    quantile: float
    seed: int
    workers: int

    # --- what runs next ----------------------------------------------------------------------------------------------

    def next(
        self, records: Iterable[TrialRecord], checkpoint: CheckpointStep, *, room: bool = True
    ) -> TrialRecord | Origin | Idle | None:
        """The member to go on with, or the origin of a new one; None for one that begins a lineage.

        Lineages begin first; then comes who is furthest behind.

        Args:
            records: Every trial, each with its curve so far.
            checkpoint: See there.
            room: Whether a new trial may begin; else members only go on.
        """
        trials = _Trials.of(records)
        if room and trials.n_lineages < self.size:
            return None
        running = any(r.state is TrialState.RUNNING for r in trials.members)
        for record in sorted(trials.vacant, key=self._interval):
            waits = _waits(record)
            origin = None
            if room and (not waits or self._is_behind(record, trials)):
                origin = self._successor(record, trials, checkpoint)
            if origin is not None:
                return origin
            if waits:
                return record
            if room and not running:  # there is nobody to start from, nor will there be
                return Origin(record.number)
        return Idle.WAIT if running else Idle.DONE

    def n_due(self, records: Iterable[TrialRecord]) -> int:
        """How many new trials are to begin yet, as things stand: of lineages that have not begun, and successors."""
        trials = _Trials.of(records)
        return max(0, self.size - trials.n_lineages) + sum(not _waits(r) for r in trials.vacant)

    # --- who makes way -----------------------------------------------------------------------------------------------

    def makes_way(self, number: int, records: Iterable[TrialRecord], checkpoint: CheckpointStep) -> bool:
        """Whether a running trial is in the bottom quantile where it was compared last, and a better one can take over.

        It may be so some time after that comparison, once the others have come there too.
        """
        trials = _Trials.of(records)
        record = next(r for r in trials.members if r.number == number)
        return self._is_behind(record, trials) and self._successor(record, trials, checkpoint) is not None

    def takes_turns(self, number: int, records: Iterable[TrialRecord], *, room: bool) -> bool:
        """Whether a running trial, which has just saved a checkpoint, is to let others come as far as it is first.

        Only where there are fewer workers than members: those who came first would have nobody to be compared with.

        Args:
            number: The trial's.
            records: Every trial.
            room: Whether a new trial may begin.
        """
        if self.workers >= self.size:
            return False
        trials = _Trials.of(records)
        record = next(r for r in trials.members if r.number == number)
        index = self._interval(record)
        next_up = [r for r in trials.vacant if room or _waits(r)]
        others = (room and trials.n_lineages < self.size) or any(self._interval(r) < index for r in next_up)
        n_running = sum(r.state is TrialState.RUNNING for r in trials.members)
        return index >= 0 and others and n_running >= self.workers

    def obstacle(self, history: Sequence[Measurement]) -> str | None:
        """Why no member can go on from a trial that has measured this; None where one can, or it is too early to say.

        A trial has until the measurement after its first comparison: a trainer may save after it has measured.
        """
        places: dict[str, int] = {}
        for m in history:
            if m.checkpoint is not None and (saved := places.setdefault(m.checkpoint, m.step)) != m.step:
                return (
                    f"the checkpoint {m.checkpoint} of step {saved} was overwritten at step {m.step}, but another "
                    "member of the population may have to start from it; give each a place of its own, as in "
                    'trial.directory / f"step-{step}"'
                )
        compared = sorted({m.step for m in history if self.objective.metric in m.metrics and m.step >= self.warmup})
        if len(compared) > 1 and not places:
            return (
                f"no checkpoint was reported by step {compared[-1]}, so no member of the population can go on from "
                "this one; save one at least every interval, and tell: trial.report(step, loss=..., checkpoint=path)"
            )
        return None

    # --- comparisons -------------------------------------------------------------------------------------------------

    def _is_behind(self, record: TrialRecord, trials: _Trials) -> bool:
        """Whether a member is in the bottom quantile where it was compared last.

        Members that have yet to come there count as better, so that the verdict does not depend on who comes first.
        """
        index = self._interval(record)
        if index < 0:
            return False
        standings = self._standings(trials, index)
        there = {trials.lineage[s.record.number] for s in standings}
        unfinished = [*(r for r in trials.members if not r.state.is_finished()), *trials.vacant]
        awaited = {trials.lineage[r.number] for r in unfinished if _begin(r) < self._end_of(index)}
        n = len(there | awaited) + max(0, self.size - trials.n_lineages)
        rank = next((i for i, s in enumerate(standings) if s.record.number == record.number), -1)
        return rank >= n - int(n * self.quantile)

    def _successor(self, record: TrialRecord, trials: _Trials, checkpoint: CheckpointStep) -> Origin | None:
        """Where the successor of a member starts from: one of the best where the member was compared last.

        None where nobody is better there or earlier, or none of the best has a checkpoint. A member that failed before
        it was compared starts where the others were compared first; whatever has failed takes any of the best.
        """
        for index in range(max(self._interval(record), 0), -1, -1):
            standings = self._standings(trials, index)
            own = next((s.value for s in standings if s.record.number == record.number), None)
            found = []
            for best in standings[: max(1, int(len(standings) * self.quantile))]:
                better = own is None or self.objective.better(best.value, own)
                if better and (step := checkpoint(best.record.number, best.step)) is not None:
                    found.append(Origin(record.number, best.record.number, step))
            if found:
                return found[np.random.default_rng([self.seed, record.number]).integers(len(found))]
        return None

    def _standings(self, trials: _Trials, index: int) -> list[_Standing]:
        """The lineages that have come to the end of an interval by themselves, best first.

        A successor that starts there does not count: it has only what its parent had reached. Nor does a trial that
        has failed since.
        """
        end, found = self._end_of(index), dict[int, _Standing]()
        for record in trials.members:
            if record.state is TrialState.FAIL or _begin(record) >= end:
                continue
            curve = _own_curve(record)
            step = min((s for s in curve if end <= s < end + self.interval), default=None)
            if step is not None:
                found.setdefault(trials.lineage[record.number], _Standing(record, step, curve[step]))
        return sorted(found.values(), key=lambda s: self.objective.standing(s.value))

    def _interval(self, record: TrialRecord) -> int:
        """The number of the last interval that a trial has come to the end of, from 0 on; below 0 before."""
        return (max(_own_curve(record), default=0) - self.warmup) // self.interval

    def _end_of(self, index: int) -> int:
        return self.warmup + index * self.interval


@dataclass(frozen=True)
class _Standing:
    """What a lineage was worth at the end of an interval.

    Attributes:
        record: The trial that it consisted of then.
        step: Of the value: the first measurement at the interval's end or after it.
    """

    record: TrialRecord
    step: int
    value: float


@dataclass(frozen=True)
class _Trials:
    """The trials of a population.

    Attributes:
        members: All but those that a retry takes the place of.
        vacant: Members that have ended before their time and have no successor yet, or wait for their next turn.
        lineage: For each trial the number of the one that its lineage began with.
        n_lineages: How many have begun.
    """

    members: list[TrialRecord]
    vacant: list[TrialRecord]
    lineage: dict[int, int]
    n_lineages: int

    @classmethod
    def of(cls, records: Iterable[TrialRecord]) -> _Trials:
        records = [r for r in records if r.purpose is Purpose.SEARCH]
        lineage: dict[int, int] = {}
        first: dict[int, int] = {}  # for each trial the one that it repeats, or itself
        replaced = set()
        for r in records:
            first[r.number] = r.number if r.retry_of is None else first[r.retry_of]
            replaces = None if r.origin is None else r.origin.replaces
            before = replaces if r.retry_of is None else r.retry_of
            lineage[r.number] = r.number if before is None else lineage[before]
            if replaces is not None:
                replaced.add(first[replaces])
        members = effective(records)
        cut = (TrialState.PRUNED, TrialState.FAIL)
        vacant = [r for r in members if r.state in cut and first[r.number] not in replaced]
        return cls(members, vacant, lineage, len(set(lineage.values())))


def _waits(record: TrialRecord) -> bool:
    """Whether a member has been stopped only to let others come as far as it is."""
    return record.state is TrialState.PRUNED and record.stopped_by == TURN


def _begin(record: TrialRecord) -> int:
    """The step of the checkpoint that a trial was made to go on from; below 0 where it begins at the beginning."""
    origin = record.origin
    return -1 if origin is None or origin.parent_step is None else origin.parent_step


def _own_curve(record: TrialRecord) -> dict[int, float]:
    """What a trial has measured itself: a successor has its parent's curve up to its checkpoint."""
    return {step: value for step, value in record.curve.items() if step > _begin(record)}
