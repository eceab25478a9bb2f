"""`algorithm: auto` and `rltune.AutoSampler`: the contract, and what a user would notice of the model behind it."""

from __future__ import annotations

import math
import pickle
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

import rltune
from rltune import records
from rltune.samplers import make_sampler
from rltune.space import SearchSpace
from rltune.testing.sampler_suite import SamplerSuite
from rltune.types import Cause

SQUARE = SearchSpace.from_mapping({"x": ("float", 0.0, 1.0), "y": ("float", 0.0, 1.0)})


def study_of(sampler: BaseSampler, **options: Any) -> optuna.Study:
    return optuna.create_study(sampler=sampler, **options)


def search(space: SearchSpace, n: int, value: Any, name: str = "auto", seed: int = 0, **options: Any) -> optuna.Study:
    study = study_of(make_sampler(name, options, space=space, seed=seed))
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, value(space.suggest(trial)))
    return study


class TestPlainAutoContract(SamplerSuite):
    """The sampler of a plain study, in a space with constraints; `auto` itself is among the built-in names."""

    n_asks: ClassVar = 10

    def make_sampler(self, space: SearchSpace, seed: int, n_objectives: int = 1) -> BaseSampler:
        options = {"n_startup_trials": 3}
        return make_sampler("rltune:AutoSampler", options, space=space, seed=seed, n_objectives=n_objectives)


# -- it searches -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_beats_random_search_on_a_noisy_bowl() -> None:
    def regrets(name: str) -> list[float]:
        found = []
        for seed in range(5):
            rng = np.random.default_rng(seed)
            study = search(SQUARE, 40, lambda p, rng=rng: bowl(p) + 0.1 * rng.standard_normal(), name, seed)
            found.append(float(np.mean([bowl(t.params) for t in study.trials[-10:]])))
        return found

    assert np.mean(regrets("auto")) < 0.3 * np.mean(regrets("random"))


def test_on_mere_noise_it_does_not_stay_in_the_corners() -> None:
    """Where a model foresees nothing, what it is most unsure of are the corners, for ever."""
    space, noise = SearchSpace.from_mapping(dict.fromkeys("abc", ("float", 0.0, 1.0))), np.random.default_rng(1)
    study = search(space, 60, lambda _: noise.standard_normal(), seed=1)
    late = np.array([list(trial.params.values()) for trial in study.trials[20:]])
    assert (np.abs(late - 0.5) < 0.4).all(axis=1).mean() > 0.1  # which is half of the space


