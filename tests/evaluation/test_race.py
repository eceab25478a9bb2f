from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltune.evaluation.race import LEVEL, hopeless, spreads_around
from rltune.objective import Direction

BEST = {0: 0.50, 1: 0.62, 2: 0.41, 3: 0.55, 4: 0.47}

numbers = st.floats(-1e3, 1e3)
folds = st.dictionaries(st.integers(0, 9), numbers, max_size=10)
spreads = st.lists(st.floats(0, 1e3), max_size=5)


def shifted(by: Mapping[int, float]) -> dict[int, float]:
    return {fold: BEST[fold] + difference for fold, difference in by.items()}


class TestWhatItSays:
    def test_clearly_worse_is_hopeless_after_two_folds(self) -> None:
        assert hopeless(shifted({3: 0.30, 0: 0.31}), BEST, 5, "minimize")

    def test_clearly_better_is_not(self) -> None:
        assert not hopeless(shifted({3: -0.30, 0: -0.31}), BEST, 5, "minimize")

    def test_when_maximising_it_is_the_other_way_round(self) -> None:
        assert hopeless(shifted({3: -0.30, 0: -0.31}), BEST, 5, "maximize")
        assert not hopeless(shifted({3: 0.30, 0: 0.31}), BEST, 5, "maximize")

    def test_a_little_worse_within_the_noise_goes_on(self) -> None:
        assert not hopeless(shifted({0: 0.05, 1: -0.04, 2: 0.02}), BEST, 5, "minimize")

    def test_a_hard_fold_is_no_reason_to_stop(self) -> None:
        """Worse than the best's mean, but only because the folds so far are the hard ones."""
        best = {0: 9.0, 1: 8.9, 2: 1.0, 3: 1.1, 4: 0.9}
        assert not hopeless({0: 8.9, 1: 8.8}, best, 5, "minimize")

    def test_the_same_everywhere_goes_on(self) -> None:
        assert not hopeless({0: BEST[0], 1: BEST[1]}, BEST, 5, "minimize")
        assert hopeless(shifted({0: 0.25, 1: 0.25}), dict.fromkeys(BEST, 0.0), 5, "minimize")

    def test_it_has_less_to_prove_with_fewer_folds_to_come(self) -> None:
        values = shifted({0: 0.06, 1: 0.00, 2: 0.03})
        assert hopeless(values, BEST, 4, "minimize")
        assert not hopeless(values, BEST, 100, "minimize")


class TestEarlierSpreads:
    def test_two_folds_that_differ_equally_by_chance_prove_nothing_where_folds_differ_much(self) -> None:
        values = shifted({0: 0.020, 1: 0.021})
        assert hopeless(values, BEST, 5, "minimize")
        assert not hopeless(values, BEST, 5, "minimize", [0.05, 0.06, 0.04])

    def test_two_folds_suffice_where_configurations_are_known_to_differ_alike_on_all(self) -> None:
        values = shifted({0: 0.02, 1: 0.06})
        assert not hopeless(values, BEST, 5, "minimize")
        assert hopeless(values, BEST, 5, "minimize", [0.01, 0.012, 0.009])

    def test_one_wild_configuration_among_them_changes_little(self) -> None:
        values = shifted({0: 0.02, 1: 0.06})
        assert hopeless(values, BEST, 5, "minimize", [0.01, 0.012, 0.009, 50.0])

    def test_what_is_not_finite_counts_as_absent(self) -> None:
        values = shifted({0: 0.02, 1: 0.06})
        for unknown in (math.nan, math.inf):
            assert not hopeless(values, BEST, 5, "minimize", [unknown])
            assert hopeless(values, BEST, 5, "minimize", [0.01, unknown])

    def test_they_are_standard_deviations_of_differences_on_the_same_folds(self) -> None:
        others = [shifted({0: 1.0, 1: 2.0, 2: 3.0}), shifted(dict.fromkeys(BEST, 7.0)), {9: 1.0, 0: 2.0}]
        assert spreads_around(BEST, others) == pytest.approx([1.0, 0.0])

    def test_a_failed_fold_makes_a_spread_that_is_left_out(self) -> None:
        earlier = spreads_around(BEST, [{0: math.nan, 1: 1.0}, {0: math.inf, 1: 1.0}])
        assert not any(map(math.isfinite, earlier))


