import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltune.evaluation.folds import Folding, Part, deviations, fold_values, labelled, means

NUMBERS = st.floats(-1e6, 1e6)


def test_folds_are_counted_over_all_repeats():
    folding = Folding(3, repeats=2)
    assert folding.n == 6
    assert [folding.part(i) for i in range(6)] == [
        Part(0, 0),
        Part(1, 0),
        Part(2, 0),
        Part(0, 1),
        Part(1, 1),
        Part(2, 1),
    ]


@given(st.integers(2, 20), st.integers(1, 3), st.integers(0, 2**31))
def test_the_order_has_every_fold_once_and_follows_from_the_seed(n_folds, repeats, seed):
    folding = Folding(n_folds, repeats)
    assert sorted(folding.order(seed)) == list(range(n_folds * repeats))
    assert folding.order(seed) == folding.order(seed)


def test_no_fold_is_always_the_first():
    assert {Folding(5).order(seed)[0] for seed in range(50)} == {0, 1, 2, 3, 4}


def test_means_are_of_what_all_folds_measured():
    assert means({1: {"loss": 3.0, "n": 1.0}, 0: {"loss": 1.0}}) == {"loss": 2.0}
    assert means({}) == {}


@given(st.dictionaries(st.integers(0, 9), NUMBERS, min_size=1), st.randoms())
def test_a_mean_does_not_depend_on_the_order_of_the_folds(values, random):
    items = list(values.items())
    random.shuffle(items)
    first, second = ({i: {"x": v} for i, v in pairs} for pairs in (values.items(), items))
    assert means(first) == means(second)


def test_deviations():
    spread = deviations({0: {"loss": 1.0}, 1: {"loss": 3.0}})
    assert spread == {"loss/fold_sd": pytest.approx(math.sqrt(2))}
    assert math.isnan(deviations({0: {"loss": 1.0}})["loss/fold_sd"])


def test_huge_values_do_no_harm():
    assert means({0: {"x": 1e300}, 1: {"x": math.inf}}) == {"x": math.inf}
    assert math.isnan(means({0: {"x": math.nan}, 1: {"x": 1.0}})["x"])


def test_each_folds_values_are_found_again():
    metrics = labelled(0, {"val/loss": 1.0}) | labelled(12, {"val/loss": 2.0}) | {"val/loss": 1.5}
    assert metrics["fold_12/val/loss"] == 2.0
    assert fold_values(metrics, "val/loss", 15) == {0: 1.0, 12: 2.0}
