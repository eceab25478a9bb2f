"""Records of made-up studies, with times that add up by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

from optuna.trial import TrialState

from rltune.records import TrialRecord
from rltune.types import Purpose

START = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - Optuna's times are naive local ones


def at(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def trial(
    number: int,
    value: float | None = None,
    params: dict[str, Any] | None = None,
    *,
    ran: tuple[float, float] | None = None,
    state: TrialState | None = None,
    purpose: Purpose = Purpose.SEARCH,
    **fields: Any,
) -> TrialRecord:
    """A trial; failed without a value. `ran` is from which second of the study to which, else one after the other."""
    begin, end = ran or (10.0 * number, 10.0 * number + 10.0)
    if state is None:
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
    times = {} if state in (TrialState.RUNNING, TrialState.WAITING) else {"finished": at(end)}
    return TrialRecord(
        number,
        state,
        purpose,
        {"x": float(number)} if params is None else params,
        number,
        None if value is None else (value,),
        started=at(begin),
        **times,
        **fields,
    )
