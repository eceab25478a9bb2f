"""Expected improvement, which says both what to try next and whether a training is worth its end."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

Array = NDArray[np.float64]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_ROOT_HALF_PI = math.sqrt(math.pi / 2)


def log_improvement(mean: Array, sd: Array, best: float) -> Array:
    """The logarithm of the expected improvement below `best`, where the truth is normal; shape as `mean`.

    In logarithms it still has a slope where the improvement itself is 0 in floating point (Ament et al. 2023,
    arXiv 2310.20708, eq. 9).
    """
    z = (best - mean) / sd
    near = np.maximum(z, -1.0)
    close = np.log(np.exp(-0.5 * near * near - _HALF_LOG_2PI) + near * ndtr(near))
    far = np.minimum(z, -1.0)
    ratio = 1.0 + far * erfcx(-far / math.sqrt(2)) * _ROOT_HALF_PI  # h(z) / phi(z), about 1 / z^2
    tail = np.where(far > -1e3, np.log(np.maximum(ratio, 1e-300)), -2.0 * np.log(-far))
    return np.log(sd) + np.where(z > -1.0, close, -0.5 * far * far - _HALF_LOG_2PI + tail)
