"""What a few noisy runs say: spreads, shrunken means, the gain of one configuration over another.

Values are such that more is better. Nothing here knows of studies or trials.

    notation   meaning
    sd, var    standard deviation and variance of one run around its configuration's mean
    freedom    degrees of freedom behind an sd; infinite where it is known
    n          runs of a configuration
    t          Student's; with few runs the normal quantiles would promise too much
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, median

LEVEL = 0.95
"""Of an interval: how often it should hold the truth."""

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Spread:
    """How far single runs lie from their configuration's mean.

    Attributes:
        sd: NaN where nothing is known.
        freedom: Degrees of freedom behind it; 0 where nothing is known, infinite where it is exact.
    """

    sd: float
    freedom: float

    @property
    def var(self) -> float:
        return self.sd**2


UNKNOWN = Spread(math.nan, 0.0)


def pooled_spread(groups: Iterable[Sequence[float]], prior: Spread = UNKNOWN) -> Spread:
    """The spread within groups, shrunk towards a prior.

    Sums of squares and degrees of freedom add up; the prior counts as so many runs more. It is the posterior of a
    scaled inverse chi-squared prior (Gelman et al. 2013, Bayesian Data Analysis, section 2.6; Smyth 2004, Stat. Appl.
    Genet. Mol. Biol. 3:3), and without a prior the pooled variance of the analysis of variance.

    Args:
        groups: Runs of one configuration each, finite; those of one run say nothing and are passed over.
        prior: What is believed before, such as 2.5 points of accuracy with 3 degrees of freedom.
    """
    many = [group for group in groups if len(group) > 1]
    freedom = prior.freedom + sum(len(group) - 1 for group in many)
    if not freedom:
        return UNKNOWN
    if math.isinf(freedom):
        return prior
    own = sum(_squares(group) for group in many)
    known = prior.freedom * prior.var if prior.freedom else 0.0
    return Spread(math.sqrt((known + own) / freedom), freedom)


@dataclass(frozen=True)
class Normal:
    """What is believed of a configuration's true mean: a normal distribution; `var` infinite where nothing is."""

    mean: float
    var: float


def population(values: Sequence[float]) -> Normal:
    """From which distribution configurations come, judged by one run of each: the prior of `posterior`.

    Empirical Bayes (Efron & Morris 1975, J. Am. Stat. Assoc. 70:311), for the half that matters: the centre is the
    median, the variance that of the values above it around it. What lies below (diverged, collapsed, simply bad) says
    nothing about how good the good ones are, and would make every lucky run look true. The variance of the noise is not
    taken off: a dozen runs cannot tell the two apart, and at equal risk it was found to buy nothing.

    Args:
        values: One run of each configuration, finite, at least one.
    """
    centre = median(values)
    above = [(value - centre) ** 2 for value in values if value > centre]
    return Normal(centre, fmean(above) if above else 0.0)


def posterior(prior: Normal, values: Sequence[float], noise_var: float) -> Normal:
    """A configuration's true mean after its runs, shrunk towards the prior (normal prior, normal noise).

    (m / v + n y / s²) / (1 / v + n / s²) with variance 1 / (1 / v + n / s²) (Gelman et al. 2013, section 2.5). No
    model of the parameters is needed; where there is one, its prediction is the prior.

    Args:
        prior: An infinite variance leaves the plain mean.
        values: Runs, finite; may be none.
        noise_var: Of one run; 0 where they do not vary.
    """
    if not values:
        return prior
    if noise_var == 0.0:
        return Normal(fmean(values), 0.0)
    if prior.var == 0.0:
        return prior
    before = 0.0 if math.isinf(prior.var) else 1.0 / prior.var
    runs = len(values) / noise_var
    mean = ((before * prior.mean if before else 0.0) + runs * fmean(values)) / (before + runs)
    return Normal(mean, 1.0 / (before + runs))


