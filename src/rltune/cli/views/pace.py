"""How long running trials and their study will take, if they go on as they went."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from optuna.trial import TrialState

from rltune.cli.views.curves import Curve, Curves, Tick
from rltune.cli.views.snapshot import Phase, Snapshot
from rltune.records import TrialRecord, busy_seconds, effective, own
from rltune.types import Cause, Purpose

SILENT_SECONDS = 30.0
"""Below this, nobody worries that a trial says nothing."""

_RECENT = 50  # trials that tell what the next ones will take
_ALIKE = 0.1  # last steps of whole trials that differ by less are one and the same


@dataclass(frozen=True)
class Outlook:
    """What is to be expected of a study at one moment.

    Attributes:
        curves: Of each running trial, by number.
        left: Seconds until each of them has come to its end, where that can be told; a pruner may end it before.
        silent: Since how many seconds those say nothing that should have said something.
        study: Seconds until the study ends; None where nothing tells.
        horizon: The last step of a whole trial, where it is known.
    """

    curves: Mapping[int, Curve]
    left: Mapping[int, float]
    silent: Mapping[int, float]
    study: float | None
    horizon: int | None

    @classmethod
    def of(cls, snapshot: Snapshot, curves: Curves, now: float | None = None) -> Outlook:
        """Reads what running trials have measured.

        Args:
            snapshot: The study.
            curves: Of its trials, which remembers what it has read.
            now: Seconds since the epoch.
        """
        now = time.time() if now is None else now
        running = snapshot.running
        curves.forget_all_but([r.number for r in running])
        read = {r.number: curves.of(r.number) for r in running}
        whole, horizon = _whole_seconds(snapshot.records), _horizon(snapshot)
        left: dict[int, float] = {}
        for record in running:
            found = _trial_left(record, read[record.number], horizon, whole, now, folds=snapshot.n_folds)
            if found is not None:
                left[record.number] = found
        silent = {n: for_ for n, curve in read.items() if (for_ := _silent(curve, now)) is not None}
        return cls(read, left, silent, _study_left(snapshot, left), horizon)


# --- one trial -------------------------------------------------------------------------------------------------------


def seconds_per_step(ticks: Sequence[Tick]) -> float | None:
    """By the later half of them, so that neither the start nor what was long ago counts; None before the first step.

    Not a median of single steps: every tenth may take as long as the nine before, to evaluate or to save.
    """
    if not ticks or ticks[-1].step <= 0:
        return None
    if len(ticks) == 1:
        return ticks[0].seconds / ticks[0].step
    first, last = ticks[min(len(ticks) // 2, len(ticks) - 2)], ticks[-1]
    return (last.seconds - first.seconds) / (last.step - first.step)


def _trial_left(
    record: TrialRecord, curve: Curve, horizon: int | None, whole: float | None, now: float, *, folds: int | None
) -> float | None:
    """By its own pace where it is known how many steps there are, else by what whole trials take."""
    ran = record.seconds or 0.0
    since = 0.0 if curve.measured is None else max(0.0, now - curve.measured)
    if folds is not None:
        if not curve.ticks:
            return None if whole is None or ran > whole else whole - ran
        done = curve.ticks[-1].step
        return max(0.0, (ran - since) / done * (folds - done) - since) if done else None
    pace = seconds_per_step(list(curve.ticks))
    if horizon is not None and pace is not None:
        return max(0.0, pace * (horizon - curve.ticks[-1].step) - since)
    return None if whole is None or ran > whole else whole - ran


def _silent(curve: Curve, now: float) -> float | None:
    """Only what is longer than twice its longest pause so far: it may have evaluated, or saved a checkpoint."""
    if curve.heard is None:
        return None
    ticks = list(curve.ticks)
    pauses = [b.seconds - a.seconds for a, b in itertools.pairwise(ticks)] or [t.seconds for t in ticks]
    since = now - curve.heard
    return since if since > max(SILENT_SECONDS, 2 * max(pauses, default=0.0)) else None


def _whole(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Trials of this study that have trained to their end."""
    return [r for r in own(records) if r.state is TrialState.COMPLETE and r.stopped_by is None]


def _whole_seconds(records: Iterable[TrialRecord]) -> float | None:
    took = [busy_seconds([r]) for r in _whole(records)[-_RECENT:]]
    return median(took) if took else None


def _horizon(snapshot: Snapshot) -> int | None:
    """As the study file has it, or as the curves of whole trials say."""
    if snapshot.full_run.horizon is not None or snapshot.n_folds is not None:
        return snapshot.full_run.horizon
    ends = [max(r.curve) for r in _whole(snapshot.records)[-_RECENT:] if r.curve]
    if len(ends) < 2 or max(ends) - min(ends) > _ALIKE * max(ends):
        return None
    return round(median(ends))


# --- the study -------------------------------------------------------------------------------------------------------


def _study_left(snapshot: Snapshot, left: Mapping[int, float]) -> float | None:
    """Phase by phase from the present one on: what its trials have taken, times how many are to come, side by side."""
    names = [phase.purpose.value for phase in snapshot.phases]
    if snapshot.phase not in names:
        return None
    present, running = names.index(snapshot.phase), snapshot.running
    known = [(r.seconds or 0.0) + left[r.number] for r in running if r.number in left]
    at_once = snapshot.workers or max(1, len(running))
    total = 0.0
    for phase in snapshot.phases[present:]:
        each = _seconds_of(phase.purpose, snapshot.records)
        if each is None and known:
            each = fmean(known)
        n = _to_come(phase, snapshot)
        if each is None:
            if n:
                return None
            continue
        if phase is not snapshot.phases[present]:
            total += math.ceil(n / at_once) * each
            continue
        # What runs has a part behind it, and the last to end of it is the least that the phase will take.
        rest = [left.get(r.number, max(0.0, each - (r.seconds or 0.0))) for r in running]
        n_new = max(0, n - len(running))
        total += max((sum(rest) + n_new * each) / at_once, max(rest, default=0.0), each if n_new else 0.0)
    if snapshot.timeout_seconds is not None:
        total = min(total, max(0.0, snapshot.timeout_seconds - snapshot.elapsed_seconds))
    return total


def _seconds_of(purpose: Purpose, records: Sequence[TrialRecord]) -> float | None:
    """What a trial of that phase takes on average, those that were pruned among them; else what a whole one does."""
    ended = [r for r in effective(own(records)) if r.state.is_finished() and r.started and r.cause is not Cause.LOST]
    took = [busy_seconds([r]) for r in ended if r.purpose is purpose and r.cause is not Cause.INTERRUPTED]
    return fmean(took[-_RECENT:]) if took else _whole_seconds(records)


def _to_come(phase: Phase, snapshot: Snapshot) -> int:
    """How many trials of a phase have not ended; of the search, no more than its budget has room for."""
    n, budget = phase.planned - phase.done, snapshot.budget
    if budget is None or phase.purpose is not Purpose.SEARCH:
        return n
    ended = [r for r in own(snapshot.records) if r.purpose is Purpose.SEARCH and r.state.is_finished()]
    cost = budget.cost(snapshot.records)
    if not ended or not cost:
        return n
    after = sum(p.planned for p in snapshot.phases if p.purpose in (Purpose.FINAL, Purpose.CLAIM))
    room = budget.amount - budget.spent(snapshot.records) - after * cost
    each = max(1e-9, budget.spent(ended) / len(ended))
    running = sum(r.purpose is Purpose.SEARCH for r in snapshot.running)
    return min(n, running + max(0, math.floor(room / each)))
