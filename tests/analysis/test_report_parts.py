"""What the report shows of single trials: their places and times, seeds, changes, and the smoothed objective."""

import math

from optuna.trial import TrialState

from analysis.study_records import trial
from rltune.analysis.changes import changes
from rltune.analysis.rows import MOST_POINTS, rows
from rltune.analysis.seed_use import seed_use
from rltune.analysis.surface import CELLS, surface
from rltune.space import SearchSpace
from rltune.types import Cause, Purpose

LEDGER = {name: {"first": 100 + i, "stride": 3} for i, name in enumerate(("search", "select", "claim"))}


def test_trials_that_ran_at_once_have_places_of_their_own():
    records = [
        trial(0, 1.0, ran=(0, 10)),
        trial(1, 1.0, ran=(0, 4)),
        trial(2, 1.0, ran=(4, 12)),
        trial(3, 1.0, ran=(100, 110)),
    ]
    found = rows(records)
    assert [row.lane for row in found] == [0, 1, 1, 0]
    assert [(row.begin, row.end) for row in found] == [(0, 10), (0, 4), (4, 12), (12, 22)], "a pause is left out"


def test_a_trial_that_has_not_ended_has_no_numbers():
    waiting, running = rows([trial(0, state=TrialState.WAITING), trial(1, state=TrialState.RUNNING, curve={1: 0.5})])
    assert (waiting.standing, running.standing) == ("waiting", "running")
    for row in (waiting, running):
        assert row.values is row.cost_seconds is row.begin is row.lane is None
        assert row.curve == ()


def test_a_long_curve_is_thinned_out_and_keeps_its_ends():
    (row,) = rows([trial(0, 1.0, curve={step: float(step) for step in range(1, 10_001)})])
    assert len(row.curve) == MOST_POINTS
    assert row.curve[0] == (1, 1.0)
    assert row.curve[-1] == (10_000, 10_000.0)


def test_a_repeated_trial_is_there_and_marked():
    first, second = rows([trial(0, cause=Cause.LOST, message="gone\nwith more"), trial(1, 1.0, retry_of=0)])
    assert first.replaced
    assert first.why == "gone"
    assert not second.replaced


def test_a_search_trial_on_a_seed_of_the_claim_is_seen():
    search, select, claim = seed_use(
        [
            trial(0, 1.0),  # a seed of no pool
            *(trial_with_seed(n, seed, purpose) for n, seed, purpose in RAN),
        ],
        LEDGER,
    )
    assert search.purposes == {"baseline": 1, "search": 1}
    assert [(run.seed, run.trials) for run in select.seeds] == [(101, (3, 4))]
    assert claim.purposes == {"claim": 1, "search": 1}


RAN = [
    (1, 100, Purpose.BASELINE),
    (2, 103, Purpose.SEARCH),
    (3, 101, Purpose.FINAL),
    (4, 101, Purpose.FINAL),
    (5, 102, Purpose.CLAIM),
    (6, 105, Purpose.SEARCH),
]


def trial_with_seed(number, seed, purpose):
    made = trial(number, 1.0, purpose=purpose)
    return type(made)(**{**made.__dict__, "seed": seed})


def test_changes_tell_inactive_from_null():
    found = {change.parameter: change for change in changes({"a": 1, "b": None, "c": 2}, {"a": 1, "b": 3, "d": None})}
    assert [name for name, change in found.items() if change.changed] == ["b", "c", "d"]
    assert (found["c"].in_default, found["c"].in_shipped) == (True, False)
    assert (found["d"].in_default, found["d"].in_shipped) == (False, True)


SPACE = SearchSpace.from_mapping(
    {
        "x": {"type": "float", "min": 1e-4, "max": 1.0, "log": True},
        "y": {"type": "float", "min": 0, "max": 10},
        "kind": {"type": "categorical", "choices": ["a", "b"]},
    }
)


def test_the_surface_is_high_where_trials_were_good_and_empty_where_none_was():
    places = [(10**-a, y / 2) for a in (0.5, 1, 1.5, 2) for y in range(10)]  # nothing below x = 0.01, or above y = 4.5
    records = [trial(i, -math.log10(x) - y / 10, {"x": x, "y": y, "kind": "a"}) for i, (x, y) in enumerate(places)]
    found = surface(records, SPACE, {"kind": 0.5, "x": 0.3, "y": 0.2})
    assert (found.x, found.y, found.n_trials) == ("x", "y", 40)
    assert len(found.values) == CELLS
    assert {len(row) for row in found.values} == {CELLS}
    at_left, at_right = found.values[0][CELLS // 2], found.values[0][-3]
    assert at_left > at_right
    assert found.values[-1][0] is None


def test_no_surface_of_few_trials_or_one_number():
    few = [trial(i, float(i), {"x": 0.1, "y": float(i), "kind": "a"}) for i in range(9)]
    assert surface(few, SPACE, {"x": 0.5, "y": 0.5}) is None
    many = [trial(i, float(i), {"x": 0.1, "y": i / 2, "kind": "a"}) for i in range(20)]
    assert surface(many, SPACE, {"x": 0.5, "kind": 0.5}) is None
    assert surface(many, SPACE, {"x": 0.5, "y": 0.5}) is not None
