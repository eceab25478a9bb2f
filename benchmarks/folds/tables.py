"""Losses of many configurations on many folds: three measured once, two made up.

`python -m benchmarks.folds.tables` measures the first three again: about 5 minutes on one core.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rltune.objective import Direction

Array = NDArray[np.float64]

FILE = Path(__file__).parents[1] / "data" / "folds.npz"


@dataclass(frozen=True)
class Table:
    """What every configuration measured on every fold.

    Attributes:
        points: Configurations in the unit cube, shape (n, d).
        values: Shape (n, n_folds), as they were measured.
        truth: What a configuration is worth, shape (n,): the mean over other splits of the same data, or the mean that
            the folds were drawn around.
        measured: Whether the values come from models that were trained.
    """

    name: str
    direction: Direction
    points: Array
    values: Array
    truth: Array
    measured: bool

    @property
    def sign(self) -> float:
        """Turns values into losses."""
        return 1.0 if self.direction == "minimize" else -1.0


def tables() -> Iterator[Table]:
    """Each kind of table with 5 folds, 10 folds, and 5 folds repeated 3 times."""
    yield from _measured()
    for name, noise in (("heavy tails", _heavy_tails), ("uneven folds", _uneven_folds)):
        yield from _made_up(name, noise)


# --- measured --------------------------------------------------------------------------------------------------------

DIRECTIONS: dict[str, Direction] = {"log loss": "minimize", "accuracy": "maximize"}
"""Metrics that are measured, and where they should go."""


@dataclass(frozen=True)
class Job:
    """A model on a data set of scikit-learn.

    Attributes:
        d: How many hyperparameters there are; each comes as a number in [0, 1].
        metrics: Those of `DIRECTIONS` that are kept.
    """

    data: str
    n_configurations: int
    d: int
    model: Callable[[Array, int], Any]
    metrics: tuple[str, ...]
    n_samples: int | None = None
    label_noise: float = 0.0


def measure() -> None:
    """Measures all jobs and writes the file."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for job in JOBS:
        points = np.random.default_rng(0).random((job.n_configurations, job.d)).round(3)
        arrays[f"{job.data}/points"] = points.astype(np.float32)
        x, y = _data(job)
        for splits, folds in _splits(x, y).items():
            scores = np.array([[_scores(job, point, x, y, *fold) for fold in folds] for point in points])
            for i, metric in enumerate(DIRECTIONS):
                if metric in job.metrics:
                    arrays[f"{job.data}/{metric}/{splits}"] = scores[:, :, i].round(4).astype(np.float32)
    np.savez_compressed(FILE, **arrays)


def _measured() -> Iterator[Table]:
    with np.load(FILE) as file:
        for job in JOBS:
            points = file[f"{job.data}/points"].astype(float)
            for metric in job.metrics:
                repeated, ten = (file[f"{job.data}/{metric}/{splits}"].astype(float) for splits in ("5x3", "10"))
                name, direction = f"{job.data}, {metric}", DIRECTIONS[metric]
                yield Table(name, direction, points, repeated[:, :5], ten.mean(axis=1), measured=True)
                yield Table(name, direction, points, ten, repeated.mean(axis=1), measured=True)
                yield Table(name, direction, points, repeated, ten.mean(axis=1), measured=True)


def _data(job: Job) -> tuple[Array, NDArray[np.int64]]:
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{job.data}")(return_X_y=True)
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(y))[: job.n_samples]
    x, y = x[chosen], y[chosen]
    wrong = generator.random(len(y)) < job.label_noise
    y[wrong] = generator.integers(0, y.max() + 1, wrong.sum())
    return (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9), y


def _splits(x: Array, y: NDArray[np.int64]) -> dict[str, list[tuple[Any, Any]]]:
    from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold

    return {
        "5x3": list(RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0).split(x, y)),
        "10": list(StratifiedKFold(10, shuffle=True, random_state=1).split(x, y)),
    }


def _scores(job: Job, point: Array, x: Array, y: NDArray[np.int64], train: Any, test: Any) -> tuple[float, float]:
    """Log loss, NaN where the model knows no probabilities, and accuracy."""
    from sklearn.metrics import log_loss

    model = job.model(point, int(test[0])).fit(x[train], y[train])
    accuracy = float(model.score(x[test], y[test]))
    if "log loss" not in job.metrics:
        return math.nan, accuracy
    return float(log_loss(y[test], model.predict_proba(x[test]), labels=model.classes_)), accuracy


def _log(unit: float, low: float, high: float) -> float:
    return float(low * (high / low) ** unit)


def _perceptron(point: Array, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    width, rate, decay, batch = point
    return MLPClassifier(
        (round(_log(width, 8, 128)),),
        learning_rate_init=_log(rate, 1e-4, 1e-1),
        alpha=_log(decay, 1e-5, 10),
        batch_size=round(_log(batch, 16, 128)),
        max_iter=10,
        random_state=seed,
    )


def _small_perceptron(point: Array, seed: int) -> Any:
    return _perceptron(np.append(point, 0.0), seed)


def _support_vectors(point: Array, seed: int) -> Any:  # noqa: ARG001
    from sklearn.svm import SVC

    return SVC(C=_log(point[0], 1e-2, 1e3), gamma=_log(point[1], 1e-5, 1.0))


JOBS = (
    Job("digits", 250, 4, _perceptron, ("log loss", "accuracy"), n_samples=600, label_noise=0.2),
    Job("wine", 200, 3, _small_perceptron, ("log loss",)),
    Job("breast_cancer", 200, 2, _support_vectors, ("accuracy",)),
)


# --- made up ---------------------------------------------------------------------------------------------------------


def _made_up(name: str, noise: Callable[[np.random.Generator, tuple[int, int]], Array]) -> Iterator[Table]:
    """300 configurations; what they are worth is a bowl in three parameters, from 0 to about 1."""
    generator = np.random.default_rng(0)
    points = generator.random((300, 3))
    truth = ((points - 0.3) ** 2).sum(axis=1)
    values = truth[:, None] + noise(generator, (300, 15))
    for n_folds in (5, 10, 15):
        yield Table(name, "minimize", points, values[:, :n_folds], truth, measured=False)


def _heavy_tails(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Student's t with 2 degrees of freedom, of infinite variance."""
    return 0.05 * generator.standard_t(2, shape)


def _uneven_folds(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Folds differ by far more than configurations do."""
    return generator.normal(0.0, 1.0, (1, shape[1])) + generator.normal(0.0, 0.05, shape)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ten epochs do not converge, and need not
        measure()
