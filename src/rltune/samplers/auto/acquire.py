"""What a configuration is worth trying: how much better than the best it may be, and how likely it is to run at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr

from rltune.improvement import log_improvement
from rltune.samplers.auto.gp import Model
from rltune.samplers.auto.kernel import Array

LIKELY = 0.7  # a limit that is kept with this probability is taken for kept
AVERSION = 100.0  # to less, in logarithms of the improvement for a probability lower by 1


@dataclass(frozen=True)
class Limit:
    """Something that must not be exceeded.

    Attributes:
        model: Of a quantity that has to be `most` or less.
    """

    model: Model
    most: float

    def log_weight(self, x: Array) -> Array:
        """The logarithm of the probability that it is kept at rows x (m, d), and less where that is low; shape (m,).

        By the probability alone, a search that has little left to gain would go where it is 1 in 1,000.
        """
        mean, sd = self.model.predict(x)
        z = (self.most - mean) / sd
        weight: Array = log_ndtr(z) + AVERSION * np.minimum(ndtr(z) - LIKELY, 0.0)
        return weight


@dataclass(frozen=True)
class Acquisition:
    """Expected improvement, weighted by the chance that all limits are kept and by the user's prior.

    Attributes:
        model: Of the objective, minimised.
        best: The lowest mean at a configuration that was tried and kept the limits; noise does not move it as it moves
            the lowest value. None before there is one: then only the limits count.
        log_prior: The logarithm of the prior's density at rows (m, d); None for a flat one.
        prior_weight: Its power, which falls as trials come in (Hvarfner et al. 2022, arXiv 2204.11051, eq. 6).
    """

    model: Model
    best: float | None
    limits: Sequence[Limit] = ()
    log_prior: Callable[[Array], Array] | None = None
    prior_weight: float = 1.0

    def __call__(self, x: Array) -> Array:
        """In logarithms, at rows x (m, d); shape (m,)."""
        mean, sd = self.model.predict(x)
        score = np.log(sd) if self.best is None else log_improvement(mean, sd, self.best)
        # One more noisy value says little where the truth is known better than that: Huang et al. 2006, eq. 12.
        noise = self.model.noise
        score = score + np.log1p(-np.sqrt(noise / (sd * sd + noise)))
        for limit in self.limits:
            score = score + limit.log_weight(x)
        return score if self.log_prior is None else score + self.prior_weight * self.log_prior(x)
