"""Shares, thresholds and finals rules side by side: how rltune's were chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.trust import landscapes
from benchmarks.trust.play import by_rltune, naively
from benchmarks.trust.rules import FINALS, Rule
from rltune.analysis.statistics import Spread
from rltune.protocol.finals import Rules, Shares, next_final, shares

WHERE = ("ordinary", "near-optimal")
_OURS = Rules()


@dataclass(frozen=True)
class Variant:
    group: str
    name: str
    shares: Shares
    rules: Rules = _OURS
    rule: Rule = next_final


def variants(budget: int) -> Iterator[Variant]:
    ours, rules = shares(budget), _OURS
    for name, rule in FINALS.items():
        yield Variant("finals rule", name, ours, rule=rule)
    yield Variant("finals rule", "equal shares, 2 finalists", ours, replace(rules, finalists=2), FINALS["equal shares"])
    for n in (2, 3, 6):
        yield Variant("finals rule", f"OCBA, {n} finalists", ours, replace(rules, finalists=n))
    for finals in (4, 5, 7, 9):
        moved = replace(ours, search=ours.search + ours.finals - finals, finals=finals)
        yield Variant("shares", _named(moved), moved)
    two = replace(ours, baseline=2, search=ours.search + 1)
    yield Variant("shares", _named(two), two)
    for claim in (3, 4):
        dearer = replace(ours, search=ours.search - 2 * claim + 4, claim=2 * claim)
        yield Variant("shares", _named(dearer), dearer, replace(rules, claim_seeds=claim))
    for nominate, ship in ((0.5, 0.0), (0.69, 0.0), (0.75, 0.0), (0.84, 0.0), (0.5, 0.5), (0.6, 0.6), (0.69, 0.69)):
        name = f"nominate above {nominate}, " + (f"ship above {ship}" if ship else "ship what is nominated")
        yield Variant("thresholds", name, ours, replace(rules, nominate=nominate, ship=ship))
    for sd in (1.25, 2.5, 5.0):
        prior = Spread(sd, 3.0)
        yield Variant("prior of the noise", f"sd {sd}, as 3 runs", ours, replace(rules, prior=prior))


def rows(n_studies: int, seed: int, budget: int) -> Iterator[dict[str, Any]]:
    """One for each variant, on the same studies as all others."""
    noise = landscapes.NOISES["gaussian"]
    drawn = {w: landscapes.studies(landscapes.TRUTHS[w], noise, n_studies, budget, seed) for w in WHERE}
    plain = {where: naively(studies, budget)["true_gain"] for where, studies in drawn.items()}
    for variant in variants(budget):
        row: dict[str, Any] = {"group": variant.group, "name": variant.name}
        for where, studies in drawn.items():
            found = by_rltune(studies, variant.shares, variant.rules, variant.rule)
            row[where] = found | {"ratio": found["true_gain"] / plain[where]}
        yield row


def table(found: list[dict[str, Any]]) -> Iterator[str]:
    yield "| what | variant | worse than the default | true gain, naive = 1 | bias, shipped | coverage | claims |"
    yield "|---|---|---|---|---|---|---|"
    for row in found:
        a, b = (row[where] for where in WHERE)
        cells = [
            row["group"],
            row["name"],
            f"{100 * a['worse']:.1f} / {100 * b['worse']:.1f} %",
            f"{a['ratio']:.2f} / {b['ratio']:.2f}",
            f"{a['bias']:+.2f} / {b['bias']:+.2f}",
            f"{100 * a['coverage']:.1f} / {100 * b['coverage']:.1f} %",
            f"{100 * a['claims']:.0f} / {100 * b['claims']:.0f} %",
        ]
        yield "| " + " | ".join(cells) + " |"


def _named(s: Shares) -> str:
    return f"{s.baseline} baseline, {s.search} search, {s.finals} finals, {s.claim} claim"
