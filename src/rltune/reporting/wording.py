"""Numbers, durations and names as people read them: on the terminal and in the report's page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rltune.objective import Objective
from rltune.protocol.decision import Verdict
from rltune.records import Segment
from rltune.types import Cause

MISSING = "\N{EN DASH}"


def number(value: float | None) -> str:
    """Four significant digits."""
    if value is None:
        return MISSING
    if isinstance(value, float) and value and math.isfinite(value) and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def plus_minus(mean: float, spread: float) -> str:
    """A mean with its spread, which is known to two digits: `0.655 ± 0.021`."""
    if not math.isfinite(spread):
        return number(mean)
    if spread == 0:
        return f"{number(mean)} ± 0"
    digits = max(0, 1 - math.floor(math.log10(float(f"{spread:.1e}"))))
    if digits > 6 or max(abs(mean), spread) >= 1e6:
        return f"{mean:.4g} ± {spread:.2g}"
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"


def rounded(size: float) -> str:
    """Two significant digits, of what is an estimate itself."""
    return number(float(f"{size:.1e}"))


def interval(gain: float, low: float, high: float) -> str:
    """A gain with the interval that holds it: `+0.176 [+0.131, +0.222]`."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{gain:+.4g}"
    digits = min(6, max(0, 1 - math.floor(math.log10((high - low) / 2)))) if high > low else 4
    return f"{gain:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def p_better(p: float) -> str:
    """`P(better) 0.97`; a probability is never told as 1."""
    if not math.isfinite(p):
        return ""
    return "P(better) > 0.99" if p > 0.99 else "P(better) < 0.01" if p < 0.01 else f"P(better) {p:.2f}"


def why_ship(verdict: Verdict) -> str:
    """The reason behind `ship`, as a clause."""
    if verdict.default is not None and not verdict.default.values and verdict.default.failed:
        return "the default failed on the untouched seeds, and the winner did not"
    if verdict.seeds == "final":
        return "by the finals alone, which the winner was chosen by, so its gain is flattered"
    if verdict.low > 0:
        return "the whole interval of its gain lies above 0"
    return "it is probably better; that it is not worse, the untouched seeds alone do not show"


def why_keep(verdict: Verdict) -> str:
    """The reason behind `keep your default`, as a clause."""
    if verdict.winner is None:
        return "no finalist had a value in each of its runs"
    if verdict.winner.failed:
        return "the winner of the finals failed on an untouched seed"
    if verdict.seeds == "claim":
        return "what the finals had promised did not hold on untouched seeds"
    return "no evidence of a gain over it"


def unseen(verdict: Verdict) -> str | None:
    """Which gain would have stayed hidden, as a clause; None where the noise is unknown."""
    if not math.isfinite(verdict.detectable):
        return None
    return f"a gain below {rounded(verdict.detectable)} could hardly have been seen with this budget"


def value(given: Any) -> str:
    """A parameter's value, short enough for a table."""
    if isinstance(given, float):
        return number(given)
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    return str(given)


def duration(seconds: float | None) -> str:
    """`0.4 s`, `51 s`, `2 min 51 s`, `3 h 12 min`, `2 d 4 h`."""
    if seconds is None:
        return MISSING
    if seconds < 5e-5:
        return "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.95 else f"{seconds:.2g} s"
    whole = round(seconds)
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def roughly(seconds: float) -> str:
    """Of what is a guess, and of what would else change with every look: `20 s`, `3 min`, `2 h 10 min`, `2 d 4 h`."""
    for grain, below in ((10, 60), (60, 3600), (600, 86400), (3600, math.inf)):
        rounded = max(grain, math.ceil(seconds / grain - 1e-9) * grain)
        if rounded < below:
            break
    return duration(rounded)


def count(n: int, noun: str) -> str:
    """`1 trial`, `12 trials`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def importance_from(n: int, n_foreseen: int) -> str:
    """`from 40 configurations with a value`, or which of them count by their forecast."""
    if not n_foreseen:
        return f"from {count(n, 'configuration')} with a value"
    return f"from {count(n, 'configuration')}, {n_foreseen} of them ended early and counted by their forecast"


def causes(counts: Mapping[str, int]) -> str:
    """`3 diverged, 1 out of memory`, the most frequent first; `diverged` where that is all."""
    if len(counts) == 1:
        return spaced(next(iter(counts)))
    order = sorted(counts, key=lambda name: (-counts[name], name))
    return ", ".join(f"{counts[name]} {spaced(name)}" for name in order)


def lineage(segments: Sequence[Segment]) -> str:
    """Which trials one went on from: `12 ← 5 (to step 40) ← 1 (to step 20)`."""
    last, *earlier = reversed(segments)
    return " ← ".join([str(last.record.number), *(f"{s.record.number} (to step {s.end})" for s in earlier)])


def spaced(name: str) -> str:
    """`out_of_memory` as people say it."""
    return name.replace("_", " ")


def towards(objective: Objective) -> str:
    """Which way is better."""
    return "lower is better" if objective.direction == "minimize" else "higher is better"


def failure(cause: Cause | None, message: str) -> str:
    """Why a trial failed, in one line; that it was an `error` says nothing beside the error."""
    line = first_line(message)
    known = "" if cause in (None, Cause.ERROR) and line else spaced(cause.value if cause else "failed")
    return "; ".join(part for part in (known, line) if part)


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def short_names(names: Iterable[str]) -> dict[str, str]:
    """For each dotted name its shortest ending that no other name has: `policy.optimizer.lr` is `lr`."""
    names = list(names)
    endings = {name: [".".join(name.split(".")[i:]) for i in range(name.count("."), -1, -1)] for name in names}
    return {
        name: next(
            (end for end in endings[name] if not any(end in endings[other] for other in names if other != name)), name
        )
        for name in names
    }


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """A curve as a line of bars; of a long one, each bar is the last value of its stretch."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    if len(values) > width:
        values = [values[(i + 1) * len(values) // width - 1] for i in range(width)]
    low, high = min(finite), max(finite)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((v - low) * scale)] if math.isfinite(v) else "\N{MULTIPLICATION SIGN}" for v in values)
