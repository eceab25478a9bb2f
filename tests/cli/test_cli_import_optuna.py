"""`import optuna`: a study of Optuna's goes on in rltune, with its trials, and its storage stays as it is."""

from __future__ import annotations

import hashlib
import shutil
import warnings

import optuna
import pytest

from rltune import config as cfg
from rltune.space import SearchSpace


def objective(trial):
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    n = trial.suggest_int("n", 2, 16, step=2)
    opt = trial.suggest_categorical("opt", ["adam", "sgd", "lion"])
    momentum = trial.suggest_float("momentum", 0.5, 0.99) if opt == "sgd" else 0.0
    trial.set_user_attr("metrics", "a name that rltune uses too")
    for step in (1, 2):
        trial.report(n / step, step)
        if n == 16:
            raise optuna.TrialPruned
    if n == 14:
        raise ValueError(n)
    return n / 100 + momentum


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """With one study."""
    file = tmp_path_factory.mktemp("optuna") / "x.db"
    study = optuna.create_study(
        storage=f"sqlite:///{file}", study_name="first try", sampler=optuna.samplers.RandomSampler(seed=1)
    )
    study.optimize(objective, n_trials=30, catch=(ValueError,))
    study.ask()
    return file


@pytest.fixture
def storage(job, database):
    (job / "train.py").touch()
    shutil.copy(database, job / "x.db")
    return "sqlite:///x.db"


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_study_goes_on_with_its_trials(rltune, job, storage):
    before = digest(job / "x.db")
    shown = rltune("import", "optuna", storage, "--metric", "loss", "--command", "python train.py {overrides}")
    assert shown.code == 0, shown.err
    assert digest(job / "x.db") == before
    assert "runs/first-try holds its trials (" in shown.out
    assert "left out, for they have not ended: 1 trial" in shown.out
    study = cfg.load(job / "first-try-2.yaml")
    assert (study.name, study.warm_start, study.evaluation.metric) == ("first-try-2", "runs/first-try", "loss")
    there = optuna.load_study(storage=storage, study_name="first try").get_trials()
    ended = [trial for trial in there if trial.state.is_finished()]
    usable = sum(trial.state is not optuna.trial.TrialState.FAIL for trial in ended)
    checked = rltune("check", "first-try-2.yaml")
    assert checked.code == 0, checked.err
    assert f"{usable} of {len(ended)} trials of runs/first-try are known from the start" in " ".join(
        checked.out.split()
    )


def test_the_search_space_is_that_of_the_trials(rltune, job, storage):
    assert rltune("import", "optuna", storage).code == 0
    study = cfg.load(job / "first-try-2.yaml")
    space = SearchSpace.from_mapping(study.search_space, study.constraints, study.derived)
    there = optuna.load_study(storage=storage, study_name="first try").get_trials()
    seen = {name: d for trial in there for name, d in trial.distributions.items()}
    assert space.distributions == seen
    assert str(space.parameters["momentum"].when) == "opt == 'sgd'"
    for trial in there:
        if trial.state.is_finished():
            assert space.is_feasible(trial.params)
            assert set(space.active(trial.params)) == set(trial.params)


def test_the_trials_are_what_they_were(rltune, job, storage):
    assert rltune("import", "optuna", storage).code == 0
    there = optuna.load_study(storage=storage, study_name="first try").get_trials()
    there = [trial for trial in there if trial.state.is_finished()]
    here = rltune("list", "first-try", "--json").json
    assert len(here) == len(there) == 30
    for old, new in zip(there, here, strict=True):
        assert new["params"] == old.params
        assert new["values"] == old.values
        assert new["state"] == {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "fail"}[old.state.name]
        assert new["curve"] == {str(step): value for step, value in old.intermediate_values.items()}
    assert {trial["state"] for trial in here} == {"complete", "pruned", "fail"}
    best = rltune("best", "first-try", "--json").json["best"]
    complete = [trial for trial in there if trial.state.name == "COMPLETE"]
    assert best["values"] == min(trial.values for trial in complete)
    assert rltune("report", "first-try").code == 0


def test_the_new_study_runs(rltune, job, storage):
    assert rltune("import", "optuna", storage, "--metric", "score", "--trainer", "job:train").code == 0
    shown = rltune("run", "first-try-2.yaml", "--set", "n_trials=4", "--set", "executor=inline")
    assert shown.code == 0, shown.err
    trials = rltune("list", "first-try-2", "--json").json
    assert sum(trial["purpose"] == "earlier" for trial in trials) > 20
    assert sum(trial["purpose"] == "search" for trial in trials) == 4


def test_which_study_where_there_are_several(rltune, job, storage):
    other = optuna.create_study(storage=storage, study_name="second", directions=["minimize", "maximize"])
    with warnings.catch_warnings(action="ignore"):  # Optuna calls it experimental
        other.set_metric_names(["loss", "accuracy"])
    other.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=3)
    shown = rltune("import", "optuna", storage)
    assert (shown.code, shown.out) == (2, "")
    assert "holds 2 studies, `first try`, `second`; name one of them by --study" in shown.err
    shown = rltune("import", "optuna", storage, "--study", "secnod")
    assert "did you mean `second`?" in shown.err
    assert "(known: `first try`, `second`)\n" in rltune("import", "optuna", storage, "--study", "xyz").err
    assert rltune("import", "optuna", storage, "--study", "second", "-o", "two.yaml").code == 0
    study = cfg.load(job / "two.yaml")
    assert study.evaluation.metric == "loss"
    assert study.evaluation.secondary_metrics == {"accuracy": "maximize"}
    assert rltune("check", "two.yaml").code == 0


