"""`dashboard`: optuna-dashboard shows a study, also while it runs, and cannot change it."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("optuna_dashboard")


@pytest.fixture
def dashboard(process):
    """Starts it and gives its process and its address."""

    def start(*arguments):
        running = process("dashboard", *arguments, "--port", "0")
        line = running.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:\d+)/dashboard/studies/(\d+)", line)
        assert found, line + running.stderr.read()
        assert running.stdout.readline() == "Ctrl-C ends it\n"
        return running, found[1], int(found[2])

    return start


def ask(address, method="GET", body=None, **headers):
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(address, method=method, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_what_would_change_the_study_is_refused(rltune, job, dashboard):
    assert rltune("run", "study.yaml").code == 0
    journal = job / "runs/small/journal.log"
    before = journal.read_bytes()
    running, address, study = dashboard("small")
    (summary,) = json.loads(ask(f"{address}/api/studies")[1])["study_summaries"]
    assert summary["study_name"] == "small"
    detail = json.loads(ask(f"{address}/api/studies/{study}?after=0")[1])
    assert [trial["state"] for trial in detail["trials"]] == ["Complete"] * 5
    assert "score" in json.dumps(detail.get("objective_names", detail))
    writes = {
        "/api/studies": ("POST", {"study_name": "x", "directions": ["minimize"]}),
        f"/api/studies/{study}": ("DELETE", {}),
        f"/api/studies/{study}/rename": ("POST", {"study_name": "renamed"}),
        f"/api/studies/{study}/note": ("PUT", {"version": 1, "body": "mine"}),
        f"/api/studies/{study}/0/note": ("PUT", {"version": 1, "body": "mine"}),
        "/api/trials/0/tell": ("POST", {"state": "Fail"}),
        "/api/trials/0/user-attrs": ("POST", {"user_attrs": {"purpose": "claim"}}),
        "/dashboard": ("PATCH", {}),
    }
    for path, (method, body) in writes.items():
        status, told = ask(address + path, method, json.dumps(body).encode())
        assert status == 405, path
        assert b"read-only" in told
    assert ask(f"{address}/api/studies/{study}?after=0")[0] == 200
    assert journal.read_bytes() == before
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 0
    out, err = running.communicate()
    assert (out, err) == ("\nended\n", "")
    assert journal.read_bytes() == before


@pytest.mark.slow
def test_a_running_study_is_shown_as_it_goes_on(rltune, job, dashboard, process):
    (job / "study.yaml").write_text((job / "study.yaml").read_text().replace("n_trials: 5", "n_trials: 60"))
    run = process("run", "study.yaml", "--set", "trainer.config.wait=0.1")
    while not (job / "runs/small/study.yaml").exists():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.05)
    _, address, study = dashboard("small")

    def ended():
        trials = json.loads(ask(f"{address}/api/studies/{study}?after=0")[1])["trials"]
        return sum(trial["state"] == "Complete" for trial in trials)

    seen = [ended()]
    deadline = time.monotonic() + 30
    while seen[-1] < seen[0] + 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        seen.append(ended())
    assert seen[-1] >= seen[0] + 2
    assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 75


def test_nobody_else_on_the_network_sees_it(rltune, job, dashboard):
    assert rltune("run", "study.yaml").code == 0
    _, address, _ = dashboard("small")
    host, port = address.removeprefix("http://").split(":")
    assert host == "127.0.0.1"
    with socket.socket() as other:
        other.settimeout(2)
        assert other.connect_ex(("127.0.0.2", int(port))) != 0
    assert ask(f"{address}/api/studies", Host=f"localhost:{port}")[0] == 200
    status, told = ask(f"{address}/api/studies", Host=f"elsewhere.example:{port}")
    assert (status, json.loads(told)["reason"]) == (403, "rltune dashboard answers 127.0.0.1 and localhost alone")


def test_a_port_that_is_taken(rltune, job):
    assert rltune("run", "study.yaml").code == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        shown = rltune("dashboard", "small", "--port", str(taken.getsockname()[1]))
    assert (shown.code, shown.out) == (2, "")
    assert "something else listens there; give another one, or 0 for a free one" in shown.err


def test_no_study(rltune, job):
    shown = rltune("dashboard", "nine")
    assert shown.code == 2
    assert "there is no such study" in shown.err


def test_without_optuna_dashboard(rltune, job, monkeypatch):
    assert rltune("run", "study.yaml").code == 0
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    shown = rltune("dashboard", "small")
    assert shown.code == 2
    assert "pip install 'rltune[dashboard]'" in shown.err


def test_a_study_in_a_database(rltune, job, dashboard):
    assert rltune("run", "study.yaml", "--set", "storage=sqlite:///x.db").code == 0
    before = (job / "x.db").read_bytes()
    _, address, study = dashboard("small")
    assert len(json.loads(ask(f"{address}/api/studies/{study}?after=0")[1])["trials"]) == 5
    assert ask(f"{address}/api/studies/{study}", "DELETE", b"{}")[0] == 405
    assert (job / "x.db").read_bytes() == before


def test_the_storage_behind_the_page_refuses_to_write(rltune, job):
    from rltune import session
    from rltune.reporting.dashboard import _read_only

    assert rltune("run", "study.yaml").code == 0
    study = session.read(job / "runs/small").study
    storage = _read_only(study._storage, study._study_id, ["score"])
    assert len(storage.get_all_trials(study._study_id)) == 5
    for write in (
        lambda: storage.delete_study(study._study_id),
        lambda: storage.create_new_trial(study._study_id),
        lambda: storage.set_trial_user_attr(0, "purpose", "claim"),
        lambda: storage.set_study_system_attr(study._study_id, "a", 1),
    ):
        with pytest.raises(PermissionError, match="read-only"):
            write()
    assert len(storage.get_all_trials(study._study_id)) == 5
