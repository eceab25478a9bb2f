"""Suite `prior`: how much a good prior saves, and what a misleading one costs.

A prior is normal in the unit cube, independent by parameter. The good one has the optimum nearer to its centre than
95 % of its draws are; the misleading one has it at the edge that only 1 % of its draws are beyond. An arm is
told the centre as the space's defaults, which every arm also runs first, and the widths where its factory names
`prior`. Choices are not part of the prior: their default is the best one in the good prior, and another in the
misleading one. Only problems of our own take part whose optimum is known and whose parameters are always active.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import chi

from benchmarks.search import values
from benchmarks.search.arms import Arm, Prior
from benchmarks.search.problems import Problem
from rltune.space import Categorical

PROTOCOL = 1
"""Goes up with every change of this file that changes figures."""

SD = 0.2
"""Standard deviation of the prior of a parameter, in the unit interval."""

DISTANCES: Mapping[str, float] = {"none": 0.0, "good": 0.05, "misleading": 0.99}
"""By kind of prior: the share of its draws that lie nearer to its centre than the optimum does."""


def takes_part(problem: Problem) -> bool:
    """Whether there can be such priors for this problem."""
    return problem.optimum is not None and not problem.space.conditional


def run(problem: Problem, arm: Arm, seed: int, n: int, kind: str) -> dict[str, Any]:
    """As `values.run`, with a prior of that kind."""
    if kind == "none":
        return values.run(problem, arm, seed, n)
    centre = misplaced(problem, DISTANCES[kind], np.random.default_rng([seed, 1]))
    space = problem.space.with_defaults(centre)
    prior: Prior = {
        name: (space.parameters[name].to_unit(value), SD)
        for name, value in centre.items()
        if not isinstance(space.parameters[name], Categorical)
    }
    return values.run(replace(problem, space=space), arm, seed, n, prior=prior, first=centre)


def misplaced(problem: Problem, share: float, rng: np.random.Generator) -> dict[str, Any]:
    """The centre of a prior of which `share` of the draws lie nearer to the centre than the optimum does.

    The distance is shared out evenly; each parameter moves to a random side, or the other where the range ends.
    """
    assert problem.optimum is not None
    known = problem.space.parameters
    numbers = [name for name in problem.optimum if not isinstance(known[name], Categorical)]
    step = SD * chi.ppf(share, len(numbers)) / math.sqrt(len(numbers))
    centre: dict[str, Any] = {}
    for name, best in problem.optimum.items():
        parameter = known[name]
        if isinstance(parameter, Categorical):
            centre[name] = best if share < 0.5 else next(each for each in parameter.choices if each != best)
            continue
        at, side = parameter.to_unit(best), rng.choice([-1.0, 1.0])
        side = side if 0 <= at + side * step <= 1 else -side
        centre[name] = parameter.from_unit(min(max(at + side * step, 0.0), 1.0))
    return centre