def test_a_journal(rltune, job):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = optuna.create_study(storage=JournalStorage(JournalFileBackend("j.log")), study_name="j")
    for value in (0.1, 0.9):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, value)
    before = digest(job / "j.log")
    assert rltune("import", "optuna", "j.log").code == 0
    assert digest(job / "j.log") == before
    assert len(rltune("list", "j", "--json").json) == 2


def test_ranges_that_changed_become_one(rltune, job):
    study = optuna.create_study(storage="sqlite:///r.db", study_name="r")
    for low, high in ((0.1, 0.5), (0.3, 0.9)):
        study.tell(study.ask({"x": optuna.distributions.FloatDistribution(low, high)}), 1.0)
    assert rltune("import", "optuna", "sqlite:///r.db").code == 0
    assert cfg.load(job / "r-2.yaml").search_space["x"] == {"type": "float", "min": 0.1, "max": 0.9}
    assert "the range changed between trials" in (job / "r-2.yaml").read_text()


def test_a_parameter_that_some_trials_lack_for_no_known_reason(rltune, job):
    study = optuna.create_study(storage="sqlite:///r.db", study_name="r")
    x = optuna.distributions.FloatDistribution(0, 1)
    for distributions in ({"x": x, "y": x}, {"x": x}, {"x": x}):
        study.tell(study.ask(distributions), 1.0)
    shown = rltune("import", "optuna", "sqlite:///r.db")
    assert "r: y: 2 of 3 complete trials lack it" in shown.out
    (job / "train.py").touch()
    told = " ".join(rltune("check", "r-2.yaml").out.split())
    assert "1 of 3 trials of runs/r are known from the start; left out: 2 with other parameters" in told


def test_constraints_are_ranges_on_metrics(rltune, job):
    study = optuna.create_study(storage="sqlite:///c.db", study_name="c")
    for x, missed in ((0.1, 0.5), (0.2, -1.0), (0.9, -2.0)):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study._storage.set_trial_system_attr(trial._trial_id, "constraints", [missed])  # as before Optuna 5
        study.tell(trial, x)
    shown = rltune("import", "optuna", "sqlite:///c.db", "--metric", "score", "--trainer", "job:train")
    assert "c: constraint_0: a constraint there, a metric here" in shown.out
    assert [trial["feasible"] for trial in rltune("list", "c", "--json").json] == [False, True, True]
    assert rltune("best", "c", "--json").json["best"]["values"] == [0.2]
    assert rltune("run", "c-2.yaml", "--set", "n_trials=1", "--set", "executor=inline").code == 3
    known = [trial for trial in rltune("list", "c-2", "--json").json if trial["purpose"] == "earlier"]
    assert [trial["feasible"] for trial in known] == [False, True, True]


def test_an_awkward_place(rltune, job, database):
    (job / "a b#c%20").mkdir()
    shutil.copy(database, job / "a b#c%20" / "x y.db")
    shown = rltune("import", "optuna", f"sqlite:///{job}/a b#c%20/x y.db")
    assert shown.code == 0, shown.err
    assert len(rltune("list", "first-try", "--json").json) == 30


def test_an_empty_database_stays_empty(rltune, job):
    (job / "empty.db").touch()
    shown = rltune("import", "optuna", "sqlite:///empty.db")
    assert shown.code == 2
    assert "cannot be read as a storage of Optuna: it has no tables of Optuna's" in shown.err
    assert (job / "empty.db").read_bytes() == b""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("sqlite:///none.db",), "none.db does not exist; give a journal's file, or a URL"),
        (("none.log",), "none.log does not exist"),
        (("x.db",), "x.db is an SQLite database; write sqlite:///x.db"),
        (("job.py",), "job.py: cannot be read as a storage of Optuna"),
        (("sqlite:///job.py",), "job.py: cannot be read as a storage of Optuna: file is not a database"),
        (("nosuch://x",), "cannot be read as a storage of Optuna"),
        (("sqlite:///x.db", "--direction", "minimize"), "a study of Optuna's has its own"),
    ],
)
def test_what_is_no_storage(rltune, job, storage, given, told):
    shown = rltune("import", "optuna", *given)
    assert (shown.code, shown.out) == (2, "")
    assert told in shown.err
    assert not (job / "none.db").exists()
    assert not (job / "runs").exists()


def test_nothing_is_overwritten(rltune, job, storage):
    assert rltune("import", "optuna", storage).code == 0
    before = digest(job / "runs/first-try/journal.log")
    assert "first-try-2.yaml exists already" in rltune("import", "optuna", storage).err
    shown = rltune("import", "optuna", storage, "-o", "other.yaml")
    assert "runs/first-try exists already" in shown.err
    assert digest(job / "runs/first-try/journal.log") == before
    assert not (job / "other.yaml").exists()
