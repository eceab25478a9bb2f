"""A study by hand that has a bit of everything, with names and messages that try to be tags."""

from __future__ import annotations

import math
from typing import Any

from optuna.trial import TrialState

from analysis.study_records import trial
from rltune.objective import Objective
from rltune.protocol.budget import FullRun
from rltune.protocol.decision import Finals, recommended, verdict
from rltune.protocol.finals import Rules
from rltune.records import TrialRecord
from rltune.reporting.build import build_report
from rltune.reporting.model import Report
from rltune.reporting.provenance import Provenance
from rltune.space import SearchSpace
from rltune.types import Cause, Purpose

TAG = "<script>alert(1)</script>"
CHOICE = "</script><img src=x onerror=alert(2)>"
MESSAGE = "ValueError: <b>`lr`</b> </script> & \u2028 more"

SPACE = SearchSpace.from_mapping(
    {
        "optimizer.lr": {"type": "float", "min": 1e-5, "max": 1e-1, "log": True, "default": 1e-4},
        "temperature": {"type": "float", "min": 0.5, "max": 1.5, "default": 1.0},
        TAG: {"type": "categorical", "choices": [CHOICE, "plain"], "default": "plain"},
        "momentum": {"type": "float", "min": 0.0, "max": 1.0, "when": "temperature > 1.2", "default": 0.5},
    }
)
DEFAULT = {"optimizer.lr": 1e-4, "temperature": 1.0, TAG: "plain"}
OBJECTIVES = [Objective("val/accuracy", "maximize")]
FINALS = Finals(8, Rules(finalists=2, claim_seeds=3))
PLAN = {
    "default": DEFAULT,
    "n_trials": 59,
    "budget": "60 FRE",
    "phases": {"baseline": 3, "search": 42, "final": 8, "claim": 6},
    "seeds": {name: {"first": 100 + i, "stride": 3} for i, name in enumerate(("search", "select", "claim"))},
}


def records(n_search: int = 42) -> list[TrialRecord]:
    """Baseline, search with every kind of end, finals of two configurations and the default, and a claim."""
    made = [_run(n, DEFAULT, Purpose.BASELINE, 100 + 3 * n) for n in range(3)]
    made += [_search(3 + n) for n in range(n_search)]
    best = max((r for r in made[3:] if r.feasible), key=lambda r: r.value or 0.0)
    arms = (DEFAULT, dict(best.params))
    for i in range(4):
        made += [_run(len(made) + j, arm, Purpose.FINAL, 101 + 3 * i) for j, arm in enumerate(arms)]
    for i in range(3):
        made += [_run(len(made) + j, arm, Purpose.CLAIM, 102 + 3 * i) for j, arm in enumerate(arms)]
    return made


def report(given: list[TrialRecord], **fields: Any) -> Report:
    found = verdict(given, OBJECTIVES[0], DEFAULT, FINALS)
    facts: dict[str, Any] = {
        "workers": 2,
        "n_planned": 59,
        "plan": PLAN,
        "full_run": FullRun(horizon=20, gpus=2.0),
        "verdict": found,
        "recommended": recommended(given, OBJECTIVES[0], found),
        "origin": Provenance({"study.yaml": "0f" * 32}, {"python": "3.12.1"}, {"host": "node7"}),
    }
    return build_report("by <hand>", given, OBJECTIVES, SPACE, **{**facts, **fields})


def _search(number: int) -> TrialRecord:
    params = {
        "optimizer.lr": 10 ** (-5 + 4 * _share(number, 0.618)),
        "temperature": 0.5 + _share(number, 0.414),
        TAG: CHOICE if number % 3 else "plain",
    }
    if params["temperature"] > 1.2:
        params["momentum"] = _share(number, 0.732)
    seed = 100 + 3 * number
    if number % 11 == 5:
        ran = (10.0 * number, 10.0 * number + 3)
        return trial(number, params=params, cause=Cause.ERROR, message=MESSAGE, curve={1: 0.2, 3: math.nan}, ran=ran)
    if number % 4 == 2:
        curve = {step: _curve(params, number, step) for step in range(1, 8)}
        state = TrialState.PRUNED
        return trial(number, curve[7], params, state=state, curve=curve, stopped_by="pruner", ran=_span(number, 7))
    missed = {"kl": 0.5} if number % 13 == 4 else {"kl": -0.5}
    return _run(number, params, Purpose.SEARCH, seed, violations=missed)


def _run(number: int, params: dict[str, Any], purpose: Purpose, seed: int, **fields: Any) -> TrialRecord:
    curve = {step: _curve(params, number, step) for step in range(1, 21)}
    made = trial(number, curve[20], params, purpose=purpose, curve=curve, ran=_span(number, 20), **fields)
    return type(made)(**{**made.__dict__, "seed": seed})


def _span(number: int, seconds: int) -> tuple[float, float]:
    return 10.0 * number, 10.0 * number + seconds


def _curve(params: dict[str, Any], number: int, step: int) -> float:
    top = 0.8 - 0.05 * (math.log10(params["optimizer.lr"]) + 2.5) ** 2 - 0.1 * (params["temperature"] - 1.0) ** 2
    return top * (1 - math.exp(-step / 6)) + 0.01 * math.sin(7 * number + step)


def _share(number: int, by: float) -> float:
    return number * by % 1.0
