"""What a report says in words: the verdict and its reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rltune.protocol.decision import Verdict
from rltune.reporting import wording as w
from rltune.reporting.model import Report
from rltune.types import Purpose

NOT_ENDED = ("running", "waiting", "interrupted")


@dataclass(frozen=True)
class Headline:
    """The first thing that a reader sees.

    Attributes:
        kind: How it is coloured.
        title: What to do.
        why: In a sentence.
        remarks: What else belongs to it.
    """

    kind: Literal["ship", "keep", "open", "nothing"]
    title: str
    why: str
    remarks: tuple[str, ...] = ()


def headline(report: Report) -> Headline:
    """What to ship and why, or why the default stays."""
    best, verdict = report.recommended, report.verdict
    if best is None:
        return Headline("nothing", "Nothing to ship", "No trial is feasible" + ("." if report.trials else " yet."))
    if verdict is None or (verdict.winner is None and verdict.default is None):
        return _single_run(report)
    if verdict.default is None:
        return Headline("open", f"Best: trial {best.number}", "The default has no value on the fresh seeds.")
    if verdict.ship is None:
        phase = "claim has" if verdict.seeds == "claim" else "finals have"
        return Headline("open", "Not decided yet", f"The {phase} not ended.")
    if verdict.ship:
        return Headline("ship", f"Ship trial {best.number}", _why_ship(verdict))
    return Headline("keep", "Keep your default", _why_keep(verdict), tuple(_unseen(verdict)))


def _single_run(report: Report) -> Headline:
    best = report.recommended
    assert best is not None
    planned = report.spending.phases.get("final", 0)
    if planned and best.purpose is Purpose.BASELINE and not any(report.trials.get(word) for word in NOT_ENDED):
        return Headline("keep", "Keep your default", "No other configuration comes near it.")
    later = " The comparison with your default on fresh seeds has not been run yet." if planned else ""
    why = f"The best of single runs, which is partly luck.{later}"
    return Headline("open", f"Best so far: trial {best.number}", why)


def _why_ship(verdict: Verdict) -> str:
    if verdict.default is not None and not verdict.default.values and verdict.default.failed:
        return "The default failed on the untouched seeds, and the winner did not."
    if verdict.seeds == "final":
        return "By the finals alone, which the winner was chosen by, so its gain is flattered."
    if verdict.low > 0:
        return "On untouched seeds the whole interval of its gain lies above 0."
    return "It is probably better; that it is not worse, the untouched seeds alone do not show."


def _why_keep(verdict: Verdict) -> str:
    if verdict.winner is None:
        return "No finalist had a value in each of its runs."
    if verdict.winner.failed:
        return "The winner of the finals failed on an untouched seed."
    if verdict.seeds == "claim":
        return "What the finals had promised did not hold on untouched seeds."
    return "There is no evidence of a gain over it."


def _unseen(verdict: Verdict) -> list[str]:
    if not math.isfinite(verdict.detectable):
        return []
    return [f"A gain below {w.rounded(verdict.detectable)} could hardly have been seen with this budget."]


def trials_line(report: Report) -> str:
    """`60 of 72 trials: 43 complete, 28 pruned`."""
    ended = sum(n for word, n in report.trials.items() if word not in NOT_ENDED)
    known = w.count(ended, "trial") if report.n_planned is None else f"{ended} of {w.count(report.n_planned, 'trial')}"
    words = [f"{n} {word}" for word, n in report.trials.items()]
    words += [f"{report.n_earlier} more from an earlier study"] if report.n_earlier else []
    return f"{known}: {', '.join(words)}" if words else known
