from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rltune.errors import TrainerError
from rltune.evaluation.folds import CrossValidated
from rltune.trainers.function import FunctionTrainer
from rltune.types import Cause, Measurement, Outcome, Report, Suggestion, TrialStopped
from rltune.worker import TrialFailed, attempt


@pytest.fixture
def suggestion(tmp_path: Path) -> Suggestion:
    return Suggestion(0, {"lr": 0.5}, 3, tmp_path, resume_from=Path("step_1"))


def train(config: dict[str, Any], trial: Any, fold: int, n_folds: int) -> float:
    """Reports two steps per fold, which end at 2 + fold."""
    assert (trial.resume_from, trial.directory.name, trial.seed) == (None, f"fold_{fold}", 3)
    (trial.directory / "model").touch(exist_ok=False)
    for step in (1, 2):
        trial.report(step, loss=step + fold, n=n_folds)
    return config["lr"] * fold


TRAINER = CrossValidated(FunctionTrainer(train, metric_names=["score"]), 3)


def test_running_means_are_reported_after_each_fold(suggestion: Suggestion) -> None:
    seen: list[Measurement] = []
    outcome = attempt(TRAINER, suggestion, seen.append)
    assert outcome.cause is None, outcome.message
    assert [m.step for m in seen] == [1, 2, 3]
    assert seen[1].metrics == {
        "loss": 2.5,
        "n": 3.0,
        "score": 0.25,
        "fold_1/loss": 3.0,
        "fold_1/n": 3.0,
        "fold_1/score": 0.5,
    }
    assert outcome.metrics == {
        "loss": 3.0,
        "n": 3.0,
        "score": 0.5,
        "loss/fold_sd": 1.0,
        "n/fold_sd": 0.0,
        "score/fold_sd": 0.5,
    }


def test_it_stops_between_folds(suggestion: Suggestion) -> None:
    def stop(measurement: Measurement) -> None:
        if measurement.step == 2:
            raise TrialStopped

    assert attempt(TRAINER, suggestion, stop) == Outcome(stopped=True)
    assert sorted(p.name for p in suggestion.directory.iterdir()) == ["fold_0", "fold_1"]


def test_nan_in_one_fold_is_nan_in_the_mean(suggestion: Suggestion) -> None:
    trainer = CrossValidated(FunctionTrainer(lambda config, fold: {"x": [1, math.nan, math.inf][fold]}), 2)
    outcome = attempt(trainer, suggestion, lambda m: None)
    assert outcome.cause is None
    assert all(map(math.isnan, outcome.metrics.values()))


def test_huge_values_do_no_harm(suggestion: Suggestion) -> None:
    trainer = CrossValidated(FunctionTrainer(lambda config, fold: {"x": [1e300, -1e300, math.inf][fold]}), 3)
    assert attempt(trainer, suggestion, lambda m: None).metrics["x"] == math.inf


def test_a_metric_that_one_fold_lacks_has_no_mean(suggestion: Suggestion) -> None:
    trainer = CrossValidated(FunctionTrainer(lambda config, fold: {"a": 1.0} | ({"b": 1.0} if fold else {})), 2)
    assert attempt(trainer, suggestion, lambda m: None).metrics == {"a": 1.0, "a/fold_sd": 0.0}


def test_a_fold_that_fails_is_named(suggestion: Suggestion) -> None:
    def fails(config: dict[str, Any], fold: int) -> float:
        if fold == 1:
            raise ValueError("no data")
        return 1.0

    outcome = attempt(CrossValidated(FunctionTrainer(fails, metric_names=["x"]), 2), suggestion, lambda m: None)
    assert outcome.cause is Cause.ERROR
    assert outcome.message.startswith("ValueError: no data")
    assert outcome.message.endswith("in fold 1 of 2")
    assert "folds.py" not in outcome.message.replace("test_folds.py", "")


def test_a_fold_that_knows_its_cause_keeps_it(suggestion: Suggestion) -> None:
    def trainer(suggestion: Suggestion, report: Report) -> Mapping[str, float]:
        raise TrialFailed(Cause.OUT_OF_MEMORY, "exit status 1")

    outcome = attempt(CrossValidated(trainer, 2), suggestion, lambda m: None)
    assert outcome == Outcome(Cause.OUT_OF_MEMORY, "fold 0 of 2: exit status 1")


def test_it_survives_pickling(suggestion: Suggestion) -> None:
    assert attempt(pickle.loads(pickle.dumps(TRAINER)), suggestion, lambda m: None).cause is None


def test_loading_is_the_trainers(tmp_path: Path) -> None:
    CrossValidated(lambda suggestion, report: None, 2).load()
    with pytest.raises(TrainerError, match="no module `no_such_module`"):
        CrossValidated(FunctionTrainer("no_such_module:train"), 2).load()
