"""The search of `auto` inside Ray Tune's own `OptunaSearch`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")

import optuna
import ray
from ray import tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

import rltune
from executors.ray_cluster import running_cluster

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


@pytest.fixture
def connected() -> Iterator[None]:
    with running_cluster(num_cpus=2) as cluster:
        python = {"py_executable": shlex.quote(sys.executable)}  # a space in it is no obstacle then
        ray.init(address=cluster.address, include_dashboard=False, runtime_env=python)
        try:
            yield
        finally:
            ray.shutdown()


@pytest.mark.usefixtures("connected")
def test_it_proposes_what_it_does_in_a_study_of_optunas(tmp_path: Path) -> None:
    space = {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True),
        "group": optuna.distributions.CategoricalDistribution([4, 8, 16]),
    }

    def loss(config: dict) -> float:
        return abs(config["lr"] - 1e-3) + 1 / config["group"]

    def auto() -> rltune.AutoSampler:
        return rltune.AutoSampler(seed=0, n_startup_trials=3)

    search = OptunaSearch(space, metric="loss", mode="min", sampler=auto())
    results = tune.Tuner(
        lambda config: {"loss": loss(config)},
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(search, max_concurrent=1),
            num_samples=7,
            metric="loss",
            mode="min",
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert not results.errors
    found = [(result.config["lr"], result.config["group"]) for result in results]

    study = optuna.create_study(sampler=auto())
    study.optimize(lambda trial: loss({n: trial._suggest(n, d) for n, d in space.items()}), n_trials=7)
    assert found == [(trial.params["lr"], trial.params["group"]) for trial in study.trials]
