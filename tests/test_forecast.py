"""What a training will come to, from how it has begun and from how the others went."""

import math

import numpy as np
import pytest

from rltune.forecast import FRACTIONS, Scale, fit, on_grid

HORIZON = 54
TIME = np.arange(1, HORIZON + 1) / HORIZON


def trainings(n, seed, shape):
    """Curves of n configurations, as (n, 54), the last value of each being its final one."""
    rng = np.random.default_rng(seed)
    end = rng.uniform(0.2, 0.9, n)
    return np.array([shape(each, rng) for each in end]) + 0.01 * rng.standard_normal((n, HORIZON))


def power_law(end, rng):
    return end + 0.5 * (TIME ** -rng.uniform(0.4, 0.6) - 1)


def late(end, rng):
    return np.where(TIME < 0.6, rng.uniform(0.8, 1.0), end)


def rows_of(curves, until=1.0):
    steps = round(until * HORIZON)
    return np.array([on_grid({s + 1: float(v) for s, v in enumerate(c[:steps])}, HORIZON) for c in curves])


def forecast_at_a_third(shape, n):
    """Errors of the forecast and of the last value, and how often the middle 80 % hold the truth."""
    seen, new = trainings(n, 0, shape), trainings(200, 1, shape)
    forecaster = fit(rows_of(seen), seen[:, -1])
    mean, sd = forecaster.scale.read(*forecaster.predict(rows_of(new, 1 / 3)))
    truth, last = new[:, -1], new[:, HORIZON // 3 - 1]
    return abs(mean - truth).mean(), abs(last - truth).mean(), float(np.mean(abs(mean - truth) < 1.2816 * sd))


def test_better_than_the_last_value_and_as_sure_as_it_ought_to_be():
    error, of_last, covered = forecast_at_a_third(power_law, 20)
    assert error < 0.35 * of_last
    assert covered > 0.75  # this simple shape is told better than the prior lets it believe


def test_where_the_beginning_tells_nothing_it_says_what_is_common():
    error, of_last, covered = forecast_at_a_third(late, 20)
    assert error < of_last
    assert 0.65 < covered < 0.97


def test_that_only_good_beginnings_were_let_run_on_does_not_mislead():
    curves = trainings(120, 0, power_law)
    rows, finals = rows_of(curves), curves[:, -1].copy()
    cut = rows[:, 2] > np.quantile(rows[:, 2], 0.15)
    rows[cut, 3:], finals[cut] = math.nan, math.nan
    forecaster = fit(rows, finals)
    mean, _ = forecaster.scale.read(*forecaster.predict(np.full((1, 12), math.nan)))
    everything = np.median(curves[:, -1])
    assert abs(mean[0] - everything) < 0.6 * abs(np.nanmedian(finals) - everything)


def test_more_of_a_curve_makes_it_surer():
    seen = trainings(20, 0, power_law)
    forecaster = fit(rows_of(seen), seen[:, -1])
    sds = [forecaster.predict(rows_of(seen[:1], until))[1][0] for until in (0.04, 0.12, 0.34, 0.67, 1.0)]
    assert sds == sorted(sds, reverse=True)


def test_nothing_to_go_by():
    assert fit(np.full((3, 12), math.nan), np.full(3, math.nan)) is None
    assert fit(np.ones((1, 12)), np.ones(1)) is None
    equal = fit(np.ones((5, 12)), np.ones(5))
    assert equal.scale.read(*equal.predict(np.ones((1, 12))))[0] == pytest.approx(1.0)


def test_a_training_that_ended_by_itself_before_the_last_step_counts():
    curves = trainings(20, 0, power_law)
    rows = rows_of(curves)
    rows[:5, 9:] = math.nan
    assert fit(rows, curves[:, -1]).weight == fit(rows_of(curves), curves[:, -1]).weight


class TestOnGrid:
    def test_means_of_what_came_since_the_fraction_before(self):
        row = on_grid({step: float(step) for step in range(1, 28)}, 27)
        assert row[:4] == pytest.approx([1.0, 2.0, 3.0, 4.0])
        assert row[4] == pytest.approx(5.5)
        assert row[-1] == pytest.approx(26.0)

    def test_beyond_the_last_step_and_before_the_first(self):
        row = on_grid({9: 0.5, 10: math.nan}, 27)
        assert row[:6] == pytest.approx([0.5] * 6)
        assert np.isnan(row[6:]).all()
        assert np.isnan(on_grid({}, 27)).all()
        assert np.isnan(on_grid({5: math.nan}, 27)).all()

    def test_steps_that_miss_the_fractions(self):
        row = on_grid({40: 0.4, 80: 0.3}, 80)
        assert row[FRACTIONS < 1] == pytest.approx([0.4] * 11)
        assert row[-1] == pytest.approx(0.3)


def test_a_scale_goes_there_and_back_and_beyond():
    values = np.array([-96.0, -95.0, -94.5, -94.0, -92.0, -60.0, -30.0])
    scale = Scale.of(values)
    scores = scale.scored(np.array([-97.0, *values, -20.0]))
    assert (np.diff(scores) > 0).all()
    back, sd = scale.read(scores[1:-1], np.full(7, 0.1))
    assert back == pytest.approx(values)
    assert (sd > 0).all()
    assert np.isnan(scale.scored(np.array([math.nan]))).all()
