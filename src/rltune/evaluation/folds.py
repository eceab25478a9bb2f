"""Cross-validation: one configuration trained once a fold, and worth the mean over the folds."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple


class Part(NamedTuple):
    """One fold of one way to split the data."""

    fold: int
    repeat: int


class FoldEnd(NamedTuple):
    """A fold of a trial has ended well.

    Attributes:
        fold: Which, counted over all repeats.
        metrics: Its own.
        means: Over all folds of the trial that have ended so far.
        n: How many those are.
    """

    fold: int
    metrics: Mapping[str, float]
    means: Mapping[str, float]
    n: int


@dataclass(frozen=True)
class Folding:
    """How a trial is spread over folds, which are counted over all repeats: 0 to `n` - 1.

    Attributes:
        n_folds: Parts that the data is split into.
        repeats: So many times, each time in another way.
        at_once: How many folds of one trial may run side by side.
        race: Whether a configuration that is clearly worse than the best is spared the rest of its folds.
        split: How the data is split, in words that are equal for equal folds.
        one_order: The seed of an order that all trials share; None for an order of each trial's own. A pruner that
            compares trials fold by fold must not take a hard fold for a bad configuration.
    """

    n_folds: int
    repeats: int = 1
    at_once: int = 1
    race: bool = True
    split: str = ""
    one_order: int | None = None

    @property
    def n(self) -> int:
        return self.n_folds * self.repeats

    def part(self, index: int) -> Part:
        repeat, fold = divmod(index, self.n_folds)
        return Part(fold, repeat)

    def name(self, index: int) -> str:
        """For a person: `fold 2 of 5`, or `fold 2 of 5, repeat 1`; both are counted from 0, as a trainer gets them."""
        part = self.part(index)
        return f"fold {part.fold} of {self.n_folds}" + (f", repeat {part.repeat}" if self.repeats > 1 else "")

    def order(self, seed: int) -> list[int]:
        """All folds in a random order, so that no fold is the one that decides who is stopped early.

        Args:
            seed: The trial's.
        """
        return random.Random(seed if self.one_order is None else self.one_order).sample(range(self.n), self.n)


def means(folds: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric that all these folds have."""
    rows = _rows(folds)
    common = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
    return {name: _mean([row[name] for row in rows]) for name in common}


def deviations(folds: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """`loss/fold_sd` and the like: the standard deviation over folds, with n - 1; NaN for a single fold."""
    return {f"{name}/fold_sd": _sd([row[name] for row in _rows(folds)]) for name in means(folds)}


def labelled(index: int, metrics: Mapping[str, float]) -> dict[str, float]:
    """One fold's metrics among a trial's: `fold_2/loss`."""
    return {_label(index, name): value for name, value in metrics.items()}


def fold_values(metrics: Mapping[str, float], metric: str, n: int) -> dict[int, float]:
    """One metric by fold, from a trial's metrics; folds that did not run are left out."""
    return {i: metrics[_label(i, metric)] for i in range(n) if _label(i, metric) in metrics}


def _rows(folds: Mapping[int, Mapping[str, float]]) -> list[Mapping[str, float]]:
    """In the order of the folds and not of their ends, so that the same folds give the same mean to the last bit."""
    return [folds[index] for index in sorted(folds)]


def _label(index: int, name: str) -> str:
    return f"fold_{index}/{name}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _sd(values: list[float]) -> float:
    if len(values) < 2:
        return float("nan")
    mean = _mean(values)
    return sqrt(sum((value - mean) * (value - mean) for value in values) / (len(values) - 1))
