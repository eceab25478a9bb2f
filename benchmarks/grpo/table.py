"""The measured table, `benchmarks/data/grpo_digits.npz`, and a search problem that is made of it.

A search proposes what is no row of the table. What that would have come to is told by a random forest on the rows'
mean curves, and its noise is that of a row at random whose accuracy is about the same: how one of its runs differed
from the mean of its runs, over the whole training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.grpo.space import SPACE
from rltune.space import Categorical

FILE = Path(__file__).parents[1] / "data" / "grpo_digits.npz"

METRICS = (
    "validation/accuracy",
    "train/reward",
    "train/exact_match",
    "train/well_formed",
    "train/zero_std_fraction",
    "train/loss",
    "train/kl",
    "train/entropy",
    "train/clip_fraction",
    "train/grad_norm",
)
"""What the example reports at each step of a curve."""

OBJECTIVE = "validation/accuracy"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Real trainings of n configurations with s seeds each.

    Attributes:
        configurations: Values of all parameters, n of them; the first is the example's own.
        steps: Completions trained on at each point of a curve, shape (t,).
        curves: By metric, each of shape (n, s, t). NaN and infinity are what a diverged training has reported.
        seconds: Of one core, shape (n, s).
    """

    configurations: list[dict[str, Any]]
    steps: NDArray[np.int64]
    curves: Mapping[str, Array]
    seconds: Array


def pack(runs: Iterable[Mapping[str, Any]], path: Path = FILE) -> Table:
    """Writes the table of `measure.Run`s to a file, configurations with fewer seeds than others left out.

    Curves keep three digits, accuracies all of theirs.
    """
    by_configuration: dict[int, dict[int, Mapping[str, Any]]] = {}
    for run in runs:
        by_configuration.setdefault(run["configuration"], {})[run["seed"]] = run
    n_seeds = max(map(len, by_configuration.values()))
    rows = [
        [seeds[seed] for seed in sorted(seeds)]
        for _, seeds in sorted(by_configuration.items())
        if len(seeds) == n_seeds
    ]
    arrays: dict[str, NDArray[Any]] = {"steps": np.array(rows[0][0]["steps"], dtype=np.int32)}
    for name, parameter in SPACE.parameters.items():
        values = [row[0]["params"][name] for row in rows]
        if isinstance(parameter, Categorical):
            arrays[f"params/{name}"] = np.array([parameter.choices.index(value) for value in values], dtype=np.int8)
        else:
            arrays[f"params/{name}"] = np.array(values, dtype=np.float64)
    for metric in METRICS:
        curves = np.array([[run["curves"][metric] for run in row] for row in rows])
        arrays[f"curves/{metric}"] = _rounded(curves)
    arrays["seconds"] = np.array([[run["seconds"] for run in row] for row in rows], dtype=np.float32)
    np.savez_compressed(path, **arrays)
    return load(path)


def load(path: Path = FILE) -> Table:
    """The table in a file."""
    with np.load(path) as file:
        columns = {name: file[f"params/{name}"].tolist() for name in SPACE.parameters}
        for name, parameter in SPACE.parameters.items():
            if isinstance(parameter, Categorical):
                columns[name] = [parameter.choices[index] for index in columns[name]]
        n = len(file["seconds"])
        return Table(
            [{name: columns[name][i] for name in columns} for i in range(n)],
            file["steps"].astype(np.int64),
            {metric: file[f"curves/{metric}"].astype(np.float64) for metric in METRICS},
            file["seconds"].astype(np.float64),
        )


def _rounded(values: Array) -> NDArray[np.float32]:
    """To eleven binary digits, which hold the accuracies, multiples of 1/512, exactly, and let the rest be packed."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent).astype(np.float32)


# --- as a search problem ----------------------------------------------------------------------------------------------

N_TREES = 200

ALIKE = 40
"""A run's noise is drawn from so many rows, those whose final accuracy is nearest."""


class Surrogate:
    """What any configuration of the space would come to.

    Attributes:
        version: Of all that its figures depend on.
    """

    def __init__(self, table: Table) -> None:
        import sklearn
        from sklearn.ensemble import ExtraTreesRegressor

        accuracy = np.nan_to_num(table.curves[OBJECTIVE], nan=0.0)
        mean = accuracy.mean(axis=1)
        self._residuals: Array = accuracy - mean[:, None, :]
        # Runs differ from the mean of their three less than from the truth.
        self._residuals *= np.sqrt(accuracy.shape[1] / (accuracy.shape[1] - 1))
        self._finals: Array = np.sort(mean[:, -1])
        self._order = np.argsort(mean[:, -1], kind="stable")
        self._forest = ExtraTreesRegressor(N_TREES, min_samples_leaf=2, max_features=0.5, random_state=0)
        self._forest.fit(self._encoded(table.configurations), mean)
        self._known: dict[bytes, Array] = {}
        digest = hashlib.sha256(mean.tobytes() + Path(__file__).read_bytes())
        self.version = f"{digest.hexdigest()[:12]}-sklearn{sklearn.__version__}"

    def curve(self, params: Mapping[str, Any]) -> Array:
        """The expected accuracy at each step, shape (t,)."""
        row = self._encoded([params])
        key = row.tobytes()
        if key not in self._known:
            self._known[key] = self._forest.predict(row)[0]
        return self._known[key]

    def noisy(self, params: Mapping[str, Any], rng: np.random.Generator) -> Array:
        """The accuracies of one training, shape (t,)."""
        curve = self.curve(params)
        at = int(np.searchsorted(self._finals, curve[-1]))
        low = min(max(at - ALIKE // 2, 0), max(len(self._order) - ALIKE, 0))
        row = self._order[low + rng.integers(min(ALIKE, len(self._order)))]
        run = rng.integers(self._residuals.shape[1])
        return np.clip(curve + self._residuals[row, run], 0.0, 1.0)

    @staticmethod
    def _encoded(configurations: Iterable[Mapping[str, Any]]) -> Array:
        """Numbers in the unit interval, a column for each choice."""
        rows = []
        for params in configurations:
            row: list[float] = []
            for name, parameter in SPACE.parameters.items():
                if isinstance(parameter, Categorical):
                    row += [float(params[name] == choice) for choice in parameter.choices]
                else:
                    row.append(parameter.to_unit(params[name]))
            rows.append(row)
        return np.array(rows)
