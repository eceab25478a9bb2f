"""Rewards that teach nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rltune.guards.series import Names, Point, at_least, latest
from rltune.guards.verdict import Verdict
from rltune.types import Cause, Measurement

REWARD = ("train/reward", "reward")
"""Of NeMo RL; of TRL and most others."""

MIXED = "train/baseline_reward/pct_mixed"
"""NeMo RL's share of prompts whose answers got different rewards, in percent."""

UNMIXED = ("frac_reward_zero_std", "zero_std_fraction")
"""TRL's share of prompts whose answers all got the same reward, from 0 to 1."""

_SOLVED = "train/baseline_reward/pct_1"
_FAILED = "train/baseline_reward/pct_0"


def no_signal(
    measurements: Sequence[Measurement],
    *,
    reward: Names = REWARD,
    mixed: Names = MIXED,
    unmixed: Names = UNMIXED,
    least_mixed: float = 0.05,
    in_a_row: int = 10,
    warm_up: int = 0,
) -> Verdict | None:
    """A training reward that does not move, or hardly a prompt whose answers differ in reward.

    An advantage is the difference between the answers to one prompt, so without one there is no gradient. Where
    everything is solved there is none either, and all is well: rewards count as stuck at 0 or below, or where they have
    been higher before; prompts without a difference count unless more of them are solved than failed.

    Source: the early stop of JF-HPO (arXiv 2606.03073), a reward that stays at 0. How long, and the share of prompts,
    are rules of thumb.

    Args:
        measurements: The trial so far, newest last.
        reward: What the mean training reward may be called.
        mixed: What the share of prompts with a difference may be called, in percent.
        unmixed: What the share of prompts without one may be called, from 0 to 1; used where `mixed` is not measured.
        least_mixed: The smallest share of prompts with a difference that is well, from 0 to 1.
        in_a_row: How many values must be bad.
        warm_up: Steps at the beginning that are not judged.

    Raises:
        InputError: An option is out of range.
    """
    at_least(1, in_a_row=in_a_row)
    at_least(0, least_mixed=least_mixed, warm_up=warm_up)
    rewards = latest(measurements, reward, in_a_row)
    if _long_enough(rewards, in_a_row, warm_up) and _stuck(measurements, reward, rewards):
        value, step = rewards[-1].value, rewards[-1].step
        message = f"the training reward is {value:g} at step {step}, and has not moved for {in_a_row} measurements"
        return Verdict(Cause.NO_SIGNAL, message)
    shares = latest(measurements, mixed, in_a_row)
    shares = [p._replace(value=p.value / 100) for p in shares] or [
        p._replace(value=1 - p.value) for p in latest(measurements, unmixed, in_a_row)
    ]
    if not _long_enough(shares, in_a_row, warm_up) or any(p.value >= least_mixed for p in shares):
        return None
    if _solved(measurements, reward):
        return None
    message = (
        f"the answers to {shares[-1].value:.1%} of the prompts differ in reward at step {shares[-1].step}, less than "
        f"{least_mixed:.0%} at {in_a_row} measurements in a row"
    )
    return Verdict(Cause.NO_SIGNAL, message)


def _long_enough(points: Sequence[Point], n: int, warm_up: int) -> bool:
    return len(points) == n and points[0].step > warm_up


def _stuck(measurements: Sequence[Measurement], reward: Names, points: Sequence[Point]) -> bool:
    value = points[-1].value
    return all(p.value == value for p in points) and (value <= 0 or value < _highest(measurements, reward))


def _solved(measurements: Sequence[Measurement], reward: Names) -> bool:
    """Whether prompts do not differ because they are solved: so NeMo RL says, else the reward is the highest so far."""
    solved, failed = latest(measurements, _SOLVED, 1), latest(measurements, _FAILED, 1)
    if solved and failed:
        return solved[0].value > failed[0].value
    now = latest(measurements, reward, 1)
    return bool(now) and now[0].value > 0 and now[0].value >= 0.9 * _highest(measurements, reward)


def _highest(measurements: Sequence[Measurement], reward: Names) -> float:
    return max((p.value for p in latest(measurements, reward, len(measurements))), default=-math.inf)
