"""Suite `curves`: trainings that report as they go, four at a time on a virtual clock, with and without a stopper.

A step of a training takes a virtual second, a tenth more or less by the trial, so that workers never wait for each
other and events never coincide. What counts is compute: after so many steps as 5, 10, 20 and 50 whole trainings have,
the configuration is judged whose latest report is the best; a stopped trial's stays.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from benchmarks.search.arms import Arm, quiet
from benchmarks.search.problems import Array, Problem
from rltune.testing.simulator import SimulatedExecutor
from rltune.types import Decision, Idle, Measurement, Outcome, Suggestion

PROTOCOL = 1
"""Goes up with every change of this file that changes figures."""

WORKERS = 4

BUDGETS = (5, 10, 20, 50)
"""In whole trainings."""


def run(problem: Problem, arm: Arm, seed: int, n: int) -> dict[str, Any]:
    """One search with the compute of `n` whole trainings.

    Returns:
        regret: By budget, the true final one of the configuration that looks best by then.
        started, stopped: How many trainings there were, and how many the stopper ended.
        seconds: What sampler and stopper took together.
    """
    with quiet():
        search = _Search(problem, arm, seed, n)
        SimulatedExecutor(WORKERS).run(search, search.train, lambda: search.spent >= n * problem.n_steps)
    return {
        "regret": {str(budget): search.trace[budget * problem.n_steps - 1] for budget in BUDGETS if budget <= n},
        "started": len(search.params),
        "stopped": search.stopped,
        "seconds": search.seconds,
    }


@dataclass
class _Search:
    """The brain of an executor: a plain Optuna study.

    Attributes:
        spent: Steps of all trials so far.
        trace: By spent steps less one, the true final regret of what looks best.
        latest: By trial number, what it reported last.
    """

    problem: Problem
    arm: Arm
    seed: int
    n: int
    spent: int = 0
    stopped: int = 0
    seconds: float = 0.0
    trace: list[float] = field(default_factory=list)
    latest: dict[int, float] = field(default_factory=dict)
    params: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _trials: dict[int, optuna.Trial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sampler = self.arm.sampler(self.problem.space, self.seed)
        self.study = optuna.create_study(sampler=sampler, pruner=self.arm.stopper(self.problem.n_steps, self.seed))

    def suggest(self) -> Suggestion | Idle:
        start = time.perf_counter()
        trial = self.study.ask()
        params = self.problem.space.suggest(trial)
        self.seconds += time.perf_counter() - start
        self._trials[trial.number] = trial
        self.params[trial.number] = params
        return Suggestion(trial.number, params, self.seed, Path())

    def train(self, suggestion: Suggestion) -> Generator[Measurement, None, None]:
        curve, pace = self._curve(suggestion)
        for step, value in enumerate(curve, start=1):
            yield Measurement(step, {"loss": float(value)}, seconds=step * pace)

    def _curve(self, suggestion: Suggestion) -> tuple[Array, float]:
        """Its noise and pace depend on the seed and the trial's number alone, so they are the same for all arms."""
        assert self.problem.curve is not None
        rng = np.random.default_rng([self.seed, suggestion.number, zlib.crc32(self.problem.name.encode())])
        pace = rng.uniform(0.9, 1.1)
        return self.problem.curve(suggestion.params, rng), pace

    def observe(self, job: int, measurement: Measurement, /) -> Decision:
        value = measurement.metrics["loss"]
        self.spent += 1
        self.latest[job] = value if math.isfinite(value) else math.inf
        looks_best = min(self.latest, key=self.latest.__getitem__)
        self.trace.append(self.problem.final_regret(self.params[looks_best]))
        start = time.perf_counter()
        self._trials[job].report(value, measurement.step)
        stop = measurement.step < self.problem.n_steps and self._trials[job].should_prune()
        self.seconds += time.perf_counter() - start
        return Decision.STOP if stop else Decision.CONTINUE

    def finish(self, job: int, outcome: Outcome, /) -> None:
        trial, value = self._trials.pop(job), self.latest.get(job, math.inf)
        if outcome.stopped:
            self.stopped += 1
            self.study.tell(trial, state=TrialState.PRUNED)
        elif outcome.cause is not None or not math.isfinite(value):
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, value)
