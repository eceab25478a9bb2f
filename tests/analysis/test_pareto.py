"""The front, its knee, picking by weights, and the hypervolume: against slower formulas and known values."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from rltune.analysis.pareto import (
    front,
    hypervolume,
    hypervolume_by_trial,
    knee,
    least_violating,
    non_domination_ranks,
    pareto,
    pick,
    reference_point,
)
from rltune.errors import InputError
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.types import Purpose

LOSS, SECONDS, BYTES = Objective("loss"), Objective("seconds"), Objective("bytes")
REWARD = Objective("reward", "maximize")
TWO, THREE = [LOSS, SECONDS], [LOSS, SECONDS, BYTES]


def trial(number, *values, missed=0.0, state=TrialState.COMPLETE, **fields):
    return TrialRecord(
        number, state, Purpose.SEARCH, {"x": number}, number, values or None, violations={"memory": missed}, **fields
    )


def trials(*points):
    return [trial(number, *values) for number, values in enumerate(points)]


def numbers(records):
    return [r.number for r in records]


def minimised(n):
    return [Objective(f"m{i}") for i in range(n)]


@st.composite
def points(draw, most=12, largest=4, dimensions=(1, 2, 3, 4)):
    """Whole numbers, so that ties and duplicates are common."""
    n = draw(st.sampled_from(dimensions))
    return draw(st.lists(st.tuples(*[st.integers(0, largest)] * n), min_size=1, max_size=most))


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


# --- the front -------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(points())
def test_the_front_is_what_no_other_dominates(given_points):
    records = trials(*given_points)
    expected = {i for i, p in enumerate(given_points) if not any(dominates(q, p) for q in given_points)}
    found = front(records, minimised(len(given_points[0])))
    assert {r.number for r in found} == expected
    assert [r.values for r in found] == sorted(r.values for r in found)


@settings(deadline=None)
@given(points(), st.data())
def test_a_maximised_objective_is_the_negated_one_minimised(given_points, data):
    n = len(given_points[0])
    flipped = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    mirrored = [tuple(-v if flip else v for v, flip in zip(p, flipped, strict=True)) for p in given_points]
    objectives = [Objective(f"m{i}", "maximize" if flip else "minimize") for i, flip in enumerate(flipped)]
    plain, other = pareto(trials(*given_points), minimised(n)), pareto(trials(*mirrored), objectives)
    assert numbers(plain.front) == numbers(other.front)
    assert plain.ranks == other.ranks
    assert plain.knee.number == other.knee.number
    assert plain.hypervolume == pytest.approx(other.hypervolume)


def test_the_best_in_the_first_objective_comes_first_whichever_way_it_goes():
    records = trials((0.5, 1.0), (0.9, 3.0), (0.7, 2.0))
    assert numbers(front(records, [REWARD, SECONDS])) == [1, 2, 0]
    assert numbers(front(records, [LOSS, SECONDS])) == [0]


def test_what_is_never_on_the_front():
    records = [
        trial(0, 0.5, 0.5),
        trial(1, 0.1, 0.1, missed=2.0),
        trial(2, math.nan, 0.0),
        trial(3, 0.0, -math.inf),
        trial(4, 0.1, 0.1, state=TrialState.PRUNED),
        trial(5, state=TrialState.FAIL),
        trial(6, state=TrialState.RUNNING),
        trial(7, 0.2, 0.2),
        trial(8, 0.6, 0.4, retry_of=7),
    ]
    assert numbers(front(records, TWO)) == [0, 8]
    assert non_domination_ranks(records, TWO) == {0: 1, 8: 1, 1: 2}


def test_equal_trials_are_all_on_the_front_and_cover_no_more():
    records = trials((1.0, 2.0), (2.0, 1.0), (1.0, 2.0), (2.0, 2.0))
    assert numbers(front(records, TWO)) == [0, 2, 1]
    reference = {"loss": 3.0, "seconds": 3.0}
    assert hypervolume(records, TWO, reference) == hypervolume(records[:2], TWO, reference) == 3.0


def test_where_nothing_is_feasible_the_front_is_empty_and_the_nearest_are_told():
    records = [trial(0, 0.1, 0.1, missed=3.0), trial(1, 0.9, 0.9, missed=1.0), trial(2, 0.5, 0.9, missed=1.0)]
    found = pareto(records, TWO)
    assert found.front == ()
    assert numbers(found.least_violating) == [1, 2]
    assert (found.knee, found.reference, found.hypervolume) == (None, None, 0.0)
    assert found.ranks == {0: 2, 1: 1, 2: 1}
    assert pick(records, TWO, {"loss": 1.0}) is None
    assert least_violating([*records, trial(3, 5.0, 5.0)], TWO) == []


def test_a_study_without_trials():
    found = pareto([], THREE)
    assert (found.front, found.least_violating, found.ranks, found.progress) == ((), (), {}, {})


def test_one_objective_has_a_front_of_its_best():
    found = pareto([*trials((0.5,), (0.2,), (0.9,)), trial(3, 0.1, missed=1.0)], [LOSS])
    assert numbers(found.front) == [1]
    assert found.knee.number == 1
    assert found.ranks == {0: 2, 1: 1, 2: 3, 3: 4}


@settings(deadline=None)
@given(points(), st.data())
def test_ranks_peel_one_front_after_the_other(given_points, data):
    missed = data.draw(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0]), min_size=len(given_points)))
    records = [trial(i, *p, missed=m) for i, (p, m) in enumerate(zip(given_points, missed, strict=False))]
    objectives, expected = minimised(len(given_points[0])), {}
    left, rank = records, 1
    while layer := front(left, objectives) or least_violating(left, objectives):
        expected |= {r.number: rank for r in layer}
        left, rank = [r for r in left if r.number not in expected], rank + 1
    assert non_domination_ranks(records, objectives) == expected


# --- the knee --------------------------------------------------------------------------------------------------------


def test_the_knee_of_a_convex_front_is_its_bend():
    steep = [(x, 1 / x) for x in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
    assert knee(trials(*steep), TWO).values == (1.0, 1.0)
    uneven = [(0.0, 1.0), (0.05, 0.3), (0.25, 0.25), (1.0, 0.0)]  # 0.05 buys 0.7, then 0.2 buys 0.05
    assert knee(trials(*uneven), TWO).values == (0.05, 0.3)


def test_without_a_bend_the_most_balanced_stands_in():
    concave = [(math.sin(a), math.cos(a)) for a in (0.0, 0.4, math.pi / 4, 1.2, math.pi / 2)]
    assert knee(trials(*concave), TWO).number == 2
    straight = [(0.0, 1.0), (0.1, 0.9), (0.3, 0.7), (0.6, 0.4), (1.0, 0.0)]
    assert knee(trials(*straight), TWO).number == 3


def test_the_knee_of_three_objectives():
    corners = [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)]
    assert knee(trials(*corners, (0.5, 0.5, 0.5), (0.1, 0.6, 0.9)), THREE).number == 3
    convex = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.2, 0.2, 0.2), (0.1, 0.4, 0.3)]
    assert knee(trials(*convex), THREE).number == 3


def test_fronts_of_one_and_two_trials_and_flat_ones():
    assert knee(trials((3.0, 4.0)), TWO).number == 0
    assert knee(trials((2.0, 1.0), (1.0, 2.0)), TWO).number == 1  # the better one in the first objective
    assert knee(trials((1.0, 2.0), (1.0, 2.0)), TWO).number == 0
    flat = [(0.0, 1.0, 7.0), (0.2, 0.2, 7.0), (1.0, 0.0, 7.0)]  # no trade-off with the third
    assert knee(trials(*flat), THREE).number == 1
    assert knee([], TWO) is None


@settings(deadline=None)
@given(points(dimensions=(2, 3)), st.data())
def test_units_do_not_matter(given_points, data):
    n = len(given_points[0])
    scales = data.draw(st.lists(st.sampled_from([2.0**-20, 0.5, 1.0, 1024.0, 2.0**30]), min_size=n, max_size=n))
    rescaled = [tuple(v * s for v, s in zip(p, scales, strict=True)) for p in given_points]
    weights = {f"m{i}": float(i + 1) for i in range(n)}
    here, there, objectives = trials(*given_points), trials(*rescaled), minimised(n)
    assert knee(here, objectives).number == knee(there, objectives).number
    for how in ("sum", "chebyshev"):
        assert pick(here, objectives, weights, how).number == pick(there, objectives, weights, how).number


# --- picking ---------------------------------------------------------------------------------------------------------

CONCAVE = trials((0.0, 100.0), (0.6, 60.0), (0.9, 30.0), (1.0, 0.0))


def test_a_single_weight_takes_the_best_of_its_objective():
    assert pick(CONCAVE, TWO, {"loss": 2.0}).number == 0
    assert pick(CONCAVE, TWO, {"seconds": 0.1}).number == 3
    assert pick(CONCAVE, TWO, {"seconds": 1.0}, "chebyshev").number == 3


def test_only_chebyshev_reaches_the_hollow_of_a_front():
    reached = {how: set() for how in ("sum", "chebyshev")}
    for how, share in itertools.product(reached, range(1, 100)):
        reached[how].add(pick(CONCAVE, TWO, {"loss": share, "seconds": 100 - share}, how).number)
    assert reached == {"sum": {0, 3}, "chebyshev": {0, 1, 2, 3}}


def test_only_ratios_of_weights_matter():
    for loss in (0.5, 1.0, 2.0):
        picked = {pick(CONCAVE, TWO, {"loss": loss * k, "seconds": k}, "chebyshev").number for k in (1e-200, 1, 1e200)}
        assert len(picked) == 1


@settings(deadline=None)
@given(points(dimensions=(2, 3)), st.data())
def test_what_is_picked_is_on_the_front(given_points, data):
    n = len(given_points[0])
    weights = {f"m{i}": data.draw(st.floats(0.0, 1e6)) for i in range(n)} | {"m0": 1.0}
    how = data.draw(st.sampled_from(["sum", "chebyshev"]))
    picked = pick(trials(*given_points), minimised(n), weights, how)
    assert picked in front(trials(*given_points), minimised(n))


def test_a_weight_that_makes_no_sense_is_named():
    with pytest.raises(InputError) as caught:
        pick(CONCAVE, TWO, {"los": 1.0, "seconds": -2.0})
    assert [str(p) for p in caught.value.problems] == [
        "weights.los: is no objective of this study (did you mean `loss`?)",
        "weights.seconds: must be a number from 0 on, got -2.0",
    ]
    with pytest.raises(InputError, match="must be a number from 0 on, got nan"):
        pick(CONCAVE, TWO, {"loss": math.nan})
    for nothing in ({}, {"loss": 0.0, "seconds": 0.0}):
        with pytest.raises(InputError, match=r"weights: at least one must be above 0 \(the objectives are `loss`"):
            pick(CONCAVE, TWO, nothing)


# --- the hypervolume -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_points", "reference", "volume"),
    [
        ([(1.0,)], 4.0, 3.0),
        ([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], 4.0, 6.0),
        ([(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)], 2.0, 4.0),
        ([(1.0, 1.0, 1.0, 1.0)], 3.0, 16.0),
        ([(5.0, 0.0)], 4.0, 0.0),  # beyond the reference in one objective
        ([(4.0, 0.0)], 4.0, 0.0),
    ],
)
def test_known_volumes(given_points, reference, volume):
    objectives = minimised(len(given_points[0]))
    assert hypervolume(trials(*given_points), objectives, {o.metric: reference for o in objectives}) == volume


@settings(deadline=None)
@given(points(most=8, largest=3))
def test_the_volume_is_the_number_of_cells_that_are_dominated(given_points):
    n = len(given_points[0])
    cells = [c for c in itertools.product(range(4), repeat=n) if any(_covers(p, c) for p in given_points)]
    assert hypervolume(trials(*given_points), minimised(n), {f"m{i}": 4.0 for i in range(n)}) == len(cells)


def _covers(point, cell):
    return all(p <= c for p, c in zip(point, cell, strict=True))


@settings(deadline=None)
@given(points())
def test_the_volume_grows_with_the_trials_to_that_of_all(given_points):
    records, objectives = trials(*given_points), minimised(len(given_points[0]))
    by_trial = hypervolume_by_trial(records, objectives)
    reference = reference_point(records, objectives)
    assert list(by_trial) == numbers(records)
    for n in range(1, len(records) + 1):
        assert by_trial[n - 1] == pytest.approx(hypervolume(records[:n], objectives, reference))
    assert by_trial[0] > 0
    assert list(by_trial.values()) == sorted(by_trial.values())


def test_the_volume_stays_where_a_trial_is_infeasible():
    records = [trial(0, 0.1, 0.1, missed=1.0), trial(1, 1.0, 1.0), trial(2, 0.0, 0.0, missed=1.0)]
    volumes = hypervolume_by_trial(records, TWO, {"loss": 2.0, "seconds": 2.0})
    assert volumes == {0: 0.0, 1: 1.0, 2: 1.0}


def test_the_default_reference_lies_a_tenth_of_the_range_beyond_the_worst_feasible_trial():
    records = [*trials((0.2, 5.0), (0.7, 10.0)), trial(2, 0.0, 99.0, missed=1.0)]
    assert reference_point(records, [REWARD, SECONDS]) == pytest.approx({"reward": 0.15, "seconds": 10.5})
    assert reference_point(trials((0.0, -4.0)), [LOSS, REWARD]) == pytest.approx({"loss": 0.1, "reward": -4.4})


def test_a_reference_that_does_not_fit_is_refused():
    with pytest.raises(InputError) as caught:
        pareto(trials((1.0, 1.0)), TWO, {"second": 1.0, "loss": math.inf})
    assert [str(p) for p in caught.value.problems] == [
        "reference.second: is no objective of this study (did you mean `seconds`?)",
        "reference.loss: must be a finite number, got inf",
        "reference.seconds: is missing (give a number for each objective)",
    ]
