"""Suite `values`: one evaluation after the other, judged by what the chosen configuration is truly worth.

An arm is told noisy values and chooses by them; the regret is that of the true value of its choice. The choice is the
best observed, which is what a tuner reports that does not know of noise, and what the arm recommends, if it does.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna

from benchmarks.search.arms import Arm, Prior, quiet
from benchmarks.search.problems import Array, Params, Problem

PROTOCOL = 1
"""Goes up with every change of this file that changes figures."""


def budgets(n: int) -> tuple[int, ...]:
    """After how many evaluations regret is shown."""
    return (n // 4, n // 2, n)


def run(
    problem: Problem,
    arm: Arm,
    seed: int,
    n: int,
    *,
    prior: Prior | None = None,
    first: Params | None = None,
) -> dict[str, Any]:
    """One search of `n` evaluations.

    Args:
        prior: For an arm that takes one.
        first: The configuration to begin with; None leaves it to the arm.

    Returns:
        regret: The true one of every configuration, in the order of the evaluations.
        observed: What the arm was told of each; None where the training diverged.
        recommended: By budget, the index of the configuration that the arm would ship; empty where it has no say.
        seconds: What its suggestions took together.
    """
    noise = np.random.default_rng([seed, zlib.crc32(problem.name.encode())])
    sampler = arm.sampler(problem.space, seed, prior)
    with quiet():
        study = optuna.create_study(sampler=sampler)
    if first is not None:
        study.enqueue_trial(problem.space.to_journal(first))
    regret: list[float] = []
    observed: list[float | None] = []
    recommended: dict[str, int] = {}
    seconds = 0.0
    with quiet():
        for i in range(n):
            start = time.perf_counter()
            trial = study.ask()
            params = problem.space.suggest(trial)
            seconds += time.perf_counter() - start
            value = problem.observe(params, noise)
            regret.append(problem.regret(params))
            if math.isfinite(value):
                study.tell(trial, value)
                observed.append(value)
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                observed.append(None)
            if i + 1 in budgets(n) and (choice := arm.recommend(sampler, study, problem.space)) is not None:
                recommended[str(i + 1)] = choice
    return {"regret": regret, "observed": observed, "recommended": recommended, "seconds": seconds}


def best_observed(result: Mapping[str, Any]) -> Array:
    """True regret of the configuration that looks best after 1, 2 … n evaluations, shape (n,).

    Before the first evaluation with a value it is that of the first configuration, which one has in any case.
    """
    values = [math.inf if value is None else value for value in result["observed"]]
    best, chosen = 0, []
    for i, value in enumerate(values):
        best = i if value < values[best] else best
        chosen.append(result["regret"][best])
    return np.array(chosen)


def recommended(result: Mapping[str, Any], n: int) -> float | None:
    """True regret of what the arm recommends after `n` evaluations; None where it recommends nothing of its own."""
    choice = result["recommended"].get(str(n))
    return None if choice is None else float(result["regret"][choice])
