"""Answers that run into the length limit."""

from __future__ import annotations

from collections.abc import Sequence

from rltune.guards.series import Names, at_least, latest
from rltune.guards.verdict import Verdict
from rltune.types import Cause, Measurement

TRUNCATION = ("train/truncation_rate", "completions/clipped_ratio")
"""Of NeMo RL; of TRL."""


def truncation(
    measurements: Sequence[Measurement],
    *,
    metric: Names = TRUNCATION,
    most: float = 0.5,
    in_a_row: int = 10,
) -> Verdict | None:
    """Most answers are cut off at the length limit, and it gets no better.

    ScaleRL (arXiv 2510.13786) saw instability from a tenth to a sixth of answers cut off. Half of them for 10 steps
    says that the policy no longer ends its answers. A share that is on its way down is left alone: a policy that
    thinks at length is cut off often at first, and learns to be brief.

    Args:
        measurements: The trial so far, newest last.
        metric: What the share of answers cut off may be called.
        most: The largest share that is well, from 0 to 1.
        in_a_row: How many values must be above it.

    Raises:
        InputError: An option is out of range.
    """
    at_least(1, in_a_row=in_a_row)
    at_least(0, most=most)
    points = latest(measurements, metric, in_a_row)
    if len(points) < in_a_row or any(p.value <= most for p in points) or points[-1].value < points[0].value:
        return None
    message = (
        f"{points[-1].value:.0%} of the answers are cut off at the length limit at step {points[-1].step}, more than "
        f"{most:.0%} at {in_a_row} measurements in a row"
    )
    return Verdict(Cause.COLLAPSED, message)
