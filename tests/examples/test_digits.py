"""The digits job: its mathematics against slower formulas, its behaviour as a job to tune, and its study for real."""

from __future__ import annotations

import importlib
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rltune
from rltune import cross_validate_hyperparameters
from rltune.evaluation.splits import Splits

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from examples.digits import dataset, train  # noqa: E402

job = importlib.import_module("examples.digits.train")

BASIC = {"learning_rate": 3e-4, "batch_size": 32, "weight_decay": 0.05, "warmup_steps": 500}
SMALLEST = {
    "hidden_size": 512,
    "num_layers": 6,
    "num_attention_heads": 8,
    "learning_rate": 1e-5,
    "batch_size": 4,
    "gradient_accumulation_steps": 1,
    "weight_decay": 0.0,
    "dropout_rate": 0.0,
    "attention_dropout": 0.0,
    "warmup_steps": 100,
    "max_grad_norm": 0.1,
}
LARGEST = {
    "hidden_size": 1536,
    "num_layers": 24,
    "num_attention_heads": 24,
    "learning_rate": 1e-3,
    "batch_size": 64,
    "gradient_accumulation_steps": 8,
    "weight_decay": 0.1,
    "dropout_rate": 0.3,
    "attention_dropout": 0.3,
    "warmup_steps": 5000,
    "max_grad_norm": 2.0,
}


class Curve:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.rows.append((epoch, dict(metrics)))


def curve(config: Mapping[str, Any], **where: Any) -> list[float]:
    trial = Curve()
    train(config, trial, **where)
    return [metrics["validation_loss"] for _, metrics in trial.rows]


@pytest.mark.parametrize("dropout", [(0.0, 0.0), (0.3, 0.2)])
def test_the_gradient_is_that_of_finite_differences(dropout: tuple[float, float]) -> None:
    images, digits = dataset()
    images, digits = images[:5], digits[:5]
    network = job.Network(width=6, layers=2, heads=3, rng=np.random.default_rng(0))
    gradient = network.gradient(images, digits, dropout, np.random.default_rng(1))

    def loss() -> float:
        """As the gradient sees it, with the same dropout."""
        rng = np.random.default_rng(1)
        attention = network.attention(images.reshape(5, 8, 8))
        values = network.pooled(images, attention * job.keep(attention.shape, dropout[1], rng))
        for n in range(2):
            before = values @ network.parts[f"weight {n}"] + network.parts[f"bias {n}"]
            values = np.maximum(before, 0) * job.keep(before.shape, dropout[0], rng)
        chances = job.softmax(values @ network.parts["weight 2"] + network.parts["bias 2"], axis=1)
        return -np.log(chances[np.arange(5), digits]).mean()

    for n in np.random.default_rng(2).choice(len(network.weights), 200, replace=False):
        there, step = network.weights[n], 1e-6
        network.weights[n] = there + step
        above = loss()
        network.weights[n] = there - step
        below = loss()
        network.weights[n] = there
        assert gradient[n] == pytest.approx((above - below) / (2 * step), abs=1e-6)


def test_the_optimizer_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours, gradients = rng.normal(size=20), rng.normal(size=(30, 20))
    theirs = torch.nn.Parameter(torch.tensor(ours.copy()))
    config = {**job.DEFAULTS, "learning_rate": 0.01 / job.SCALE, "weight_decay": 0.1, "warmup_steps": 10 * job.SCALE}
    optimizer = job.AdamW(ours, config)
    reference = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(reference, lambda n: min(1.0, (n + 1) / 10))
    for gradient in gradients:
        optimizer.step(gradient)
        theirs.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_([theirs], 1.0)
        reference.step()
        schedule.step()
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5)


def test_it_learns() -> None:
    last = train({})
    assert last["validation_loss"] < 0.5
    assert last["validation_accuracy"] > 0.85


def test_learning_rates_too_low_and_too_high_are_worse() -> None:
    low, good, high = (
        np.mean([min(curve({"learning_rate": rate}, fold=fold, n_folds=5)) for fold in range(3)])
        for rate in (1e-5, 2e-4, 3e-3)
    )
    assert good < 0.6 * low
    assert good < 0.6 * high


