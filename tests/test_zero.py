"""A parameter that may be exactly 0 on a logarithmic scale, from the study file to the records."""

import pytest
from optuna.trial import TrialState

import rltune
from rltune import config, session

SPACE = {
    "decay": {"type": "float", "min": 1e-4, "max": 0.1, "log": True, "zero": 0.3, "default": 0.0},
    "lr": {"type": "float", "min": 1e-3, "max": 1.0, "log": True, "default": 0.1},
}


def train(config):
    assert config["decay"] == 0.0 or 1e-4 <= config["decay"] <= 0.1
    return config["decay"] + config["lr"]


@pytest.mark.parametrize("algorithm", ["tpe", "random", "sobol", "cmaes", "nsga2"])
def test_trials_get_it_and_records_show_it(tmp_path, algorithm):
    result = rltune.tune(
        train, SPACE, metric="loss", n_trials=24, algorithm=algorithm, out=tmp_path / "s", executor="inline"
    )
    assert {r.state for r in result.records} == {TrialState.COMPLETE}
    values = [r.params["decay"] for r in result.records]
    assert all(value == 0.0 or value >= 1e-4 for value in values)
    assert 3 < sum(value == 0.0 for value in values) < 24
    assert all(r.value == pytest.approx(r.params["decay"] + r.params["lr"]) for r in result.records)
    assert result.verdict is not None
    assert result.verdict.default is not None
    assert result.verdict.default.params["decay"] == 0.0
    again = rltune.load(tmp_path / "s")
    assert [r.params for r in again.records] == [r.params for r in result.records]
    assert "decay,lr" in (tmp_path / "s" / "trials.csv").read_text().splitlines()[0]


def test_a_grid_has_it_once(tmp_path):
    space = {"decay": SPACE["decay"] | {"n_points": 2}, "lr": ("categorical", [0.1, 0.2])}
    result = rltune.tune(
        train, space, metric="loss", algorithm="grid", out=tmp_path / "s", executor="inline", protocol="simple"
    )
    assert sorted((r.params["decay"], r.params["lr"]) for r in result.records) == [
        (decay, lr) for decay in (0.0, 1e-4, 0.1) for lr in (0.1, 0.2)
    ]


def test_constraints_see_it(tmp_path):
    result = rltune.tune(
        train, SPACE, metric="loss", constraints=["decay == 0 or lr < 0.05"], n_trials=20, algorithm="random",
        out=tmp_path / "s", executor="inline", protocol="simple",
    )  # fmt: skip
    assert all(r.params["decay"] == 0.0 or r.params["lr"] < 0.05 for r in result.records)
    assert {r.params["decay"] == 0.0 for r in result.records} == {True, False}


def test_an_interrupted_trial_is_asked_again_with_it(tmp_path):
    mapping = {"search_space": SPACE, "evaluation": {"metric": "loss", "direction": "minimize"}, "executor": "inline"}
    seen = []

    def stop_in_the_middle(config, trial):
        seen.append(config["decay"])
        trial.report(1, loss=1.0)

    study = config.from_mapping({**mapping, "n_trials": 3, "protocol": "simple"}, trainer=stop_in_the_middle)
    session.run(study, out=tmp_path / "s", should_stop=lambda: bool(seen))
    session.run(study, out=tmp_path / "s")
    assert seen[0] == seen[1] == 0.0  # the default, twice


def test_its_range_cannot_change_in_the_same_study(tmp_path):
    """What stands for 0 in the journal follows from the range."""

    def go_on(low, n_trials):
        space = {"decay": {"type": "float", "min": low, "max": 0.1, "log": True, "zero": 0.2}}
        return rltune.tune(
            lambda config: config["decay"], space, metric="loss", n_trials=n_trials, out=tmp_path / "s",
            executor="inline", protocol="simple",
        )  # fmt: skip

    go_on(1e-5, 2)
    with pytest.raises(rltune.RltuneError, match=r"search_space\.decay\.min"):
        go_on(1e-3, 4)
