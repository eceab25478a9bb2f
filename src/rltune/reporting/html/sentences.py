"""What a report says in words: the verdict and its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
        return Headline("ship", f"Ship trial {best.number}", _sentence(w.why_ship(verdict)))
    unseen = w.unseen(verdict)
    remarks = () if unseen is None else (_sentence(unseen),)
    return Headline("keep", "Keep your default", _sentence(w.why_keep(verdict)), remarks)


def _single_run(report: Report) -> Headline:
    best = report.recommended
    assert best is not None
    planned = report.spending.phases.get("final", 0)
    if planned and best.purpose is Purpose.BASELINE and not any(report.trials.get(word) for word in NOT_ENDED):
        return Headline("keep", "Keep your default", "No other configuration comes near it.")
    later = " The comparison with your default on fresh seeds has not been run yet." if planned else ""
    why = f"The best of single runs, which is partly luck.{later}"
    return Headline("open", f"Best so far: trial {best.number}", why)


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def trials_line(report: Report) -> str:
    """`60 of 72 trials: 43 complete, 28 pruned`."""
    ended = sum(n for word, n in report.trials.items() if word not in NOT_ENDED)
    known = w.count(ended, "trial") if report.n_planned is None else f"{ended} of {w.count(report.n_planned, 'trial')}"
    words = [f"{n} {word}" for word, n in report.trials.items()]
    words += [f"{report.n_earlier} more from an earlier study"] if report.n_earlier else []
    return f"{known}: {', '.join(words)}" if words else known
