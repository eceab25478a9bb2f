"""The guide's `early_stopping`: a trial ends when its own curve no longer improves.

This is not pruning by rank. A pruned trial lost against others at the same step, and its value is only a partial one.
A trial on its plateau ended by itself, as a person watching it would have ended it: it is complete, and what counts is
the best value of its curve, which is the checkpoint that a trainer with early stopping keeps. To be fair to trials
that ran to their end, their best value has to count too, so `evaluation.value` is `best` with early stopping.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from rltune.errors import InputError, Problem


def on_plateau(curve: Mapping[int, float], patience: int, *, maximize: bool = False, min_delta: float = 0.0) -> bool:
    """Whether none of the last `patience` values improves on the best before them by more than `min_delta`.

    NaN is no improvement. A curve with fewer than `patience + 1` values is on no plateau.

    Args:
        curve: Values by step, in any order.
        patience: How many values without improvement are too many.
        maximize: Whether higher is better.
        min_delta: What counts as an improvement at all; with noisy evaluations, about their standard deviation.
    """
    sign = -1.0 if maximize else 1.0
    losses = [math.inf if math.isnan(curve[step]) else sign * curve[step] for step in sorted(curve)]
    if len(losses) <= patience:
        return False
    return not min(losses[-patience:]) < min(losses[:-patience]) - min_delta


class PlateauPruner(BasePruner):
    """Ends a trial whose own curve has not improved for `patience` reports; of one objective, and not over folds."""

    def __init__(self, patience: int = 10, min_delta: float = 0.0) -> None:
        problems = []
        if patience < 1:
            problems.append(Problem(("patience",), f"must be at least 1, got {patience}"))
        if not min_delta >= 0:
            problems.append(Problem(("min_delta",), f"must be at least 0, got {min_delta}"))
        if problems:
            raise InputError(problems)
        self.patience = patience
        self.min_delta = min_delta

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        maximize = study.direction == StudyDirection.MAXIMIZE
        return on_plateau(trial.intermediate_values, self.patience, maximize=maximize, min_delta=self.min_delta)
