"""The study folder: atomic writes, torn lines, one tuner at a time."""

import json
import multiprocessing
import subprocess
import sys

import pytest

from rltune.errors import FolderError
from rltune.folder import StudyDir, TrialDir, write_atomic
from rltune.types import Cause, Measurement, Outcome, Usage


def test_measurements_survive_a_torn_last_line(tmp_path):
    trial = TrialDir(tmp_path)
    written = [Measurement(1, {"loss": 0.5}, 1.5), Measurement(2, {"loss": float("nan")}, 2.0, "ckpt/2")]
    for measurement in written:
        trial.append_measurement(measurement)
    with trial.metrics.open("a") as file:
        file.write('{"step": 3, "lo')
    read = trial.read_metrics()
    assert [m.step for m in read] == [1, 2]
    assert read[0] == written[0]
    assert read[1].checkpoint == "ckpt/2"


def test_an_outcome_reads_back_as_it_was_written(tmp_path):
    trial = TrialDir(tmp_path)
    assert trial.read_outcome() is None
    outcome = Outcome(Cause.OUT_OF_MEMORY, "é\n", {"loss": 1.0}, Usage(1.5, 10), stopped=True)
    trial.write_outcome(outcome)
    assert trial.read_outcome() == outcome


def test_a_write_that_fails_leaves_the_old_text(tmp_path):
    file = tmp_path / "a.txt"
    write_atomic(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(file, "\ud800")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def _hold(path, ready, done):
    with StudyDir(path).locked():
        ready.set()
        done.wait(30)


def test_a_second_tuner_is_refused_and_told_who_is_there(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, done))
    process.start()
    assert ready.wait(30)
    folder = StudyDir(tmp_path)
    assert folder.holder()["pid"] == process.pid
    taken = rf"process {process.pid} on .* is already running this study.*rltune stop"
    with pytest.raises(FolderError, match=taken), folder.locked():
        pass
    done.set()
    process.join()
    assert folder.holder() is None
    with folder.locked():
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import sys, os; from pathlib import Path; from rltune.folder import StudyDir\n"
        "with StudyDir(Path(sys.argv[1])).locked(): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert json.loads((tmp_path / "study.lock").read_text())["pid"]
    assert StudyDir(tmp_path).holder() is None


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(FolderError, match=r"study folder .*x: Not a directory"):
        StudyDir(tmp_path / "x").create()
