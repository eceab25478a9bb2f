"""Final values of trials that were ended early, as the study's own curves foretell them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from optuna.trial import TrialState

from rltune.forecast import fit, on_grid
from rltune.records import TrialRecord

FEWEST_WHOLE = 4
"""Trials that ran to their end, before the others are foretold."""

LEAST = 3
"""So many of `rltune.forecast.FRACTIONS` a trial must have come, a ninth of its training, to tell of its end."""


def foreseen(records: Sequence[TrialRecord]) -> dict[int, float]:
    """By number, for what was pruned before its last step; empty where there is too little to learn from.

    Args:
        records: Every trial, with one objective.
    """
    ended = [r for r in records if r.state in (TrialState.COMPLETE, TrialState.PRUNED) and r.curve]
    whole = [r for r in ended if r.has_result]
    if len(whole) < FEWEST_WHOLE or len(whole) == len(ended):
        return {}
    horizon = max(max(r.curve) for r in whole)
    if horizon < 1:
        return {}
    rows = np.array([on_grid(r.curve, horizon) for r in ended])
    finals = np.array([r.value if r.has_result and r.value is not None else math.nan for r in ended], dtype=float)
    forecaster = fit(rows, finals)
    if forecaster is None:
        return {}
    told = np.isnan(finals) & (np.count_nonzero(~np.isnan(rows), axis=1) >= LEAST)
    values, _ = forecaster.scale.read(*forecaster.predict(rows[told]))
    return {r.number: float(v) for r, v in zip(np.array(ended, dtype=object)[told], values, strict=True)}
