"""A Gaussian process, Optuna's: fewest trials to a good value on a handful of parameters, and the dearest to ask.

Snoek, Larochelle and Adams 2012 (NeurIPS 25); the acquisition in logarithms, Ament et al. 2023 (arXiv 2310.20708).
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from rltune.errors import InputError, Problem
from rltune.samplers.feasible import FeasibleSampler
from rltune.space import SearchSpace


def gp(
    space: SearchSpace, seed: int, *, n_startup_trials: int = 10, deterministic_objective: bool = False
) -> FeasibleSampler:
    """A Gaussian process over a search space. Parameters with a condition are drawn at random.

    Takes several objectives and constraints on metrics: the former by expected hypervolume improvement, the latter by
    the probability that they hold.

    Args:
        space: What may vary and what must hold.
        seed: The study's.
        n_startup_trials: Random trials before the model is asked.
        deterministic_objective: Take the objective for exact. That of RL is not.

    Raises:
        InputError: PyTorch is not installed.
    """
    if find_spec("torch") is None:
        hint = "pip install 'rltune[gp]', or use `tpe`"
        raise InputError([Problem(("name",), "`gp` needs PyTorch, which is not installed", hint)])

    def make(seed: int) -> GPSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of `deterministic_objective`
            return _Gp(
                n_startup_trials=n_startup_trials,
                deterministic_objective=deterministic_objective,
                warn_independent_sampling=False,
                seed=seed,
            )

    return FeasibleSampler(space, seed, make, redraws=0)  # another search would climb to the same maximum


class _Gp(GPSampler):
    """Optuna's, silent about a constraint that is missed by infinity, as where its metric was never measured.

    It takes the largest finite violation in its place, which is what we want, and would say so at every trial.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Clip non-finite values", category=UserWarning)
            return super().sample_relative(study, trial, search_space)
