"""The trials of a study one by one, as a table and figures show them."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.trial import TrialState

from rltune.analysis.times import Span, busy_until, cost_seconds, spans
from rltune.records import TrialRecord, own
from rltune.types import Cause, Purpose

MOST_POINTS = 200
"""Of one curve: more than a figure has room for."""

ALL_POINTS = 24_000
"""Of all curves together; with many trials each has fewer."""

Wall: TypeAlias = Callable[[dt.datetime], float]


@dataclass(frozen=True)
class Row:
    """One trial of this study; all that is measured is None until it has ended.

    Attributes:
        standing: See `standing`.
        replaced: Another trial has run it again.
        params: The active parameters.
        values: One number an objective.
        curve: The first objective by step, thinned out to `MOST_POINTS`; the first and the last step are always there.
        violations: By how much each constraint is missed, by its name; at most 0 where it holds.
        why: The first line of what was said about its end.
        cost_seconds: Its training time.
        begin, end: When it ran, in wall seconds of the study without its pauses.
        lane: Which of the places that ran side by side was its own, from 0.
    """

    number: int
    purpose: Purpose
    standing: str
    replaced: bool
    params: Mapping[str, Any]
    seed: int | None
    values: tuple[float, ...] | None
    curve: tuple[tuple[int, float], ...]
    violations: Mapping[str, float]
    cause: Cause | None
    why: str
    stopped_by: str | None
    retry_of: int | None
    cost_seconds: float | None
    begin: float | None
    end: float | None
    lane: int | None


def standing(record: TrialRecord) -> str:
    """In one word: complete, infeasible, pruned, failed, interrupted, running or waiting."""
    if record.state is TrialState.COMPLETE:
        return "complete" if record.feasible else "infeasible"
    if record.state is TrialState.FAIL:
        return "interrupted" if record.cause is Cause.INTERRUPTED else "failed"
    return record.state.name.lower()


def rows(records: Sequence[TrialRecord]) -> tuple[Row, ...]:
    """By number. Trials that are known from an earlier study are left out: they took no time here."""
    ours = own(records)
    replaced = {r.retry_of for r in ours}
    wall, lanes = busy_until(ours), _lanes(ours)
    points = max(2, min(MOST_POINTS, ALL_POINTS // max(1, len(ours))))
    return tuple(_row(r, replaced=r.number in replaced, points=points, wall=wall, lanes=lanes) for r in ours)


def _row(record: TrialRecord, *, replaced: bool, points: int, wall: Wall, lanes: Mapping[int, int]) -> Row:
    ended = record.state.is_finished()
    span = next(iter(spans([record])), None) if ended else None
    return Row(
        number=record.number,
        purpose=record.purpose,
        standing=standing(record),
        replaced=replaced,
        params=dict(record.params),
        seed=record.seed,
        values=record.values if ended else None,
        curve=_thinned(record.curve, points) if ended else (),
        violations=record.violations,
        cause=record.cause,
        why=record.message.strip().partition("\n")[0],
        stopped_by=record.stopped_by,
        retry_of=record.retry_of,
        cost_seconds=cost_seconds(record) if ended else None,
        begin=wall(span.start) if span else None,
        end=wall(span.end) if span else None,
        lane=lanes.get(record.number),
    )


def _thinned(curve: Mapping[int, float], most: int) -> tuple[tuple[int, float], ...]:
    """Evenly, ends included."""
    points = sorted(curve.items())
    if len(points) <= most:
        return tuple(points)
    kept = {round(i * (len(points) - 1) / (most - 1)) for i in range(most)}
    return tuple(point for i, point in enumerate(points) if i in kept)


def _lanes(records: Sequence[TrialRecord]) -> dict[int, int]:
    """The lowest place that is free when a trial begins: as many as ran at once."""
    known: list[tuple[Span, int]] = [(span, r.number) for r in records for span in spans([r])]
    free: list[int] = []
    busy: list[tuple[dt.datetime, int]] = []
    lanes: dict[int, int] = {}
    for span, number in sorted(known, key=lambda run: (run[0].start, run[1])):
        while busy and busy[0][0] <= span.start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (span.end, lane))
        lanes[number] = lane
    return lanes
