"""How long trials ran, and when.

Two different times: what a trial cost is the time that it trained, summed over folds that ran side by side; its span
is the stretch of wall time in which it ran. Both leave out how long a lost trial lay before it was closed.
"""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rltune.records import TrialRecord, busy_seconds


class Span(NamedTuple):
    """A stretch of wall time; Optuna's times are naive local ones."""

    start: dt.datetime
    end: dt.datetime


def cost_seconds(record: TrialRecord) -> float:
    """What a trial that has ended cost: its measured training time, else its wall time; 0 where it never started."""
    trained = record.metrics.get("training_time", math.nan)
    return trained if math.isfinite(trained) else busy_seconds([record])


def spans(records: Iterable[TrialRecord]) -> list[Span]:
    """When each trial ran that has started and ended."""
    return [
        Span(r.started, r.started + dt.timedelta(seconds=busy_seconds([r])))
        for r in records
        if r.started is not None and r.finished is not None
    ]


def busy_until(records: Iterable[TrialRecord]) -> Callable[[dt.datetime], float]:
    """Seconds up to a moment during which at least one trial ran: pauses between sessions are not counted."""
    merged: list[Span] = []
    for span in sorted(spans(records)):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    before = [0.0]
    for span in merged:
        before.append(before[-1] + (span.end - span.start).total_seconds())

    def seconds(moment: dt.datetime) -> float:
        i = bisect_right(merged, moment, key=lambda span: span.start) - 1
        return 0.0 if i < 0 else before[i] + (min(moment, merged[i].end) - merged[i].start).total_seconds()

    return seconds
