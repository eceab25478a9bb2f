"""How data is split for cross-validation: scikit-learn's splitters over whatever the user calls their data.

Data may be given as

- a whole number: that many samples;
- X alone: anything with a length, such as an array, a list, a data frame, a tensor or a dataset of PyTorch;
- a tuple `(X, y)` or `(X, y, groups)`. A tuple is always read so, never as a dataset of two samples: for that, give a
  list;
- a mapping with any of the keys `n`, `X`, `y` and `groups`.

Only lengths, labels and groups are read; the samples themselves are never touched or copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from numbers import Integral
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from rltune.errors import InputError, Problem
from rltune.wording import did_you_mean, found, listed

SplitKind: TypeAlias = Literal["kfold", "stratified", "grouped", "stratified_grouped", "time_series"]
"""Which samples may be validated together.

`kfold` takes them at random. `stratified` gives every fold each class of y in proportion. `grouped` keeps the samples
of a group together, and gives every fold as many groups; `stratified_grouped` does both as far as whole groups allow.
`time_series` takes samples in their order: each fold is validated on what comes after the samples it trains on.
"""

_BY_CLASS: tuple[SplitKind, ...] = ("stratified", "stratified_grouped")
_BY_GROUP: tuple[SplitKind, ...] = ("grouped", "stratified_grouped")
_ALLOWED = "allowed: a number of samples, X, (X, y), (X, y, groups), or a mapping with n, X, y or groups"
_SEEDS = 2**32


@dataclass(frozen=True)
class Splits:
    """How samples are divided into folds, once or several times.

    The validation parts of one repeat hold every sample exactly once; those of `time_series` leave out the first
    samples, which nothing comes before.

    Attributes:
        kind: Which samples may be validated together.
        n_folds: Into how many parts.
        repeats: How many times, each with another shuffle.
        seed: Of the shuffle; repeat r uses `seed + r`. The same data and seed give the same folds.

    Raises:
        InputError: A value that is not allowed: every one.
    """

    kind: SplitKind = "kfold"
    n_folds: int = 5
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            *_below("n_folds", self.n_folds, 2),
            *_below("repeats", self.repeats, 1),
            *_below("seed", self.seed, 0),
        ]
        if self.kind not in get_args(SplitKind):
            kinds = get_args(SplitKind)
            message = f"must be one of {listed(kinds)}, got {found(self.kind)}"
            problems.append(Problem(("kind",), message, did_you_mean(str(self.kind), kinds)))
        if not problems and self.seed + self.repeats > _SEEDS:
            problems.append(Problem(("seed",), f"must be below {_SEEDS - self.repeats + 1}, got {self.seed}"))
        if not problems and self.kind == "time_series" and self.repeats > 1:
            message = f"must be 1 for time_series, whose samples are never shuffled, got {self.repeats}"
            problems.append(Problem(("repeats",), message))
        _raise_any(problems)

    def indices(self, data: Any, fold: int, repeat: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The samples to train on and those to validate on, as positions counted from 0, in rising order.

        Args:
            data: In one of the forms above.
            fold: From 0 to `n_folds` - 1.
            repeat: From 0 to `repeats` - 1.

        Raises:
            InputError: The data does not fit the kind of split, or there is no such fold or repeat; the message says
                what was found and what is allowed.
        """
        _raise_any([*_outside("fold", fold, self.n_folds), *_outside("repeat", repeat, self.repeats)])
        samples = _read(data, by_class=self.kind in _BY_CLASS, by_group=self.kind in _BY_GROUP)
        _raise_any(self._misfits(samples))
        parts = self._splitter(repeat).split(np.zeros(samples.n), samples.y, samples.groups)
        train, validation = next(islice(parts, fold, None))
        return np.asarray(train, dtype=np.intp), np.asarray(validation, dtype=np.intp)

    def _misfits(self, samples: _Samples) -> Iterator[Problem]:
        """What this kind of split needs of the data and does not find."""
        fewer = "use fewer folds, or more data"
        needed = self.n_folds + 1 if self.kind == "time_series" else self.n_folds
        if samples.n < needed:
            message = f"has {_count(samples.n, 'sample')}; {self.n_folds} folds need at least {needed}"
            yield Problem(("data",), message, fewer)
            return
        if self.kind in _BY_CLASS:
            if samples.y is None:
                yield Problem(("data",), f"has no y, and {self.kind} splits by its classes", "give (X, y)")
            elif (rarest := int(np.bincount(samples.y).min())) < self.n_folds:
                message = f"has a class of {_count(rarest, 'sample')}; {self.n_folds} folds need {self.n_folds} of each"
                continuous = int(samples.y.max()) + 1 > samples.n // 2
                binned = "each distinct value counts as a class: put a continuous y into bins"
                yield Problem(("data", "y"), message, binned if continuous else f"{fewer}, or kind kfold")
        if self.kind in _BY_GROUP:
            if samples.groups is None:
                yield Problem(("data",), f"has no groups, and {self.kind} splits by them", "give (X, y, groups)")
            elif (groups := int(samples.groups.max()) + 1) < self.n_folds:
                message = f"has {_count(groups, 'group')}; {self.n_folds} folds need at least {self.n_folds}"
                yield Problem(("data", "groups"), message, fewer)

    def _splitter(self, repeat: int) -> Any:
        from sklearn import model_selection

        if self.kind == "time_series":
            return model_selection.TimeSeriesSplit(self.n_folds)
        splitters = {
            "kfold": model_selection.KFold,
            "stratified": model_selection.StratifiedKFold,
            "grouped": model_selection.GroupKFold,
            "stratified_grouped": model_selection.StratifiedGroupKFold,
        }
        return splitters[self.kind](self.n_folds, shuffle=True, random_state=self.seed + repeat)


