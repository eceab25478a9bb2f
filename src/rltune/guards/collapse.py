"""Validation that falls, and a policy that no longer explores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rltune.guards.series import Names, Point, at_least, first, latest
from rltune.guards.verdict import Verdict
from rltune.objective import Direction, Objective
from rltune.types import Cause, Measurement

ENTROPY = ("train/approx_entropy", "entropy")
"""Of NeMo RL; of TRL and most others."""

CLEAR = 5
"""Standard errors that set two values apart beyond doubt: 3.5 of those of their difference."""


def collapse(
    measurements: Sequence[Measurement],
    *,
    objective: str,
    direction: Direction,
    standard_error: float = 0.03,
    declines: int = 3,
    lost: float = 0.5,
    entropy: Names = ENTROPY,
    entropy_left: float = 0.05,
    in_a_row: int = 3,
) -> Verdict | None:
    """The objective falls again and again, or has fallen deep and stays there; or the entropy is gone for nothing.

    Three rules, any of which is enough:

    - `declines` values of the objective in a row are each worse than the one before by more than a standard error, and
      by more than 5 in all, which noise on a plateau does in 2 of 1000 runs of 30 evaluations. Stops after consecutive
      declines were right 98 times in 100 in a simulation (EvalStop, arXiv 2606.04145).
    - The objective has lost the share `lost` of its best value, and more than 3 standard errors, at `in_a_row` values
      in a row. A policy that breaks between two evaluations falls only once.
    - The entropy is below the share `entropy_left` of its first value at `in_a_row` measurements, and the objective has
      never been better than at first by more than a standard error. Falling entropy alone is no fault: reward is bought
      with it, and 73 % of it are spent in the first twelfth of a good run (arXiv 2505.22617).

    Args:
        measurements: The trial so far, newest last.
        objective: The metric that is optimised.
        direction: Where it should go.
        standard_error: Of one value of the objective, in its unit. 0.03 is that of an accuracy over 256 answers.
        declines: How many declines in a row.
        lost: Which share of its best value.
        entropy: What the policy's entropy may be called.
        entropy_left: Which share of its first value.
        in_a_row: How many values must be so bad, in the second and the third rule.

    Raises:
        InputError: An option is out of range.
    """
    at_least(1, declines=declines, in_a_row=in_a_row)
    at_least(0, standard_error=standard_error, lost=lost, entropy_left=entropy_left)
    goal = Objective(objective, direction)
    values = latest(measurements, objective, len(measurements))
    message = _declining(values, goal, declines, standard_error) or _fallen(
        values, goal, in_a_row, lost, standard_error
    )
    if message is None and _is_spent(measurements, entropy, entropy_left, in_a_row):
        message = _for_nothing(measurements, goal, standard_error)
    return None if message is None else Verdict(Cause.COLLAPSED, message)


def _declining(values: Sequence[Point], goal: Objective, declines: int, standard_error: float) -> str | None:
    last = values[-declines - 1 :]
    if len(last) <= declines or any(_loss(goal, a.value, b.value) <= standard_error for a, b in pairwise(last)):
        return None
    if _loss(goal, last[0].value, last[-1].value) <= CLEAR * standard_error:
        return None
    return (
        f"`{goal.metric}` went from {last[0].value:.4g} at step {last[0].step} to {last[-1].value:.4g} at step "
        f"{last[-1].step}, worse by more than {standard_error:g} each of {declines} times"
    )


def _fallen(values: Sequence[Point], goal: Objective, in_a_row: int, lost: float, standard_error: float) -> str | None:
    if len(values) <= in_a_row:
        return None
    best = goal.best(p.value for p in values)
    most = max(lost * abs(best), 3 * standard_error)
    if any(_loss(goal, best, p.value) <= most for p in values[-in_a_row:]):
        return None
    return (
        f"`{goal.metric}` is {values[-1].value:.4g} at step {values[-1].step}, and for {in_a_row} evaluations was "
        f"more than {most:.3g} worse than its best, {best:.4g}"
    )


def _is_spent(measurements: Sequence[Measurement], entropy: Names, left: float, in_a_row: int) -> bool:
    """Whether hardly any of the entropy is left."""
    points, begun = latest(measurements, entropy, in_a_row), first(measurements, entropy)
    return len(points) == in_a_row and begun is not None and all(p.value < left * begun for p in points)


def _for_nothing(measurements: Sequence[Measurement], goal: Objective, standard_error: float) -> str | None:
    curve = (m.metrics.get(goal.metric, math.nan) for m in measurements)
    values = [value for value in curve if math.isfinite(value)]
    if len(values) < 2 or _loss(goal, goal.best(values), values[0]) > standard_error:
        return None
    return (
        f"the entropy is all but gone at step {measurements[-1].step}, and `{goal.metric}` was never clearly better "
        f"than the {values[0]:.4g} it began with"
    )


def _loss(goal: Objective, before: float, after: float) -> float:
    """By how much a value is worse than one before."""
    return before - after if goal.direction == "maximize" else after - before
