"""Search spaces of Ray Tune and Optuna, as they are: each range means here what it means there."""

import math

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import rltune
from rltune.config import from_mapping
from rltune.errors import SpaceError
from rltune.space import Categorical, Float, Int, SearchSpace, parse_parameter, split_constants

tune = pytest.importorskip("ray.tune")


def refused(domain):
    with pytest.raises(SpaceError) as caught:
        parse_parameter("p", domain)
    return str(caught.value)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda: tune.uniform(0.0, 0.3), Float(0.0, 0.3)),
        (lambda: tune.loguniform(1e-5, 1e-3), Float(1e-5, 1e-3, log=True)),
        (lambda: tune.quniform(0.0, 1.0, 0.25), Float(0.0, 1.0, step=0.25)),
        (lambda: tune.randint(1, 10), Int(1, 9)),
        (lambda: tune.lograndint(100, 5000), Int(100, 4999, log=True)),
        (lambda: tune.qrandint(3, 21, 5), Int(5, 20, step=5)),
        (lambda: tune.qrandint(0, 20, 5), Int(0, 20, step=5)),
        (lambda: tune.qrandint(3, 21, 1), Int(3, 20)),
        (lambda: tune.qlograndint(1, 64, 1), Int(1, 63, log=True)),
        (lambda: tune.choice([4, "a", None, True]), Categorical((4, "a", None, True))),
        (lambda: tune.grid_search([0.1, 0.2]), Categorical((0.1, 0.2))),
        (lambda: FloatDistribution(1e-5, 1e-3, log=True), Float(1e-5, 1e-3, log=True)),
        (lambda: FloatDistribution(0.0, 1.0, step=0.5), Float(0.0, 1.0, step=0.5)),
        (lambda: IntDistribution(1, 9), Int(1, 9)),
        (lambda: IntDistribution(2, 64, log=True), Int(2, 64, log=True)),
        (lambda: IntDistribution(0, 8, step=2), Int(0, 8, step=2)),
        (lambda: CategoricalDistribution(["a", "b"]), Categorical(("a", "b"))),
    ],
)
def test_each_is_a_parameter_of_the_same_meaning(theirs, ours):
    assert parse_parameter("p", theirs()) == ours


@pytest.mark.parametrize(
    "domain",
    [
        lambda: tune.randint(1, 4),
        lambda: tune.lograndint(1, 4),
        lambda: tune.qrandint(3, 11, 4),
        lambda: tune.qrandint(3, 6, 1),
        lambda: tune.quniform(0.0, 1.0, 0.5),
        lambda: tune.choice(["a", "b"]),
    ],
)
def test_it_has_the_very_values_that_ray_draws(domain):
    parameter = parse_parameter("p", domain())
    ours = {parameter.value_at(i) for i in range(parameter.n_values)}
    assert ours == set(domain().sample(size=500, random_state=0))


@pytest.mark.parametrize(
    ("domain", "message", "instead"),
    [
        (lambda: tune.sample_from(lambda c: 2 * c["a"]), "a function that nobody can search", 'derived={"b": "2 * a"}'),
        (lambda: tune.randn(1.0, 0.5), "has no ends", "tune.uniform(0, 2)"),
        (lambda: tune.qrandn(0.0, 1.0, 0.1), "has no ends", "tune.uniform(-2, 2)"),
        (lambda: tune.qloguniform(0.1, 10.0, 0.1), "logarithmic scale with steps of 0.1", "leave out the steps"),
        (lambda: tune.qlograndint(2, 64, 2), "logarithmic scale with steps of 2", "leave out the steps"),
        (lambda: tune.qloguniform(1.0, 100.0, 1), "logarithmic scale with steps of 1", "tune.lograndint(1, 101)"),
        (lambda: [tune.uniform(0, 1), 3], "a list with parameters", "a name of its own"),
        (lambda: tune.choice([[64, 64], [128]]), "must be a number, text", "name each one"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_what_to_write(domain, message, instead):
    assert message in (text := refused(domain()))
    assert instead in text


class TestInAStudy:
    def test_all_that_is_refused_is_said_at_once(self):
        space = {"a": tune.randn(), "b": tune.uniform(0, 1), "c": tune.sample_from(lambda _: 1)}
        with pytest.raises(rltune.RltuneError) as caught:
            rltune.tune(lambda config: 0.0, space, metric="loss")
        assert "search_space.a: is `tune.randn`" in str(caught.value)
        assert "search_space.c: is `tune.sample_from`" in str(caught.value)

    def test_the_file_in_the_folder_has_it_in_our_words(self):
        study = {"evaluation": {"metric": "loss", "direction": "minimize"}, "search_space": {"n": tune.randint(1, 10)}}
        config = from_mapping(study, trainer="job:train")
        assert config.search_space == {"n": {"type": "int", "min": 1, "max": 9}}
        assert "type: int" in config.to_yaml()

    def test_what_is_no_range_is_a_constant_of_the_config(self, tmp_path):
        seen = []

        def train(config):
            seen.append(config)
            return config["lr"]

        space = {
            "lr": tune.loguniform(1e-5, 1e-3),
            "batch_size": ("categorical", [4, 8]),
            "max_epochs": 10,
            "layers": [64, 64],
            "optimizer": {"name": "adam", "beta": tune.uniform(0.8, 0.99), "options": {"fused": True}},
        }
        result = rltune.tune(
            train, space, metric="loss", config={"data": "mnist"}, n_trials=2, executor="inline", out=tmp_path / "s"
        )
        (first, _), params = seen, result.records[0].params
        assert set(params) == {"lr", "batch_size", "optimizer.beta"}
        assert first == {
            "data": "mnist",
            "lr": params["lr"],
            "batch_size": params["batch_size"],
            "max_epochs": 10,
            "layers": [64, 64],
            "optimizer": {"name": "adam", "beta": params["optimizer.beta"], "options": {"fused": True}},
        }

    def test_beside_a_config_in_a_file(self, tmp_path):
        (tmp_path / "base.yaml").write_text("model: {width: 64}\nmax_epochs: 1\n")
        seen = []
        rltune.tune(
            lambda config: seen.append(config) or 0.0,
            {"model.width": tune.choice([32, 64]), "max_epochs": 10},
            metric="loss",
            config=tmp_path / "base.yaml",
            n_trials=1,
            executor="inline",
            out=tmp_path / "s",
        )
        assert seen[0]["max_epochs"] == 10
        assert seen[0]["model"]["width"] in (32, 64)


class TestConstants:
    def test_single_values_are_constants_in_any_space(self):
        space = {"lr": ("float", 0.1, 1.0), "epochs": 3, "name": "a", "nothing": None}
        assert split_constants(space) == ({"lr": ("float", 0.1, 1.0)}, {"epochs": 3, "name": "a", "nothing": None})

    def test_without_anything_of_rays_a_list_or_a_mapping_is_meant_as_a_parameter(self):
        """A slip in the short form, or in the keys, must not silently become a constant."""
        space = {"a": [1, 2], "b": {"min": 1, "max": 2}}
        assert split_constants(space) == (space, {})
        with pytest.raises(SpaceError, match="short form starts with"):
            SearchSpace.from_mapping(space)

    def test_a_number_that_is_not_finite(self):
        assert split_constants({"clip": math.inf}) == ({}, {"clip": math.inf})