class _Samples(NamedTuple):
    """What a splitter needs to know about the data.

    Attributes:
        n: How many samples.
        y, groups: For each sample, the rank of its label or group among the distinct ones, shape (n,); None where
            there are none, or where they do not matter.
    """

    n: int
    y: NDArray[np.intp] | None = None
    groups: NDArray[np.intp] | None = None


def _read(data: Any, *, by_class: bool, by_group: bool) -> _Samples:
    """Lengths are compared in any case; labels are looked at where they matter, so that others may be of any kind."""
    parts = _parts(data)
    lengths = {name: _length(parts[name], name) for name in parts}
    first, n = next(iter(lengths.items()))
    _raise_any(
        Problem(("data", name), f"has {_count(length, 'entry')}, but {first} has {n}", "give one for each sample")
        for name, length in lengths.items()
        if length != n
    )
    y = _codes(parts["y"], "y") if by_class and "y" in parts else None
    groups = _codes(parts["groups"], "groups") if by_group and "groups" in parts else None
    return _Samples(n, y, groups)


def _parts(data: Any) -> dict[str, Any]:
    """The data under the names n, X, y and groups, in this order; only what is there."""
    names = ("n", "X", "y", "groups")
    if isinstance(data, Mapping):
        unknown = [key for key in data if key not in names]
        _raise_any(Problem(("data", str(key)), f"unknown key; allowed: {listed(names)}") for key in unknown)
        parts = dict(data)
    elif isinstance(data, tuple):
        if len(data) not in (2, 3):
            message = f"a tuple must be (X, y) or (X, y, groups), got {_count(len(data), 'entry')}"
            raise InputError([Problem(("data",), message, "give a list where each entry is a sample")])
        parts = dict(zip(names[1:], data, strict=False))
    else:
        parts = {"X": data}
    there = {name: parts[name] for name in names if parts.get(name) is not None}
    if not there:
        raise InputError([Problem(("data",), f"holds nothing, got {found(data)}", _ALLOWED)])
    return there


def _length(part: Any, name: str) -> int:
    """How many samples a part tells of. A shape goes first, since a sparse matrix has no length."""
    if name in ("n", "X") and _is_whole(part):
        return int(part)
    if name == "n":
        raise InputError([Problem(("data", "n"), f"must be a whole number of samples, got {found(part)}")])
    shape = getattr(part, "shape", None)
    if isinstance(shape, tuple) and shape and _is_whole(shape[0]):
        return int(shape[0])
    if not isinstance(part, str | bytes):
        with suppress(TypeError):
            return len(part)
    raise InputError([Problem(("data", name), f"must have a length, got {found(part)}", _ALLOWED)])


def _codes(values: Any, name: str) -> NDArray[np.intp]:
    """Labels of any kind as their ranks among the distinct ones, so that splitters need not know the kind."""
    place = ("data", name)
    try:
        labels = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError([Problem(place, f"must hold one label for each sample: {error}")]) from error
    if labels.ndim == 2 and labels.shape[1] == 1:  # a column of a data frame
        labels = labels[:, 0]
    if labels.ndim != 1:
        shape = " x ".join(str(size) for size in labels.shape)
        message = f"must hold one label for each sample, got an array of shape {shape}"
        raise InputError([Problem(place, message, "give class numbers, not a column for each class")])
    missing = [n for n, label in enumerate(labels.tolist()) if _is_missing(label)]
    if missing:
        message = f"has no label for {_count(len(missing), 'sample')}, the first at position {missing[0]}"
        raise InputError([Problem(place, message, "leave them out, or give them a label of their own")])
    try:
        _, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise InputError([Problem(place, f"must hold labels of one kind: {error}")]) from error
    return codes.astype(np.intp)


def _is_missing(label: object) -> bool:
    return label is None or (isinstance(label, float) and math.isnan(label))


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _raise_any(problems: Iterable[Problem]) -> None:
    if every := list(problems):
        raise InputError(every)


def _below(name: str, value: int, lowest: int) -> list[Problem]:
    if _is_whole(value) and value >= lowest:
        return []
    return [Problem((name,), f"must be a whole number from {lowest} on, got {found(value)}")]


def _outside(name: str, value: int, end: int) -> list[Problem]:
    if _is_whole(value) and 0 <= value < end:
        return []
    allowed = "0" if end == 1 else f"a whole number from 0 to {end - 1}"
    return [Problem((name,), f"must be {allowed}, got {found(value)}")]


def _count(n: int, noun: str) -> str:
    plural = {"entry": "entries"}.get(noun, f"{noun}s")
    return f"{n} {noun if n == 1 else plural}"
