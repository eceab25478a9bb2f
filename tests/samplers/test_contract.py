"""Every built-in name passes the shipped contract; so does a sampler of somebody else, named by its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from rltune.samplers import SAMPLERS, make_sampler
from rltune.space import SearchSpace
from rltune.testing.sampler_suite import CONDITIONAL, SamplerSuite


class ByName(SamplerSuite):
    name: ClassVar[str | BaseSampler]
    options: ClassVar[Mapping[str, Any]] = {}

    def make_sampler(self, space: SearchSpace, seed: int, n_objectives: int = 1) -> BaseSampler:
        return make_sampler(self.name, self.options, space=space, seed=seed, n_objectives=n_objectives)


class TestAuto(ByName):
    name = "auto"
    n_asks = 14


class TestTpe(ByName):
    name = "tpe"
    options: ClassVar = {"n_startup_trials": 5}


class TestTpeOneByOne(ByName):
    name = "tpe"
    options: ClassVar = {"n_startup_trials": 5, "multivariate": False}
    n_asks = 24


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
class TestGp(ByName):
    name = "gp"
    options: ClassVar = {"n_startup_trials": 4}
    n_asks = 8


class TestCmaEs(ByName):
    name = "cmaes"
    options: ClassVar = {"popsize": 5}


class TestSeparableCmaEs(ByName):
    name = "cmaes"
    options: ClassVar = {"popsize": 5, "use_separable_cma": True, "consider_pruned_trials": True}
    n_asks = 24


class TestNsga2(ByName):
    name = "nsga2"
    options: ClassVar = {"population_size": 8}


class TestRandom(ByName):
    name = "random"


class TestSobol(ByName):
    name = "sobol"


class TestGrid(ByName):
    name = "grid"

    def test_a_finite_space_is_covered_without_repeats(self) -> None:
        space = SearchSpace.from_mapping(CONDITIONAL)
        study = self._study(space)
        seen = set()
        for index in range(len(space.grid())):
            trial = study.ask()
            seen.add(tuple(space.suggest(trial).items()))
            if index % 3:
                study.tell(trial, 0.0)
            elif index % 2:
                study.tell(trial, state=TrialState.FAIL)
        assert seen == {tuple(params.items()) for params in space.grid()}


class TestByPath(ByName):
    name = "optuna.samplers:QMCSampler"
    n_asks = 24


class TestUnderHyperband(ByName):
    name = "tpe"
    n_asks = 24

    def _study(self, *args: Any, **kwargs: Any) -> optuna.Study:
        study = super()._study(*args, **kwargs)
        study.pruner = optuna.pruners.HyperbandPruner()
        return study


class TestPopulation(ByName):
    name = "population"


def test_every_built_in_name_is_here() -> None:
    tested = {cls.name for cls in ByName.__subclasses__()}
    assert set(SAMPLERS.names()) - {"bayesian"} <= tested
