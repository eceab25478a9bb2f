"""What W&B's own client leaves for `wandb sync`, without a network and without an account."""

import json
import subprocess
import sys

import pytest

from trackers import spies
from trackers.spies import much_patience  # noqa: F401

if subprocess.run([sys.executable, "-c", "import wandb"], capture_output=True, check=False).returncode:
    pytest.skip("needs pip install 'rltune[wandb]'", allow_module_level=True)

READ = """
import json, struct, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2 as pb

def records(file, block=32768):  # LevelDB's log: chunks with a checksum, a size and a kind, behind W&B's own 7 bytes
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # all of it, or the last of it
            yield whole
            whole = b""

seen = {"history": [], "summary": {}}
for data in records(Path(sys.argv[1])):
    record = pb.Record.FromString(data)
    if record.WhichOneof("record_type") == "run":
        run = record.run
        seen |= {"id": run.run_id, "name": run.display_name, "group": run.run_group, "job": run.job_type}
        seen["config"] = {item.key: json.loads(item.value_json) for item in run.config.update}
    for item in record.history.item:
        seen["history"].append(["/".join(item.nested_key) or item.key, record.history.step.num, item.value_json])
    for item in record.summary.update:
        seen["summary"]["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    if record.WhichOneof("record_type") == "exit":
        seen["exit"] = record.exit.exit_code
print(json.dumps(seen))
"""


def read(folder):
    (file,) = folder.glob("*.wandb")
    done = subprocess.run([sys.executable, "-c", READ, file], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_each_trial_is_a_run_of_one_group_with_its_curve(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    result = spies.study(tmp_path, {"wandb": {"project": "arms"}}, n_trials=4)
    found = [read(folder) for folder in (tmp_path / "wandb").glob("offline-run-*")]
    by_number = {run["summary"]["rltune/trial"]: run for run in found}
    assert sorted(by_number) == [record.number for record in result.records]
    assert len({run["group"] for run in found}) == len({run["id"].rpartition("-")[0] for run in found}) == 1
    for record in result.records:
        run = by_number[record.number]
        assert run["name"] == f"{result.config.name}/{record.number:04d}"
        assert {name: run["config"][name] for name in record.params} == dict(record.params)
        assert run["summary"]["rltune/state"] == record.state.name.lower()
        assert run["exit"] == (record.cause is not None)
        reported = result.folder.trial(record.number).read_metrics()
        curve = [(step, json.loads(value)) for name, step, value in run["history"] if name == "loss"]
        assert curve == [(m.step, pytest.approx(m.metrics["loss"])) for m in reported]


@pytest.mark.slow
def test_without_an_account_it_says_so_and_no_trial_fails(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    alone, watched = spies.study(tmp_path / "alone"), spies.study(tmp_path / "watched", "wandb")
    assert spies.trials(watched) == spies.trials(alone)
    assert ["the tracker `wandb`" in message for message in caplog.messages if "waiting" not in message] == [True]
