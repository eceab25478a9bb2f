"""The tree-structured Parzen estimator, Optuna's.

Bergstra et al. 2011 (NeurIPS 24); several parameters together after Falkner et al. 2018 (BOHB, ICML); what each part
is worth, Watanabe 2023 (arXiv 2304.11127).
"""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler

from rltune.samplers.feasible import FeasibleSampler
from rltune.space import SearchSpace


def tpe(
    space: SearchSpace,
    seed: int,
    n_objectives: int,
    *,
    n_startup_trials: int = 10,
    n_ei_candidates: int = 24,
    multivariate: bool | None = None,
    group: bool | None = None,
    constant_liar: bool = True,
) -> FeasibleSampler:
    """TPE over a search space.

    Args:
        space: What may vary and what must hold.
        seed: The study's.
        n_objectives: With several, Optuna recommends one density per parameter.
        n_startup_trials: Random trials before the model is asked.
        n_ei_candidates: Draws of which the most promising is taken.
        multivariate: One density over all parameters, so that interactions count; by default with one objective.
        group: One such density for each set of parameters that are active together; by default where the space has
            conditions. Without it, Optuna would model what is not always active parameter by parameter.
        constant_liar: Count running trials as bad, so that parallel suggestions differ.

    Raises:
        ValueError: `group` without `multivariate`.
    """
    together = n_objectives == 1 if multivariate is None else multivariate
    grouped = together and bool(space.conditional) if group is None else group

    def make(seed: int) -> TPESampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of `group`
            return TPESampler(
                n_startup_trials=n_startup_trials,
                n_ei_candidates=n_ei_candidates,
                multivariate=together,
                group=grouped,
                constant_liar=constant_liar,
                seed=seed,
            )

    make(0)  # refuses here what it would refuse at the first trial
    return FeasibleSampler(space, seed, make)