def test_from_twelve_values_on_the_model_is_one_of_several_that_may_be_true(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [trial.params for trial in search(SQUARE, 20, bowl).trials]
    monkeypatch.setattr("rltune.samplers.auto.gp.DRAWN", 0.0)
    most_probable = [trial.params for trial in search(SQUARE, 20, bowl).trials]
    assert drawn[:12] == most_probable[:12]
    assert drawn[12] != most_probable[12]


def bowl(params: Any) -> float:
    return float((params["x"] - 0.7) ** 2 + (params["y"] - 0.2) ** 2)


def test_a_few_exact_trials_come_close_to_the_best() -> None:
    assert search(SQUARE, 25, bowl).best_value < 1e-3


def test_the_best_start_is_run_once_more_and_only_once() -> None:
    params = [tuple(t.params.values()) for t in search(SQUARE, 15, bowl).trials]
    assert len(set(params)) == len(params) - 1


def test_the_defaults_come_first() -> None:
    space = SearchSpace.from_mapping({"x": ("float", 0.0, 1.0, {"default": 0.4}), "k": ("categorical", ["a", "b"])})
    assert search(space.with_defaults({"k": "b"}), 1, lambda _: 0.0).trials[0].params == {"x": 0.4, "k": "b"}


@pytest.mark.slow
def test_good_defaults_help_and_bad_ones_hardly_hurt() -> None:
    names = [f"x{i}" for i in range(5)]

    def value(params: Any) -> float:
        return sum((params[name] - 0.8) ** 2 for name in names)

    def found(default: float | None) -> float:
        given = {} if default is None else {"default": default}
        space = SearchSpace.from_mapping({name: {"type": "float", "min": 0.0, "max": 1.0, **given} for name in names})
        studies = [search(space, 20, value, seed=seed) for seed in range(3)]
        return float(np.mean([min(t.value for t in study.trials[1:] if t.value is not None) for study in studies]))

    none = found(None)
    assert found(0.75) < none
    assert found(0.45) < 2 * none


# -- it leaves what fails, and what runs -------------------------------------------------------------------------------


def believing(prior: float, **more: Any) -> SearchSpace:
    return SearchSpace.from_mapping({"x": {"type": "float", "min": 0.0, "max": 1.0, "prior": prior, **more}})


def test_every_second_of_the_first_trials_is_drawn_near_a_prior() -> None:
    space, flat = believing(0.9), SearchSpace.from_mapping({"x": ("float", 0.0, 1.0)})
    drawn, even = (
        [t.params["x"] for t in search(s, 40, lambda _: 0.0, n_startup_trials=40).trials] for s in (space, flat)
    )
    assert drawn[::2] == even[::2]
    assert np.mean(np.abs(np.subtract(drawn[1::2], 0.9)) < 0.3) > 0.8
    assert np.mean(np.abs(np.subtract(even[1::2], 0.9)) < 0.3) < 0.6


def test_a_prior_of_a_choice_and_one_under_constraints() -> None:
    space = SearchSpace.from_mapping(
        {
            "group": {"type": "categorical", "choices": [4, 8, 16, 32], "prior": 16},
            "batch": {"type": "categorical", "choices": [32, 48, 64], "prior": 48},
        },
        ["batch % group == 0"],
    )
    trials = search(space, 40, lambda _: 0.0, n_startup_trials=40).trials
    assert all(t.params["batch"] % t.params["group"] == 0 for t in trials)
    assert sum(t.params["group"] == 16 for t in trials[1::2]) > sum(t.params["group"] == 16 for t in trials[::2])


def test_a_good_prior_helps_and_a_bad_one_is_forgotten() -> None:
    names = "abcdef"

    def found(n: int, **more: Any) -> float:
        space = SearchSpace.from_mapping({each: {"type": "float", "min": 0.0, "max": 1.0, **more} for each in names})
        ends = [
            min(
                t.value or 0.0
                for t in search(space, n, lambda p: sum((v - 0.8) ** 2 for v in p.values()), seed=s).trials
            )
            for s in range(6)
        ]
        return float(np.mean(ends))

    assert found(8, prior=0.8) < 0.7 * found(8)
    assert found(30, prior=0.0) < found(8) / 3


@pytest.mark.parametrize("cause", [Cause.OUT_OF_MEMORY, Cause.DIVERGED])
def test_it_leaves_where_training_fails(cause: Cause) -> None:
    """The value improves towards the cliff, behind which nothing comes of a trial."""
    study = study_of(make_sampler("auto", space=SQUARE, seed=0))
    for _ in range(40):
        trial = study.ask()
        params = SQUARE.suggest(trial)
        if params["x"] > 0.5:
            records.write_end(trial, {}, cause)
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, bowl(params))
    late = [t.params["x"] for t in study.trials[-20:]]
    assert sum(x > 0.5 for x in late) <= 10  # at the cliff's edge, where the best is
    assert sum(x > 0.55 for x in late) <= 1
    assert study.best_params["x"] > 0.4


def test_it_keeps_constraints_on_metrics() -> None:
    study = study_of(make_sampler("auto", space=SQUARE, seed=0))
    for _ in range(40):
        trial = study.ask()
        params = SQUARE.suggest(trial)
        trial.set_constraint("memory", params["x"] - 0.5 if params["x"] < 0.95 else math.inf)
        study.tell(trial, bowl(params))
    late = study.trials[-20:]
    assert sum(t.params["x"] <= 0.5 for t in late) >= 12
    assert min(bowl(t.params) for t in study.trials if t.params["x"] <= 0.5) < 0.05


def test_a_lost_trial_says_nothing() -> None:
    def proposal(cause: Cause | None) -> dict[str, Any]:
        study = search(SQUARE, 8, bowl)
        trial = study.ask()
        SQUARE.suggest(trial)
        if cause is not None:
            records.write_end(trial, {}, cause)
        study.tell(trial, state=TrialState.FAIL)
        return SQUARE.suggest(study.ask())

    assert proposal(Cause.LOST) != proposal(Cause.DIVERGED)


