"""`best` on a study with several objectives: the front, its knee, another trial by weights; and on one without."""

from __future__ import annotations

import re
import shlex

import pytest

TRADE_OFF = """
def train(config, trial):
    x = config["x"]
    trial.report(1, {"quality": 1 - (1 - x) ** 2, "cost": x ** 2, "waste": config["waste"]})

def measured(config, trial):
    import time
    held = bytearray(config["size"] * 1_000_000)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(0.01 * config["steps"])
    trial.report(1, {"validation_loss": 1 / config["steps"] + 1 / config["size"]})
"""

STUDY = """\
name: trade
n_trials: 6
trainer: {function: "front:train"}
search_space:
  x: {type: float, min: 0.0, max: 1.0, n_points: 6}
  waste: {type: categorical, choices: [3.0]}
evaluation: {metric: quality, direction: maximize, secondary_metrics: {cost: minimize, waste: minimize}}
executor: inline
algorithm: grid
"""

MEASURED = """\
name: measured
n_trials: 14
trainer: {function: "front:measured"}
search_space:
  size: {type: int, min: 1, max: 50}
  steps: {type: int, min: 1, max: 10}
evaluation:
  primary_metric: validation_loss
  secondary_metrics: [training_time, memory_usage]
  direction: minimize
executor: {name: local, workers: 2}
"""


@pytest.fixture
def trade(job, rltune):
    """Quality against cost, both convex in x: 0, 0.2, ... 1 are all on the front, and its knee is in the middle."""
    (job / "front.py").write_text(TRADE_OFF)
    (job / "trade.yaml").write_text(STUDY)
    return job


@pytest.fixture
def finished(trade, rltune):
    assert rltune("run", "trade.yaml").code == 0
    return trade


def x_of(ended):
    return round(ended.json["best"]["params"]["x"], 9)


def test_best_recommends_by_the_primary_metric_and_shows_the_front(rltune, finished):
    shown = rltune("best")
    assert shown.code == 0
    lines = shown.out.splitlines()
    best = rltune("best", "--json").json["best"]
    assert best["params"]["x"] == 1.0
    assert lines[0] == f"best of 6 single runs, trial {best['number']}"
    assert "Pareto front  6 trials that no other beats in every objective" in lines
    heads = lines.index("Pareto front  6 trials that no other beats in every objective") + 1
    assert lines[heads].split() == ["quality", "cost", "waste"]
    assert lines[heads + 1].split()[:4] == ["trial", "max", "min", "min"]
    rows = [line.split() for line in lines[heads + 2 : heads + 8]]
    assert rows[0][:3] == [str(best["number"]), "recommended", "1"]
    assert [row[1] for row in rows].count("knee") == 1
    volume = [line for line in lines if line.startswith("hypervolume ")]
    assert len(volume) == 1
    assert volume[0].endswith("reference quality -0.1, cost 1.1, waste 3.3")
    assert max(map(len, lines[heads : heads + 8])) <= 80


def test_the_run_ends_with_the_front(rltune, trade):
    done = rltune("run", "trade.yaml").out
    line = next(line for line in done.splitlines() if line.startswith("trials that no other beats"))
    assert sorted(line.rpartition(": ")[2].split(", ")) == list("012345")


def test_the_knee_may_be_picked(rltune, finished):
    knee = rltune("best", "--pick", "knee", "--json")
    assert x_of(knee) in (0.4, 0.6)
    assert knee.json["pareto"]["knee"] == knee.json["best"]["number"]
    assert knee.json["pick"] == {"by": "knee", "weights": {}}
    assert knee.json["recommended"] != knee.json["best"]["number"]
    shown = rltune("best", "--pick", "knee").out
    assert shown.startswith(f"trial {knee.json['best']['number']}, the knee of the Pareto front\n")
    assert "picked, knee" in shown
    words = rltune("best", "--pick", "knee", "--overrides").out
    assert shlex.split(words) == knee.json["best"]["overrides"]
    assert f"  {words}" in shown


def test_weights_move_along_the_front(rltune, finished):
    assert x_of(rltune("best", "--weight", "quality=1", "--json")) == 1.0
    assert x_of(rltune("best", "--weight", "cost=1", "--json")) == 0.0
    mostly = ["--weight", "quality=3", "--weight", "cost=1"]
    assert x_of(rltune("best", *mostly, "--json")) == 0.8  # least of 3 (1-x)^2 + x^2
    shown = rltune("best", *mostly)
    assert "the best of the Pareto front by the weights quality=3, cost=1\n" in shown.out
    assert "  x: 0.8\n" in shown.out
    balanced = rltune("best", "--pick", "chebyshev", *mostly, "--json")
    assert x_of(balanced) == 0.6  # least of the larger of 3 (1-x)^2 and x^2
    assert balanced.json["pick"] == {"by": "chebyshev", "weights": {"quality": 3.0, "cost": 1.0}}


def test_json_holds_the_front_its_knee_and_the_hypervolume(rltune, finished):
    row = rltune("best", "--json").json
    assert row["pick"] is None
    assert row["recommended"] == row["best"]["number"]
    found = row["pareto"]
    qualities = [trial["values"][0] for trial in found["front"]]
    assert qualities == sorted(qualities, reverse=True)
    assert found["reference"] == pytest.approx({"quality": -0.1, "cost": 1.1, "waste": 3.3})
    assert 0 < found["hypervolume"] <= 1.1 * 1.1 * 0.3
    assert found["hypervolume_by_trial"]["5"] == found["hypervolume"]
    assert set(found["ranks"].values()) == {1}
    assert found["least_violating"] == []