class TestNeverTrue:
    @given(values=folds, best=folds, earlier=spreads)
    def test_before_two_folds_that_both_have(
        self, values: dict[int, float], best: dict[int, float], earlier: list[float]
    ) -> None:
        if len(values.keys() & best.keys()) < 2:
            assert not hopeless(values, best, 10, "minimize", earlier)

    @given(values=folds, best=folds, earlier=spreads)
    def test_once_all_folds_are_done(
        self, values: dict[int, float], best: dict[int, float], earlier: list[float]
    ) -> None:
        assert not hopeless(values, best, len(values), "minimize", earlier)

    @given(best=folds, n_folds=st.integers(2, 10), earlier=spreads)
    def test_where_the_mean_so_far_is_not_worse(
        self, best: dict[int, float], n_folds: int, earlier: list[float]
    ) -> None:
        assert not hopeless(best, best, n_folds, "minimize", earlier)
        assert not hopeless({fold: value + 0.5 for fold, value in best.items()}, best, n_folds, "maximize", earlier)


@given(values=folds, best=folds, n_folds=st.integers(1, 15), earlier=spreads)
def test_both_directions_are_mirror_images(
    values: dict[int, float], best: dict[int, float], n_folds: int, earlier: list[float]
) -> None:
    mirrored, best_mirrored = ({fold: -value for fold, value in one.items()} for one in (values, best))
    assert hopeless(values, best, n_folds, "minimize", earlier) == hopeless(
        mirrored, best_mirrored, n_folds, "maximize", earlier
    )


@given(values=folds, best=folds, seed=st.randoms(use_true_random=False))
def test_the_order_of_the_folds_is_of_no_account(
    values: dict[int, float], best: dict[int, float], seed: random.Random
) -> None:
    order = seed.sample(sorted(values), len(values))
    # binary fractions, so that sums are exact in any order
    values, best = ({fold: round(value * 16) / 16 for fold, value in one.items()} for one in (values, best))
    assert hopeless({fold: values[fold] for fold in order}, best, 10, "minimize") == hopeless(
        values, best, 10, "minimize"
    )


class TestFailedFolds:
    any_number = st.floats(allow_nan=True, allow_infinity=True)
    any_folds = st.dictionaries(st.integers(0, 9), any_number, max_size=10)

    @given(values=any_folds, best=any_folds, earlier=st.lists(any_number, max_size=4))
    def test_no_value_makes_it_crash(
        self, values: dict[int, float], best: dict[int, float], earlier: list[float]
    ) -> None:
        for direction in ("minimize", "maximize"):
            assert hopeless(values, best, 10, direction, [abs(s) for s in earlier]) in (True, False)

    def test_nan_is_left_to_whoever_knows_its_cause(self) -> None:
        assert not hopeless({0: math.nan, 1: 99.0, 2: 99.1}, BEST, 5, "minimize")

    @pytest.mark.parametrize(("direction", "worst"), [("minimize", math.inf), ("maximize", -math.inf)])
    def test_an_infinitely_bad_fold_is_hopeless(self, direction: Direction, worst: float) -> None:
        assert hopeless({0: worst, 1: BEST[1]}, BEST, 5, direction)
        assert not hopeless({0: -worst, 1: BEST[1]}, BEST, 5, direction)

    def test_unless_the_best_failed_there_too(self) -> None:
        assert not hopeless({0: math.inf, 1: 0.62}, {**BEST, 0: math.inf}, 5, "minimize")

    def test_the_largest_numbers_do_no_harm(self) -> None:
        assert not hopeless({0: 1.7e308, 1: -1.7e308}, dict.fromkeys(BEST, 0.0), 5, "minimize", [1.7e308])


class TestHowOftenItIsWrong:
    """A configuration exactly as good as the best: how often is it stopped although its mean over all folds is better?

    One answer is wrong with a probability below `LEVEL`; a race of 5 folds asks up to three times.
    """

    @staticmethod
    def false_stops(draw: Callable[[random.Random], float], earlier: list[float]) -> float:
        generator = random.Random(0)
        wrong = 0
        n_races = 4000
        for _ in range(n_races):
            best = {fold: generator.gauss(0, 10) for fold in range(5)}
            values = {fold: value + draw(generator) for fold, value in best.items()}
            stopped = any(
                hopeless({fold: values[fold] for fold in range(n)}, best, 5, "minimize", earlier) for n in range(2, 5)
            )
            wrong += stopped and sum(values.values()) < sum(best.values())
        return wrong / n_races

    @pytest.mark.parametrize("earlier", [[], [1.0, 1.1, 0.9]])
    def test_with_normal_differences(self, earlier: list[float]) -> None:
        assert self.false_stops(lambda generator: generator.gauss(0, 1), earlier) < LEVEL

    def test_with_heavy_tails(self) -> None:
        def draw(generator: random.Random) -> float:
            """Student's t with 2 degrees of freedom."""
            return generator.gauss(0, 1) / math.sqrt(generator.expovariate(1))

        assert self.false_stops(draw, []) < LEVEL
