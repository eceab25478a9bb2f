"""The parameters of a W&B sweep.

What each distribution means is that of W&B's own sampler: exponents of `log_uniform` are natural ones, `q_` rounds to
multiples of `q`, a range without a distribution is whole where both its ends are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from rltune.errors import Key
from rltune.importing.draft import Ranged, read_as
from rltune.importing.notes import Notes
from rltune.space import Categorical, Parameter
from rltune.wording import did_you_mean, found

_ENDLESS = ("normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta")
_RANGES = (
    "uniform", "int_uniform", "q_uniform", "log_uniform", "log_uniform_values", "inv_log_uniform",
    "inv_log_uniform_values", "q_log_uniform", "q_log_uniform_values",
)  # fmt: skip
_EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")
_DISTRIBUTIONS = ("constant", "categorical", "categorical_w_probabilities", *_RANGES, *_ENDLESS)
_USED = {"value", "values", "probabilities", "min", "max", "q", "distribution", "parameters"}
_RAW = "_unrounded"
_NO_TEXT = ("yes", "no", "on", "off")  # to YAML 1.1


@dataclass
class Space:
    """What the parameters have become so far, in the order of the sweep.

    Attributes:
        notes: What is wrong, and what has no counterpart.
        ranged: Those of the search space.
        read: The same as parameters.
        derived: Expressions of what is rounded.
        env: Variables, by which what these read reaches the command.
        passed: What the program is told: every name, with its value where that is the same in every trial.
    """

    notes: Notes
    ranged: dict[str, Ranged] = field(default_factory=dict)
    read: dict[str, Parameter] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    passed: dict[str, Any] = field(default_factory=dict)


VARIES = object()
"""In `Space.passed`: the parameter has another value in every trial."""


class _Named(NamedTuple):
    """A parameter, and where it stands."""

    name: str
    place: Key


def read_parameters(parameters: Mapping[Any, Any], key: Key, space: Space, prefix: str = "") -> None:
    """Puts each into the space.

    Args:
        parameters: Of the sweep, or those nested in one of them.
        key: Where they stand.
        space: Grows.
        prefix: Of their names.
    """
    notes = space.notes
    for name, given in parameters.items():
        place, full = (*key, str(name)), f"{prefix}{name}"
        if not isinstance(given, Mapping):
            notes.refuse(place, f"must be a mapping, got {found(given)}", f"as in {name}: {{values: [8, 16]}}")
            continue
        for other in given:
            if other not in _USED:
                notes.remark((*place, str(other)), "not taken over")
        if isinstance(given.get("parameters"), Mapping):
            notes.remark(
                place, "nested: W&B passes all of it in one word as a dict; here each part is a word of its own"
            )
            read_parameters(given["parameters"], (*place, "parameters"), space, f"{full}.")
        else:
            _read_one(given, _Named(full, place), space)


def _read_one(given: Mapping[Any, Any], named: _Named, space: Space) -> None:
    (name, place), notes = named, space.notes
    kind = _kind(given)
    if kind is None or kind not in _DISTRIBUTIONS:
        if kind is None:
            hint = "as in {value: 1}, {values: [1, 2]}, {min: 1, max: 8} or with a `distribution`"
            notes.refuse(place, "says neither a value nor a range", hint)
        else:
            message = f"{found(kind)} is no distribution of W&B's"
            notes.refuse((*place, "distribution"), message, did_you_mean(str(kind), _DISTRIBUTIONS))
    elif kind in _ENDLESS:
        notes.refuse((*place, "distribution"), f"`{kind}` has no counterpart: {_why_not(kind)}", _instead(kind, given))
    elif kind == "constant":
        space.passed[name] = given.get("value")
    elif kind.startswith("categorical"):
        _put(_Named(name, (*place, "values")), {"type": "categorical", "choices": given.get("values")}, "", space)
        _remark_words(given.get("values"), place, notes)
        if (chances := given.get("probabilities")) is not None and len(set(chances)) > 1:
            told = "not taken over: rltune draws every choice alike at first, and then by what the trials say"
            notes.remark((*place, "probabilities"), told)
    else:
        _read_range(kind, given, named, space)


def _remark_words(values: Any, place: Key, notes: Notes) -> None:
    """Words that W&B's reader of YAML takes for something else than a study file's."""
    words = [v for v in values if isinstance(v, str) and v.lower() in _NO_TEXT] if isinstance(values, list) else []
    if words:
        told = f"{', '.join(words)}: text here; W&B's YAML takes it for true or false, unless it has quotes"
        notes.remark((*place, "values"), told)


def _kind(given: Mapping[Any, Any]) -> Any:
    """The distribution, as W&B finds it where it is not named."""
    if "distribution" in given:
        return given["distribution"]
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical"
    if "min" in given and "max" in given:
        whole = all(isinstance(given[end], int) for end in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    return "normal" if "mu" in given or "sigma" in given else None


def _why_not(kind: str) -> str:
    return "its scale is neither linear nor logarithmic" if "beta" in kind else "it has no ends"


def _instead(kind: str, given: Mapping[Any, Any]) -> str:
    """A range that holds 95 % of it."""
    mu, sigma = given.get("mu", 0), given.get("sigma", 1)
    numbers = all(isinstance(each, int | float) for each in (mu, sigma))
    if "beta" in kind or not numbers:
        return "write a range in the sweep: distribution: uniform, min: 0, max: 1"
    low, high = mu - 2 * sigma, mu + 2 * sigma
    if "log" in kind:
        return f"write distribution: log_uniform_values, min: {math.exp(low):.3g}, max: {math.exp(high):.3g}"
    return f"write distribution: uniform, min: {low:g}, max: {high:g}"


def _read_range(kind: str, given: Mapping[Any, Any], named: _Named, space: Space) -> None:
    place, notes = named.place, space.notes
    numbers: dict[str, Any] = {"q": 1.0, **{key: given.get(key) for key in ("min", "max", "q") if key in given}}
    wrong = [key for key in ("min", "max", "q") if not is_number(numbers.get(key))]
    for key in wrong:
        notes.refuse(
            (*place, key), f"must be a number, got {found(numbers.get(key))}" if key in numbers else "is missing"
        )
    if wrong:
        return
    low, high, q = numbers["min"], numbers["max"], numbers["q"]
    if low >= high:
        notes.refuse((*place, "min"), f"{low!r} is not below `max`, {high!r}")
        return
    if q <= 0:
        notes.refuse((*place, "q"), f"must be above 0, got {q!r}")
        return
    comment = ""
    if kind in _EXPONENTS:
        sign = -1 if kind.startswith("inv") else 1
        low, high = sorted((sign * low, sign * high))
        comment = f"e**{low:g} to e**{high:g}"
        if kind != "inv_log_uniform" and 0 < low < high < 1:
            told = f"its ends are exponents: {comment}. If values are meant, write {kind}_values in the sweep"
            notes.remark((*place, "distribution"), told)
        low, high = math.exp(low), math.exp(high)
    if kind.startswith("q_log"):
        _read_rounded_log((low, high, q), named, comment, space)
        return
    if kind == "q_uniform":
        ends = _multiple(low, q), _multiple(high, q)
        spec = {"type": "int" if isinstance(ends[0], int) else "float", "min": ends[0], "max": ends[1], "step": q}
        comment = f"rounded to multiples of {q:g}; there, the ends were less likely than the rest"
        if q == 1:
            del spec["step"]
    else:
        spec = {"type": "int" if kind == "int_uniform" else "float", "min": low, "max": high}
        spec |= {"log": True} if "log" in kind else {}
    _put(named, spec, comment, space)


def _read_rounded_log(numbers: tuple[float, float, float], named: _Named, comment: str, space: Space) -> None:
    """Steps of 1 are what a whole number on a logarithmic scale is; others are a value that follows from another."""
    (low, high, q), (name, place) = numbers, named
    first, last = _multiple(low, q), _multiple(high, q)
    if q == 1 and first >= 1:
        note = "; ".join(part for part in (comment, "rounded, as there but for the ends") if part)
        _put(named, {"type": "int", "min": first, "max": last, "log": True}, note, space)
        return
    raw = f"{name}{_RAW}"
    note = "; ".join(part for part in (comment, f"rounded to multiples of {q:g} below") if part)
    read, problems = read_as(raw, {"type": "float", "min": low, "max": high, "log": True}, place)
    space.notes.add(problems)
    if read is not None:
        space.ranged[raw] = Ranged({"type": "float", "min": low, "max": high, "log": True}, note)
        space.read[raw] = read
        space.env[re.sub(r"\W", "_", raw).upper()] = f"{{{raw}}}"
        space.derived[name] = f"round({_in_expression(raw)} / {q!r}) * {q!r}"
        space.passed[name] = VARIES


def _put(named: _Named, spec: Mapping[str, Any], comment: str, space: Space) -> None:
    name = named.name
    read, problems = read_as(name, spec, named.place)
    space.notes.add(problems)
    if read is None:
        return
    if isinstance(read, Categorical) and read.n_values == 1:
        space.passed[name] = read.choices[0]
        return
    space.ranged[name], space.read[name], space.passed[name] = Ranged(spec, comment), read, VARIES


def _multiple(value: float, q: float) -> Any:
    """`round(value / q) * q`, in decimal arithmetic: 0.3, not 0.30000000000000004; whole where all of them are."""
    step = Decimal(repr(q))
    times = (Decimal(repr(value)) / step).to_integral_value(ROUND_HALF_EVEN)
    return int(times * step) if isinstance(q, int) or q == 1 else float(times * step)


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _in_expression(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", name) else f"`{name}`"
