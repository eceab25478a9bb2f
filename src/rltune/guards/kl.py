"""The policy runs away from its reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rltune.guards.series import Names, at_least, latest
from rltune.guards.verdict import Verdict
from rltune.types import Cause, Measurement

KL = ("train/kl_penalty", "kl")
"""Of NeMo RL, where it is the divergence itself whatever the penalty's coefficient; of TRL and most others."""


def kl(
    measurements: Sequence[Measurement],
    *,
    metric: Names = KL,
    growth: float = 0.15,
    in_a_row: int = 5,
    floor: float = 0.05,
    warm_up: int = 10,
) -> Verdict | None:
    """A KL divergence to the reference policy that grows by a share of itself, time after time, above a floor.

    Source: the early stop of JF-HPO (arXiv 2606.03073), growth of more than 15 % at 5 steps in a row. The floor and the
    warm-up are ours. Near zero every KL grows by leaps, and from 0.005 to 0.02 nothing is wrong; and since it begins at
    zero, one that grows in proportion to the steps grows by more than 15 % at each of the first seven.

    Args:
        measurements: The trial so far, newest last.
        metric: What the KL may be called.
        growth: By what share of the one before each value must be larger.
        in_a_row: How many times.
        floor: In nats a token. A KL that is not above it is never judged.
        warm_up: How many measurements at the beginning are not judged.

    Raises:
        InputError: An option is out of range.
    """
    at_least(1, in_a_row=in_a_row)
    at_least(0, growth=growth, floor=floor, warm_up=warm_up)
    points = latest(measurements, metric, in_a_row + 1)
    if len(points) <= in_a_row or points[0].at < warm_up or points[-1].value <= floor:
        return None
    if not all(a.value > 0 and b.value > a.value * (1 + growth) for a, b in pairwise(points)):
        return None
    before, now = points[0], points[-1]
    message = (
        f"the KL to the reference grew from {before.value:.3g} at step {before.step} to {now.value:.3g} at step "
        f"{now.step}, by more than {growth:.0%} at each of {in_a_row} measurements"
    )
    return Verdict(Cause.DIVERGED, message)
