"""Every built-in name passes the shipped contract; so does a sampler of somebody else, named by its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import optuna
import pytest
from optuna.samplers import BaseSampler

from rltune.samplers import make_sampler, sampler_names
from rltune.space import SearchSpace
from rltune.testing.sampler_suite import SamplerSuite


class ByName(SamplerSuite):
    name: ClassVar[str | BaseSampler]
    options: ClassVar[Mapping[str, Any]] = {}

    def make_sampler(self, space: SearchSpace, seed: int, n_objectives: int = 1) -> BaseSampler:
        return make_sampler(self.name, self.options, space=space, seed=seed, n_objectives=n_objectives)


class TestAuto(ByName):
    name = "auto"  # `tpe` under another name
    n_asks = 14


class TestTpe(ByName):
    name = "tpe"
    options: ClassVar = {"n_startup_trials": 5}


class TestTpeOneByOne(ByName):
    name = "tpe"
    options: ClassVar = {"n_startup_trials": 5, "multivariate": False}
    n_asks = 24


class TestGp(ByName):
    name = "gp"
    options: ClassVar = {"n_startup_trials": 4}
    n_asks = 8

    @pytest.fixture(autouse=True)
    def one_thread(self) -> Iterator[None]:
        """Threads of PyTorch that wait for each other on a shared core take a hundred times as long."""
        torch = pytest.importorskip("torch")
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)


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
    exhaustive = True


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


def test_every_built_in_name_is_here() -> None:
    tested = {cls.name for cls in ByName.__subclasses__()}
    assert set(sampler_names()) - {"bayesian"} <= tested


@pytest.fixture(autouse=True)
def _silent() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
