"""A real process: Ctrl-C, TERM, `rltune stop`, a reader that leaves, a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import time
from pathlib import Path

import pytest
from cli_waiting import lives, wait_for

LOCAL = ["--set", "executor={name: local, workers: 2, grace_seconds: 5}", "--set", "n_trials=4"]


def started(folder: Path = Path("runs/small"), trials: int = 2) -> list[int]:
    """The processes of the running trials, once so many have measured something."""

    def ready() -> bool:
        return len(list(folder.glob("trials/*/metrics.jsonl"))) >= trials

    wait_for(ready)
    return [pid for pid in _everyone() if _environ(pid).get("PWD") == str(Path.cwd()) and pid != os.getpid()]


def _everyone() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal()]


def _environ(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return {}
    return dict(item.partition("=")[::2] for item in text.split("\0"))


@pytest.fixture
def running(job, process, monkeypatch):
    """A study of two trials that never end, and its process."""
    monkeypatch.setenv("PWD", str(job))
    run = process("run", "study.yaml", "--trainer", "job:slow", *LOCAL)
    started()
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
def test_a_signal_stops_the_study_so_that_it_can_go_on(running, rltune, number, code):
    children = started()
    running.send_signal(number)
    out, err = running.communicate(timeout=20)
    assert running.returncode == code, err
    assert "what runs is cut short, and runs again next time" in out
    assert "go on with\n  rltune run study.yaml --trainer job:slow" in out
    assert err == ""
    assert not any(lives(pid) for pid in children)
    rows = rltune("list", "--json").json
    assert [row["cause"] for row in rows[:2]] == ["interrupted", "interrupted"]
    assert {row["retry_of"] for row in rows[2:]} == {0, 1}


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(job, process, monkeypatch):
    monkeypatch.setenv("PWD", str(job))
    run = process("run", "study.yaml", "--trainer", "job:deaf", *LOCAL)
    children = started()
    run.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert run.poll() is None
    begin = time.monotonic()
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=20)
    assert run.returncode == 130
    assert time.monotonic() - begin < 2
    assert "press Ctrl-C again to end at once" in out
    wait_for(lambda: not any(lives(pid) for pid in children))


@pytest.mark.slow
def test_stop_ends_the_process_and_waits_for_it(running, rltune):
    status = rltune("status", "--json").json
    assert status["running_in"]["pid"] == running.pid
    assert [row["number"] for row in status["running"]] == [0, 1]
    assert status["running"][0]["step"] >= 1
    assert f"run by process {running.pid} on " in rltune("status").out
    assert "running" in rltune("list", "--state", "running").out
    stopped = rltune("stop")
    assert stopped.code == 0
    assert stopped.out == "runs/small: stopped; `rltune run` on the same study file goes on\n"
    running.communicate(timeout=20)
    assert running.returncode == 75


@pytest.mark.slow
def test_an_interrupted_study_ends_as_one_that_was_not(job, process, rltune):
    (job / "slowly.py").write_text((job / "job.py").read_text().replace('config.get("wait", 0)', "0.1"))
    run = process("run", "study.yaml", "--trainer", "slowly:train", "--set", "executor=local", "--json")
    wait_for(lambda: len(list(Path("runs/small").glob("trials/*/result.json"))) >= 2)
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=20)
    assert run.returncode == 75
    assert json.loads(out)["stopped"] is True
    done = rltune("run", "study.yaml", "--trainer", "slowly:train", "--set", "executor=local", "--json")
    assert done.code == 0, done.err
    straight = rltune("run", "study.yaml", "--trainer", "slowly:train", "--out", "straight", "--json")
    assert straight.code == 0
    assert done.json["best"]["params"] == straight.json["best"]["params"]
    assert done.json["trials"]["complete"] == straight.json["trials"]["complete"] == 5


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_end_the_study(job, process, rltune):
    run = process("run", "study.yaml", "--set", "n_trials=8", "--set", "executor=local")
    run.stdout.readline()
    run.stdout.close()
    run.stdout = None
    _, err = run.communicate(timeout=30)
    assert run.returncode == 0, err
    assert err == ""
    assert rltune("status", "--json").json["trials"]["complete"] == 8


@pytest.mark.slow
def test_retry_reaches_the_running_process(job, process, rltune):
    (job / "mixed.py").write_text(
        "import os, time\n"
        "def train(config, trial):\n"
        "    if trial.number == 0: raise RuntimeError('first')\n"
        "    while trial.number == 1 and not os.path.exists('go'): time.sleep(0.02)\n"
        "    return config['lr']\n"
    )
    run = process("run", "study.yaml", "--trainer", "mixed:train", "--set", "executor=local", "--set", "n_trials=3")
    wait_for(lambda: Path("runs/small/trials/0001").exists())
    queued = rltune("retry", "0")
    assert queued.out == f"queued again: trial 0; process {run.pid} on {os.uname().nodename} picks it up\n"
    Path("go").touch()
    run.communicate(timeout=20)
    assert run.returncode == 0
    rows = rltune("list", "--json").json
    assert [(row["retry_of"], row["state"]) for row in rows] == [
        (None, "fail"),
        (None, "complete"),
        (0, "complete"),
        (None, "complete"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_gets_one_block(job, process, colours):
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color", "COLUMNS": "80"}
    env |= {"LINES": "24"} | ({} if colours else {"NO_COLOR": "1"})
    (job / "slowly.py").write_text((job / "job.py").read_text().replace('config.get("wait", 0)', "0.2"))
    run = process(
        "run",
        "study.yaml",
        "--trainer",
        "slowly:train",
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        text=False,
    )
    os.close(theirs)
    text = ""
    while run.poll() is None or select.select([ours], [], [], 0)[0]:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                text += os.read(ours, 65536).decode(errors="replace")
            except OSError:
                break
    os.close(ours)
    assert run.wait() == 0
    assert "of 5 trials" in text
    assert re.search(r"running +.*trial \d", text)
    assert "trial 0 search finished" not in text
    assert "best of 5 single runs" in re.sub(r"\x1b\[[\d;]*m", "", text)
    assert text.rindex("\x1b[?25h") > text.index("\x1b[?25l")
    assert bool(re.search(r"\x1b\[[\d;]*3[0-8]", text)) is colours
