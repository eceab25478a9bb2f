"""Other rules for the finals, with the signature of rltune's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from rltune.analysis.statistics import expected_gain
from rltune.protocol.finals import Arm, Rules, Run, beliefs_of, next_final

Rule: TypeAlias = Callable[[Arm, Sequence[Arm], int, Rules], Run | None]


def equal(default: Arm, others: Sequence[Arm], left: int, rules: Rules) -> Run | None:
    """The best by their first run, and the default, seed by seed."""
    if _over(others, left, rules):
        return None
    ranked = sorted(others, key=lambda arm: -arm.before[0])[: rules.finalists]
    return _run(min([*ranked, default], key=lambda arm: len(arm.final)))


def halving(default: Arm, others: Sequence[Arm], left: int, rules: Rules) -> Run | None:
    """Sequential elimination: after each round on one seed, the better half of the finalists goes on, with the default.

    Karnin, Koren & Somekh 2013 (ICML), with posterior means in place of plain ones.
    """
    if _over(others, left, rules):
        return None
    beliefs = beliefs_of(default, others, rules)[1]
    racing = sorted(others, key=lambda arm: -arm.before[0])[: rules.finalists]
    done = 0
    while True:
        behind = [arm for arm in (*racing, default) if len(arm.final) <= done]
        if behind:
            return _run(behind[0])
        done += 1
        racing = sorted(racing, key=lambda arm: -beliefs[arm.key].mean)[: math.ceil(len(racing) / 2)]


def knowledge_gradient(default: Arm, others: Sequence[Arm], left: int, rules: Rules) -> Run | None:
    """Where the next two runs are expected to raise the best posterior mean most (Frazier et al. 2008)."""
    if _over(others, left, rules):
        return None
    noise, beliefs = beliefs_of(default, others, rules)
    ranked = sorted(others, key=lambda arm: -beliefs[arm.key].mean)[: rules.finalists]

    def gradient(arm: Arm) -> float:
        mine = beliefs[arm.key]
        rival = max(beliefs[other.key].mean for other in (*ranked, default) if other is not arm)
        change = mine.var / math.sqrt(mine.var + noise.var / 2)
        return expected_gain(-abs(mine.mean - rival), change)

    return _run(max([*ranked, default], key=gradient))


FINALS: dict[str, Rule] = {
    "equal shares": equal,
    "sequential elimination": halving,
    "knowledge gradient": knowledge_gradient,
    "rltune: OCBA": next_final,
}


def _over(others: Sequence[Arm], left: int, rules: Rules) -> bool:
    return not others or left <= 2 * rules.claim_seeds


def _run(arm: Arm) -> Run:
    return Run(arm.key, len(arm.final))
