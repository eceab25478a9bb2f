"""The guide's cross-validation function, on real data and on everything that it may be given wrongly."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_regression
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import KFold, cross_val_score

import rltune
from rltune import cross_validate_hyperparameters
from rltune.errors import InputError, TrainerError

X, y = make_regression(n_samples=60, n_features=5, noise=5.0, random_state=0)


def ridge(config: dict[str, Any], train_idx: Any, val_idx: Any) -> float:
    model = Ridge(alpha=config["alpha"]).fit(X[train_idx], y[train_idx])
    return mean_squared_error(y[val_idx], model.predict(X[val_idx]))


def test_the_scores_are_those_of_the_guides_own_splitter(capsys: pytest.CaptureFixture[str]) -> None:
    result = cross_validate_hyperparameters({"alpha": 0.1}, train=ridge, data=X)
    folds = KFold(n_splits=5, shuffle=True, random_state=42)
    expected = -cross_val_score(Ridge(alpha=0.1), X, y, cv=folds, scoring="neg_mean_squared_error")
    assert result["scores"] == pytest.approx(expected.tolist(), rel=1e-9)
    assert result["mean_score"] == pytest.approx(np.mean(expected), rel=1e-9)
    assert result["std_score"] == pytest.approx(np.std(expected), rel=1e-9)
    assert result["n_splits"] == 5
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"Fold {n}: {score:.4f}" for n, score in enumerate(result["scores"], start=1)]


def test_the_result_is_plain_python() -> None:
    result = cross_validate_hyperparameters({}, 2, train=lambda config, fold: np.float32(fold), verbose=False)
    assert result == {"mean_score": 0.5, "std_score": 0.5, "scores": [0.0, 1.0], "n_splits": 2}
    assert {type(n) for n in (result["mean_score"], result["std_score"], *result["scores"])} == {float}


@given(st.lists(st.floats(), min_size=2, max_size=8))
def test_any_score_is_taken_as_it_is(scores: list[float]) -> None:
    result = cross_validate_hyperparameters(
        {}, len(scores), train=lambda config, fold: {"loss": scores[fold]}, verbose=False
    )
    assert list(map(repr, result["scores"])) == list(map(repr, scores))
    assert math.isfinite(result["mean_score"]) <= all(map(math.isfinite, scores))


def test_silent_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    cross_validate_hyperparameters({"alpha": 1.0}, 3, train=ridge, data=60, verbose=False)
    assert capsys.readouterr().out == ""


def test_a_function_may_split_its_data_itself() -> None:
    def train(config: dict[str, Any], fold: int, n_folds: int, repeat: int, seed: int, momentum: float = 0.9) -> float:
        return fold + 10 * n_folds + 100 * repeat + 1000 * seed + momentum

    result = cross_validate_hyperparameters({}, 2, train=train, repeats=2, seed=3, verbose=False)
    assert result["scores"] == [3020.9, 3021.9, 3120.9, 3121.9]


def test_repeats_split_the_data_again(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[list[int]] = []

    def train(config: dict[str, Any], train_idx: Any, val_idx: Any) -> int:
        seen.append(val_idx.tolist())
        return len(val_idx)

    result = cross_validate_hyperparameters({}, 3, train=train, data=12, repeats=2)
    assert len(result["scores"]) == 6
    assert sorted(chain(*seen[:3])) == sorted(chain(*seen[3:])) == list(range(12))
    assert seen[:3] != seen[3:]
    assert capsys.readouterr().out.splitlines()[3] == "Repeat 2, fold 1: 4.0000"


def test_splits_of_any_kind() -> None:
    groups = [n // 10 for n in range(60)]

    def train(config: dict[str, Any], train_idx: Any, val_idx: Any) -> int:
        return len({groups[n] for n in val_idx})

    result = cross_validate_hyperparameters({}, 3, train=train, data=(X, y, groups), kind="grouped", verbose=False)
    assert result["scores"] == [2.0, 2.0, 2.0]


def test_each_fold_has_a_config_of_its_own() -> None:
    config = {"optimizer": {"lr": 1.0}}

    def train(config: dict[str, Any], fold: int) -> float:
        config["optimizer"]["lr"] /= 2
        return config["optimizer"]["lr"]

    assert cross_validate_hyperparameters(config, 2, train=train, verbose=False)["scores"] == [0.5, 0.5]
    assert config == {"optimizer": {"lr": 1.0}}


def test_one_metric_of_several_is_named() -> None:
    def train(config: dict[str, Any], fold: int) -> dict[str, float]:
        return {"loss": fold, "accuracy": 1 - fold}

    def cross_validate(metric: str | None) -> Any:
        return cross_validate_hyperparameters({}, 2, train=train, metric=metric, verbose=False)

    assert cross_validate("accuracy")["scores"] == [1.0, 0.0]
    with pytest.raises(InputError, match=r"metric: must say which of the metrics counts: .* `loss`, `accuracy`"):
        cross_validate(None)
    with pytest.raises(InputError, match=r"the metric `acuracy` was not measured \(did you mean `accuracy`"):
        cross_validate("acuracy")


def test_a_fold_that_fails_is_named() -> None:
    def train(config: dict[str, Any], fold: int) -> float:
        return 1 / (1 - fold)

    with pytest.raises(ZeroDivisionError) as caught:
        cross_validate_hyperparameters({}, 3, train=train, repeats=1)
    assert caught.value.__notes__ == ["in fold 2 of 3"]
    with pytest.raises(TrainerError, match="metric `score` must be a number, got None"):
        cross_validate_hyperparameters({}, train=lambda config, fold: None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"train": ridge}, "data: is missing, and `train` takes `train_idx`, `val_idx`"),
        ({"train": lambda config: 1.0}, "train: takes neither fold nor train_idx"),
        ({"train": lambda config, fold: 1.0, "data": 60}, "data: does nothing, since `train` takes neither"),
        ({"train": lambda config, fold: 1.0, "kind": "stratified"}, "kind: does nothing without data"),
        ({"train": lambda config, fold: 1.0, "repeats": 2}, "repeats: would train the same folds again"),
        (
            {"train": lambda config, train, val: 1.0},
            "train: nothing is known to pass as `train`, `val`; allowed after the config",
        ),
        ({"train": lambda: 1.0}, "train: takes no config as its first parameter"),
        ({"train": lambda fold, config: 1.0}, "train: takes no config as its first parameter"),
        ({"train": "train:train"}, "train: must be a function, got 'train:train'"),
        ({"train": ridge, "data": 4}, "data: has 4 samples; 5 folds need at least 5"),
        ({"train": ridge, "data": 60, "n_splits": 1}, "n_splits: must be a whole number from 2 on, got 1"),
    ],
)
def test_arguments_that_do_not_fit_are_explained(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=re.escape(expected)):
        cross_validate_hyperparameters({"alpha": 1.0}, **arguments)


def test_it_is_a_public_name_that_costs_nothing_until_used() -> None:
    assert "cross_validate_hyperparameters" in rltune.__all__
    code = "import rltune, sys; print([m for m in ('numpy', 'sklearn', 'optuna') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
