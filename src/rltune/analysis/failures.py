"""Why trials failed, what stopped others before their time or would have, and which constraints were missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from optuna.trial import TrialState

from rltune.analysis.times import cost_seconds
from rltune.objective import Objective
from rltune.records import ShadowStop, TrialRecord, effective
from rltune.types import Cause


@dataclass(frozen=True)
class Failure:
    """The trials that failed for one cause; those among them that were run again are counted like the others.

    Attributes:
        trials: Their numbers.
        n_run_again: How many of them another trial has replaced.
        message: The first line of what they said, the most frequent one; empty where they said nothing.
        cost_seconds: Training time that they used.
    """

    cause: Cause
    trials: tuple[int, ...]
    n_run_again: int
    message: str
    cost_seconds: float


@dataclass(frozen=True)
class Stop:
    """The trials that one rule ended early.

    Attributes:
        rule: `pruner`, `early_stopping`, or what else a record says in `stopped_by`.
        trials: Their numbers.
        cost_seconds: Training time that they used up to there.
    """

    rule: str
    trials: tuple[int, ...]
    cost_seconds: float


@dataclass(frozen=True)
class Miss:
    """A constraint that complete trials missed.

    Attributes:
        constraint: Its name.
        trials: The trials that missed it, by number.
        n_complete: Those that it was measured on.
        least, median: By how much it was missed, in the metric's unit; infinite where the metric was not measured.
    """

    constraint: str
    trials: tuple[int, ...]
    n_complete: int
    least: float
    median: float


@dataclass(frozen=True)
class Shadow:
    """The trials that one guard in shadow mode would have ended.

    Attributes:
        guard: As the study file names it.
        trials: Their numbers.
        n_values: How many of them went on to have a value.
        best: The best of these values; None where there is none.
        message: The first line of what the guard said of that trial, or else of the first.
        saved_seconds: Training time that came after its verdicts.
    """

    guard: str
    trials: tuple[int, ...]
    n_values: int
    best: float | None
    message: str
    saved_seconds: float


def failures(records: Sequence[TrialRecord]) -> tuple[Failure, ...]:
    """By cause, the most frequent first. A trial that failed without one was lost."""
    replaced = {r.retry_of for r in records}
    groups: dict[Cause, list[TrialRecord]] = {}
    for record in records:
        if record.state is TrialState.FAIL:
            groups.setdefault(record.cause or Cause.LOST, []).append(record)
    found = [
        Failure(
            cause,
            tuple(r.number for r in group),
            sum(r.number in replaced for r in group),
            _usual_message(group),
            sum(cost_seconds(r) for r in group),
        )
        for cause, group in groups.items()
    ]
    return tuple(sorted(found, key=lambda f: (-len(f.trials), f.cause.value)))


def stops(records: Sequence[TrialRecord]) -> tuple[Stop, ...]:
    """By rule, the most frequent first. A trial that was pruned by somebody else counts as the pruner's."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in records:
        rule = record.stopped_by or ("pruner" if record.state is TrialState.PRUNED else None)
        if rule is not None:
            groups.setdefault(rule, []).append(record)
    found = [
        Stop(rule, tuple(r.number for r in group), sum(cost_seconds(r) for r in group))
        for rule, group in groups.items()
    ]
    return tuple(sorted(found, key=lambda s: (-len(s.trials), s.rule)))


def shadows(records: Sequence[TrialRecord], objective: Objective) -> tuple[Shadow, ...]:
    """By guard, the most frequent first. Of a trial in folds the first verdict counts, which would have ended it."""
    groups: dict[str, list[tuple[TrialRecord, ShadowStop]]] = {}
    for record in records:
        first: dict[str, ShadowStop] = {}
        for stop in record.shadow_stops:
            first.setdefault(stop.guard, stop)
        for guard, stop in first.items():
            groups.setdefault(guard, []).append((record, stop))
    found = [_shadow(guard, group, objective) for guard, group in groups.items()]
    return tuple(sorted(found, key=lambda s: (-len(s.trials), s.guard)))


def _shadow(guard: str, group: Sequence[tuple[TrialRecord, ShadowStop]], objective: Objective) -> Shadow:
    best, stop = min(group, key=lambda pair: objective.standing(pair[0].value))
    return Shadow(
        guard,
        tuple(record.number for record, _ in group),
        sum(record.value is not None for record, _ in group),
        best.value,
        stop.message.strip().partition("\n")[0],
        sum(max(0.0, cost_seconds(record) - stop.seconds) for record, stop in group),
    )


def misses(records: Sequence[TrialRecord]) -> tuple[Miss, ...]:
    """By constraint, the most frequent first."""
    complete = [r for r in effective(records) if r.state is TrialState.COMPLETE]
    found = []
    for name in dict.fromkeys(name for r in complete for name in r.violations):
        measured = [r for r in complete if name in r.violations]
        missed = [r for r in measured if r.violations[name] > 0]
        if missed:
            amounts = [r.violations[name] for r in missed]
            trials = tuple(r.number for r in missed)
            found.append(Miss(name, trials, len(measured), min(amounts), median(amounts)))
    return tuple(sorted(found, key=lambda m: (-len(m.trials), m.constraint)))


def _usual_message(group: Sequence[TrialRecord]) -> str:
    lines = Counter(r.message.strip().partition("\n")[0] for r in group)
    return lines.most_common(1)[0][0]
