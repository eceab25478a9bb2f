"""The journal: Optuna's format, and what happens to it when the disk is full or a process dies while writing."""

import resource
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from rltune.errors import FolderError
from rltune.folder import StudyDir
from rltune.storage import open_study, storage_at

DISTRIBUTION = {"x": optuna.distributions.FloatDistribution(0, 1)}


def fill(study, n):
    for _ in range(n):
        study.tell(study.ask(DISTRIBUTION), 1.0)


def test_optuna_reads_the_journal_as_it_is(tmp_path):
    fill(open_study("journal", StudyDir(tmp_path), "s", ["minimize"]), 5)
    theirs = optuna.load_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    )
    assert [t.value for t in theirs.trials] == [1.0] * 5


def test_what_a_crash_left_half_written_is_taken_away(tmp_path):
    folder = StudyDir(tmp_path)
    fill(open_study("journal", folder, "s", ["minimize"]), 3)
    whole = folder.journal.read_bytes()
    folder.journal.write_bytes(whole + b'{"op_code": 4, "worker_id": "x", "st')
    study = open_study("journal", folder, "s", ["minimize"], repair=True)
    assert folder.journal.read_bytes() == whole
    fill(study, 1)
    assert len(open_study("journal", folder, "s", ["minimize"]).trials) == 4


def test_a_journal_that_is_one_torn_line_becomes_empty(tmp_path):
    folder = StudyDir(tmp_path)
    folder.journal.write_bytes(b"x" * 200_000)
    study = open_study("journal", folder, "s", ["minimize"], repair=True)
    fill(study, 1)
    assert len(study.trials) == 1


def test_a_lock_left_by_a_killed_process_does_not_block(tmp_path):
    folder = StudyDir(tmp_path)
    fill(open_study("journal", folder, "s", ["minimize"]), 1)
    folder.journal.with_name("journal.log.lock").symlink_to(folder.journal)
    fill(open_study("journal", folder, "s", ["minimize"], repair=True), 1)


def test_a_full_disk_leaves_whole_lines(tmp_path):
    """A limit on the size of files stands in for the disk: the write is cut short, then refused."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import resource, signal
from pathlib import Path
from test_storage import fill, open_study, StudyDir
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
study = open_study("journal", StudyDir(Path({str(tmp_path)!r})), "s", ["minimize"])
fill(study, 3)
size = StudyDir(Path({str(tmp_path)!r})).journal.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
try:
    fill(study, 3)
except OSError as error:
    print("refused", error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "refused" in done.stdout
    assert (tmp_path / "journal.log").read_bytes().endswith(b"\n")
    assert len(open_study("journal", StudyDir(tmp_path), "s", ["minimize"]).trials) >= 3
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_study_of_other_directions_is_refused(tmp_path):
    open_study("journal", StudyDir(tmp_path), "s", ["minimize"])
    with pytest.raises(FolderError, match=r"`s` in .*journal.log has the directions \['minimize'\], asked for"):
        open_study("journal", StudyDir(tmp_path), "s", ["maximize"])


def test_reading_makes_nothing(tmp_path):
    with pytest.raises(FolderError, match=r"there is no journal.log in it yet"):
        open_study("journal", StudyDir(tmp_path), "s", ["minimize"], create=False)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_is_a_url_away(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    fill(open_study(url, StudyDir(tmp_path), "s", ["minimize"]), 2)
    assert len(open_study(url, StudyDir(tmp_path), "s", ["minimize"], create=False).trials) == 2


def test_an_sqlite_file_is_meant_from_where_the_study_file_is(tmp_path):
    assert storage_at("sqlite:///a/b.db", tmp_path) == f"sqlite:///{tmp_path}/a/b.db"
    for absolute in ("sqlite:////var/b.db", "sqlite:///:memory:", "postgresql://host/b", "journal"):
        assert storage_at(absolute, tmp_path) == absolute


def test_reading_makes_no_database(tmp_path):
    with pytest.raises(FolderError, match=r"there is no .*gone\.db, where its trials are kept"):
        open_study(f"sqlite:///{tmp_path}/gone.db", StudyDir(tmp_path), "s", ["minimize"], create=False)
    assert not (tmp_path / "gone.db").exists()
