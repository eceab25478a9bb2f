"""The noise audit: what the baseline's seeds say of the gain that a study can show, before it is spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rltune.analysis.statistics import Spread, minimum_detectable_gain, pooled_spread
from rltune.objective import Objective
from rltune.protocol.decision import Finals, arms_of
from rltune.records import TrialRecord
from rltune.types import Purpose

_MOST_SEEDS = 50
"""Beyond so many, another metric is better advice than more seeds."""


@dataclass(frozen=True)
class Audit:
    """How much chance moves a result, and what that leaves to be seen.

    Attributes:
        spread: Of the default from seed to seed, with what is known of the noise before.
        n_seeds: Of the baseline.
        claim_seeds: Of the winner and of the default each, behind the gain that is printed.
        detectable: The true gain that so many show in 4 of 5 cases.
        wished: A gain worth having, as the study file says; None where it does not.
        needed: How many claim seeds would show that; None where `claim_seeds` do, and where it takes too many.
    """

    spread: Spread
    n_seeds: int
    claim_seeds: int
    detectable: float
    wished: float | None = None
    needed: int | None = None

    @property
    def too_noisy(self) -> bool:
        """Whether the gain that is wished for would hardly be seen."""
        return self.wished is not None and self.detectable > self.wished


def audit(
    records: Sequence[TrialRecord],
    objective: Objective,
    default: Mapping[str, Any] | None,
    finals: Finals | None,
    wished: float | None = None,
) -> Audit | None:
    """From the baseline; None without finals, and before two of its runs have ended with a value."""
    baseline = [r for r in records if r.purpose is Purpose.BASELINE]
    found = arms_of(baseline, objective, default).default
    if finals is None or found is None or len(found.before) < 2:
        return None
    spread = pooled_spread([found.before], finals.rules.prior)
    n = max(1, finals.rules.claim_seeds)
    later = Spread(spread.sd, spread.freedom + max(0, finals.n_runs - finals.rules.finalists))  # the finals tell more
    detectable = minimum_detectable_gain(later, n, n)
    enough = (k for k in range(n + 1, _MOST_SEEDS + 1) if minimum_detectable_gain(later, k, k) <= (wished or math.inf))
    needed = next(enough, None) if wished is not None and detectable > wished else None
    return Audit(spread, len(found.before), n, detectable, wished, needed)
