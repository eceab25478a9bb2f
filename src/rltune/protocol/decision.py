"""The finals and the claim of a study: its trials as arms, which run is next, and what came out.

`finals.py` has the rules, which know arms only; here they meet a study's trials. A pure function of them, so a study
that was killed decides the same again.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

from rltune.analysis.selection import Runs, ranked
from rltune.analysis.statistics import (
    UNKNOWN,
    Estimate,
    Spread,
    difference,
    minimum_detectable_gain,
    pooled_spread,
)
from rltune.objective import Objective
from rltune.protocol import finals as rule
from rltune.protocol.finals import Arm, Rules
from rltune.records import TrialRecord, effective, originals
from rltune.types import FRESH, Purpose


@dataclass(frozen=True)
class Arms:
    """What the trials of a study say of its configurations, higher being better.

    Attributes:
        default: The user's own; None without a default, and where it has no run with a value.
        others: Each configuration of the search that has a value, in the order of their first trials.
        params: Of every arm, by its key.
        finals_running: By an arm's key the indices of its finals that run; those in the arms are of the claim.
        n_finals, n_claims: Runs of these phases that have begun, retries not counted.
        running: Whether one of these runs, or waits to be run again.
    """

    default: Arm | None
    others: tuple[Arm, ...]
    params: Mapping[Hashable, Mapping[str, Any]]
    finals_running: Mapping[Hashable, frozenset[int]]
    n_finals: int
    n_claims: int
    running: bool

    @property
    def unclaimed(self) -> Arms:
        """As they stood before the claim, of which the nomination must not know."""
        default = None if self.default is None else self._before(self.default)
        return replace(self, default=default, others=tuple(map(self._before, self.others)))

    def _before(self, arm: Arm) -> Arm:
        return replace(arm, claim={}, running=self.finals_running.get(arm.key, frozenset()))


def arms_of(records: Sequence[TrialRecord], objective: Objective, default: Mapping[str, Any] | None) -> Arms:
    """Sorts a study's trials by configuration.

    A run that has no feasible value counts as failed by its configuration: what was no fault of its own has been run
    again, and whatever fails each time cannot be relied on.

    Args:
        records: Every trial.
        objective: Whose values count.
        default: The user's own configuration.
    """
    begun, places = originals(records), {purpose: _places(records, purpose) for purpose in FRESH}
    groups = _by_configuration(records, default)
    arms, finals_running = {}, {}
    for key, group in groups.items():
        before = [_value(r, objective) for r in group if r.purpose not in FRESH]
        finals, claims = (_Fresh.of(group, purpose, places[purpose], objective) for purpose in FRESH)
        arms[key] = Arm(key, tuple(v for v in before if math.isfinite(v)), finals.ended, claims.ended, claims.running)
        finals_running[key] = finals.running
    own = None if default is None else arms.pop(_key(default), None)
    params = {key: group[0].params for key, group in groups.items()}
    return Arms(
        default=own if own is not None and own.values else None,
        others=tuple(arm for arm in arms.values() if arm.before),
        params={**params, **({} if default is None else {_key(default): default})},
        finals_running=finals_running,
        n_finals=sum(r.purpose is Purpose.FINAL for r in begun),
        n_claims=sum(r.purpose is Purpose.CLAIM for r in begun),
        running=any(r.purpose in FRESH and not r.state.is_finished() for r in records),
    )


def _by_configuration(
    records: Iterable[TrialRecord], default: Mapping[str, Any] | None
) -> dict[Hashable, list[TrialRecord]]:
    """Trials by their parameters; those of the baseline under the default, whatever the study has made of it.

    A value that the study cannot hold comes back from it as another one.
    """
    known = effective(records)
    own = {_key(r.params) for r in known if r.purpose is Purpose.BASELINE}
    groups: dict[Hashable, list[TrialRecord]] = {}
    for record in known:
        key = _key(record.params)
        groups.setdefault(_key(default) if default is not None and key in own else key, []).append(record)
    return groups


@dataclass(frozen=True)
class _Fresh:
    """An arm's runs of one phase, by the index of their seed; NaN where one has no value."""

    ended: Mapping[int, float]
    running: frozenset[int]

    @classmethod
    def of(
        cls, group: Iterable[TrialRecord], purpose: Purpose, places: Mapping[int, int], objective: Objective
    ) -> _Fresh:
        runs = [(places[r.seed], r) for r in group if r.purpose is purpose and r.seed is not None]
        ended = {place: _value(record, objective) for place, record in runs if record.state.is_finished()}
        return cls(ended, frozenset(place for place, record in runs if not record.state.is_finished()))


