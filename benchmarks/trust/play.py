"""One study, by the product's rules or naively, and what many of them come to."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.trust.landscapes import Array, Studies
from benchmarks.trust.rules import Rule
from rltune.analysis.statistics import Estimate
from rltune.protocol.finals import Arm, Rules, Shares, claim_seeds, next_claim, next_final, nominee, verdict

_SEARCH, _SELECT, _CLAIM = range(3)


@dataclass(frozen=True)
class Played:
    """What came out of one study.

    Attributes:
        ship: Whether something else than the default is shipped.
        true_gain: Of the nominee; 0 without one.
        gain: As printed; None where nothing is.
        spent: Runs.
    """

    ship: bool
    true_gain: float
    gain: Estimate | None
    spent: int


def play(truth: Array, runs: Array, shares: Shares, rules: Rules, rule: Rule = next_final) -> Played:
    """One study, from its truth (n_arms,) and its runs (n_arms, POOLS, SEEDS)."""
    rules = replace(rules, claim_seeds=shares.claim // 2)
    measured: dict[Hashable, list[list[float]]] = dict(enumerate(runs.tolist()))
    budget = shares.baseline + shares.search + shares.finals + shares.claim
    spent = shares.baseline + shares.search
    default = Arm(0, tuple(measured[0][_SEARCH][: shares.baseline]))
    others: dict[Hashable, Arm] = {key: Arm(key, (measured[key][_SEARCH][0],)) for key in range(1, shares.search + 1)}
    while run := rule(default, [*others.values()], budget - spent, rules):
        arm = others.get(run.key, default)
        arm = replace(arm, final={**arm.final, run.index: measured[run.key][_SELECT][run.index]})
        default, others = _put(arm, default, others)
        spent += 1
    best = nominee(default, [*others.values()], rules)
    if best is None:
        return Played(False, 0.0, None, spent)
    n_seeds = claim_seeds(budget - spent, rules)
    while run := next_claim(default, others[best.key], n_seeds):
        arm = others.get(run.key, default)
        arm = replace(arm, claim={**arm.claim, run.index: measured[run.key][_CLAIM][run.index]})
        default, others = _put(arm, default, others)
        spent += 1
    found = verdict(default, [*others.values()], best.key, rules)
    assert isinstance(best.key, int)
    return Played(found.ship, float(truth[best.key] - truth[0]), found.gain, spent)


def _put(arm: Arm, default: Arm, others: dict[Hashable, Arm]) -> tuple[Arm, dict[Hashable, Arm]]:
    return (arm, others) if arm.key == default.key else (default, {**others, arm.key: arm})


def by_rltune(studies: Studies, shares: Shares, rules: Rules, rule: Rule = next_final) -> dict[str, float]:
    """What comes out of all of them."""
    played = [play(t, r, shares, rules, rule) for t, r in zip(studies.truth, studies.runs, strict=True)]
    shipped = [p for p in played if p.ship]
    printed = [p for p in played if p.gain is not None]
    claimed = [p.ship and p.gain is not None and p.gain.significant for p in played]
    gains = np.array([p.true_gain if p.ship else 0.0 for p in played])
    return {
        "worse": float((gains < 0.0).mean()),
        "true_gain": float(gains.mean()),
        "true_gain_error": float(gains.std() / np.sqrt(len(gains))),
        "ships": len(shipped) / len(played),
        "prints": len(printed) / len(played),
        "claims": float(np.mean(claimed)),
        "bias": _bias(shipped),
        "bias_printed": _bias(printed),
        "coverage": _coverage(shipped),
        "coverage_printed": _coverage(printed),
        "half_width": _mean([(p.gain.high - p.gain.low) / 2 for p in printed if p.gain]),
        "spent": _mean([p.spent for p in played]),
    }


def naively(studies: Studies, budget: int) -> dict[str, float]:
    """The best of so many single runs, the default's among them; its lead over the default is what is printed."""
    first = studies.runs[:, :budget, _SEARCH, 0]
    rows, best = np.arange(len(first)), first.argmax(axis=1)
    gains = studies.truth[rows, best] - studies.truth[:, 0]
    printed = first[rows, best] - first[:, 0]
    ships = best > 0
    return {
        "worse": float((gains < 0.0).mean()),
        "true_gain": float(gains.mean()),
        "true_gain_error": float(gains.std() / np.sqrt(len(gains))),
        "ships": float(ships.mean()),
        "claims": float((printed > 0.0).mean()),
        "bias": float((printed - gains)[ships].mean()),
        "spent": float(budget),
    }


def _bias(played: Sequence[Played]) -> float:
    return _mean([p.gain.gain - p.true_gain for p in played if p.gain])


def _coverage(played: Sequence[Played]) -> float:
    return _mean([p.gain.low <= p.true_gain <= p.gain.high for p in played if p.gain])


def _mean(values: Sequence[Any]) -> float:
    return float(np.mean(values)) if values else 0.0
