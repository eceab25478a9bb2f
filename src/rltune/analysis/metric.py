"""Which objective an analysis is about, and which trials it looks at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from rltune.errors import InputError, Problem
from rltune.objective import Objective
from rltune.records import TrialRecord, effective
from rltune.types import FRESH
from rltune.wording import listed, nearest


class Seen(NamedTuple):
    """A study by one of its objectives: the only value of each record is that objective's."""

    records: list[TrialRecord]
    objective: Objective


def by_metric(records: Iterable[TrialRecord], objectives: Sequence[Objective], metric: str | None = None) -> Seen:
    """The study by one objective.

    Args:
        records: Every trial.
        objectives: In the order of a trial's values.
        metric: Which; None for the first.

    Raises:
        InputError: No objective has that metric; the message says which there are.
    """
    metrics = [o.metric for o in objectives]
    if metric is not None and metric not in metrics:
        near = nearest(metric, metrics)
        message = f"`{metric}` is no objective of this study, which has {listed(metrics)}"
        raise InputError([Problem(("metric",), message, f"did you mean `{near}`?" if near else "")])
    index = 0 if metric is None else metrics.index(metric)
    return Seen([_only(record, index) for record in records], objectives[index])


def searched(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """All but the finals, which are re-runs: baseline, search, and what is known from an earlier study."""
    return [r for r in effective(records) if r.purpose not in FRESH]


def _only(record: TrialRecord, index: int) -> TrialRecord:
    return record if not record.values else replace(record, values=(record.values[index],))
