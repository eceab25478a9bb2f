"""Which configurations are the best so far."""

from optuna.trial import TrialState

from rltune.analysis.selection import finalists, ranked
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.types import Cause, Purpose

UP = Objective("accuracy", "maximize")
DOWN = Objective("loss", "minimize")


def trial(number, value, x=None, purpose=Purpose.SEARCH, **fields):
    values = None if value is None else (value,)
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    return TrialRecord(number, state, purpose, {"x": number if x is None else x}, number, values, **fields)


def test_infeasible_ranks_behind_everything_feasible_by_what_it_misses():
    records = [
        trial(0, 0.1, violations={"memory": 3.0}),
        trial(1, 0.9, violations={"memory": -1.0}),
        trial(2, 0.2, violations={"memory": 1.0}),
        trial(3, 0.5),
        trial(4, None, cause=Cause.ERROR),
    ]
    assert [r.number for r in ranked(records, DOWN)] == [3, 1, 2, 0]
    assert [r.number for r in ranked(records, UP)] == [1, 3, 2, 0]


def test_finalists_are_distinct_feasible_and_not_the_default():
    records = [trial(0, 0.1, x=1), trial(1, 0.2, x=1), trial(2, 0.3, x=2), trial(3, 0.0, x=3, violations={"m": 1.0})]
    records.append(trial(4, 0.05, x=0))
    assert [r.params["x"] for r in finalists(records, DOWN, 3, exclude={"x": 0})] == [1, 2]
