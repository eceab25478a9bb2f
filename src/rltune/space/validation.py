"""What is wrong with the numbers and choices of one parameter: small functions that give problems."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from rltune.errors import Problem
from rltune.space.expressions import Expression
from rltune.wording import found

LARGEST_INT = 2**53  # Optuna keeps every number as a double
MOST_STEPS = 10_000_000  # beyond, rounding errors of a double come near the tolerance
TOLERANCE = 1e-8  # of a step: Optuna's own, in `FloatDistribution._contains`


def plain(value: Any) -> Any:
    """`value` without what NumPy or a YAML reader put around it: a bool, int, float or str of Python's own."""
    if isinstance(value, np.generic):
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def as_float(key: str, value: Any, problems: list[Problem]) -> float | None:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        problems.append(_no_number(key, value, "a number"))
    elif not abs(value) <= sys.float_info.max:
        problems.append(Problem((key,), f"must be finite, got {value!r}"))
    else:
        return float(value)
    return None


def as_int(key: str, value: Any, problems: list[Problem]) -> int | None:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        problems.append(_no_number(key, value, "a whole number"))
    elif isinstance(value, float) and not value.is_integer():
        problems.append(Problem((key,), f"must be a whole number, got {value!r}", "use `type: float` for real numbers"))
    elif abs(value) > LARGEST_INT:
        problems.append(Problem((key,), f"must lie within ±2**53, got {value!r}"))
    else:
        return int(value)
    return None


def _no_number(key: str, value: Any, wanted: str) -> Problem:
    hint = ""
    if isinstance(value, str):
        try:
            float(value)
            hint = "take the quotes away; a reader of YAML 1.1 also takes 1e-5 for text and wants 1.0e-5"
        except ValueError:
            hint = ""
    return Problem((key,), f"must be {wanted}, got {found(value)}", hint)


def range_problems(low: float, high: float, log: Any, smallest_log: float) -> Iterable[Problem]:
    if low > high:
        yield Problem(("min",), f"{low!r} is above `max`, {high!r}", "swap them")
    too_low = low <= 0.0 if smallest_log == 0.0 else low < smallest_log
    if log is True and too_low:
        allowed = "above 0" if smallest_log == 0.0 else "1 or more"
        hint = "raise it, or use a linear scale: leave `log` out"
        if low == 0.0 and smallest_log == 0.0 and high > 0.0:
            small = f"{high / 1e4:.0e}".replace("e-0", "e-")
            hint = f"use a linear scale, without `log`; or raise it, and keep 0 by `zero`: min: {small}, zero: 0.2"
        yield Problem(("min",), f"must be {allowed} with `log: true`, got {low!r}", hint)


def zero_problems(zero: Any, low: float, high: float, log: Any) -> Iterable[Problem]:
    if zero is None:
        return
    if isinstance(zero, bool) or not isinstance(zero, int | float) or not 0.0 < zero <= 0.9:
        hint = "how often it is to be exactly 0, as in `zero: 0.2`"
        yield Problem(("zero",), f"must be a probability above 0 and up to 0.9, got {found(zero)}", hint)
    elif log is not True:
        yield Problem(("zero",), "is for `log: true`: a linear scale reaches 0 by itself", "leave it out; min: 0")
    elif low > 0.0 and not low < high:
        yield Problem(("zero",), "needs a range beside it, and `min` is not below `max`", "widen the range")
    elif 0.0 < low < high and not low * (low / high) ** (zero / (1 - zero)) > 1e-300:
        yield Problem(("zero",), f"is too likely for so wide a range, got {found(zero)}", "lower it, or raise `min`")


def scale_problems(log: Any, step: float | None, n_points: Any, when: Any) -> Iterable[Problem]:
    if not isinstance(log, bool):
        yield Problem(("log",), f"must be true or false, got {found(log)}")
    if step is not None and step <= 0:
        yield Problem(("step",), f"must be above 0, got {step!r}")
    if step is not None and log is True:
        hint = "leave one of them out; for a geometric grid give `n_points`"
        yield Problem(("step",), "cannot go with `log: true`: steps are even on the linear scale only", hint)
    if n_points is not None:
        if isinstance(n_points, bool) or not isinstance(n_points, int) or n_points < 1:
            yield Problem(("n_points",), f"must be a whole number from 1 on, got {found(n_points)}")
        if step is not None:
            yield Problem(("n_points",), "cannot go with `step`, which already says where the points are")
    yield from condition_problems(when)


def condition_problems(when: Any) -> Iterable[Problem]:
    if when is not None and not isinstance(when, Expression):
        yield Problem(("when",), f"must be an expression, got {found(when)}", "as in `when: \"optimizer == 'muon'\"`")


def step_problems(low: float, high: float, step: float | None) -> Iterable[Problem]:
    """Steps that Optuna would lose: too many for its tolerance, or a last one that no double hits exactly.

    The latter it would move down by one, with a warning, each time it reads the journal.
    """
    if step is None:
        return
    count = (decimal(high) - decimal(low)) // decimal(step)
    top = decimal(low) + count * decimal(step)
    if count > MOST_STEPS:
        yield Problem(("step",), f"makes {int(count):,} steps, {MOST_STEPS:,} are allowed", "leave it out")
    elif decimal(float(top)) != top:
        yield Problem(("step",), f"{step!r} from {low!r} on has too many digits to be exact", "round `min` and `step`")


def choice_problems(choices: Sequence[Any]) -> Iterable[Problem]:
    if not choices:
        yield Problem(("choices",), "must hold at least one value", "as in `choices: [8, 16, 32]`")
    for index, choice in enumerate(choices):
        if choice is not None and not isinstance(choice, bool | int | float | str):
            hint = "name each one, and let the trainer look the name up" if isinstance(choice, list | dict) else ""
            message = f"must be a number, text, true, false or null, got {found(choice)}"
            yield Problem(("choices", index), message, hint)
        elif isinstance(choice, float) and not math.isfinite(choice):
            yield Problem(("choices", index), f"must be finite, got {choice!r}")
        elif choice in choices[:index]:
            first = choices[list(choices).index(choice)]
            if same(first, choice):
                yield Problem(("choices", index), f"{found(choice)} is there twice")
            else:
                hint = "write one of them as text"
                yield Problem(("choices", index), f"Optuna cannot tell {found(choice)} from {found(first)}", hint)


def same(a: Any, b: Any) -> bool:
    """Equal, where true is not 1."""
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def decimal(number: float) -> Decimal:
    """The number as written: `Decimal(0.1)` would show the 0.1000…0055 that a double holds."""
    return Decimal(repr(number))
