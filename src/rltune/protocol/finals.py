"""The finals: which run is next, which configuration is nominated, whether it is shipped.

Pure functions of arms, so that a study that was killed decides the same again. An arm is a configuration with the runs
it has had so far, higher being better. The order of events:

    shares(budget)           how many runs each phase has
    next_final(...)          again and again until it is None: seeds of the pool `select`
    nominee(...)             the finalist that is worth a claim; None: the default stays, and no more is run
    next_claim(...)          again and again until it is None: seeds of the pool `claim`, for nominee and default alike
    verdict(...)             ship or keep, and the gain on the claim's seeds, which is printed either way

The figures behind the constants are in docs/trust.md; `python -m benchmarks.trust --ablation` measures them again.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from rltune.analysis.statistics import (
    UNKNOWN,
    Estimate,
    Normal,
    Spread,
    difference,
    expected_gain,
    pooled_spread,
    population,
    posterior,
    probability_better,
)

_CLOSEST = 0.3
"""Gaps below so many sd count as so much: two arms that are all but equal would get every run, for nothing."""

_SETTLED = 0.03
"""The finals are over once taking what looks best costs less than so many sd on average; the claim gets the rest."""

_NOISE_SHARE, _GUESS_FREEDOM = 0.5, 1.0
"""With no prior given: which share of the variance between configurations is noise, and what that guess weighs."""

_TELLING = 4
"""Degrees of freedom from which on the runs limit that guess."""


@dataclass(frozen=True)
class Rules:
    """What a user may set.

    Attributes:
        finalists: How many of the best go into the finals.
        nominate: The best finalist is nominated where the probability that it beats the default is above this.
        ship: A nominee is shipped where that probability is above this once the claim's runs are counted in.
        claim_seeds: Kept back for each of nominee and default; a claim has no fewer.
        most_claim_seeds: What the finals leave over goes to the claim, up to so many.
        prior: What is known of the noise before the study; nothing by default.
    """

    finalists: int = 4
    nominate: float = 0.73
    ship: float = 0.55
    claim_seeds: int = 2
    most_claim_seeds: int = 5
    prior: Spread = UNKNOWN


@dataclass(frozen=True)
class Shares:
    """Runs for each phase; `claim` counts nominee and default together."""

    baseline: int
    search: int
    finals: int
    claim: int


@dataclass(frozen=True)
class Arm:
    """One configuration.

    Attributes:
        key: Its parameters.
        before: Values on seeds of the pool `search`: the baseline's of the default, one of any other.
        final: Values by index in the pool `select`; NaN where the run failed by the configuration's own doing.
        claim: Likewise in the pool `claim`.
        running: Indices of the phase that goes on whose runs have not ended.
    """

    key: Hashable
    before: tuple[float, ...] = ()
    final: Mapping[int, float] = field(default_factory=dict)
    claim: Mapping[int, float] = field(default_factory=dict)
    running: frozenset[int] = frozenset()

    @property
    def failed(self) -> bool:
        return any(math.isnan(value) for value in (*self.final.values(), *self.claim.values()))

    @property
    def values(self) -> list[float]:
        return _finite((*self.before, *self.final.values(), *self.claim.values()))

    @property
    def fresh(self) -> list[float]:
        """Values that had no part in its being chosen: comparable within the arm."""
        return _finite((*self.final.values(), *self.claim.values()))


@dataclass(frozen=True)
class Run:
    """A run to start: the configuration, and the index in the phase's pool of seeds."""

    key: Hashable
    index: int


@dataclass(frozen=True)
class Standing:
    """How the best finalist compares with the default, by all runs of both, its own shrunk towards the others'."""

    key: Hashable
    gain: float
    error: float
    p_better: float


@dataclass(frozen=True)
class Verdict:
    """What to do.

    Attributes:
        ship: Whether the nominee takes the place of the default.
        standing: Of the nominee, by all runs.
        gain: Of the nominee on the seeds of the claim alone, to be printed whatever `ship` says; None without a claim.
    """

    ship: bool
    standing: Standing
    gain: Estimate | None


