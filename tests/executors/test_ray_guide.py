"""Whole studies on a cluster: the same as on one machine, the guide's code, populations, trials that use Ray."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray")

from optuna.trial import TrialState
from ray import tune
from ray.cluster_utils import Cluster

import population_toy as toy
import rltune
from executors.ray_cluster import running_cluster
from rltune import config as cfg
from rltune import session
from rltune.records import TrialRecord, originals
from rltune.session import Result
from rltune.types import Cause
from test_population import by_schedule, of_population, study, was_given

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

CPUS = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One node with a make-believe GPU."""
    with running_cluster(num_cpus=CPUS, num_gpus=1) as cluster:
        yield cluster


@pytest.fixture
def ray(cluster: Cluster) -> Callable[..., dict[str, Any]]:
    """An `executor` of a study, on the cluster."""
    return lambda **keys: {"name": "ray", "address": cluster.address, **keys}


def told(record: TrialRecord) -> tuple[Any, ...]:
    """What of a trial does not depend on where it ran, or how fast."""
    what = (record.number, record.purpose, dict(record.params), record.seed, record.state, record.stopped_by)
    return (*what, record.values, dict(record.curve))


def outcome(result: Result) -> tuple[Any, ...]:
    best = result.best
    assert best is not None
    return [told(record) for record in result.records], best.number, best.params, best.value


def folders(result: Result) -> list[Path]:
    return [result.folder.trial(record.number).path for record in result.records]


# --- the same numbers ------------------------------------------------------------------------------------------------


def descend(config: dict[str, Any], trial: Any) -> dict[str, float]:
    """A training whose loss depends on both parameters and on its seed."""
    loss = 0.0
    for step in range(1, 10):
        noise = (trial.seed % 97) / 1000
        loss = (config["x"] - 0.3) ** 2 + 0.1 * (config["kind"] == "b") + 1 / step + noise
        trial.report(step, loss=loss)
    return {"loss": loss}


STUDY: Mapping[str, Any] = {
    "n_trials": 18,
    "seed": 3,
    "algorithm": {"name": "tpe", "n_startup_trials": 4},
    "search_space": {
        "x": {"type": "float", "min": 0.0, "max": 1.0, "default": 0.9},
        "kind": {"type": "categorical", "choices": ["a", "b"], "default": "b"},
    },
}


@pytest.mark.parametrize("pruner", ["median", {"name": "asha", "max_t": 8, "grace_period": 1, "reduction_factor": 2}])
def test_one_worker_and_one_seed_are_one_study_wherever_it_runs(
    ray: Callable[..., dict[str, Any]], tmp_path: Path, pruner: Any
) -> None:
    """From Python and from a study's text alike."""
    on = {"inline": {"name": "inline"}, "local": {"name": "local", "workers": 1}, "ray": ray(workers=1)}
    found = {}
    for name, executor in on.items():
        study = {**STUDY, "pruner": pruner, "executor": executor}
        if pruner == "median":
            result = rltune.tune(descend, study.pop("search_space"), metric="loss", out=tmp_path / name, **study)
        else:
            evaluation = {"metric": "loss", "direction": "minimize"}
            config = cfg.from_mapping({**study, "evaluation": evaluation}, trainer=descend)
            result = session.run(config, out=tmp_path / name)
        found[name] = outcome(result)
        assert len(result.records) >= 12
        assert {TrialState.COMPLETE, TrialState.PRUNED} == {record.state for record in result.records}
    assert found["local"] == found["inline"]
    assert found["ray"] == found["inline"]


# --- the guide's section on Ray Tune ---------------------------------------------------------------------------------


