"""Studies whose truth is known.

Everything is in points of a metric that should be high. Arm 0 is the default; the others are what random search
proposes, in the order in which it does.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Shape: TypeAlias = tuple[int, ...]

SD = 2.5
"""Of the noise, as of validation on 256 prompts with one answer each."""

POOLS = 3
SEEDS = 16
"""Of each pool: more than any study uses."""


@dataclass(frozen=True)
class Studies:
    """Attributes:
    truth: What each arm is worth on average, shape (n_studies, n_arms).
    runs: What its runs measure, by pool (search, select, claim) and seed, shape (n_studies, n_arms, POOLS, SEEDS).
    """

    truth: Array
    runs: Array


Truth: TypeAlias = Callable[[np.random.Generator, int, int], Array]
Noise: TypeAlias = Callable[[np.random.Generator, Shape], Array]


def studies(truth: Truth, noise: Noise, n: int, n_arms: int, seed: int) -> Studies:
    generator = np.random.default_rng(seed)
    worth = truth(generator, n, n_arms)
    return Studies(worth, worth[:, :, None, None] + noise(generator, (n, n_arms, POOLS, SEEDS)))


# --- what configurations are worth -----------------------------------------------------------------------------------


def population(generator: np.random.Generator, n: int, n_arms: int, *, default: float, sd: float = 3.1) -> Array:
    """A normal population; the default lies so many of its sd above the mean.

    With sd 3.1 the best of 30 single runs overstates its gain by about 3.2 points.
    """
    truth = generator.normal(0.0, sd, (n, n_arms))
    truth[:, 0] = default * sd
    return truth


def bowl(generator: np.random.Generator, n: int, n_arms: int, *, default: float, d: int = 5) -> Array:
    """A quadratic bowl in d parameters, another in every study; the default is better than that share of the space."""
    points = generator.random((n, 400 + n_arms, d))
    best = generator.uniform(0.1, 0.9, (n, 1, d))
    weights = generator.dirichlet(np.ones(d), n)[:, None, :]
    worth = -60.0 * ((points - best) ** 2 * weights).sum(axis=2)
    truth: Array = worth[:, 400:].copy()
    truth[:, 0] = np.quantile(worth[:, :400], default, axis=1)
    return truth


def null(generator: np.random.Generator, n: int, n_arms: int) -> Array:  # noqa: ARG001
    """No configuration differs from any other."""
    return np.zeros((n, n_arms))


TRUTHS: Mapping[str, Truth] = {
    "ordinary": partial(population, default=0.5),
    "near-optimal": partial(population, default=1.5),
    "bowl, ordinary": partial(bowl, default=0.72),
    "bowl, near-optimal": partial(bowl, default=0.93),
    "null": null,
}

# --- how runs differ from it -----------------------------------------------------------------------------------------


def gaussian(generator: np.random.Generator, shape: Shape) -> Array:
    return generator.normal(0.0, SD, shape)


def heavy(generator: np.random.Generator, shape: Shape) -> Array:
    """Student's t with 3 degrees of freedom, of the same sd."""
    return SD / math.sqrt(3.0) * generator.standard_t(3, shape)


def collapsing(generator: np.random.Generator, shape: Shape) -> Array:
    """One run in twenty loses 10 points; its mean is 0 all the same."""
    return generator.normal(0.0, SD, shape) - 10.0 * (generator.random(shape) < 0.05) + 0.5


def uneven(generator: np.random.Generator, shape: Shape) -> Array:
    """Every configuration has an sd of its own, two thirds of them within a factor of 1.5 of the middle one."""
    return generator.normal(0.0, SD, shape) * np.exp(generator.normal(0.0, 0.4, (*shape[:2], 1, 1)))


def common(generator: np.random.Generator, shape: Shape) -> Array:
    """Half of the variance comes from the seed, and falls on all configurations alike that run on it.

    In the search no two configurations have a seed in common.
    """
    own, shared = generator.normal(0.0, SD, shape), generator.normal(0.0, SD, (shape[0], 1, *shape[2:]))
    noise = math.sqrt(0.5) * (own + shared)
    noise[:, :, 0] = generator.normal(0.0, SD, noise[:, :, 0].shape)
    return noise


NOISES: Mapping[str, Noise] = {
    "gaussian": gaussian,
    "heavy tails (t3)": heavy,
    "collapsing": collapsing,
    "uneven": uneven,
    "common seeds": common,
}

# --- real runs -------------------------------------------------------------------------------------------------------


def tabulated(path: Path, default: str, n: int, n_arms: int, seed: int) -> Studies:
    """Configurations that were really run, with several seeds each.

    A configuration is worth the mean of its runs; a new run of it is the mean plus one of its own residuals, widened
    for their number, and a quarter of a point so that no two are equal. Configurations are drawn without replacement.

    Args:
        path: JSON lines with `i` (the configuration), `final` (a share; a point is a hundredth); configuration 0 is the
            default.
        default: "ordinary" for configuration 0, "near-optimal" for the one that is better than 93 % of all.
        n: Studies.
        n_arms: Of each; at most as many as there are configurations.
        seed: Of the draws.
    """
    finals: dict[int, list[float]] = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        finals[row["i"]].append(100.0 * row["final"])
    most = max(map(len, finals.values()))
    table = np.array([values for _, values in sorted(finals.items()) if len(values) == most])
    worth = table.mean(axis=1)
    residuals = (table - worth[:, None]) * math.sqrt(most / (most - 1))
    first = 0 if default == "ordinary" else int(np.argsort(worth)[round(0.93 * (len(worth) - 1))])
    others = np.delete(np.arange(len(worth)), first)
    generator = np.random.default_rng(seed)
    drawn = generator.permuted(np.tile(others, (n, 1)), axis=1)[:, : n_arms - 1]
    arms = np.concatenate([np.full((n, 1), first), drawn], axis=1)
    which = generator.integers(most, size=(n, arms.shape[1], POOLS, SEEDS))
    noise = residuals[arms[:, :, None, None], which] + generator.normal(0.0, 0.25, which.shape)
    return Studies(worth[arms], worth[arms][:, :, None, None] + noise)
