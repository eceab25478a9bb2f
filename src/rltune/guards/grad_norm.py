"""Gradients far beyond what they were."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rltune.guards.series import Names, at_least, latest
from rltune.guards.verdict import Verdict
from rltune.types import Cause, Measurement

GRAD_NORM = ("train/grad_norm", "grad_norm")
"""Of NeMo RL; of TRL and most others. Both measure it before clipping."""

_FEWEST = 10
"""Values that make a median worth comparing with."""

_WINDOW = 50
"""Values that the running median is taken over; those that are judged are not among them."""


def grad_norm(
    measurements: Sequence[Measurement],
    *,
    metric: Names = GRAD_NORM,
    ratio: float = 20.0,
    in_a_row: int = 3,
    floor: float = 1.0,
) -> Verdict | None:
    """A gradient norm that stays many times above its running median.

    Args:
        measurements: The trial so far, newest last.
        metric: What the norm may be called.
        ratio: How many times the median of up to 50 values before.
        in_a_row: How many values must be so large. A single spike is clipped, and passes.
        floor: A norm that is not above it is never judged: where groups agree, gradients are nearly 0, and the first
            that is not would be infinitely larger.

    Raises:
        InputError: An option is out of range.
    """
    at_least(1, in_a_row=in_a_row, ratio=ratio)
    at_least(0, floor=floor)
    points = latest(measurements, metric, _WINDOW + in_a_row)
    before, judged = points[:-in_a_row], points[-in_a_row:]
    if len(before) < _FEWEST:
        return None
    usual = median(p.value for p in before)
    if any(p.value <= max(floor, ratio * usual) for p in judged):
        return None
    message = (
        f"the gradient norm is {judged[-1].value:.3g} at step {judged[-1].step}, and was more than {ratio:g} times "
        f"its median of {usual:.3g} at {in_a_row} measurements in a row"
    )
    return Verdict(Cause.DIVERGED, message)