def test_without_regularisation_it_learns_the_wrong_labels_by_heart() -> None:
    bare = {"learning_rate": 3e-4, "dropout_rate": 0.0, "attention_dropout": 0.0, "weight_decay": 0.0, "max_epochs": 40}
    losses = curve(bare)
    assert min(losses) < 0.6 * losses[-1]


@pytest.mark.parametrize("config", [BASIC, SMALLEST, LARGEST])
def test_every_configuration_of_the_guide_runs(config: dict[str, Any]) -> None:
    trial = Curve()
    returned = train({**config, "max_epochs": 3}, trial)
    assert [epoch for epoch, _ in trial.rows] == [1, 2, 3]
    assert trial.rows[-1][1] == returned
    assert returned.keys() == {"validation_loss", "validation_accuracy"}
    assert all(map(math.isfinite, returned.values()))


@pytest.mark.parametrize("name", sorted(LARGEST))
def test_every_parameter_matters(name: str) -> None:
    start = {**job.DEFAULTS, "max_epochs": 3}
    assert curve(start) != curve({**start, name: SMALLEST[name] if start[name] == LARGEST[name] else LARGEST[name]})


def test_accumulated_batches_are_one_batch() -> None:
    assert curve({"batch_size": 8, "gradient_accumulation_steps": 4}) == curve({"batch_size": 32})


def test_a_seed_gives_the_same_run() -> None:
    assert curve(BASIC, seed=1) == curve(BASIC, seed=1) != curve(BASIC, seed=2)


def test_folds_and_a_fixed_hold_out_part() -> None:
    parts = [job.own_split(fold, 5) for fold in range(5)]
    assert sorted(n for _, validation in parts for n in validation) == list(range(len(dataset()[1])))
    assert curve(BASIC) == curve(BASIC, fold=0, n_folds=5) != curve(BASIC, fold=1, n_folds=5)
    assert curve(BASIC, train_idx=parts[1][0], val_idx=parts[1][1], fold=0, n_folds=5) == curve(
        BASIC, fold=1, n_folds=5
    )


def test_a_share_of_the_training_labels_is_wrong_for_good() -> None:
    digits = dataset()[1]
    labels = job.with_errors(digits)
    assert 0.1 < np.mean(labels != digits) < 0.2
    assert np.array_equal(labels, job.with_errors(digits))


def test_a_name_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"unknown in the config: lr; known: learning_rate"):
        train({"lr": 1e-3})


def test_it_cross_validates_without_a_study() -> None:
    arguments = {"train": train, "metric": "validation_loss", "verbose": False}
    by_index = cross_validate_hyperparameters(BASIC, data=dataset(), kind="stratified", **arguments)
    assert len(by_index["scores"]) == 5
    assert by_index["mean_score"] < 0.5
    train_idx, val_idx = Splits("stratified", seed=42).indices(dataset(), 0)
    first = train(BASIC, train_idx=train_idx, val_idx=val_idx, seed=42)
    assert by_index["scores"][0] == first["validation_loss"]
    itself = cross_validate_hyperparameters(BASIC, 3, **arguments)
    assert len(set(itself["scores"])) == 3


def test_it_is_found_from_the_root_of_the_repository_and_from_its_own_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rltune.trainers.function import load_function\n"
        "print(load_function(sys.argv[1], Path(sys.argv[2]))({'max_epochs': 1}).keys())"
    )
    for name, folder in (("examples.digits:train", ROOT), ("train:train", ROOT / "examples" / "digits")):
        words = [sys.executable, "-c", code, name, str(folder)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout == "dict_keys(['validation_loss', 'validation_accuracy'])\n", done.stderr


@pytest.mark.slow
def test_its_study_finds_better_than_the_default(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "digits", tmp_path, dirs_exist_ok=True)
    words = [sys.executable, "-m", "rltune", "run", "study.yaml", "--set", "executor.workers=1"]  # the same every time
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ship: " in done.stdout
    result = rltune.load(tmp_path / "runs" / "digits")
    assert 18 <= len(result.records) <= 24  # the finals end once they are decided
    assert result.verdict is not None
    assert result.verdict.ship
