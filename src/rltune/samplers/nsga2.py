"""NSGA-II, Optuna's: a genetic algorithm for several objectives (Deb et al. 2002, IEEE TEC 6)."""

from __future__ import annotations

from optuna.samplers import NSGAIISampler

from rltune.samplers.feasible import FeasibleSampler
from rltune.space import SearchSpace


def nsga2(
    space: SearchSpace,
    seed: int,
    *,
    population_size: int = 20,
    mutation_prob: float | None = None,
    crossover_prob: float = 0.9,
    swapping_prob: float = 0.5,
) -> FeasibleSampler:
    """NSGA-II over a search space.

    Args:
        space: What may vary and what must hold.
        seed: The study's.
        population_size: Trials in a generation; the first one is random. Optuna's own 50 would leave a study of 40
            trials all random.
        mutation_prob: How often a parameter is drawn anew; None is one per child.
        crossover_prob: How often a child has two parents.
        swapping_prob: How often a parameter comes from the second parent.

    Raises:
        ValueError: A value that Optuna refuses.
    """

    def make(seed: int) -> NSGAIISampler:
        return NSGAIISampler(
            population_size=population_size,
            mutation_prob=mutation_prob,
            crossover_prob=crossover_prob,
            swapping_prob=swapping_prob,
            seed=seed,
        )

    make(0)  # refuses here what it would refuse at the first trial
    return FeasibleSampler(space, seed, make)