def test_what_runs_is_not_proposed_again() -> None:
    space = SearchSpace.from_mapping({"a": ("int", 1, 5), "b": ("categorical", ["u", "v", "w"])})
    study = search(space, 6, lambda p: abs(p["a"] - 3))
    tried = {tuple(t.params.values()) for t in study.trials}
    running = [tuple(space.suggest(study.ask()).values()) for _ in range(15 - len(tried))]
    assert len(set(running)) == len(running)
    assert tried.isdisjoint(running)
    assert space.is_feasible(space.suggest(study.ask()))  # nothing is left: it starts over


def test_parallel_trials_are_spread() -> None:
    study = search(SQUARE, 5, bowl)
    points = [np.array(list(SQUARE.suggest(study.ask()).values())) for _ in range(4)]
    apart = [np.abs(p - q).max() for i, p in enumerate(points) for q in points[:i]]
    assert min(apart) > 0.01


def test_pruned_trials_are_no_good_sign() -> None:
    study = study_of(make_sampler("auto", space=SQUARE, seed=0))
    for _ in range(30):
        trial = study.ask()
        params = SQUARE.suggest(trial)
        if params["x"] > 0.6:  # looks best at its first step
            trial.report(-1.0, 1)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, bowl(params))
    assert sum(t.params["x"] > 0.6 for t in study.trials[-15:]) <= 5


@pytest.mark.slow
def test_two_objectives_spread_over_the_front() -> None:
    study = optuna.create_study(
        directions=["minimize", "maximize"], sampler=make_sampler("auto", space=SQUARE, seed=0, n_objectives=2)
    )
    for _ in range(40):
        trial = study.ask()
        p = SQUARE.suggest(trial)
        study.tell(trial, [p["x"] ** 2 + p["y"], -((p["x"] - 1) ** 2) - p["y"]])
    front = sorted(t.params["x"] for t in study.best_trials)
    assert len(front) >= 8
    assert front[0] < 0.2
    assert front[-1] > 0.8


def test_enough_trials_for_a_part_of_them() -> None:
    """Beyond some hundreds the model looks at a part; what it proposes stays near the best."""
    study = study_of(make_sampler("auto", space=SQUARE, seed=0))
    rng = np.random.default_rng(0)
    for _ in range(400):
        params = SQUARE.sample(rng)
        value = bowl(params) + 0.1 * float(rng.standard_normal())
        study.add_trial(optuna.trial.create_trial(params=params, distributions=SQUARE.distributions, value=value))
    assert np.median([bowl(SQUARE.suggest(study.ask())) for _ in range(5)]) < 0.1


# -- the space ---------------------------------------------------------------------------------------------------------


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    mapping: dict[str, Any] = {}
    for index in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["float", "log", "step", "int", "int_log", "choice", "zero"]))
        low = draw(st.integers(1, 5))
        mapping[f"p{index}"] = {
            "float": {"type": "float", "min": -low / 3, "max": low / 7},
            "log": {"type": "float", "min": 10.0**-low, "max": 3.0, "log": True},
            "zero": {"type": "float", "min": 10.0**-low, "max": 3.0, "log": True, "zero": 0.2},
            "step": {"type": "float", "min": 0.1, "max": 0.1 + 0.1 * low, "step": 0.1},
            "int": {"type": "int", "min": -low, "max": 3 * low, "step": low},
            "int_log": {"type": "int", "min": low, "max": 400, "log": True},
            "choice": {"type": "categorical", "choices": [None, True, "x", 8, 0.5][: low + 1]},
        }[kind]
    mapping["kind"] = {"type": "categorical", "choices": ["a", "b"]}
    mapping["only_a"] = {"type": "int", "min": 1, "max": 9, "when": "kind == 'a'"}
    mapping["n"] = {"type": "int", "min": 1, "max": 12}
    return SearchSpace.from_mapping(mapping, ["n % 3 != 0"])


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(space=spaces(), seed=st.integers(0, 99))
def test_every_proposal_lies_in_the_space(space: SearchSpace, seed: int) -> None:
    study = study_of(make_sampler("auto", {"n_startup_trials": 3}, space=space, seed=seed))
    rng = np.random.default_rng(seed)
    for _ in range(7):
        trial = study.ask()
        params = space.suggest(trial)
        assert space.violations(params) == []
        assert trial.params.keys() == params.keys()
        study.tell(trial, float(rng.standard_normal()))


