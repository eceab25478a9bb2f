from __future__ import annotations

import math
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rltune.analysis.statistics import (
    Normal,
    Spread,
    difference,
    expected_gain,
    minimum_detectable_gain,
    pooled_spread,
    population,
    posterior,
    probability_better,
)

numbers = st.floats(-1e3, 1e3)
runs = st.lists(numbers, min_size=1, max_size=6)


class TestSpread:
    def test_one_group_without_a_prior_is_its_own_sd(self) -> None:
        values = [61.0, 63.5, 60.2, 64.9]
        assert pooled_spread([values]).sd == pytest.approx(stdev(values))
        assert pooled_spread([values]).freedom == 3

    def test_single_runs_say_nothing(self) -> None:
        found = pooled_spread([[1.0], [9.0]])
        assert math.isnan(found.sd)
        assert found.freedom == 0

    def test_two_runs_that_agree_by_chance_do_not_make_the_noise_vanish(self) -> None:
        found = pooled_spread([[60.0, 60.0]], prior=Spread(2.5, 3))
        assert found.sd == pytest.approx(2.5 * math.sqrt(3 / 4))

    def test_many_runs_outweigh_the_prior(self) -> None:
        values = np.random.default_rng(0).normal(0, 1.0, 500).tolist()
        assert pooled_spread([values], prior=Spread(5.0, 3)).sd == pytest.approx(1.0, abs=0.15)

    def test_configurations_differ_without_widening_it(self) -> None:
        assert pooled_spread([[10.0, 12.0], [90.0, 92.0]]).sd == pytest.approx(math.sqrt(2))


class TestShrinkage:
    def test_the_lucky_run_is_drawn_back(self) -> None:
        prior = Normal(50.0, 9.0)
        assert posterior(prior, [60.0], 6.25).mean == pytest.approx((50 / 9 + 60 / 6.25) / (1 / 9 + 1 / 6.25))

    def test_more_runs_shrink_less(self) -> None:
        prior = Normal(50.0, 9.0)
        means = [posterior(prior, [60.0] * n, 6.25).mean for n in (1, 2, 5, 50)]
        assert means == sorted(means)
        assert means[-1] == pytest.approx(60.0, abs=0.2)

    def test_without_a_prior_it_is_the_plain_mean(self) -> None:
        found = posterior(Normal(0.0, math.inf), [1.0, 3.0], 4.0)
        assert (found.mean, found.var) == (2.0, 2.0)

    def test_without_runs_it_is_the_prior(self) -> None:
        assert posterior(Normal(3.0, 2.0), [], 4.0) == Normal(3.0, 2.0)

    @given(runs, numbers, st.floats(0.01, 100.0), st.floats(0.01, 100.0))
    def test_it_lies_between_prior_and_mean(self, values: list[float], mean: float, var: float, noise: float) -> None:
        found = posterior(Normal(mean, var), values, noise)
        low, high = sorted((mean, fmean(values)))
        assert low - 1e-6 <= found.mean <= high + 1e-6
        assert found.var < var

    def test_what_collapsed_does_not_make_luck_look_true(self) -> None:
        good = [58.0, 60.0, 61.0, 62.0, 64.0]
        assert population([*good, 0.0, 0.0, 0.0]).var < 4 * population(good).var
        assert population([7.0, 7.0]) == Normal(7.0, 0.0)


class TestMinimumDetectableGain:
    def test_the_rule_of_thumb(self) -> None:
        assert minimum_detectable_gain(Spread(2.5, math.inf), 3, 3) == pytest.approx(
            2.8 * 2.5 * math.sqrt(2 / 3), rel=0.01
        )

    def test_an_estimated_sd_detects_less(self) -> None:
        assert minimum_detectable_gain(Spread(2.5, 4), 3, 3) > 1.2 * minimum_detectable_gain(
            Spread(2.5, math.inf), 3, 3
        )

    def test_it_has_the_power_that_it_says(self) -> None:
        known = Spread(1.0, 1e6)
        true = minimum_detectable_gain(known, 4, 4)
        generator = np.random.default_rng(0)
        found = [
            difference(generator.normal(true, 1, 4).tolist(), generator.normal(0, 1, 4).tolist(), known).significant
            for _ in range(2000)
        ]
        assert np.mean(found) == pytest.approx(0.8, abs=0.03)

    def test_no_run_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="got 0 and 3"):
            minimum_detectable_gain(Spread(1.0, 3), 0, 3)


