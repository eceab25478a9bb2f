"""The model behind `algorithm: auto`: its gradients, its acquisition, what it makes of noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from rltune.samplers.auto.acquire import log_improvement
from rltune.samplers.auto.encode import Columns
from rltune.samplers.auto.gp import DRAWN, SCALE_SD, Posterior, condition, fit, loss
from rltune.samplers.auto.kernel import pairs
from rltune.samplers.auto.recommend import beliefs, recommend
from rltune.samplers.auto.transform import half_ranked
from rltune.space import SearchSpace

MIXED = SearchSpace.from_mapping(
    {
        "lr": ("float", 1e-6, 1e-2, {"log": True}),
        "beta": {"type": "float", "min": 1e-3, "max": 0.1, "log": True, "zero": 0.3},
        "steps": ("float", 0.1, 0.9, {"step": 0.2}),
        "layers": ("int", 1, 100, {"log": True}),
        "many": ("int", 0, 5000),
        "optimizer": ("categorical", ["adamw", None, 8]),
        "momentum": ("float", 0.8, 0.99, {"when": "optimizer == 8"}),
        "constant": ("int", 7, 7),
    }
)


def rows(n: int, seed: int = 0) -> tuple[Columns, Any]:
    columns, rng = Columns(MIXED), np.random.default_rng(seed)
    return columns, np.array([columns.write(MIXED.sample(rng)) for _ in range(n)])


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences() -> None:
    columns, x = rows(20)
    rng = np.random.default_rng(1)
    y, theta, h = rng.standard_normal(20), 0.5 * rng.standard_normal(len(columns) + 2), 1e-5
    between = pairs(x, columns.is_choice)
    doubt = rng.uniform(0.0, 0.5, 20)
    _, gradient = loss(theta, between, y, doubt)
    ends = [[loss(theta + side * h * unit, between, y, doubt)[0] for side in (1, -1)] for unit in np.eye(len(theta))]
    np.testing.assert_allclose(gradient, [(up - down) / (2 * h) for up, down in ends], rtol=1e-5, atol=1e-6)


def test_the_model_agrees_with_the_textbook() -> None:
    """Rasmussen and Williams 2006, eq. 2.25 and 2.26, with matrices written out."""
    columns, x = rows(12)
    y = np.random.default_rng(1).standard_normal(12)
    theta = fit(x, y, np.zeros(len(y)), columns.is_choice)
    at, seen = x[:4], x[4:]
    model = condition(seen, y[4:], np.zeros(len(seen)), x[:0], columns.is_choice, theta)
    mean, sd = model.predict(at)

    def k(a: Any, b: Any) -> Any:
        apart = a[:, None] - b[None]
        apart[..., columns.is_choice] = apart[..., columns.is_choice] != 0
        r = np.sqrt(5 * ((apart / np.exp(theta[:-2])) ** 2).sum(-1))
        return np.exp(theta[-2]) * (1 + r + r**2 / 3) * np.exp(-r) + 1.0

    cov = k(seen, seen) + (np.exp(theta[-1]) + 1e-6) * np.eye(8)
    cross = k(at, seen)
    np.testing.assert_allclose(mean, cross @ np.linalg.solve(cov, y[4:]), rtol=1e-6)
    np.testing.assert_allclose(sd**2, np.diag(k(at, at) - cross @ np.linalg.solve(cov, cross.T)), rtol=1e-6)


def test_its_skill_is_that_of_leaving_each_value_out() -> None:
    columns, x = rows(12)
    y = np.sin(3.0 * x[:, 0]) + 0.1 * np.random.default_rng(1).standard_normal(12)
    theta, exact, running = fit(x, y, np.zeros(12), columns.is_choice), np.zeros(11), x[:2] * 0.9

    def foreseen(i: int) -> float:
        others = np.delete(x, i, axis=0), np.delete(y, i)
        model = condition(*others, exact, running, columns.is_choice, theta)
        return float(model.predict(x[[i]])[0][0])

    model, everyone = condition(x, y, np.zeros(12), running, columns.is_choice, theta), np.arange(12)
    for counted in (everyone, everyone[:8]):
        missed = [y[i] - foreseen(i) for i in counted]
        missed_by_mean = [y[i] - np.delete(y[counted], i).mean() for i in counted]
        skill = 1 - np.dot(missed, missed) / np.dot(missed_by_mean, missed_by_mean)
        assert model.skill(y, np.isin(everyone, counted)) == pytest.approx(skill)
        assert skill > 0.3
    flat = condition(x, 0 * y, np.zeros(12), running, columns.is_choice, theta)
    assert flat.skill(0 * y, everyone >= 0) == 0


def test_many_values_leave_little_doubt_of_theta() -> None:
    """What they say nothing about stays as it was: here, the length-scale of a choice that never differs."""

    def doubt(n: int) -> Any:
        x = np.column_stack([np.random.default_rng(0).random(n), np.zeros(n)])
        y = np.sin(9.0 * x[:, 0]) + 0.1 * np.random.default_rng(1).standard_normal(n)
        told = x, y, np.zeros(n), np.array([False, True])
        posterior = Posterior(fit(*told), *told)
        draws = [posterior.draw(np.random.default_rng(i)) - posterior.best for i in range(400)]
        return np.std(draws, axis=0)

    few, many = doubt(6), doubt(100)
    assert (many[[0, 3]] < [0.4 * few[0], 0.3 * few[3]]).all()  # of what differs, and of the noise
    np.testing.assert_allclose([few[1], many[1]], DRAWN * SCALE_SD, rtol=0.15)


def test_what_runs_takes_away_doubt_and_leaves_the_mean() -> None:
    columns, x = rows(16)
    y = np.random.default_rng(1).standard_normal(12)
    theta = fit(x[:12], y, np.zeros(12), columns.is_choice)
    alone, with_running = (condition(x[:12], y, np.zeros(12), r, columns.is_choice, theta) for r in (x[:0], x[12:14]))
    for (mean, sd), (same_mean, less_sd) in [(alone.predict(x[12:]), with_running.predict(x[12:]))]:
        np.testing.assert_allclose(mean, same_mean)
        assert np.all(less_sd <= sd + 1e-9)
        assert less_sd[0] < 0.9 * sd[0]


@pytest.mark.parametrize("z", [3.0, 0.0, -0.9, -1.1, -6.0])
def test_the_expected_improvement_is_its_integral(z: float) -> None:
    mean, sd = np.array([2.0]), np.array([0.5])
    best = 2.0 + z * 0.5
    expected, _ = quad(lambda f: (best - f) * norm.pdf(f, 2.0, 0.5), best - 20 * 0.5, best, epsabs=0, epsrel=1e-10)
    assert log_improvement(mean, sd, best)[0] == pytest.approx(np.log(expected), rel=1e-6)


def test_far_from_the_best_the_improvement_still_has_a_slope() -> None:
    scores = log_improvement(np.array([40.0, 400.0, 4e4, 4e6]), np.ones(4), 0.0)
    assert np.all(np.isfinite(scores))
    assert np.all(np.diff(scores) < 0)
    near, far = log_improvement(np.array([999.99, 1000.01]), np.ones(2), 0.0)
    assert near - far == pytest.approx(0.02 * 1000, rel=1e-3)  # no step where the formula changes


def test_rows_lead_back_to_their_configurations() -> None:
    columns, rng = Columns(MIXED), np.random.default_rng(0)
    for _ in range(100):
        params = MIXED.sample(rng)
        row = columns.write(params)
        np.testing.assert_array_equal(columns.tidy(row[None], {})[0], row)
        read = columns.read(row)
        assert read.keys() == params.keys()
        assert all(read[name] == value or read[name] == pytest.approx(value) for name, value in params.items())


def test_steps_stay_in_the_space_and_change_something() -> None:
    columns, x = rows(50)
    rng = np.random.default_rng(0)
    for width in (0.5, 0.01):
        moved = columns.tidy(columns.nudge(x, rng, width), {0: 0.25})
        assert np.all(moved[:, 0] == 0.25)
        assert all(MIXED.is_feasible(columns.read(row)) for row in moved)
        assert np.mean(np.any(moved[:, 1:] != x[:, 1:], axis=1)) > 0.5


def test_one_disaster_does_not_drown_the_differences() -> None:
    y = np.array([1.0, 1.1, 1.2, 1.3, 1e9])
    shown = half_ranked(y)
    assert np.all(np.diff(shown) > 0)
    assert shown[1] - shown[0] == pytest.approx(shown[2] - shown[1])  # the better half as it is
    assert shown[4] - shown[3] < 5 * (shown[1] - shown[0])
    np.testing.assert_array_equal(half_ranked(np.ones(4)), np.zeros(4))


# -- what to keep ------------------------------------------------------------------------------------------------------

LINE = SearchSpace.from_mapping({"x": ("float", 0.0, 1.0), "y": ("float", 0.0, 1.0)})


def truth(params: Any) -> float:
    return float((params["x"] - 0.3) ** 2 + 0.5 * (params["y"] - 0.6) ** 2)


def runs(sd: float, seed: int) -> tuple[list[dict[str, Any]], list[float]]:
    rng = np.random.default_rng(seed)
    configurations = [LINE.sample(rng) for _ in range(60)]
    return configurations, [truth(c) + sd * float(rng.standard_normal()) for c in configurations]


def test_under_noise_it_keeps_a_better_configuration_than_the_luckiest() -> None:
    regrets, lucky = [], []
    for seed in range(30):
        configurations, values = runs(0.1, seed)
        regrets.append(truth(configurations[recommend(LINE, configurations, values).index]))
        lucky.append(truth(configurations[int(np.argmin(values))]))
    assert np.mean(regrets) < 0.7 * np.mean(lucky)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_without_noise_it_keeps_the_best_value(direction: Any) -> None:
    configurations, values = runs(0.0, 0)
    signed = values if direction == "minimize" else [-value for value in values]
    kept = recommend(LINE, configurations, signed, direction)
    assert values[kept.index] <= min(values) + 1e-3
    assert kept.mean == pytest.approx(signed[kept.index], abs=0.01)
    rough = np.random.default_rng(0).permutation(values).tolist()  # no shape at all, but equal runs are equal
    kept = recommend(LINE, [*configurations, configurations[5]], [*rough, rough[5]])
    assert rough[kept.index] == min(rough)


def test_what_a_smooth_model_cannot_follow_is_not_taken_for_noise() -> None:
    lost = []
    for seed in range(12):
        configurations, smooth = runs(0.0, seed)
        values = [
            value + 0.03 * math.sin(60 * c["x"]) * math.sin(70 * c["y"])
            for c, value in zip(configurations, smooth, strict=True)
        ]
        lost.append(values[recommend(LINE, configurations, values).index] - min(values))
    assert np.mean(lost) < 0.003  # a tenth of the ripples' height


def test_runs_of_one_configuration_share_one_belief() -> None:
    configurations, values = runs(0.1, 0)
    luckiest = int(np.argmin(values))
    once = beliefs(LINE, configurations, values)
    again = beliefs(LINE, [*configurations, configurations[luckiest]], [*values, values[luckiest] + 0.5])
    assert again[0][-1] == pytest.approx(again[0][luckiest])
    assert again[1][-1] == pytest.approx(again[1][luckiest])
    assert again[0][luckiest] > once[0][luckiest] + 0.01  # luck that did not come back


def test_beliefs_cover_the_truth() -> None:
    covered = []
    for seed in range(8):
        configurations, values = runs(0.1, seed)
        means, sds = beliefs(LINE, configurations, values)
        good = np.argsort(means)[:20]  # the scale is that of the better half
        covered.append(np.abs(means - [truth(c) for c in configurations])[good] < 2 * sds[good])
        assert np.all(sds[good] < 0.1)
    assert np.mean(covered) > 0.75


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [float("nan")]])
def test_it_needs_a_finite_value_for_each_configuration(values: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite value for each"):
        recommend(LINE, [{"x": 0.1, "y": 0.1}], values)