# -- in a plain study --------------------------------------------------------------------------------------------------


def branching(trial: optuna.Trial) -> float:
    """Two branches with parameters of their own, one choice that is no scalar, and a constant."""
    size = trial.suggest_int("size", 3, 3)
    kind = trial.suggest_categorical("kind", ["plain", None])
    x = trial.suggest_float("learning rate", 1e-5, 1e-1, log=True)
    value = (math.log10(x) + 3) ** 2 + size
    if kind == "plain":
        return value + 3 * (trial.suggest_float("momentum", 0, 1) - 0.3) ** 2
    return value + 0.5 + (trial.suggest_int("depth", 1, 20) - 5) ** 2 / 20


def test_in_a_plain_study_it_models_conditions_that_nobody_declared() -> None:
    study = study_of(rltune.AutoSampler(seed=1))
    study.optimize(branching, n_trials=35)
    assert study.best_value < 3.01
    trial = study.ask()
    branching(trial)
    assert trial.relative_params.keys() >= {"kind", "learning rate"}
    assert len(trial.relative_params) == 3  # and what its branch asks for, no more


def test_in_a_plain_study_the_same_trials_give_the_same_suggestion() -> None:
    first, second = study_of(rltune.AutoSampler(seed=3)), study_of(rltune.AutoSampler(seed=3))
    first.optimize(branching, n_trials=12)
    second.add_trials(first.trials)  # asked by another sampler object, which has seen nothing grow
    wanted, got = first.ask(), second.ask()
    assert branching(wanted) == branching(got)
    assert wanted.params == got.params


def test_in_a_plain_study_a_range_that_moves_is_no_obstacle() -> None:
    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_int("n", 1, 4)
        return trial.suggest_float("x", 0, n) + trial.suggest_float("y", 0, 1)

    study = study_of(rltune.AutoSampler(seed=0))
    study.optimize(objective, n_trials=14)
    assert study.best_value < 0.8


def test_it_recommends_less_lucky_trials_of_a_plain_study() -> None:
    rng = np.random.default_rng(0)

    def objective(trial: optuna.Trial) -> float:
        params = {"x": trial.suggest_float("x", 0, 1), "y": trial.suggest_float("y", 0, 1)}
        trial.set_constraint("memory", params["x"] - 0.9)
        return -bowl(params) + 0.1 * float(rng.standard_normal())

    sampler = rltune.AutoSampler(seed=0)
    study = study_of(sampler, direction="maximize")
    study.optimize(objective, n_trials=40)
    kept = sampler.recommend(study)
    trial = study.get_trials(states=[TrialState.COMPLETE])[kept.index]
    assert bowl(trial.params) < 0.05
    assert trial.params["x"] <= 0.9
    assert abs(kept.mean + bowl(trial.params)) < 3 * kept.sd + 0.02
    with pytest.raises(rltune.RltuneError, match="0 trials are complete"):
        sampler.recommend(study_of(sampler))


def test_without_a_seed_two_samplers_differ() -> None:
    studies = [study_of(rltune.AutoSampler()) for _ in range(2)]
    for study in studies:
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
    assert studies[0].trials[0].params != studies[1].trials[0].params


@pytest.mark.parametrize(("options", "said"), [({"seed": -1}, "0 or more"), ({"n_startup_trials": 0}, "1 or more")])
def test_what_a_plain_sampler_refuses(options: dict[str, Any], said: str) -> None:
    with pytest.raises(rltune.RltuneError, match=said):
        rltune.AutoSampler(**options)


def test_a_plain_sampler_that_was_pickled_goes_on_where_it_was() -> None:
    sampler = rltune.AutoSampler(seed=0, n_startup_trials=3)
    study = study_of(sampler)
    study.optimize(lambda trial: bowl({"x": trial.suggest_float("x", 0, 1), "y": trial.suggest_float("y", 0, 1)}), 6)
    unpickled = pickle.loads(pickle.dumps(sampler))
    proposed = []
    for each in (sampler, unpickled):
        copied = study_of(each)
        copied.add_trials(study.trials)
        trial = copied.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
        proposed.append(trial.params)
    assert proposed[0] == proposed[1]
