"""Splits against their own promises, and against scikit-learn's splitters on what they were given."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from rltune.errors import InputError
from rltune.evaluation.splits import SplitKind, Splits

LETTERS = ["a", "b", "c"] * 10
GROUPS = [f"writer {n}" for n in range(6)] * 5
X = np.zeros((30, 2))


def all_folds(splits: Splits, data: Any, repeat: int = 0) -> list[tuple[list[int], list[int]]]:
    parts = [splits.indices(data, fold, repeat) for fold in range(splits.n_folds)]
    return [(train.tolist(), validation.tolist()) for train, validation in parts]


def message(splits: Splits, data: Any) -> str:
    with pytest.raises(InputError) as caught:
        splits.indices(data, 0)
    return str(caught.value)


@st.composite
def divisible(draw: st.DrawFn) -> tuple[Splits, dict[str, Any]]:
    """Data that fits a split of any kind but `time_series`: every label is there often enough, and so is every group.

    Labels are coupled to groups or not, groups have unlike sizes.
    """
    n_folds = draw(st.integers(2, 5))
    labels = [label for label in range(draw(st.integers(1, 3))) for _ in range(n_folds)]
    labels += draw(st.lists(st.sampled_from(labels), max_size=20))
    groups = [n % n_folds for n in range(n_folds)]
    groups += draw(st.lists(st.integers(0, 7), min_size=len(labels) - n_folds, max_size=len(labels) - n_folds))
    kind = draw(st.sampled_from([kind for kind in get_args(SplitKind) if kind != "time_series"]))
    data = {"n": len(labels), "y": draw(st.permutations(labels)), "groups": draw(st.permutations(groups))}
    return Splits(kind, n_folds, repeats=3, seed=draw(st.integers(0, 2**32 - 3))), data


@given(divisible(), st.integers(0, 2))
def test_the_folds_of_one_repeat_hold_every_sample_once(case: tuple[Splits, dict[str, Any]], repeat: int) -> None:
    splits, data = case
    folds = all_folds(splits, data, repeat)
    assert sorted(n for _, validation in folds for n in validation) == list(range(data["n"]))
    for train, validation in folds:
        assert train
        assert validation
        assert (train, validation) == (sorted(train), sorted(validation))
        assert set(train) == set(range(data["n"])) - set(validation)


@given(divisible())
def test_stratified_folds_hold_each_label_in_proportion(case: tuple[Splits, dict[str, Any]]) -> None:
    splits, data = case
    counts = Counter(data["y"])
    for _, validation in all_folds(Splits("stratified", splits.n_folds, seed=splits.seed), data):
        here = Counter(data["y"][n] for n in validation)
        assert all(abs(here[label] - count / splits.n_folds) < 1 for label, count in counts.items())


@given(divisible())
def test_a_group_is_never_on_both_sides(case: tuple[Splits, dict[str, Any]]) -> None:
    splits, data = case
    for kind in ("grouped", "stratified_grouped"):
        for train, validation in all_folds(Splits(kind, splits.n_folds, seed=splits.seed), data):
            assert not {data["groups"][n] for n in train} & {data["groups"][n] for n in validation}


@given(st.integers(2, 6), st.integers(0, 40))
def test_time_series_trains_on_the_past_only(n_folds: int, more: int) -> None:
    n = n_folds + 1 + more
    folds = all_folds(Splits("time_series", n_folds), n)
    for train, validation in folds:
        assert train == list(range(len(train)))
        assert validation[0] == len(train)
        assert validation == list(range(validation[0], validation[-1] + 1))
    assert folds[-1][1][-1] == n - 1
    assert [fold[1][0] for fold in folds[1:]] == [fold[1][-1] + 1 for fold in folds[:-1]]


@pytest.mark.parametrize("kind", ["kfold", "stratified", "grouped", "stratified_grouped"])
def test_a_seed_gives_the_same_folds_and_a_repeat_gives_others(kind: SplitKind) -> None:
    data = (X, LETTERS, GROUPS)
    splits = Splits(kind, 3, repeats=2, seed=7)
    assert all_folds(splits, data) == all_folds(Splits(kind, 3, repeats=5, seed=7), data)
    assert all_folds(splits, data, 0) != all_folds(splits, data, 1)
    assert all_folds(splits, data, 1) == all_folds(Splits(kind, 3, seed=8), data)


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("kfold", KFold),
        ("stratified", StratifiedKFold),
        ("grouped", GroupKFold),
        ("stratified_grouped", StratifiedGroupKFold),
    ],
)
def test_the_folds_are_those_of_scikit_learn(kind: SplitKind, theirs: Any) -> None:
    groups = GROUPS if "grouped" in kind else None
    expected = theirs(3, shuffle=True, random_state=4).split(X, LETTERS, groups)
    assert all_folds(Splits(kind, 3, seed=4), (X, LETTERS, GROUPS)) == [
        (list(train), list(validation)) for train, validation in expected
    ]


@pytest.mark.parametrize(
    "data",
    [
        30,
        np.int64(30),
        X,
        X.tolist(),
        sparse.csr_matrix(X),
        ["a text"] * 30,
        (X, LETTERS),
        (30, LETTERS),
        (X, LETTERS, GROUPS),
        (X, None, GROUPS),
        (X, X),  # several targets
        (X, [None] * 30),
        {"n": 30},
        {"X": X, "y": LETTERS},
        {"y": LETTERS},
        {"n": 30, "X": X, "y": None, "groups": None},
    ],
)
def test_data_of_any_form_gives_the_folds_of_its_length(data: Any) -> None:
    assert all_folds(Splits("kfold", 3), data) == all_folds(Splits("kfold", 3), 30)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(LETTERS),
        np.array(LETTERS, dtype=object),
        np.array(LETTERS)[:, None],
        [{"a": 0.5, "b": 1.5, "c": 2.5}[letter] for letter in LETTERS],
        [{"a": 3, "b": 4, "c": 5}[letter] for letter in LETTERS],
    ],
)
def test_labels_may_be_of_any_kind(labels: Any) -> None:
    assert all_folds(Splits("stratified", 3), (X, labels)) == all_folds(Splits("stratified", 3), (X, LETTERS))


def test_tensors_and_datasets_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    images, labels = torch.zeros(30, 2), torch.arange(30) % 3
    expected = all_folds(Splits("stratified", 3), (X, [0, 1, 2] * 10))
    assert all_folds(Splits("stratified", 3), (images, labels)) == expected
    dataset = torch.utils.data.TensorDataset(images, labels)
    assert all_folds(Splits("stratified", 3), (dataset, labels)) == expected
    assert all_folds(Splits("kfold", 3), dataset) == all_folds(Splits("kfold", 3), 30)


def test_two_samples_are_a_list_and_a_tuple_is_x_and_y() -> None:
    samples = [np.zeros(3), np.ones(3)]
    assert all_folds(Splits("kfold", 2), samples) in ([([0], [1]), ([1], [0])], [([1], [0]), ([0], [1])])
    assert all_folds(Splits("kfold", 3), tuple(samples)) == all_folds(Splits("kfold", 3), 3)
    assert "a tuple must be (X, y) or (X, y, groups), got 4 entries" in message(Splits(), (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("stratified", X, "data: has no y, and stratified splits by its classes (give (X, y))"),
        ("grouped", (X, LETTERS), "data: has no groups, and grouped splits by them (give (X, y, groups))"),
        ("kfold", (X, LETTERS[:-1]), "data.y: has 29 entries, but X has 30"),
        ("kfold", {"n": 31, "X": X, "groups": [1]}, "data.X: has 30 entries, but n has 31"),
        ("kfold", 4, "data: has 4 samples; 5 folds need at least 5 (use fewer folds, or more data)"),
        ("kfold", [], "data: has 0 samples"),
        ("kfold", -1, "data: has -1 samples"),
        ("time_series", 5, "data: has 5 samples; 5 folds need at least 6"),
        ("stratified", (30, ["rare", *["a"] * 29]), "data.y: has a class of 1 sample; 5 folds need 5 of each"),
        ("stratified", (30, ["rare", *["a"] * 29]), "or kind kfold"),
        ("stratified", (30, np.linspace(0, 1, 30)), "put a continuous y into bins"),
        ("stratified_grouped", (30, [0] * 28 + [1] * 2, GROUPS), "data.y: has a class of 2 samples"),
        ("grouped", (30, None, [0, 1, 2] * 10), "data.groups: has 3 groups; 5 folds need at least 5"),
        ("stratified", (30, [*["a"] * 28, None, None]), "data.y: has no label for 2 samples, the first at position 28"),
        ("grouped", {"n": 30, "groups": [float("nan"), *range(29)]}, "data.groups: has no label for 1 sample"),
        ("stratified", (30, np.eye(30)), "got an array of shape 30 x 30 (give class numbers"),
        ("stratified", (30, np.array(["a", 1] * 15, dtype=object)), "data.y: must hold labels of one kind"),
        ("stratified", (30, [[1], [1, 2]] * 15), "data.y: must hold one label for each sample"),
        ("kfold", {"train": 1}, "data.train: unknown key; allowed: `n`, `X`, `y`, `groups`"),
        ("kfold", {"n": 30.0}, "data.n: must be a whole number of samples, got 30.0"),
        ("kfold", {}, "data: holds nothing, got a mapping (allowed: a number of samples, X, (X, y)"),
        ("kfold", None, "data: holds nothing, got null"),
        ("kfold", 30.0, "data.X: must have a length, got 30.0"),
        ("kfold", True, "data.X: must have a length, got true"),
        ("kfold", iter([1, 2]), "data.X: must have a length, got a list_iterator"),
        ("kfold", "data/train.csv", "data.X: must have a length, got the text 'data/train.csv'"),
        ("kfold", np.array(3.0), "data.X: must have a length, got a ndarray"),
    ],
)
def test_data_that_does_not_fit_is_explained(kind: SplitKind, data: Any, expected: str) -> None:
    assert expected in message(Splits(kind), data)


def test_every_misfit_is_told_at_once() -> None:
    assert message(Splits("stratified_grouped"), 30).count("\n") == 1


def test_there_are_so_many_folds_and_repeats() -> None:
    with pytest.raises(InputError, match=r"fold: must be a whole number from 0 to 4, got 5\nrepeat: must be 0, got 1"):
        Splits().indices(30, 5, 1)
    with pytest.raises(InputError, match=r"got -1"):
        Splits().indices(30, -1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "stratfied"}, r"kind: must be one of `kfold`.*got the text 'stratfied' \(did you mean `stratified`"),
        ({"n_folds": 1}, "n_folds: must be a whole number from 2 on, got 1"),
        ({"n_folds": 5.0}, "n_folds: must be a whole number from 2 on, got 5.0"),
        ({"repeats": 0, "seed": -1}, "repeats: must be .* 1 on, got 0\nseed: must be a whole number from 0 on, got -1"),
        ({"kind": "time_series", "repeats": 2}, "repeats: must be 1 for time_series, .* got 2"),
        ({"seed": 2**32}, "seed: must be below 4294967296, got 4294967296"),
    ],
)
def test_settings_that_are_not_allowed(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        Splits(**settings)