def shares(budget: int) -> Shares:
    """How a budget in full runs is shared.

    Measured at 30 runs: a fifth for the finals, a twentieth for each arm of the claim. The baseline grows as in common
    practice (2, 3, 5, 8 runs).

    Raises:
        ValueError: Below 8 runs, which leave no search.
    """
    if budget < 8:
        raise ValueError(f"A study with baseline, finals and claim needs 8 runs at least, got {budget}")
    baseline = 2 if budget < 20 else 3 if budget < 60 else 5 if budget < 200 else 8
    claim = 2 * min(10, max(1, round(budget / 20)))
    finals = max(2, round(0.2 * budget))
    return Shares(baseline, budget - baseline - finals - claim, finals, claim)


def next_final(default: Arm | None, others: Sequence[Arm], left: int, rules: Rules = Rules()) -> Run | None:
    """The next run of the finals; None when they are over: decided, or nothing left but the claim's runs.

    While runs have not ended, None may be for now only: what they find can open the question again.

    Optimal computing budget allocation (OCBA; Chen et al. 2000, Discrete Event Dyn. Syst. 10:251): runs go to the arms
    that are hardest to tell from the best one, n_i in proportion to 1 / (gap to the best)², and to the best itself as
    the root of the sum of their squares. The default is an arm like any other, and its baseline counts. An arm's prior
    counts as noise variance / prior variance runs. Each arm goes through the seeds of the pool in the same order, so
    that arms are compared on common seeds as far as they go.

    Args:
        default: The user's own configuration; None without one.
        others: Every configuration of the search that has a value.
        left: Runs that the study has left, those of the claim included; runs that have begun are not left.
        rules: What the user has set.
    """
    if not others or left <= (2 * rules.claim_seeds if default else 0):
        return None
    noise, beliefs = beliefs_of(default, others, rules)
    able = [arm for arm in others if not arm.failed]
    arms = sorted(able, key=lambda arm: -beliefs[arm.key].mean)[: rules.finalists]
    if default is not None:
        arms.append(default)
    if not noise.var > 0.0 or len(arms) < 2:
        return next((_run_of(arm) for arm in arms if not arm.final and not arm.running), None)
    best = max(arms, key=lambda arm: beliefs[arm.key].mean)
    if _cost_of_choosing(best, arms, beliefs) < _SETTLED * noise.sd:
        tried = best is default or best.final or best.running
        return None if tried else _run_of(best)
    gaps = {arm.key: beliefs[best.key].mean - beliefs[arm.key].mean for arm in arms if arm is not best}
    weights = {key: max(_CLOSEST * noise.sd, gap) ** -2 for key, gap in gaps.items()}
    weights[best.key] = math.hypot(*weights.values())
    had = {arm.key: noise.var / beliefs[arm.key].var + len(arm.running) for arm in arms}
    scale = (sum(had.values()) + 1) / sum(weights.values())
    return _run_of(max(arms, key=lambda arm: weights[arm.key] * scale - had[arm.key]))


def standing(default: Arm, others: Sequence[Arm], rules: Rules = Rules()) -> Standing | None:
    """The finalist with the highest posterior mean beside the default.

    One that failed on a fresh seed is out: it cannot be relied on. None where no finalist has a value on a fresh seed,
    and where the default has no value at all, so that there is nothing to compare.
    """
    finalists = [arm for arm in others if arm.fresh and not arm.failed]
    if not finalists or not default.values:
        return None
    noise, beliefs = beliefs_of(default, others, rules)
    return _compare(max(finalists, key=lambda arm: beliefs[arm.key].mean), default, noise, beliefs)


def nominee(default: Arm, others: Sequence[Arm], rules: Rules = Rules()) -> Standing | None:
    """The best finalist, where the finals say that it probably beats the default; None: keep the default."""
    best = standing(default, others, rules)
    return best if best is not None and best.p_better > rules.nominate else None