def covers(n: int, noise: str, earlier: bool, studies: int = 3000) -> float:
    """How often the interval holds a true gain of 1.5."""
    generator = np.random.default_rng(n)

    def draw(size: int) -> list[float]:
        unit = generator.standard_t(3, size) / math.sqrt(3) if noise == "t3" else generator.normal(size=size)
        return (2.5 * unit).tolist()

    held = 0
    for _ in range(studies):
        known = pooled_spread([draw(3), draw(2), draw(2)]) if earlier else Spread(math.nan, 0)
        found = difference([1.5 + v for v in draw(n)], draw(n), known)
        held += found.low <= 1.5 <= found.high
    return held / studies


class TestDifference:
    def test_alone_it_is_student_s_t(self) -> None:
        a, b = [63.1, 61.0, 64.2], [60.0, 62.2, 59.1]
        found = difference(a, b)
        theirs = stats.ttest_ind(a, b).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
        assert found.p_better == pytest.approx(1 - stats.ttest_ind(a, b, alternative="greater").pvalue)

    @pytest.mark.parametrize("n", [2, 3, 5])
    @pytest.mark.parametrize("noise", ["gaussian", "t3"])
    @pytest.mark.parametrize("earlier", [True, False])
    def test_few_seeds_cover_what_they_promise(self, n: int, noise: str, earlier: bool) -> None:
        assert 0.93 <= covers(n, noise, earlier) <= 0.98

    def test_a_bootstrap_of_three_would_not(self) -> None:
        """Why it is not used for a claim."""
        rng = np.random.default_rng(0)
        runs_of_three = rng.normal(size=(200, 3))
        drawn = runs_of_three[:, rng.integers(3, size=(200, 3))].mean(axis=-1)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
        assert ((low <= 0) & (high >= 0)).mean() < 0.88

    def test_earlier_runs_narrow_it(self) -> None:
        a, b = [63.1, 61.0, 64.2], [60.0, 62.2, 59.1]
        alone, with_earlier = difference(a, b), difference(a, b, Spread(1.7, 8))
        assert with_earlier.high - with_earlier.low < alone.high - alone.low

    def test_one_run_each_and_nothing_known_promises_nothing(self) -> None:
        found = difference([70.0], [10.0])
        assert (found.low, found.high, found.p_better) == (-math.inf, math.inf, 0.5)
        assert not found.significant

    def test_an_empty_arm_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="got 0 and 1"):
            difference([], [1.0])


class TestProbabilities:
    def test_few_degrees_of_freedom_are_less_sure(self) -> None:
        assert 0.5 < probability_better(2.0, 1.0, 2) < probability_better(2.0, 1.0, 20) < probability_better(2.0, 1.0)

    def test_nothing_known_is_even_odds(self) -> None:
        assert probability_better(5.0, math.nan, 0) == 0.5

    def test_no_noise_is_certain(self) -> None:
        assert [probability_better(gain, 0.0) for gain in (-1.0, 0.0, 1.0)] == [0.0, 0.5, 1.0]

    @given(st.floats(-5, 5), st.floats(0.1, 5))
    def test_the_expected_gain_is_that_of_one_who_may_decline(self, gain: float, error: float) -> None:
        assert expected_gain(gain, error) >= max(gain, 0.0) - 1e-12
        assert expected_gain(gain, error) - expected_gain(-gain, error) == pytest.approx(gain, abs=1e-9)

    def test_its_value(self) -> None:
        drawn = np.random.default_rng(0).normal(0.4, 1.5, 200_000)
        assert expected_gain(0.4, 1.5) == pytest.approx(np.maximum(drawn, 0).mean(), abs=0.01)
