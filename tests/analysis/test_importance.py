"""Importance where the answer is known."""

import math
import random
import time
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from analysis.study_records import trial
from rltune.analysis import fanova
from rltune.analysis.importance import importance
from rltune.objective import Objective
from rltune.records import RACE
from rltune.space import SearchSpace
from rltune.types import Cause, Purpose

DOWN, UP = Objective("loss", "minimize"), Objective("accuracy", "maximize")
SPACE = SearchSpace.from_mapping(
    {
        "dead": {"type": "int", "min": 1, "max": 64, "log": True},
        "lr": {"type": "float", "min": 1e-5, "max": 1e-1, "log": True},
        "kind": {"type": "categorical", "choices": ["a", "b", None]},
        "fixed": {"type": "float", "min": 0.5, "max": 0.5},
    }
)


def draws(n, value, space=SPACE, **fields):
    """Uniform draws of the space, and what `value` makes of them."""
    rng = np.random.default_rng(1)
    return [trial(i, value(p), p, **fields) for i, p in enumerate(space.sample(rng) for _ in range(n))]


def by_lr(params):
    return (math.log10(params["lr"]) + 3.0) ** 2


def test_one_parameter_with_all_the_effect_comes_first_and_a_dead_one_near_zero():
    found = importance(draws(60, by_lr), DOWN, SPACE)
    assert found.n_configurations == 60
    assert found.fanova["lr"] > 0.9
    assert found.ped_anova["lr"] > 0.6
    assert found.fanova["dead"] < 0.05
    assert found.fanova["fixed"] == found.ped_anova["fixed"] == 0.0
    assert sum(found.fanova.values()) == pytest.approx(1.0)
    assert sum(found.ped_anova.values()) == pytest.approx(1.0)
    assert list(found.fanova) == ["dead", "lr", "kind", "fixed"]
    assert found.fit > 0.8
    assert found.notes == ()


def test_a_choice_with_all_the_effect():
    found = importance(draws(60, lambda p: {"a": 0.0, "b": 1.0, None: 3.0}[p["kind"]] + 0.001 * p["dead"]), UP, SPACE)
    assert max(found.fanova, key=found.fanova.get) == "kind"


def test_a_log_parameter_counts_on_its_own_scale():
    """Below 1e-3 everything is bad, which is half of the log scale and a hundredth of the linear one."""
    found = importance(draws(80, lambda p: float(p["lr"] < 1e-3) + 0.2 * (p["kind"] == "b")), DOWN, SPACE)
    assert found.fanova["lr"] > 0.7


@pytest.mark.parametrize("choices", [1, 4])
def test_fanova_is_optunas_own_from_the_same_forest(choices):
    """Of numbers, and of a choice in so many columns, one of which is 1."""
    from optuna.importance._fanova._fanova import _Fanova

    rng = np.random.default_rng(2)
    numbers, choice = rng.random((80, 3)), rng.integers(0, choices, 80)
    given = np.hstack([numbers[:, :1], np.eye(choices)[choice], numbers[:, 1:]])
    values = numbers[:, 0] ** 2 + 0.3 * choice + 0.2 * numbers[:, 1] * (choice == 0) + 0.05 * rng.normal(size=80)
    columns = [[0], [*range(1, 1 + choices)], [1 + choices], [2 + choices]]
    theirs = _Fanova(n_trees=8, max_depth=64, min_samples_split=2, min_samples_leaf=1, seed=0)
    theirs.fit(given, values, np.array([[0.0, 1.0]] * given.shape[1]), [np.array(each) for each in columns])
    expected = [theirs.get_importance(i)[0] for i in range(len(columns))]
    assert fanova.shares(theirs._forest, columns) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_importance_rests_on_a_thousand_trials_within_seconds():
    space = SearchSpace.from_mapping({f"x{i}": ("float", 0.0, 1.0) for i in range(10)})
    records = draws(1000, lambda p: p["x0"] ** 2 + 0.1 * p["x1"], space)
    importance(records[:50], DOWN, space)  # loads what it needs
    begin = time.process_time()
    found = importance(records, DOWN, space)
    assert time.process_time() - begin < 5.0, "it is 1 s; by Optuna's evaluator 15 s"
    assert found.n_configurations == 1000
    assert max(found.fanova, key=found.fanova.get) == "x0"


def test_the_same_records_give_the_same_to_the_last_bit():
    records = draws(30, by_lr)
    random.seed(0)
    first = importance(records, DOWN, SPACE)
    random.seed(1)
    assert importance(records, DOWN, SPACE) == first


def test_too_few_say_how_many_are_needed():
    none = importance([], DOWN, SPACE)
    assert (none.fanova, none.ped_anova, none.notes) == (None, None, ("no trial has a value yet",))
    few = importance(draws(9, by_lr), DOWN, SPACE)
    assert few.fanova is None
    assert few.ped_anova is None
    assert few.notes == (
        "fANOVA needs 10 configurations with a value, and there are 9",
        "PED-ANOVA needs 20 configurations with a value, and there are 9",
    )
    some = importance(draws(19, by_lr), DOWN, SPACE)
    assert some.fanova is not None
    assert some.notes == ("PED-ANOVA needs 20 configurations with a value, and there are 19",)