def claim_seeds(left: int, rules: Rules = Rules()) -> int:
    """For each of nominee and default, with so many runs left; 0 where the fewest cannot be paid."""
    each = min(rules.most_claim_seeds, left // 2)
    return each if each >= rules.claim_seeds else 0


def next_claim(default: Arm, nominated: Arm, n_seeds: int) -> Run | None:
    """The next run of the claim, seed by seed rather than arm by arm: cut short, both have had as many.

    Args:
        default: The user's own configuration.
        nominated: The nominee.
        n_seeds: `claim_seeds` of what was left when the finals ended; it must not depend on what the claim finds.
    """
    for index in range(n_seeds):
        for arm in (nominated, default):
            if index not in arm.claim and index not in arm.running:
                return Run(arm.key, index)
    return None


def verdict(default: Arm, others: Sequence[Arm], nominated: Hashable, rules: Rules = Rules()) -> Verdict:
    """Ship the nominee or keep the default, once the claim's runs have ended.

    These runs count twice: alone for the gain, since nothing has been chosen by them, and with all others for the
    decision, where they can only take a nomination back. The gain is printed either way, so that it is unbiased over
    all that is printed; over the studies that ship it is a little too good (docs/trust.md has the figures).

    Args:
        default: The user's own configuration.
        others: Every configuration of the search that has a value, the nominee among them.
        nominated: The key that `nominee` gave when the finals ended.
        rules: What the user has set.
    """
    arm = next(arm for arm in others if arm.key == nominated)
    noise, beliefs = beliefs_of(default, others, rules)
    found = _compare(arm, default, noise, beliefs)
    mine, base = _finite(arm.claim.values()), _finite(default.claim.values())
    earlier = _noise(replace(default, claim={}), [replace(each, claim={}) for each in others], rules)
    gain = difference(mine, base, earlier) if mine and base else None
    sure = bool(mine) and not arm.failed and found.p_better > rules.ship
    return Verdict(sure, found, gain)


# --- inside ----------------------------------------------------------------------------------------------------------


def _cost_of_choosing(best: Arm, arms: Iterable[Arm], beliefs: Mapping[Hashable, Normal]) -> float:
    """What taking the arm that looks best loses on average: at most the sum of what each other one would win.

    The expected opportunity cost of Chick & Inoue 2001 (Oper. Res. 49:732), with their bound.
    """
    mine = beliefs[best.key]
    theirs = [beliefs[arm.key] for arm in arms if arm is not best]
    return sum(expected_gain(it.mean - mine.mean, math.sqrt(it.var + mine.var)) for it in theirs)


def _compare(arm: Arm, default: Arm, noise: Spread, beliefs: Mapping[Hashable, Normal]) -> Standing:
    mine, base = beliefs[arm.key], beliefs[default.key]
    gain, error = mine.mean - base.mean, math.sqrt(mine.var + base.var)
    return Standing(arm.key, gain, error, probability_better(gain, error, noise.freedom))


def beliefs_of(default: Arm | None, others: Sequence[Arm], rules: Rules) -> tuple[Spread, dict[Hashable, Normal]]:
    """The noise, and what every arm is worth. The default was chosen by its user, not drawn: its plain mean counts."""
    noise = _noise(default, others, rules)
    prior = _open(population([arm.before[0] for arm in others]))
    beliefs = {arm.key: posterior(prior, arm.values, noise.var) for arm in others}
    if default is not None:
        beliefs[default.key] = posterior(Normal(0.0, math.inf), default.values, noise.var)
    return noise, beliefs


def _open(prior: Normal) -> Normal:
    """Where the better half of a search is all alike, it says nothing of what others may be worth: runs count alone."""
    return prior if prior.var > 0.0 else Normal(prior.mean, math.inf)


def _noise(default: Arm | None, others: Sequence[Arm], rules: Rules) -> Spread:
    """Within arms. A run that an arm was chosen by is too good and would widen its spread, so it is left out."""
    groups = [arm.fresh for arm in others] + ([default.values] if default else [])
    return pooled_spread(groups, rules.prior if rules.prior.freedom else _guess(others, pooled_spread(groups)))


def _guess(others: Sequence[Arm], seen: Spread) -> Spread:
    """A weak prior in the units at hand: two runs of a baseline may be equal by chance.

    Where configurations differ by far more than their runs do, it would be far too large; what has been seen limits it
    as soon as that says something.
    """
    sd = math.sqrt(_NOISE_SHARE * population([arm.before[0] for arm in others]).var)
    return Spread(sd if seen.freedom < _TELLING else min(sd, 2.0 * seen.sd), _GUESS_FREEDOM)


def _run_of(arm: Arm) -> Run:
    return Run(arm.key, next(i for i in count() if i not in arm.final and i not in arm.running))


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
