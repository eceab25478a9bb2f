"""What the sampler of a population makes of a parent's configuration."""

import numpy as np
import optuna
import pytest

from rltune import config as cfg
from rltune.config.population import population_problems
from rltune.records import Origin, attributes
from rltune.samplers import make_sampler
from rltune.samplers.population import PopulationSampler, perturbed
from rltune.space import Categorical, Float, Int, SearchSpace
from rltune.types import Purpose

FACTORS = (0.8, 1.25)


def after(parameter, value, n=200):
    rng = np.random.default_rng(0)
    return {perturbed(parameter, value, FACTORS, rng) for _ in range(n)}


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        (Float(1e-6, 1e-2, log=True), 1e-4, {0.8e-4, 1.25e-4}),
        (Float(0.0, 1.0), 0.5, {0.4, 0.625}),
        (Float(0.0, 1.0), 0.9, {0.9 * 0.8, 1.0}),  # clipped
        (Float(0.0, 1.0, step=0.25), 0.5, {0.25, 0.75}),  # on a step, and another one
        (Float(-1.0, 1.0, step=0.5), -0.5, {-1.0, 0.0}),
        (Int(1, 64), 2, {1, 3}),  # 1.6 and 2.5 would both be 2
        (Int(1, 1024, log=True), 100, {80, 125}),
        (Int(8, 32, step=8), 32, {24, 32}),
        (Categorical(("a", "b", "c")), "b", {"a", "c"}),
        (Categorical(("a", "b", "c")), "c", {"b", "c"}),
        (Categorical((8, True, None)), True, {8, None}),
        (Int(7, 7), 7, {7}),
    ],
)
def test_a_value_moves_by_its_scale(parameter, value, expected):
    assert after(parameter, value) == expected


def test_zero_which_no_factor_changes_is_drawn_anew():
    parameter = Float(1e-4, 0.1, log=True, zero=0.5)
    drawn = after(parameter, 0.0)
    assert 0.0 in drawn
    assert len(drawn) > 10
    assert all(parameter.contains(value) for value in drawn)


def successors(space, params, n=100, **options):
    """What a population makes of one parent."""
    sampler = make_sampler("population", options, space=space, seed=0)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial(space.to_journal(params), user_attrs=attributes(Purpose.SEARCH, 0))
    space.suggest(study.ask())
    for _ in range(n):
        study.enqueue_trial({}, user_attrs=attributes(Purpose.SEARCH, 0, origin=Origin(0, 0, 10)))
        yield space.suggest(study.ask())


def test_constraints_and_conditions_hold_for_successors_and_derived_values_follow():
    space = SearchSpace.from_mapping(
        {
            "hidden": {"type": "categorical", "choices": [512, 768, 1024, 1536]},
            "heads": {"type": "categorical", "choices": [8, 12, 16, 24]},
            "optimizer": {"type": "categorical", "choices": ["adamw", "muon"]},
            "momentum": {"type": "float", "min": 0.8, "max": 0.99, "when": "optimizer == 'muon'"},
        },
        ["hidden % heads == 0"],
        {"size": "hidden // heads"},
    )
    given = list(successors(space, {"hidden": 512, "heads": 8, "optimizer": "adamw"}))
    assert all(params["hidden"] % params["heads"] == 0 for params in given)
    assert all(params["size"] == params["hidden"] // params["heads"] for params in given)
    assert all(("momentum" in params) == (params["optimizer"] == "muon") for params in given)
    assert len({params["optimizer"] for params in given}) == 2


def test_resample_says_how_often_a_value_is_drawn_anew():
    space = SearchSpace.from_mapping({"x": {"type": "float", "min": 1e-6, "max": 1.0, "log": True}})
    assert {params["x"] for params in successors(space, {"x": 1e-3}, resample=0.0)} == {0.8e-3, 1.25e-3}
    never = [params["x"] for params in successors(space, {"x": 1e-3}, resample=1.0)]
    assert len(set(never)) == len(never)


def test_what_nemo_rl_restores_with_its_optimizer_is_refused_unless_that_is_not_saved():
    lr = "policy.optimizer.kwargs.lr"
    space = {
        lr: {"type": "float", "min": 1e-6, "max": 1e-4},
        "loss_fn.ratio_clip_max": {"type": "float", "min": 0.1, "max": 0.3},
    }

    def refused(**overrides):
        nemo_rl = {"recipe": "grpo.yaml", "overrides": overrides}
        config = cfg.from_mapping(
            {
                "algorithm": "population",
                "trainer": {"nemo_rl": nemo_rl, "horizon": 100},
                "search_space": space,
                "evaluation": {"metric": "validation/accuracy", "direction": "maximize"},
            }
        )
        sampler = PopulationSampler(SearchSpace.from_mapping(space), 0)
        return [problem.key for problem in population_problems(config, {}, list(space), sampler)]

    assert refused() == [("search_space", lr)]
    assert refused(**{"checkpointing.save_optimizer": False}) == []
