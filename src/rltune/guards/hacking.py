"""The training reward rises while what counts falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from rltune.guards.collapse import CLEAR
from rltune.guards.no_signal import REWARD
from rltune.guards.series import Names, at_least, find, latest
from rltune.guards.verdict import Verdict
from rltune.objective import Direction, Objective
from rltune.types import Cause, Measurement


def hacking(
    measurements: Sequence[Measurement],
    *,
    objective: str,
    direction: Direction,
    reward: Names = REWARD,
    evaluations: int = 3,
    standard_error: float = 0.03,
) -> Verdict | None:
    """A policy that learns to please its reward function rather than to do the task.

    At each of the last evaluations the objective is worse than at the one before, in all by more than 5 standard
    errors, and the mean training reward between two evaluations is higher than between the two before.

    Source: Gao, Schulman and Hilton 2022 (arXiv 2210.10760), where the true reward falls as its proxy goes on to rise.
    How many evaluations is a rule of thumb.

    Args:
        measurements: The trial so far, newest last.
        objective: The metric that is optimised, measured on data that is held out.
        direction: Where it should go.
        reward: What the mean training reward may be called.
        evaluations: How many in a row.
        standard_error: Of one value of the objective, in its unit. 0.03 is that of an accuracy over 256 answers.

    Raises:
        InputError: An option is out of range.
    """
    at_least(1, evaluations=evaluations)
    at_least(0, standard_error=standard_error)
    goal = Objective(objective, direction)
    values = latest(measurements, objective, evaluations + 2)
    judged = values[-evaluations - 1 :]
    if len(judged) <= evaluations or not all(goal.better(a.value, b.value) for a, b in pairwise(judged)):
        return None
    if abs(judged[-1].value - judged[0].value) <= CLEAR * standard_error:
        return None
    begins = [-1, *(p.at for p in values)][-evaluations - 2 : -1]  # each at the evaluation before
    stretches = [measurements[a + 1 : b.at + 1] for a, b in zip(begins, judged, strict=True)]
    rewards = [_mean_reward(stretch, reward) for stretch in stretches]
    if not all(a < b for a, b in pairwise(rewards)):
        return None
    message = (
        f"over {evaluations} evaluations `{objective}` went from {judged[0].value:.4g} at step {judged[0].step} to "
        f"{judged[-1].value:.4g} at step {judged[-1].step}, while the training reward rose from {rewards[0]:.4g} to "
        f"{rewards[-1]:.4g}"
    )
    return Verdict(Cause.REWARD_HACKING, message)


def _mean_reward(measurements: Sequence[Measurement], reward: Names) -> float:
    """NaN where it was not measured."""
    found = [m.metrics[name] for m in measurements if (name := find(m.metrics, reward)) is not None]
    return fmean(found) if found else math.nan
