"""Suite `speed`: seconds per suggestion, with 10 mixed parameters, in a study that has n trials already.

A study of ours makes its sampler anew for every trial, so an arm is asked twice: through one sampler that stays, and
through a fresh one each time. A suggestion is `study.ask` and the ten parameters; the trial is then told a value.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import optuna
from optuna.trial import create_trial

from benchmarks.search.arms import Arm, quiet
from benchmarks.search.problems import Problem

PROTOCOL = 1
"""Goes up with every change of this file that changes figures."""

PROBLEM = "mixed"

SIZES = (100, 1_000, 10_000)

PATIENCE = 60.0
"""Seconds for one figure; after that, what there is counts."""

REPEATS = 5


def run(problem: Problem, arm: Arm, seed: int, n: int) -> dict[str, Any]:
    """Seconds per suggestion after `n` random trials.

    Returns:
        stays, fresh: The median over up to `REPEATS` suggestions, after one that is not counted.
        first: That one: the model is made from nothing.
    """
    with quiet():
        study = optuna.create_study(sampler=arm.sampler(problem.space, seed))
        study.add_trials(_random_trials(problem, seed, n))
        first, *stays = _suggestions(study, problem, lambda: None)
        fresh = _suggestions(study, problem, lambda: setattr(study, "sampler", arm.sampler(problem.space, seed)))
    return {
        "stays": statistics.median(stays or [first]),
        "fresh": statistics.median(fresh[1:] or fresh),
        "first": first,
    }


def _random_trials(problem: Problem, seed: int, n: int) -> list[optuna.trial.FrozenTrial]:
    rng = np.random.default_rng(seed)
    trials = []
    for _ in range(n):
        params = problem.space.sample(rng)
        value = problem.observe(params, rng)
        trials.append(create_trial(params=params, distributions=problem.space.distributions, value=value))
    return trials


def _suggestions(study: optuna.Study, problem: Problem, before: Any) -> list[float]:
    """Seconds of each."""
    rng = np.random.default_rng(0)
    times: list[float] = []
    while len(times) <= REPEATS and sum(times) < PATIENCE:
        before()
        start = time.perf_counter()
        trial = study.ask()
        params = problem.space.suggest(trial)
        times.append(time.perf_counter() - start)
        study.tell(trial, problem.observe(params, rng))
    return times