def test_noise_is_not_shown_as_importance():
    chance = random.Random(3)
    found = importance(draws(60, lambda _: chance.gauss(0, 1)), DOWN, SPACE)
    assert found.fanova is None
    assert found.fit < 0.1
    assert "do not predict" in found.notes[0]


def test_a_constant_objective_and_a_space_without_choice():
    assert importance(draws(30, lambda _: 1.0), DOWN, SPACE).notes == ("every configuration has the same value",)
    fixed = SearchSpace.from_mapping({"x": {"type": "int", "min": 3, "max": 3}})
    assert importance(draws(30, lambda _: 1.0, fixed), DOWN, fixed).notes == ("no parameter has more than one value",)


def test_only_complete_trials_count_infeasible_ones_among_them_and_seeds_once():
    records = draws(20, by_lr)
    plain = importance(records, DOWN, SPACE)
    again = [
        trial(20, 9.0, records[0].params, state=TrialState.PRUNED),
        trial(21, None, records[1].params, cause=Cause.DIVERGED),
        trial(22, 9.0, records[2].params, purpose=Purpose.FINAL),
        trial(23, by_lr(records[3].params), records[3].params, purpose=Purpose.BASELINE),
    ]
    infeasible = [trial(r.number, r.value, dict(r.params), violations={"kl": 1.0}) for r in records]
    assert importance([*records, *again], DOWN, SPACE) == plain
    assert importance(infeasible, DOWN, SPACE) == plain


def test_values_outside_of_todays_range_are_left_out():
    records = draws(20, by_lr)
    other = [trial(20 + i, 9.0, {**r.params, "lr": 0.5}) for i, r in enumerate(records)]
    assert importance([*records, *other], DOWN, SPACE) == importance(records, DOWN, SPACE)


def test_conditional_parameters():
    space = SearchSpace.from_mapping(
        {
            "x": {"type": "float", "min": 0, "max": 1},
            "kind": {"type": "categorical", "choices": ["a", "b"]},
            "often": {"type": "float", "min": 0, "max": 1, "when": "kind == 'b'"},
            "rarely": {"type": "float", "min": 0, "max": 1, "when": "x < 0.1"},
        }
    )
    found = importance(draws(80, lambda p: p["x"], space), DOWN, space)
    assert list(found.fanova) == ["x", "kind"]
    assert list(found.ped_anova) == ["x", "kind", "often"]
    assert found.notes == (
        "fANOVA: leaves out `often`, `rarely`: not active in every trial",
        "PED-ANOVA: leaves out `rarely`: active in fewer than 20 configurations",
    )


def test_nothing_is_left_behind_in_optuna_and_nothing_is_printed(capfd):
    before = optuna.logging.get_verbosity()
    importance(draws(30, by_lr), DOWN, SPACE)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_what_was_ended_early_counts_as_it_was_going_to_end():
    """Of 40 trials the good third ran to its end: among those alone, hardly anything depends on x."""
    space = SearchSpace.from_mapping({"x": ("float", 0.0, 1.0), "y": ("float", 0.0, 1.0)})
    rng, records = np.random.default_rng(0), []
    for i in range(40):
        x, y = rng.uniform(), rng.uniform()
        curve = {step: (x - 0.3) ** 2 + 0.02 * y + 1 / step for step in range(1, 28)}
        whole = trial(i, curve[27], {"x": x, "y": y})
        cut = {step: value for step, value in curve.items() if step <= 6}
        is_good = (x - 0.3) ** 2 < 0.04
        records.append(replace(whole, curve=curve) if is_good else _ended_early(whole, cut))
    found = importance(records, DOWN, space)
    n_good = sum(r.has_result for r in records)
    assert (found.n_configurations, found.n_foreseen) == (40, 40 - n_good)
    assert found.fanova["x"] > 0.9
    assert found.ped_anova["x"] > 0.9


def _ended_early(record, curve):
    return replace(record, state=TrialState.PRUNED, stopped_by="pruner", curve=curve, values=(curve[max(curve)],))


def test_raced_trials_count_and_other_pruned_ones_do_not_while_nothing_ran_to_its_end():
    """A raced trial's value is a mean over folds, as every other's; a pruned one's is that of an earlier step."""
    raced = [replace(trial(i, float(i), {"x": i / 20}), state=TrialState.PRUNED, stopped_by=RACE) for i in range(20)]
    assert importance(raced, DOWN, SearchSpace.from_mapping({"x": ("float", 0.0, 1.0)})).n_configurations == 20
    pruned = [replace(r, stopped_by="pruner") for r in raced]
    assert importance(pruned, DOWN, SearchSpace.from_mapping({"x": ("float", 0.0, 1.0)})).n_configurations == 0
