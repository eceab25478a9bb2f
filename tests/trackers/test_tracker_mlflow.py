"""What MLflow's own client finds in its store."""

import subprocess
import sys

import pytest

from trackers import spies
from trackers.spies import much_patience  # noqa: F401

if subprocess.run([sys.executable, "-c", "import mlflow"], capture_output=True, check=False).returncode:
    pytest.skip("needs pip install 'rltune[mlflow]'", allow_module_level=True)

READ = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])
runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
print(json.dumps([{
    "name": run.info.run_name, "status": run.info.status, "params": run.data.params, "tags": run.data.tags,
    "curves": {name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
               for name in run.data.metrics},
    "time": [run.info.start_time, run.info.end_time],
} for run in runs]))
"""
"""In a process of its own: it takes seconds to load, and has warnings about its own future."""


def runs(store, experiment):
    import json

    words = [sys.executable, "-c", READ, f"sqlite:///{store}", experiment]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_each_trial_is_a_run_and_a_second_session_goes_on_in_the_same_experiment(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    tracker = {"mlflow": {"tracking_uri": "sqlite:///mine.db", "experiment": "arms"}}
    spies.study("s", tracker, n_trials=4)
    result = spies.study("s", tracker, n_trials=12)
    found = runs(tmp_path / "mine.db", "arms")
    assert [run["name"] for run in found] == [f"{result.config.name}/{r.number:04d}" for r in result.records]
    assert {record.cause for record in result.records} == {None, "error"}, "the study shows too little"
    assert len({run["tags"]["rltune.study"] for run in found}) == 1
    for record, run in zip(result.records, found, strict=True):
        assert run["status"] == ("FINISHED" if record.cause is None else "FAILED")
        assert run["params"] == {name: str(value) for name, value in record.params.items()}
        assert run["tags"]["rltune.trial"] == str(record.number)
        assert run["tags"]["rltune.state"] == record.state.name.lower()
        assert ("too large" in run["tags"].get("rltune.message", "")) == (record.cause is not None)
        reported = result.folder.trial(record.number).read_metrics()
        for name in ("loss", "entropy") if reported else ():
            assert run["curves"][name] == [[m.step, m.metrics[name]] for m in reported]
        assert run["curves"]["training_time"][0][1] == record.metrics["training_time"]
        assert run["time"] == [round(at.timestamp() * 1000) for at in (record.started, record.finished)]


@pytest.mark.slow
def test_without_an_option_it_is_a_file_in_the_study_and_a_server_that_is_gone_fails_no_trial(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = spies.study(tmp_path / "s", "mlflow", n_trials=2)
    assert len(runs(tmp_path / "s" / "mlflow.db", result.config.name)) == 2

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    nobody = {"mlflow": {"tracking_uri": "http://127.0.0.1:9"}}
    alone, watched = spies.study(tmp_path / "alone"), spies.study(tmp_path / "watched", nobody)
    assert spies.trials(watched) == spies.trials(alone)
    assert ["the tracker `mlflow` failed" in message for message in caplog.messages if "waiting" not in message] == [
        True
    ]