def _places(records: Iterable[TrialRecord], purpose: Purpose) -> dict[int, int]:
    """The index of each seed in its pool. Pools ascend, and no arm runs on a seed before it has run on all earlier."""
    seeds = {r.seed for r in records if r.purpose is purpose and r.seed is not None}
    return {seed: index for index, seed in enumerate(sorted(seeds))}


def _value(record: TrialRecord, objective: Objective) -> float:
    """Higher is better; NaN without a feasible value."""
    if not record.feasible or record.value is None:
        return math.nan
    return -record.value if objective.direction == "minimize" else record.value


def _key(params: Mapping[str, Any]) -> Hashable:
    return frozenset(params.items())


# --- which run is next -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Next:
    """A run to start.

    Attributes:
        index: In the pool of seeds of its purpose.
    """

    purpose: Purpose
    params: Mapping[str, Any]
    index: int


@dataclass(frozen=True)
class Finals:
    """How the finals and the claim of a study are run.

    Attributes:
        n_runs: Of the finals, the default's among them.
        rules: Who comes into them, and who is shipped.
    """

    n_runs: int
    rules: Rules = field(default_factory=Rules)

    @property
    def n_claims(self) -> int:
        """Runs that are kept back for the claim; more where the finals leave some over."""
        return 2 * self.rules.claim_seeds

    def at_most(self, budget: int) -> Finals:
        """No more runs than a budget of so many full runs has for finals and claim."""
        usual = rule.shares(max(budget, 8))
        seeds = min(self.rules.claim_seeds, usual.claim // 2)
        return Finals(min(self.n_runs, usual.finals), replace(self.rules, claim_seeds=seeds))

    def next(self, arms: Arms) -> Next | None:
        """The run to start now; None where what runs must end first, and where nothing is left to run."""
        before, left = arms.unclaimed, self.n_runs + self.n_claims - arms.n_finals
        if (final := rule.next_final(before.default, before.others, left, self.rules)) is not None:
            return Next(Purpose.FINAL, arms.params[final.key], final.index)
        nominated = None if any(arms.finals_running.values()) else self.nominated(arms)
        if nominated is None or arms.default is None:
            return None
        n_seeds = rule.claim_seeds(left, self.rules)
        claim = rule.next_claim(arms.default, _with_key(arms, nominated), n_seeds)
        return None if claim is None else Next(Purpose.CLAIM, arms.params[claim.key], claim.index)

    def nominated(self, arms: Arms) -> Hashable | None:
        """The finalist that is worth a claim; None where there is none, or no default to beat."""
        before = arms.unclaimed
        found = None if before.default is None else rule.nominee(before.default, before.others, self.rules)
        return None if found is None else found.key

    def is_over(self, arms: Arms) -> bool:
        return not arms.running and self.next(arms) is None

    def to_json(self) -> dict[str, Any]:
        """For the journal; strict JSON."""
        rules = asdict(self.rules)
        prior = rules.pop("prior")
        return {"n_runs": self.n_runs, **rules, "prior": prior if self.rules.prior.freedom else None}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Finals:
        rules = {key: value for key, value in row.items() if key != "n_runs"}
        prior = UNKNOWN if rules.get("prior") is None else Spread(**rules["prior"])
        return cls(row["n_runs"], Rules(**{**rules, "prior": prior}))


# --- what came out ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What to ship, and why.

    Attributes:
        seeds: Where the values of `winner` and `default` come from: the claim's untouched seeds, or those of the
            finals, which the winner was chosen by and so looks better on than it is.
        winner: The nominee of the finals; without one, the best finalist. None where no finalist has a value.
        default: The user's own configuration on the same seeds.
        gain: The winner's mean less the default's, positive where better; NaN without either.
        low, high: The interval that holds the true gain in 95 % of all cases; infinite where the noise is unknown.
        standard_error: Of the gain; NaN where the noise is unknown.
        p_better: The probability that the winner is truly better, by all its runs and all of the default's.
        detectable: The true gain that a claim of this study would have shown in 4 of 5 cases; NaN where it is unknown.
        ship: Whether the winner takes the place of the default; None where that is open yet, or there is no default.
    """

    seeds: Literal["claim", "final"]
    winner: Runs | None
    default: Runs | None
    gain: float
    low: float
    high: float
    standard_error: float
    p_better: float
    detectable: float
    ship: bool | None


def verdict(
    records: Sequence[TrialRecord], objective: Objective, default: Mapping[str, Any] | None, finals: Finals | None
) -> Verdict | None:
    """What the finals have shown so far, and the claim where it has begun; None before the finals."""
    if finals is None:
        return None
    arms = arms_of(records, objective, default)
    if not any(arm.final for arm in (*arms.others, *_some(arms.default))):
        return None
    nominated, before = finals.nominated(arms), arms.unclaimed
    standing = None if before.default is None else rule.standing(before.default, before.others, finals.rules)
    winner = _with_key(arms, standing.key) if standing is not None else _highest(arms)
    gain, p_better = _by_the_finals(winner, arms.default), standing.p_better if standing is not None else math.nan
    over = finals.is_over(arms)
    ship = (nominated is not None and not finals.n_claims) if over else None
    claimed = nominated is not None and arms.n_claims > 0
    if claimed and arms.default is not None:
        found = rule.verdict(arms.default, arms.others, nominated, finals.rules)
        gain, p_better, ship = found.gain, found.standing.p_better, found.ship if over else None
    return Verdict(
        seeds="claim" if claimed else "final",
        winner=_runs(winner, arms, objective, claimed=claimed),
        default=_runs(arms.default, arms, objective, claimed=claimed),
        gain=math.nan if gain is None else gain.gain,
        low=-math.inf if gain is None else gain.low,
        high=math.inf if gain is None else gain.high,
        standard_error=math.nan if gain is None else gain.error,
        p_better=p_better,
        detectable=_detectable(arms, finals),
        ship=None if arms.default is None else ship,
    )


def recommended(records: Iterable[TrialRecord], objective: Objective, found: Verdict | None) -> TrialRecord | None:
    """The trial to ship: of the winner, or of the default where that stays; before the finals the best single run.

    None where no trial is feasible.
    """
    order = [r for r in ranked(records, objective) if r.feasible]
    if found is None:
        return order[0] if order else None
    unlikely = found.ship is None and found.default is not None and not found.p_better > 0.5
    runs = found.default if found.ship is False or found.winner is None or unlikely else found.winner
    same = [r for r in order if runs is not None and r.params == runs.params]
    return min(same, key=lambda r: r.number, default=None)  # where it was found, not its luckiest run


def _by_the_finals(winner: Arm | None, default: Arm | None) -> Estimate | None:
    if winner is None or default is None or not (mine := _finite(winner.final)) or not (base := _finite(default.final)):
        return None
    return difference(mine, base, pooled_spread([default.before]))


def _detectable(arms: Arms, finals: Finals) -> float:
    """By the noise of all fresh runs and of the baseline."""
    n = finals.rules.claim_seeds or max(1, finals.n_runs // (finals.rules.finalists + 1))
    groups = [arm.fresh for arm in arms.others] + [arm.values for arm in _some(arms.default)]
    noise = pooled_spread(groups, finals.rules.prior)
    return minimum_detectable_gain(noise, n, n) if noise.freedom else math.nan


def _runs(arm: Arm | None, arms: Arms, objective: Objective, *, claimed: bool) -> Runs | None:
    """As the user's metric has them."""
    if arm is None:
        return None
    runs, sign = arm.claim if claimed else arm.final, -1.0 if objective.direction == "minimize" else 1.0
    values = tuple(sign * value for value in _finite(runs))
    return Runs(arms.params[arm.key], values, failed=len(runs) - len(values))


def _highest(arms: Arms) -> Arm | None:
    """Where there is no default to compare with."""
    able = [arm for arm in arms.others if arm.fresh and not arm.failed]
    return max(able, key=lambda arm: fmean(arm.fresh), default=None)


def _with_key(arms: Arms, key: Hashable) -> Arm:
    return next(arm for arm in arms.others if arm.key == key)


def _some(arm: Arm | None) -> list[Arm]:
    return [] if arm is None else [arm]


def _finite(runs: Mapping[int, float]) -> list[float]:
    return [runs[index] for index in sorted(runs) if math.isfinite(runs[index])]
