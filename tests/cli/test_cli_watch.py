"""`status --watch` beside a study that runs: on a terminal and piped, to its end, to its death, and to Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from cli_waiting import wait_for

from rltune import session
from rltune.cli.views.status import Viewer

SLOWLY = """
import time
def train(config, trial):
    for step in range(1, 6):
        trial.report(step, {"score": config["lr"] * step})
        time.sleep(WAIT)
"""


@pytest.fixture
def running(job, process):
    """Starts a study of five trials or fewer, and waits for its first number."""

    def start(wait: float, *words: str):
        (job / "slowly.py").write_text(SLOWLY.replace("WAIT", str(wait)))
        run = process("run", "study.yaml", "--trainer", "slowly:train", "--set", "executor=local", *words)
        wait_for(lambda: list(Path("runs/small").glob("trials/*/metrics.jsonl")))
        return run

    return start


@pytest.mark.slow
def test_piped_it_says_a_line_for_every_trial_and_ends_with_the_study(running, process):
    run = running(0.2)
    watch = process("status", "--watch", "--", "small")
    out, err = watch.communicate(timeout=60)
    assert run.wait(timeout=20) == 0
    assert (watch.returncode, err) == (0, "")
    first, *_ = out.splitlines()
    assert re.match(r"small  \d of 5 trials", first)
    told = [int(n) for n in re.findall(r"^trial (\d) search finished score=", out, re.MULTILINE)]
    assert told == list(range(told[0], 5))
    assert out.splitlines()[-1] == "state      finished"
    assert "\x1b" not in out
    assert "\r" not in out


@pytest.mark.slow
def test_ctrl_c_ends_the_watch_and_not_the_study(running, process):
    run = running(0.2)
    watch = process("status", "--watch")
    watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, err = watch.communicate(timeout=20)
    assert (watch.returncode, err) == (130, "")
    assert run.wait(timeout=60) == 0


@pytest.mark.slow
def test_it_ends_with_75_where_the_process_is_killed(running, process):
    run = running(30)
    watch = process("status", "--watch")
    watch.stdout.readline()
    run.kill()
    out, _ = watch.communicate(timeout=20)
    assert watch.returncode == 75
    assert out.endswith("state      its process was killed; `rltune run` takes up what it ran\n")


def test_of_a_finished_study_it_ends_at_once(rltune, job):
    assert rltune("run", "study.yaml").code == 0
    begin = time.monotonic()
    watched = rltune("status", "--watch")
    assert (watched.code, watched.out) == (0, rltune("status").out)
    assert time.monotonic() - begin < 10
    assert rltune("status", "--watch", "--json").err.startswith("rltune: --watch and --json exclude each other")
    rltune("run", "study.yaml", "--trainer", "job:broken", "--set", "n_trials=2", "--out", "runs/broken")
    assert rltune("status", "--watch", "broken").code == 3


@pytest.mark.slow
@pytest.mark.parametrize(("term", "colours"), [("xterm-256color", True), ("xterm-256color", False), ("dumb", False)])
def test_a_terminal_gets_the_block_of_run(running, job, term, colours):
    run = running(0.25, *([] if term != "dumb" else ["--set", "n_trials=3"]))
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": term, "COLUMNS": "80", "LINES": "24"}
    env |= {} if colours else {"NO_COLOR": "1"}
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "rltune", "status", "--watch"],
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, fd) for fd in (0, 1, 2)],
    )
    os.close(theirs)
    text = ""
    while select.select([ours], [], [], 30)[0]:
        try:
            text += os.read(ours, 65536).decode(errors="replace")
        except OSError:
            break
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert run.wait(timeout=20) == 0
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    if term != "dumb":  # where the one block that there is may be of a moment between two trials
        assert re.search(r"running +trial \d +[▁▂▃▄▅▆▇█]+ +[\d.]+ +step \d", plain)
        assert re.search(r"state +run by process \d+ on ", plain)
    assert "finished" in plain.splitlines()[-1]
    assert ("\x1b" in text) is (term != "dumb")
    assert bool(re.search(r"\x1b\[[\d;]*3[0-8]", text)) is colours
    assert term == "dumb" or text.rindex("\x1b[?25h") > text.index("\x1b[?25l"), "the cursor is there again"


def test_a_look_at_a_thousand_trials_costs_little(rltune, job):
    assert rltune("run", "study.yaml").code == 0
    viewer = Viewer(Path("runs/small"))
    study = session.read(Path("runs/small")).study
    whole = study.trials[0]
    study.add_trials([whole] * 995)
    assert viewer.look().snapshot.n_done == 1000
    begin = time.process_time()
    for _ in range(5):
        viewer.look()
    assert (time.process_time() - begin) / 5 < 0.2
