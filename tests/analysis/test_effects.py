"""One parameter at a time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from analysis.study_records import trial
from rltune.analysis.effects import effects
from rltune.objective import Objective
from rltune.space import SearchSpace
from rltune.types import Cause, Purpose

UP, DOWN = Objective("accuracy", "maximize"), Objective("loss", "minimize")
NUMBER = SearchSpace.from_mapping({"x": {"type": "float", "min": 1e-6, "max": 1e6, "log": True}})
CHOICE = SearchSpace.from_mapping({"x": {"type": "categorical", "choices": [8, 16, True, 64]}})


def effect(records, space=NUMBER, objective=DOWN):
    return effects(records, objective, space)[0]


def test_bins_hold_as_many_trials_each():
    found = effect([trial(i, float(i), {"x": 10.0 ** (i / 4)}) for i in range(12)])
    assert [level.n_trials for level in found.levels] == [3, 3, 3, 3]
    assert [level.mean for level in found.levels] == [1, 4, 7, 10]
    assert [level.best for level in found.levels] == [0, 3, 6, 9]
    assert (found.levels[1].low, found.levels[1].high) == (10.0**0.75, 10.0**1.25)
    assert found.correlation == pytest.approx(1.0)
    assert found.best_fifth == (1.0, 10.0**0.5)
    assert found.n_best == 3


def test_few_distinct_values_are_a_bin_each():
    found = effect([trial(i, float(i % 3), {"x": 1.0 + i % 3}) for i in range(9)])
    assert [(level.low, level.high, level.n_trials) for level in found.levels] == [(1, 1, 3), (2, 2, 3), (3, 3, 3)]
    assert found.correlation is None  # nine trials
    assert found.best_fifth is None


def test_choices_in_declared_order_with_those_never_tried():
    records = [trial(i, v, {"x": x}) for i, (x, v) in enumerate([(16, 0.2), (8, 0.4), (16, 0.6), (True, 0.9)])]
    found = effect(records, CHOICE, UP)
    assert found.is_choice
    assert [level.low for level in found.levels] == [8, 16, True, 64]
    assert [level.n_trials for level in found.levels] == [1, 2, 1, 0]
    assert [level.best for level in found.levels] == [0.4, 0.6, 0.9, None]
    assert found.levels[1].mean == pytest.approx(0.4)
    assert found.correlation is None


def test_the_best_fifth_of_a_choice_names_the_choices():
    records = [trial(i, float(i), {"x": 64 if i < 2 else 8}) for i in range(10)]
    assert effect(records, CHOICE).best_fifth == (64,)
    assert effect(records, CHOICE, UP).best_fifth == (8,)


def test_what_has_no_value_is_counted_beside_the_values():
    records = [
        trial(0, 1.0, {"x": 1.0}),
        trial(1, 0.1, {"x": 1.0}, violations={"kl": 1.0}),  # infeasible: its value counts, but is not the best
        trial(2, 9.0, {"x": 1.0}, state=TrialState.PRUNED),
        trial(3, None, {"x": 1.0}, cause=Cause.DIVERGED),
        trial(4, None, {"x": 1.0}, cause=Cause.LOST),
        trial(5, None, {"x": 1.0}, state=TrialState.RUNNING),
        trial(6, 5.0, {"x": 1.0}, purpose=Purpose.FINAL),
    ]
    (level,) = effect(records).levels
    assert (level.n_trials, level.n_values, level.n_pruned, level.n_failed) == (4, 2, 1, 1)
    assert (level.mean, level.best) == (0.55, 1.0)


def test_a_conditional_parameter_is_judged_where_it_is_active():
    space = SearchSpace.from_mapping(
        {
            "kind": {"type": "categorical", "choices": ["a", "b"]},
            "x": {"type": "float", "min": 0, "max": 100, "when": "kind == 'b'"},
        }
    )
    active = [trial(i, -float(i), {"kind": "b", "x": float(i)}) for i in range(12)]
    inactive = [trial(i, -100.0, {"kind": "a"}) for i in range(12, 40)]
    _, found = effects([*active, *inactive], DOWN, space)
    assert found.conditional
    assert found.n_values == 12
    assert found.correlation == pytest.approx(-1.0)
    assert found.best_fifth == (9.0, 11.0)


def test_a_study_without_trials():
    found = effect([])
    assert (found.levels, found.n_values, found.correlation, found.best_fifth) == ((), 0, None, None)


VALUES = st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 50.0]), min_size=1, max_size=40)


@given(VALUES)
def test_every_trial_is_in_one_bin_and_equal_values_stay_together(values):
    found = effect([trial(i, 0.0, {"x": v}) for i, v in enumerate(values)])
    assert sum(level.n_trials for level in found.levels) == len(values)
    for lower, upper in zip(found.levels, found.levels[1:], strict=False):
        assert lower.high < upper.low
    for level in found.levels:
        assert level.n_trials == sum(level.low <= v <= level.high for v in values)


@given(st.lists(st.floats(1e-6, 1e6), min_size=10, max_size=30, unique=True))
def test_bins_do_not_depend_on_the_scale(values):
    def sizes(transform):
        records = [trial(i, 0.0, {"x": transform(v)}) for i, v in enumerate(values)]
        return [level.n_trials for level in effect(records).levels]

    assert sizes(lambda v: v) == sizes(lambda v: math.log(v) * 10)
