"""CMA-ES, Optuna's on the `cmaes` package: many cheap trials on numbers that interact.

Hansen and Ostermeier 2001 (Evolutionary Computation 9); the tutorial, arXiv 1604.00772.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import copy
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import CmaEsSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import InputError, Problem
from rltune.records import ordinal
from rltune.samplers.feasible import FeasibleSampler
from rltune.space import Categorical, SearchSpace
from rltune.wording import listed


def cmaes(
    space: SearchSpace,
    seed: int,
    n_objectives: int,
    *,
    n_startup_trials: int = 1,
    popsize: int | None = None,
    use_separable_cma: bool = False,
    lr_adapt: bool = False,
    consider_pruned_trials: bool = False,
) -> FeasibleSampler:
    """CMA-ES over the numbers of a search space; choices and parameters with a condition are drawn at random.

    Optuna's `with_margin` is not offered: it proposes integers off their steps.

    Args:
        space: What may vary and what must hold.
        seed: The study's.
        n_objectives: One.
        n_startup_trials: Random trials before the first generation.
        popsize: Trials in a generation, from 4 on; None leaves it to CMA-ES: 4 + 3 ln(number of dimensions).
        use_separable_cma: A diagonal covariance: for more than about 50 dimensions.
        lr_adapt: Adapt the learning rate, for noisy or rugged objectives (Nomura et al. 2023).
        consider_pruned_trials: Learn from the last value of a trial that was stopped early.

    Raises:
        InputError: Several objectives, or no number that is always active.
        ValueError: A `popsize` below 4, or options that Optuna refuses together.
    """
    if n_objectives > 1:
        hint = "use `tpe` or `nsga2`, or make one of them a constraint"
        raise InputError([Problem(("name",), f"`cmaes` takes one objective, not {n_objectives}", hint)])
    if popsize is not None and popsize < 4:  # with one parent there is no covariance to learn
        raise ValueError(f"`popsize` is 4 or more, got {popsize}")
    numbers = [
        name
        for name, parameter in space.parameters.items()
        if not isinstance(parameter, Categorical) and parameter.when is None and parameter.n_values != 1
    ]
    if not numbers:
        message = f"`cmaes` needs a number that always varies, and the space has {listed(space.parameters)}"
        raise InputError([Problem(("name",), message, "use `tpe`")])

    def make(seed: int) -> CmaEsSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return _CmaEs(
                numbers,
                n_startup_trials=n_startup_trials,
                popsize=popsize,
                use_separable_cma=use_separable_cma and len(numbers) > 1,
                lr_adapt=lr_adapt,
                consider_pruned_trials=consider_pruned_trials,
                warn_independent_sampling=False,
                seed=seed,
            )

    make(0)  # refuses here what it would refuse at the first trial
    return FeasibleSampler(space, seed, make)


class _CmaEs(CmaEsSampler):
    """Optuna's, on the same dimensions all the time, and seeded by the trial's ordinal instead of its number.

    Left alone, it also takes a conditional parameter as long as this happens to have been active in every trial. The
    first trial without it changes the dimension, and from then on every draw is random, since the state of the old
    dimension is restored each time.
    """

    def __init__(self, numbers: Sequence[str], **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._numbers = frozenset(numbers)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        inferred = super().infer_relative_search_space(study, trial)
        return {name: distribution for name, distribution in inferred.items() if name in self._numbers}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        counted = copy(trial)
        counted.number = ordinal(study, trial)  # goes into the seed and nowhere else
        return super().sample_relative(study, counted, search_space)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Nothing, where Optuna's warns after every trial that it does not look at constraints on metrics."""
