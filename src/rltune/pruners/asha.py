"""Asynchronous successive halving with the settings that Ray Tune's `ASHAScheduler` has, by their names there.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, arXiv:1810.05934. The rule is Optuna's.
"""

from __future__ import annotations

from optuna.pruners import SuccessiveHalvingPruner

from rltune.errors import InputError, Problem
from rltune.wording import found

_REPORTS_OWN_STEP = ("training_iteration", "step")


class AshaPruner(SuccessiveHalvingPruner):
    """Rungs at `grace_period` steps, at `reduction_factor` times as many, and so on: at each, the best part goes on.

    Args:
        time_attr: The metric whose value is the step; `training_iteration` and `step` are the step of the reports.
        metric: The study's metric; may be said here as well.
        mode: `min` or `max`, its direction; likewise.
        max_t: The step at which a trial ends, with its value. None: it ends by itself.
        grace_period: The step of the first rung.
        reduction_factor: One in so many goes on to the next rung.

    Raises:
        InputError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: int | None = None,
        grace_period: int = 1,
        reduction_factor: int = 4,
    ) -> None:
        problems = []
        if mode not in (None, "min", "max"):
            problems.append(Problem(("mode",), f"must be min or max, got {found(mode)}"))
        if grace_period < 1:
            problems.append(Problem(("grace_period",), f"must be at least 1, got {grace_period}"))
        if max_t is not None and max_t < max(1, grace_period):
            problems.append(Problem(("max_t",), f"must be at least 1 and the grace_period, got {max_t}"))
        if reduction_factor < 2:
            problems.append(Problem(("reduction_factor",), f"must be at least 2, got {reduction_factor}"))
        if problems:
            raise InputError(problems)
        super().__init__(min_resource=grace_period, reduction_factor=reduction_factor)
        self.step_metric = None if time_attr in _REPORTS_OWN_STEP else time_attr
        self.metric = metric
        self.mode = mode
        self.max_t = max_t