def minimum_detectable_gain(
    spread: Spread, n: int, n_default: int, *, level: float = LEVEL, power: float = 0.8
) -> float:
    """The true gain that a comparison of so many runs will find significant in `power` of all cases.

    With a known sd it is 2.80 sd (1 / n + 1 / n_default)^1/2 for the usual 95 % and 80 % (Cohen 1988, Statistical
    Power Analysis, chapter 2); with an estimated one, t quantiles take the place of the normal ones.

    Raises:
        ValueError: With fewer than one run an arm.
    """
    if min(n, n_default) < 1:
        raise ValueError(f"A comparison needs a run of each arm at least, got {n} and {n_default}")
    quantiles = _quantile((1 + level) / 2, spread.freedom) + _quantile(power, spread.freedom)
    return quantiles * spread.sd * math.sqrt(1 / n + 1 / n_default)


# --- the difference of two configurations ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A gain, and how sure it is.

    Attributes:
        gain: Positive where better.
        error: Its standard error.
        freedom: Degrees of freedom behind `error`.
        low, high: The interval that holds the true gain in `level` of all cases; infinite where nothing is known of
            the noise.
        p_better: The probability that the true gain is above 0, nothing else being known of it.
    """

    gain: float
    error: float
    freedom: float
    low: float
    high: float
    level: float
    p_better: float

    @property
    def significant(self) -> bool:
        """Whether the interval lies above 0: only then may a gain be claimed."""
        return self.low > 0.0


def difference(
    values: Sequence[float], default: Sequence[float], earlier: Spread = UNKNOWN, *, level: float = LEVEL
) -> Estimate:
    """The gain of one configuration over another, from independent runs of both: Student's pooled t.

    Two or three runs cannot tell their own spread, and a bootstrap of them covers far less than it says. So the spread
    is pooled over both arms and whatever ran earlier on other seeds, and the quantile is that of all their degrees of
    freedom. Shrinking each arm's own variance towards the common one (Smyth 2004) covers no better where arms differ in
    noise, and its intervals are no shorter.

    Args:
        values: Runs of the configuration, finite, at least one.
        default: Runs of the other.
        earlier: The spread within configurations on other seeds.
        level: Of the interval.

    Raises:
        ValueError: Where an arm has no run.
    """
    if not values or not default:
        raise ValueError(f"A difference needs a run of each arm at least, got {len(values)} and {len(default)}")
    spread = pooled_spread((values, default), earlier)
    error = spread.sd * math.sqrt(1 / len(values) + 1 / len(default))
    return _estimate(fmean(values) - fmean(default), error, spread.freedom, level)


def probability_better(gain: float, error: float, freedom: float = math.inf) -> float:
    """P(true gain > 0) where (true gain - gain) / error follows Student's t; 0.5 where the error is unknown."""
    if math.isnan(error) or not freedom:
        return 0.5
    if error == 0.0:
        return 0.5 if gain == 0.0 else float(gain > 0)
    if math.isinf(freedom):
        return _NORMAL.cdf(gain / error)
    from scipy.special import stdtr

    return float(stdtr(freedom, gain / error))


def expected_gain(gain: float, error: float) -> float:
    """E[max(true gain, 0)] for a normal true gain: what may be won where one is free to keep the default.

    It is the expected improvement of Mockus 1978; with `error` the change that a further run brings, it is the
    knowledge gradient (Frazier, Powell & Dayanik 2008, SIAM J. Control Optim. 47:2410).
    """
    if error <= 0.0:
        return max(gain, 0.0)
    z = gain / error
    return gain * _NORMAL.cdf(z) + error * _NORMAL.pdf(z)


# --- inside ----------------------------------------------------------------------------------------------------------


def _estimate(gain: float, error: float, freedom: float, level: float) -> Estimate:
    reach = _quantile((1 + level) / 2, freedom) * error if freedom else math.inf
    return Estimate(gain, error, freedom, gain - reach, gain + reach, level, probability_better(gain, error, freedom))


def _quantile(p: float, freedom: float) -> float:
    """Of Student's t; infinite without any freedom."""
    if not freedom:
        return math.inf
    if math.isinf(freedom):
        return _NORMAL.inv_cdf(p)
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)
