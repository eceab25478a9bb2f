"""Problems made of trainings that were measured for this project: the table of `benchmarks.grpo`."""

from __future__ import annotations

import functools

from numpy.random import Generator

from benchmarks.search.problems import Array, Params, Problem, references

GRPO = "grpo_digits"

NAMES = (GRPO,)


@functools.cache
def load(name: str) -> Problem:
    """A problem by its name: the error rate is minimised, by the example's own parameters and as it reports it."""
    assert name == GRPO
    from benchmarks.grpo.space import SPACE
    from benchmarks.grpo.table import Surrogate
    from benchmarks.grpo.table import load as load_table

    table = load_table()
    surrogate = Surrogate(table)

    def true(params: Params) -> float:
        return 1.0 - float(surrogate.curve(params)[-1])

    def curve(params: Params, rng: Generator) -> Array:
        return 1.0 - surrogate.noisy(params, rng)

    reference, median = references(SPACE, true)
    return Problem(
        name=name,
        kind="GRPO of a small transformer, a random forest on real runs",
        version=surrogate.version,
        space=SPACE,
        observe=lambda params, rng: float(curve(params, rng)[-1]),
        true=true,
        best=min(map(true, table.configurations)),
        reference=reference,
        median=median,
        n_steps=len(table.steps),
        curve=curve,
    )
