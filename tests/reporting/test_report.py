"""A report from a study's records, whatever became of the study."""

import json
import math

import pytest
from optuna.trial import TrialState

from analysis.study_records import trial
from rltune.objective import Objective
from rltune.reporting.build import build_report
from rltune.space import SearchSpace
from rltune.types import Cause, Purpose

OBJECTIVES = [Objective("accuracy", "maximize"), Objective("seconds")]
SPACE = SearchSpace.from_mapping({"x": {"type": "float", "min": 0, "max": 1000}})


def report(records, objectives=OBJECTIVES[:1], **fields):
    return build_report("small", records, objectives, SPACE, workers=2, **fields)


def strict(analysis):
    return json.loads(json.dumps(analysis.to_json(), allow_nan=False))


def test_a_study_by_hand():
    records = [
        trial(0, 0.50, purpose=Purpose.BASELINE),
        trial(1, 0.54, purpose=Purpose.BASELINE),
        trial(2, 0.60),
        trial(3, 0.90, violations={"kl": 0.25}),
        trial(4, 0.10, state=TrialState.PRUNED, stopped_by="pruner"),
        trial(5, None, cause=Cause.OUT_OF_MEMORY, message="CUDA out of memory"),
        trial(6, 0.99, purpose=Purpose.FINAL),
        trial(7, None, cause=Cause.INTERRUPTED),
        trial(8, 0.55, retry_of=7),
        trial(9, None, state=TrialState.RUNNING),
    ]
    row = strict(report(records, n_planned=20, recommended=records[2]))
    assert row["trials"] == {"complete": 5, "infeasible": 1, "pruned": 1, "failed": 1, "running": 1}
    assert row["n_planned"] == 20
    assert row["recommended"]["number"] == 2
    assert row["history"]["best"]["number"] == 2
    assert row["history"]["best"]["cost_seconds"] == 30
    assert row["history"]["improvements"] == [0, 1, 2]
    assert row["history"]["n_since_best"] == 4
    assert row["noise"] == {"n": 2, "mean": pytest.approx(0.52), "sd": pytest.approx(0.02 * math.sqrt(2))}
    assert row["efficiency"]["cost_seconds"] == 90
    assert row["efficiency"]["efficiency"] == 0.5
    assert row["efficiency"]["lost_seconds"] == 30
    assert [(f["cause"], f["trials"], f["n_run_again"]) for f in row["failures"]] == [
        ("interrupted", [7], 1),
        ("out_of_memory", [5], 0),
    ]
    assert [(s["rule"], s["trials"]) for s in row["stops"]] == [("pruner", [4])]
    assert [(m["constraint"], m["trials"], m["least"]) for m in row["misses"]] == [("kl", [3], 0.25)]
    assert row["importance"]["n_configurations"] == 5


@pytest.mark.parametrize(
    "records",
    [
        [],
        [trial(0, None, state=TrialState.WAITING)],
        [trial(i, None, cause=Cause.ERROR, message="no such device") for i in range(12)],
        [trial(i, float(i), violations={"kl": math.inf}) for i in range(12)],
        [trial(i, 1.0, state=TrialState.PRUNED) for i in range(12)],
        [trial(i, None, state=TrialState.PRUNED, params={}) for i in range(12)],
    ],
    ids=["empty", "waiting", "all failed", "all infeasible", "all pruned", "pruned at once"],
)
def test_a_study_without_a_winner_still_has_a_report(records):
    row = strict(report(records))
    assert row["history"]["best"] is None
    assert row["recommended"] is None
    assert row["importance"]["ped_anova"] is None


def several():
    records = [trial(i, 0.5 + 0.01 * i) for i in range(12)]
    return [type(r)(**{**r.__dict__, "values": (r.value, 10.0 + (r.number - 6) ** 2)}) for r in records]


def test_several_objectives_by_the_first_unless_another_is_named():
    first, second = report(several(), OBJECTIVES), report(several(), OBJECTIVES, metric="seconds")
    assert first.history.best.number == 11
    assert second.history.best.number == 6
    assert second.objective.metric == "seconds"
    assert first.effects[0].correlation == pytest.approx(1.0)
    assert first.front == second.front == (11, 10, 9, 8, 7, 6)
    assert report(several()[:1]).front == ()


def test_earlier_studies_teach_but_cost_nothing_here():
    earlier = [trial(i, 0.9, purpose=Purpose.EARLIER, source=i) for i in range(3)]
    found = report([*earlier, trial(3, 0.5)])
    assert found.n_earlier == 3
    assert found.trials == {"complete": 1}
    assert [s.number for s in found.history.steps] == [3]
    assert found.efficiency.cost_seconds == 10
    assert found.importance.n_configurations == 4


def test_json_is_the_same_each_time_whatever_order_sets_have():
    records = [trial(i, math.sin(i), {"x": i * 37.7 % 1000}) for i in range(40)]
    assert json.dumps(report(records).to_json()) == json.dumps(report(records).to_json())
