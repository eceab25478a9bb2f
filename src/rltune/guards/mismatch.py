"""Generation and training disagree about the probabilities of the same tokens."""

from __future__ import annotations

from collections.abc import Sequence

from rltune.guards.series import Names, at_least, latest
from rltune.guards.verdict import Verdict
from rltune.types import Cause, Measurement


def mismatch(
    measurements: Sequence[Measurement],
    *,
    ratio_metric: Names = "train/token_mult_prob_error",
    kl_metric: Names = "train/gen_kl_error",
    most_ratio: float = 1.02,
    most_kl: float = 1e-3,
    in_a_row: int = 5,
) -> Verdict | None:
    """The policy that generates is no longer the policy that is trained: weights are not synchronised, or rounded.

    NeMo RL's guide to GRPO takes a `token_mult_prob_error` beyond 1 to 2 % for a fault of the weight update, and wants
    a `gen_kl_error` below 1e-3. It is the machinery's fault (arXiv 2510.26788), not that of a configuration: the guard
    is in shadow mode unless told otherwise, and samplers never take its cause for a bad region.

    Args:
        measurements: The trial so far, newest last.
        ratio_metric: What the mean ratio of the two probabilities may be called; 1 where they agree.
        kl_metric: What the KL divergence between the two may be called, in nats a token.
        most_ratio: The largest ratio that is well.
        most_kl: The largest KL that is well.
        in_a_row: How many values of one of the two must be above it.

    Raises:
        InputError: An option is out of range.
    """
    at_least(1, in_a_row=in_a_row, most_ratio=most_ratio)
    at_least(0, most_kl=most_kl)
    for what, metric, most in (
        ("the ratio of their probabilities", ratio_metric, most_ratio),
        ("the KL between them", kl_metric, most_kl),
    ):
        points = latest(measurements, metric, in_a_row)
        if len(points) == in_a_row and all(p.value > most for p in points):
            message = (
                f"generation and training disagree: {what} is {points[-1].value:.4g} at step {points[-1].step}, "
                f"above {most:g} at {in_a_row} measurements in a row"
            )
            return Verdict(Cause.MISMATCH, message)
    return None
