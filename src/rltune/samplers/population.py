"""Population-based training, the sampler's side: configurations to begin with, and perturbed ones of good members.

Jaderberg et al. 2017, arXiv:1711.09846, section 3: `explore`. Which member is replaced, and which one its successor
starts from, is `rltune.protocol.population`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.random import Generator
from optuna.study import Study
from optuna.trial import FrozenTrial

from rltune.errors import InputError, Problem
from rltune.records import from_trial
from rltune.samplers.base import SpaceSampler
from rltune.space import Categorical, Parameter, SearchSpace
from rltune.wording import found


class PopulationSampler(SpaceSampler):
    """Draws from the prior for a trial that starts from no other, and perturbs the parent's configuration else.

    Args:
        size: How many lineages train, from 4 on.
        interval: Steps between two comparisons; None for a tenth of the horizon.
        warmup: The step of the first comparison; None for the end of the first interval.
        quantile: The share of the population that makes way at each comparison, and the share that it takes over from.
        perturb: Factors, one of which a number is multiplied by. A choice becomes one of its neighbours.
        resample: How often a parameter is drawn anew instead.

    Raises:
        InputError: A value is refused, or there are several objectives.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        *,
        n_objectives: int = 1,
        size: int = 8,
        interval: int | None = None,
        warmup: int | None = None,
        quantile: float = 0.25,
        perturb: Sequence[float] = (0.8, 1.25),
        resample: float = 0.25,
    ) -> None:
        super().__init__(space, seed)
        problems = []
        if n_objectives != 1:
            message = f"`population` compares members by one objective, and this study has {n_objectives}"
            problems.append(Problem((), message, "remove secondary_metrics, or use nsga2"))
        if size < 4:
            problems.append(Problem(("size",), f"must be at least 4, got {size}"))
        for name, steps in (("interval", interval), ("warmup", warmup)):
            if steps is not None and steps < 1:
                problems.append(Problem((name,), f"must be at least 1, got {steps}"))
        if not 0 < quantile <= 0.5:
            problems.append(Problem(("quantile",), f"must be above 0 and at most 0.5, got {quantile}"))
        elif size >= 4 and int(size * quantile) < 1:
            problems.append(Problem(("quantile",), f"{quantile} of {size} is no member", f"give at least {1 / size:g}"))
        if not _is_factors(perturb):
            message = f"must be a list of factors above 0 other than 1, got {found(perturb)}"
            problems.append(Problem(("perturb",), message, "as in [0.8, 1.25]"))
        if not 0 <= resample <= 1:
            problems.append(Problem(("resample",), f"must be from 0 to 1, got {resample}"))
        if problems:
            raise InputError(problems)
        self.size, self.interval, self.warmup, self.quantile = size, interval, warmup, quantile
        self.perturb, self.resample = tuple(float(factor) for factor in perturb), resample

    def propose(self, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        rng, origin = self.generator(study, trial), from_trial(trial).origin
        if origin is None or origin.parent is None:
            return self.space.sample(rng, keep)
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        parent = from_trial(trials[origin.parent]).params

        def choose(name: str) -> Any:
            parameter = self.space.parameters[name]
            if name in keep:
                return keep[name]
            if name not in parent or rng.random() < self.resample:  # no value: its condition did not hold there
                return parameter.from_unit(rng.random())
            return perturbed(parameter, parent[name], self.perturb, rng)

        values = self.space.fill(choose)
        return values if self.space.is_feasible(values) else self.space.nearest(values, rng, keep) or values


def perturbed(parameter: Parameter, value: Any, factors: Sequence[float], rng: Generator) -> Any:
    """A value near another one, in the parameter's range.

    A number is multiplied by one of the factors, and moves by one step at least where its range has steps; 0, which no
    factor changes, is drawn anew. A choice becomes the one before or after it; one at an end may stay.
    """
    factor = factors[int(rng.integers(len(factors)))]
    up = factor > 1
    if isinstance(parameter, Categorical):
        index = int(parameter.to_unit(value) * parameter.n_values) + (1 if up else -1)
        return parameter.value_at(min(max(index, 0), parameter.n_values - 1))
    if value == 0:
        return parameter.from_unit(rng.random())
    wanted = min(max(value * factor, parameter.low), parameter.high)
    if parameter.n_values is None or parameter.n_values == 1:
        return wanted if parameter.n_values is None else parameter.value_at(0)
    step = parameter.step or 1
    index, now = round((wanted - parameter.low) / step), round((value - parameter.low) / step)
    if index == now:
        index += 1 if up == (value > 0) else -1
    return parameter.value_at(min(max(index, 0), parameter.n_values - 1))


def _is_factors(given: Any) -> bool:
    def fits(factor: Any) -> bool:
        number = isinstance(factor, int | float) and not isinstance(factor, bool)
        return number and math.isfinite(factor) and factor > 0 and factor != 1

    return isinstance(given, list | tuple) and len(given) > 0 and all(map(fits, given))
