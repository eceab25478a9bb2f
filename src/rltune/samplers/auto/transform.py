"""What the model is shown in place of raw values: a scale on which one bad run does not drown all differences.

Everything here is minimised.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from rltune.samplers.auto.kernel import Array


def standardised(y: Array) -> Array:
    """Mean 0, variance 1; all 0 where the values are equal."""
    centre = float((y / len(y)).sum())
    spread = _root_mean_square(y - centre)
    return (y - centre) / spread if spread > 0 else np.zeros_like(y)


def half_ranked(y: Array) -> Array:
    """The better half as it is, the worse half by rank, then standardised; shape (n,) as `y`.

    What is worse than the median is put where it would lie if values were normal with the spread of the better half
    (Song et al. 2024, arXiv 2408.11527, section 4.1). So an outlier says "bad", and not "all others are equal".
    """
    median = float(np.median(y))
    better = y <= median
    spread = _root_mean_square(y[better] - median)
    if spread == 0.0:
        return standardised(ranked(y))
    shares = (_ranks(y) + 0.5) / len(y)
    return standardised(np.where(better, y, median + spread * ndtri(np.maximum(shares, 0.5))))


def better_half_line(y: Array, shown: Array) -> tuple[float, float]:
    """Centre and spread such that y is `centre + spread * shown` where `shown` is half-ranked y at its better half."""
    low, middle = np.argmin(y), np.argmax(np.where(y <= np.median(y), y, -np.inf))
    spread = float(y[middle] - y[low]) / float(shown[middle] - shown[low]) if shown[middle] > shown[low] else 0.0
    return float(y[low] - spread * shown[low]), spread


def ranked(y: Array) -> Array:
    """Normal quantiles of the ranks; equal values share a rank."""
    quantiles: Array = ndtri((_ranks(y) + 0.5) / len(y))
    return quantiles


def _root_mean_square(y: Array) -> float:
    """Also of values whose squares are no floating-point numbers any more, such as an exploded loss."""
    largest = float(np.abs(y).max())
    return largest * float(np.sqrt(np.mean((y / largest) ** 2))) if largest > 0 else 0.0


def _ranks(y: Array) -> Array:
    """From 0 on; the mean rank where values are equal."""
    _, places, counts = np.unique(y, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles: Array = (ends - (counts + 1) / 2.0)[places]
    return middles
