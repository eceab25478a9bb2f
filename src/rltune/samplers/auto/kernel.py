"""How alike two configurations are: Matérn-5/2 with a length-scale for each column.

=======  ==================  ============================================================================
symbol   shape               meaning
=======  ==================  ============================================================================
x        (n, d)              rows of `encode.Columns`: numbers from 0 to 1, choices as their index
D        (d, p)              squared differences by column of p pairs of rows; 1 for two choices that differ
w        (d,)                inverse squared length-scales
r2       (n, m)              squared scaled distances: the sum of w[j] D[j]
=======  ==================  ============================================================================

Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, eq. 4.17 and section 5.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROOT5 = math.sqrt(5.0)


@dataclass(frozen=True)
class Pairs:
    """What differs between any two of n rows, each pair once: p = n (n - 1) / 2.

    Attributes:
        n: How many rows.
        first, second: Shape (p,), the rows of each pair, `first` the later one.
        squares: D, shape (d, p).
    """

    n: int
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    squares: Array


def pairs(x: Array, is_choice: NDArray[np.bool_]) -> Pairs:
    """Of rows x (n, d)."""
    first, second = np.tril_indices(len(x), -1)
    apart = (x[first] - x[second]).T
    squares: Array = apart * apart
    squares[is_choice] = squares[is_choice] > 0.0
    return Pairs(len(x), first, second, np.ascontiguousarray(squares))


def matern(r2: Array) -> tuple[Array, Array]:
    """The kernel of unit variance at squared distances, and its derivative by them; both in the shape of `r2`."""
    s = _ROOT5 * np.sqrt(r2)
    decay = np.exp(-s)
    slope: Array = (-5.0 / 6.0) * (1.0 + s) * decay
    return (1.0 + s + s * s / 3.0) * decay, slope


def squared_distances(a: Array, b: Array, w: Array, is_choice: NDArray[np.bool_]) -> Array:
    """r2, shape (n, m), by one product of matrices for the numbers and one comparison for each choice."""
    scale = np.sqrt(w[~is_choice])
    p, q = a[:, ~is_choice] * scale, b[:, ~is_choice] * scale
    r2: Array = np.sum(p * p, axis=1)[:, None] + np.sum(q * q, axis=1) - 2.0 * (p @ q.T)
    np.maximum(r2, 0.0, out=r2)  # rounding
    for j in np.flatnonzero(is_choice):
        r2 += w[j] * (a[:, j, None] != b[:, j])
    return r2
