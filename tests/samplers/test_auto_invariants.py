"""Whatever the space and whatever has happened in it, what `auto` proposes is a configuration of that space."""

import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from rltune.samplers import make_sampler
from rltune.space import SearchSpace

floats = st.fixed_dictionaries({"type": st.just("float"), "min": st.sampled_from([1e-6, 0.5]), "max": st.just(2.0)})
logs = st.fixed_dictionaries(
    {"type": st.just("float"), "min": st.just(1e-7), "max": st.sampled_from([1e-3, 10.0]), "log": st.just(True)}
)
steps = st.fixed_dictionaries(
    {"type": st.just("float"), "min": st.just(0.0), "max": st.just(1.0), "step": st.sampled_from([0.1, 0.25])}
)
integers = st.fixed_dictionaries(
    {"type": st.just("int"), "min": st.just(1), "max": st.sampled_from([2, 9, 1024]), "log": st.booleans()}
)
choices = st.fixed_dictionaries(
    {"type": st.just("categorical"), "choices": st.sampled_from([["a", "b"], [1, 2, 3], [True, None, "x"], [0.5]])}
)
spaces = st.lists(st.one_of(floats, logs, steps, integers, choices), min_size=1, max_size=5)

endings = st.sampled_from(["complete", "pruned", "failed", "running", "flat", "huge"])


def space_of(specs, conditional):
    space = {f"p{i}": dict(spec) for i, spec in enumerate(specs)}
    if conditional:
        space["kind"] = {"type": "categorical", "choices": ["with", "without"]}
        space["p0"]["when"] = "kind == 'with'"
    return SearchSpace.from_mapping(space)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@given(spaces, st.booleans(), st.lists(endings, min_size=6, max_size=14), st.sampled_from(["minimize", "maximize"]))
def test_it_stays_in_the_space(specs, conditional, history, direction):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = space_of(specs, conditional)
    study = optuna.create_study(direction=direction, sampler=make_sampler("auto", space=space, seed=0))
    for i, ending in enumerate(history):
        trial = study.ask()
        params = space.suggest(trial)
        assert space.is_feasible(params)
        assert set(params) == set(space.active(params))
        assert all(space.parameters[name].contains(value) for name, value in params.items())
        for step in range(1, 4):
            trial.report(math.sin(i + step), step)
        if ending in {"complete", "flat", "huge"}:
            study.tell(trial, {"complete": math.sin(i), "flat": 1.0, "huge": 1e300}[ending])
        elif ending != "running":
            study.tell(trial, state=TrialState.PRUNED if ending == "pruned" else TrialState.FAIL)
    again = make_sampler("auto", space=space, seed=0)
    last = study.ask()
    frozen = study._storage.get_trial(last._trial_id)
    assert space.suggest(last) == again.propose(study, frozen, {})
