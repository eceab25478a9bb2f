"""How well early values rank the ends of trainings: what stopping early rests on, measured in the study itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rltune.forecast import FRACTIONS, on_grid
from rltune.records import TrialRecord, effective
from rltune.types import Purpose

SHARES = ("1/9", "1/3", "2/3")
_PLACES = (2, 5, 8)  # of these in `FRACTIONS`
FEWEST = 8
_MOST = 500  # trials that are compared, the latest: pairs grow with the square


@dataclass(frozen=True)
class EarlyRanks:
    """Of the trainings that ran to their end.

    They are no fair sample where a pruner ends what looks bad early: among the good ones, early values rank less well.

    Attributes:
        n: How many there are.
        taus: Kendall's tau-b between the value at each of `SHARES` of a training and the final one: 1 where the early
            order is the final one, 0 where it says nothing. None where early values are all equal.
    """

    n: int
    taus: tuple[float | None, ...]


def early_ranks(records: Sequence[TrialRecord]) -> EarlyRanks | None:
    """None with fewer than `FEWEST` trials of the search that ran to their end and reported on the way.

    Args:
        records: Every trial, with one objective.
    """
    whole = [
        r
        for r in effective(records)
        if r.purpose in (Purpose.SEARCH, Purpose.EARLIER) and r.feasible and r.curve and r.stopped_by is None
    ][-_MOST:]
    horizon = max((max(r.curve) for r in whole), default=0)
    whole = [r for r in whole if max(r.curve) == horizon and r.value is not None]
    if len(whole) < FEWEST or horizon < len(FRACTIONS) / 2:
        return None
    early = np.array([on_grid(r.curve, horizon) for r in whole])
    final = np.array([r.value for r in whole], dtype=float)
    return EarlyRanks(len(whole), tuple(_tau(early[:, place], final) for place in _PLACES))


def ahead(tau: float) -> str:
    """In how many pairs whoever was ahead early is ahead at the end, in words; ties apart, that is (1 + tau) / 2."""
    return f"{(1 + tau) / 2:.0%} of pairs"


def _tau(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    """Kendall 1945, "The treatment of ties in ranking problems", tau-b."""
    pairs = np.triu_indices(len(x), 1)
    by_x, by_y = (np.sign(np.subtract.outer(values, values)[pairs]) for values in (x, y))
    untied = float(np.count_nonzero(by_x)) * float(np.count_nonzero(by_y))
    return float(by_x @ by_y) / untied**0.5 if untied else None