def test_python_says_the_same(rltune, finished):
    import rltune as library

    found = library.load(finished / "runs" / "trade").pareto()
    row = rltune("best", "--json").json["pareto"]
    assert [r.number for r in found.front] == [trial["number"] for trial in row["front"]]
    assert (found.knee.number, found.hypervolume) == (row["knee"], row["hypervolume"])


def test_infeasible_trials_are_not_on_the_front(rltune, trade):
    cheap = ["--set", "evaluation.constraints={cost: {max: 0.4}}"]
    assert rltune("run", "trade.yaml", *cheap).code == 0
    row = rltune("best", "--json").json
    assert [round(trial["params"]["x"], 9) for trial in row["pareto"]["front"]] == [0.6, 0.4, 0.2, 0.0]
    assert row["best"]["number"] == row["pareto"]["front"][0]["number"]


def test_where_nothing_is_feasible_the_nearest_are_shown_with_what_they_miss(rltune, trade):
    assert rltune("run", "trade.yaml", "--set", "evaluation.constraints={quality: {min: 1.5}}").code == 3
    for more in ([], ["--pick", "knee"], ["--weight", "cost=1"]):
        shown = rltune("best", *more)
        assert shown.code == 3
        assert shown.err == "nothing to ship: no trial is feasible\n"
        assert "nearest to feasible  by how much each constraint is missed" in shown.out
        assert "missed by" in shown.out
        row = rltune("best", *more, "--json")
        assert row.code == 3
        assert row.json["best"] is None
        assert row.json["pareto"]["front"] == []
        (nearest,) = row.json["pareto"]["least_violating"]
        assert nearest["violations"] == {"quality": 0.5}
        assert row.json["pareto"]["reference"] is None
    assert rltune("best", "--overrides").out == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--weight", "qualty=1"], "weights.qualty: is no objective of this study (did you mean `quality`?)"),
        (["--weight", "quality=-1"], "weights.quality: must be a number from 0 on, got -1.0"),
        (["--weight", "quality=0"], "weights: at least one must be above 0 (the objectives are `quality`, `cost`"),
        (["--weight", "quality=much"], "--weight quality=much: a weight is a number from 0 on, got 'much'"),
        (["--weight", "quality"], "--weight quality: give METRIC=NUMBER, as in --weight validation_loss=2"),
        (["--weight", "cost=1", "--weight", "cost=2"], "--weight cost=2: cost has a weight already, 1; give it once"),
        (["--pick", "sum"], "--pick sum needs weights, as in --weight quality=2"),
        (["--pick", "knee", "--weight", "cost=1"], "the knee takes no weights; leave out --weight, or use --pick sum"),
        (["--pick", "middle"], "'middle' is not one of"),
    ],
)
def test_what_cannot_be_picked(rltune, finished, given, said):
    refused = rltune("best", *given)
    assert refused.code == 2
    assert refused.out == ""
    assert said in refused.err


def test_one_objective_has_nothing_to_pick_from(rltune, job):
    assert rltune("run", "study.yaml").code == 0
    for given in (["--pick", "knee"], ["--weight", "score=1"], ["--weight", "score=1", "--json"]):
        refused = rltune("best", *given)
        assert refused.code == 2
        assert refused.err == (
            "rltune: --pick and --weight choose from the Pareto front of several objectives, and this study has one, "
            "score; leave them out\n"
        )
    assert "Pareto" not in rltune("best").out
    assert rltune("best", "--json").json.keys() == {"best", "verdict", "top"}


def test_the_finals_recommend_and_the_front_stands_beside_them(rltune, trade):
    (trade / "front.py").write_text(TRADE_OFF.replace("1 - (1 - x) ** 2", "1 - (1 - x) ** 2 + trial.seed % 7 / 1000"))
    full = ["--set", "search_space.x.default=0.4", "--set", "search_space.waste.default=3.0", "--set", "n_trials=14"]
    more = ["--set", "protocol=full", "--set", "algorithm=random"]
    done = rltune("run", "trade.yaml", *full, *more)
    assert done.code == 0, done.err
    assert "trials that no other beats in every objective" in done.out
    shown = rltune("best").out
    assert re.search("quality on (untouched seeds|the seeds of the finals), higher is better", shown)
    assert "Pareto front" in shown
    best, front = rltune("best", "--json").json["best"], rltune("best", "--json").json["pareto"]["front"]
    on_it = best["number"] in [trial["number"] for trial in front]
    assert ("is not on it by its own single run" in shown) != on_it


@pytest.mark.parametrize("algorithm", ["tpe", "{name: nsga2, population_size: 6}"])
def test_measured_time_and_memory_are_objectives(rltune, trade, algorithm):
    (trade / "measured.yaml").write_text(MEASURED)
    assert rltune("run", "measured.yaml", "--set", f"algorithm={algorithm}").code == 0
    row = rltune("best", "--json").json
    found = row["pareto"]
    trials = rltune("list", "--json").json
    assert len(trials) == 14
    assert all(seconds > 0 and memory > 1e6 for _, seconds, memory in (trial["values"] for trial in trials))
    on_front = {trial["number"] for trial in found["front"]}
    for trial in trials:
        beaten = any(
            all(a <= b for a, b in zip(other["values"], trial["values"], strict=True))
            and other["values"] != trial["values"]
            for other in trials
        )
        assert (trial["number"] in on_front) is not beaten
    assert row["best"]["values"][0] == min(trial["values"][0] for trial in trials)
    assert found["hypervolume"] > 0
    fastest = rltune("best", "--weight", "training_time=1", "--json").json["best"]
    assert fastest["values"][1] == min(trial["values"][1] for trial in trials)
    assert "knee" in rltune("best").out
