"""`python -m benchmarks.search.forecast`: what a training will come to, told a third of the way through.

Of each problem with curves, so many trainings of random configurations have ended, and others are a third through. How
far the forecasts of their final values are off is set against taking the last value for the final one, and against two
fits to each curve alone: a power law, and the one among a power law, an exponential and the last value that told the
latest fifth of that curve best. Made-up problems know their truth without noise; it is the final value with its noise
that is told here, as a study sees it.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.search import problems
from benchmarks.search.__main__ import DATA
from benchmarks.search.tables import markdown
from rltune.forecast import FRACTIONS, Array, fit, on_grid

ENDED = (4, 8, 16, 32)
"""Trainings that have come to their end; as many more were stopped at a ninth."""

TOLD = 30
REPEATS = 20
AT = 1 / 3
EIGHTY = 1.2816
"""Standard deviations on each side of the mean that hold 80 % of a normal distribution."""

POWERS = (0.25, 0.5, 1.0, 2.0)
RATES = (1.0, 2.0, 4.0, 8.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search.forecast",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = os.environ.get(DATA)
    parser.add_argument("--data", type=Path, default=data and Path(data), help=f"others' tables; by default {DATA}")
    parser.add_argument("--runs", type=Path, help="runs, a JSON line each, with steps, final, and hist of val_reward")
    options = parser.parse_args()
    rows = [
        ("trainings", "ended", "rltune", "power law", "best fit", "rltune's 80 % hold"),
        *(
            (name, str(n), *(f"{error:.2f}" for error in errors), f"{covered:.0%}")
            for name, values in _trainings(options.data, options.runs).items()
            for n in ENDED
            for errors, covered in [compare(values, n)]
        ),
    ]
    print("Mean absolute error of the final value, in parts of that of the last value:\n")
    print("\n".join(markdown(rows)))


def _trainings(data: Path | None, runs: Path | None) -> Mapping[str, Array]:
    """By name, curves on the grid and their final values, shape (n, 13)."""
    found = {}
    for name in problems.names(data, curves=True):
        problem, rng = problems.load(name, data), np.random.default_rng(1)
        assert problem.curve is not None
        curves = [problem.curve(problem.space.sample(rng), rng) for _ in range(300)]
        given = [(dict(enumerate(map(float, c), start=1)), problem.n_steps, float(c[-1])) for c in curves]
        found[name] = _on_grid(given)
    if runs is not None:
        lines = [json.loads(line) for line in runs.read_text().splitlines()]
        given = [({h["step"]: -h["val_reward"] for h in run["hist"]}, run["steps"], -run["final"]) for run in lines]
        found[runs.stem] = _on_grid(given)
    return found


def _on_grid(trainings: Sequence[tuple[Mapping[int, float], int, float]]) -> Array:
    rows = [np.append(on_grid(curve, end), final) for curve, end, final in trainings if np.isfinite(final)]
    return np.array(rows)


def compare(trainings: Array, n: int) -> tuple[list[float], float]:
    """Errors beside that of the last value: rltune's, a power law's, the best fit's; and what rltune's 80 % hold."""
    rng, at = np.random.default_rng(0), int(np.count_nonzero(FRACTIONS <= AT + 1e-9))
    told: dict[str, list[Array]] = {"last": [], "rltune": [], "power": [], "fit": []}
    held = []
    for _ in range(REPEATS):
        order = rng.permutation(len(trainings))
        seen, short, new = np.split(trainings[order[: 2 * n + TOLD]], [n, 2 * n])
        short = short.copy()
        short[:, 3:] = np.nan
        both = np.vstack([seen, short])
        forecaster = fit(both[:, :-1], both[:, -1])
        assert forecaster is not None
        begun = np.where(np.arange(len(FRACTIONS)) < at, new[:, :-1], np.nan)
        mean, sd = forecaster.predict(begun)
        low, middle, high = (
            np.interp(z, forecaster.scale.scores, forecaster.scale.values)
            for z in (mean - EIGHTY * sd, mean, mean + EIGHTY * sd)
        )
        truth = new[:, -1]
        held.append((low <= truth) & (truth <= high))
        told["rltune"].append(np.abs(middle - truth))
        told["last"].append(np.abs(new[:, at - 1] - truth))
        told["power"].append(np.abs(np.array([_power_law(row[:at]) for row in new]) - truth))
        told["fit"].append(np.abs(np.array([_best_fit(row[:at]) for row in new]) - truth))
    last = float(np.mean(told["last"]))
    return [float(np.mean(told[name])) / last for name in ("rltune", "power", "fit")], float(np.mean(held))


def _power_law(begun: Array) -> float:
    """a + b u^-c by least squares, c on a grid."""
    return min(_fits(begun, FRACTIONS[: len(begun)], [lambda u, c=c: u**-c for c in POWERS]))[1]


def _best_fit(begun: Array) -> float:
    """Of a power law, an exponential and the last value, that which told the latest values from those before them."""
    known, held_out = len(begun) - 2, begun[-2:]
    shapes: list[Callable[[Array], Array]] = [lambda u, c=c: u**-c for c in POWERS]
    shapes += [lambda u, r=r: np.exp(-r * u) for r in RATES]
    errors = [float(np.abs(held_out - begun[known - 1]).mean())]
    for shape in shapes:
        a, b = _line(shape(FRACTIONS[:known]), begun[:known])
        errors.append(float(np.abs(a + b * shape(FRACTIONS[known : known + 2]) - held_out).mean()))
    best = int(np.argmin(errors))
    if best == 0:
        return float(begun[-1])
    shape = shapes[best - 1]
    a, b = _line(shape(FRACTIONS[: len(begun)]), begun)
    return float(a + b * shape(np.ones(1))[0])


def _fits(begun: Array, u: Array, shapes: Sequence[Callable[[Array], Array]]) -> Iterator[tuple[float, float]]:
    """Squared error and value at the end, by shape."""
    for shape in shapes:
        a, b = _line(shape(u), begun)
        yield float(((a + b * shape(u) - begun) ** 2).sum()), float(a + b * shape(np.ones(1))[0])


def _line(x: Array, y: Array) -> tuple[float, float]:
    slope = float(np.cov(x, y)[0, 1] / max(np.var(x, ddof=1), 1e-12))
    return float(y.mean() - slope * x.mean()), slope


if __name__ == "__main__":
    main()