def validation_losses(config: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """Epoch by epoch, as if there were a model."""
    (Path(tune.get_context().get_trial_dir()) / "began.json").write_text(
        json.dumps({"at": time.time(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")})
    )
    loss = 1.0 + config["dropout_rate"] + config["weight_decay"]
    for epoch in range(config["max_epochs"]):
        loss *= 1 - 200 * config["learning_rate"] / config["batch_size"]
        yield epoch, loss + config["warmup_steps"] * 1e-6


def training_function(config: dict[str, Any]) -> None:
    """The guide's, with today's `tune.report`."""
    for epoch, validation_loss in validation_losses(config):
        tune.report({"validation_loss": validation_loss, "epoch": epoch})


def training_function_of_ours(config: dict[str, Any]) -> None:
    for epoch, validation_loss in validation_losses(config):
        rltune.report(epoch, validation_loss=validation_loss, epoch=epoch)


GUIDE = {
    "learning_rate": tune.loguniform(1e-5, 1e-3),
    "batch_size": tune.choice([4, 8, 16, 32]),
    "weight_decay": tune.uniform(0.0, 0.1),
    "warmup_steps": tune.lograndint(100, 5000),
    "dropout_rate": tune.uniform(0.0, 0.3),
    "max_epochs": 10,
}
ASHA = {
    "name": "asha",
    "time_attr": "epoch",
    "metric": "validation_loss",
    "mode": "min",
    "max_t": 10,
    "grace_period": 1,
    "reduction_factor": 2,
}


def guide(function: Callable[..., None], executor: Any, out: Path) -> Result:
    return rltune.tune(
        function, GUIDE, metric="validation_loss", pruner=ASHA, n_trials=12, executor=executor, seed=1, out=out
    )


def test_the_guides_function_and_scheduler_give_the_same_on_a_cluster(
    ray: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """With what the guide sets aside for a trial there is room for one at once, though no number of workers is said."""
    here = guide(training_function, {"name": "local", "workers": 1}, tmp_path / "local")
    there = guide(training_function, ray(resources={"gpu": 1, "cpu": 4}), tmp_path / "ray")
    ours = guide(training_function_of_ours, ray(resources={"gpu": 1, "cpu": 4}), tmp_path / "ours")
    bare = guide(training_function, ray(workers=1, isolate=False), tmp_path / "bare")
    assert outcome(there) == outcome(here)
    assert outcome(ours) == outcome(here)
    assert outcome(bare) == outcome(here)
    assert {TrialState.COMPLETE, TrialState.PRUNED} == {record.state for record in here.records}
    assert all(set(record.curve) <= set(range(10)) for record in there.records)
    for result in (there, ours):
        assert result.space is not None  # by the folder's study file, which can be read again
        began = [json.loads((folder / "began.json").read_text()) for folder in folders(result)]
        ended = [(folder / "outcome.json").stat().st_mtime for folder in folders(result)]
        assert {trial["gpu"] for trial in began} == {"0"}
        assert all(end <= after["at"] for end, after in zip(ended, began[1:], strict=False))


# --- populations -----------------------------------------------------------------------------------------------------


def meet_and_train(config: dict[str, Any], trial: Any) -> None:
    """The toy, whose members wait for as many as can run at once. It writes down what it got, and what it found."""
    found = []
    if trial.resume_from is not None:
        found = json.loads((Path(trial.resume_from) / "state.json").read_text())["given"]
    note = {"given": [config["h0"], config["h1"]], "found": found, "directory": str(trial.directory)}
    (trial.directory / "began.json").write_text(json.dumps(note))
    (Path(config["place"]) / str(trial.number)).touch()
    while len(list(Path(config["place"]).iterdir())) < config["workers"]:
        time.sleep(0.02)
    os.environ["TOY_SECONDS"] = "0.03"
    toy.train(config, trial)


def population(executor: dict[str, Any], tmp_path: Path, stop_after: int | None = None) -> Result:
    """Four members; told to stop after so many reports, where that is said."""
    place, out = tmp_path / "place", tmp_path / "s"
    place.mkdir(exist_ok=True)

    def should_stop() -> bool:
        reports = (file.read_text().count("\n") for file in out.glob("trials/*/metrics.jsonl"))
        return stop_after is not None and sum(reports) >= stop_after

    four = {"name": "population", "size": 4, "interval": 10}
    trainer = {"horizon": 30, "config": {"place": str(place), "workers": executor["workers"]}}
    config = study(meet_and_train, executor, four, trainer=trainer)
    return session.run(config, out=out, should_stop=should_stop)


@pytest.mark.parametrize(("workers", "shared"), [(4, True), (2, False)])
def test_a_population_on_a_cluster_goes_on_after_a_stop(
    ray: Callable[..., dict[str, Any]], tmp_path: Path, workers: int, shared: bool
) -> None:
    """What the journal says of a trial is what its trainer was given, and found in the checkpoint of its parent."""
    executor = ray(workers=workers, shared_storage=shared)
    assert population(executor, tmp_path, stop_after=60).stopped
    result = population(executor, tmp_path)
    records = result.records
    assert any(record.cause is Cause.INTERRUPTED for record in records)
    for record in of_population(records, size=4, horizon=30):
        assert was_given(result, record) == by_schedule(result, record)

    notes = {record.number: result.folder.trial(record.number).path / "began.json" for record in records}
    began = {number: json.loads(note.read_text()) for number, note in notes.items() if note.exists()}
    assert {r.number for r in records if r.cause is None} <= began.keys()  # others were stopped before they began
    for number, note in began.items():
        assert note["given"] == [records[number].params["h0"], records[number].params["h1"]]
        assert (note["directory"] == str(result.folder.trial(number).path)) is shared
    successors = [record for record in originals(records) if record.origin is not None and record.number in began]
    assert successors
    for record in successors:
        assert record.origin is not None
        parent, step = record.origin.parent, record.origin.parent_step
        assert parent is not None
        assert step is not None
        assert dict(record.params) != dict(records[parent].params)
        saved = {m.step: m.checkpoint for m in result.folder.trial(parent).read_metrics() if m.checkpoint is not None}
        state = json.loads((Path(saved[step]) / "state.json").read_text())
        assert began[record.number]["found"] == state["given"]
        assert len(state["given"]) == step


# --- trials that use Ray themselves ----------------------------------------------------------------------------------

USES_RAY = """
import json, os, sys
import ray

def start():
    if sys.argv[1] == "plain":
        return ray.init()
    try:  # as a script does that is written for clusters and for single machines
        return ray.init(address="auto", log_to_driver=True, include_dashboard=False)
    except ConnectionError:
        return ray.init(log_to_driver=True, include_dashboard=False)

@ray.remote
def loss(x):
    return (x - 0.3) ** 2, os.getpid()

info = start().address_info
value, worker = ray.get(loss.remote(float(sys.argv[2])))
with open("session.json", "w") as file:
    json.dump({name: info[name] for name in ("session_dir", "gcs_address")} | {"worker": worker}, file)
with open(os.environ["RLTUNE_METRICS"], "a") as file:
    file.write(json.dumps({"step": 1, "loss": value}) + "\\n")
os._exit(0)  # and all that it has started goes on
"""


def starts_ray(config: dict[str, Any], trial: Any) -> dict[str, float]:
    """The same from within the trial's own process."""
    import ray

    os.environ["RAY_TMPDIR"] = config["temp"]
    info = ray.init(include_dashboard=False).address_info
    loss, worker = ray.get(ray.remote(lambda x: ((x - 0.3) ** 2, os.getpid())).remote(config["x"]))
    note = {name: info[name] for name in ("session_dir", "gcs_address")} | {"worker": worker}
    (trial.directory / "session.json").write_text(json.dumps(note))
    return {"loss": loss}


def processes_of(session_dir: str) -> list[int]:
    """Ray's own, which name their session; its workers have other titles."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if session_dir in " ".join(p.info["cmdline"] or ())]


@pytest.fixture
def temp(cluster: Cluster) -> Iterator[str]:
    """Where Ray leaves word of a cluster that `ray start` has started, in a folder whose name is short."""
    with tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "ray").mkdir()
        (Path(folder) / "ray" / "ray_current_cluster").write_text(cluster.gcs_address)
        yield folder


@pytest.mark.parametrize("form", ["plain", "auto", "function"])
def test_a_trial_that_starts_ray_has_a_ray_of_its_own_which_ends_with_it(
    cluster: Cluster, ray: Callable[..., dict[str, Any]], tmp_path: Path, temp: str, form: str
) -> None:
    """It would join the cluster that it runs on, and wait there for what its own trial has taken."""
    (tmp_path / "job.py").write_text(USES_RAY)
    command = [sys.executable, str(tmp_path / "job.py"), form, "{x}"]
    given: dict[str, Any] = {
        "n_trials": 2,
        "protocol": "simple",
        "search_space": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
        "evaluation": {"metric": "loss", "direction": "minimize"},
        "executor": ray(workers=1),
    }
    if form == "function":
        config = cfg.from_mapping({**given, "trainer": {"config": {"temp": temp}}}, trainer=starts_ray)
    else:
        trainer = {"command": command, "cwd": "{trial_dir}", "env": {"RAY_TMPDIR": temp}}
        config = cfg.from_mapping({**given, "trainer": trainer})
    result = session.run(config, out=tmp_path / "s")
    assert [r.value for r in result.records] == pytest.approx([(r.params["x"] - 0.3) ** 2 for r in result.records])
    sessions = [json.loads((folder / "session.json").read_text()) for folder in folders(result)]
    ours = {"session_dir": cluster.head_node.get_session_dir_path(), "gcs_address": cluster.gcs_address}
    for name, value in ours.items():
        assert len({value, *(theirs[name] for theirs in sessions)}) == 3
    assert processes_of(ours["session_dir"])
    for theirs in sessions:
        assert not processes_of(theirs["session_dir"])
        assert not psutil.pid_exists(theirs["worker"])
