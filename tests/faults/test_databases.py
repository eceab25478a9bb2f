"""A study in a database instead of the journal: killed, resumed; and a database that cannot be reached."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_harness import Case, assert_sound, wait_for

pytestmark = pytest.mark.slow


class Postgres:
    """A server of our own, on a socket in a folder of its own."""

    def __init__(self, path: Path, programs: Path, user: str | None) -> None:
        self.path = path
        self.url = f"postgresql+psycopg2://rltune@/postgres?host={path}"
        self._programs = programs
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._call("initdb", "-D", "data", "-A", "trust", "-U", "rltune", "--no-sync")

    def start(self) -> None:
        words = ["-D", "data", "-k", str(self.path), "-c", "listen_addresses=", "-c", "fsync=off"]
        log = (self.path / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", *words], cwd=self.path, user=self._user, stdout=log, stderr=log
            )
        wait_for(self._answers, what="the server's start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # does not wait for its clients
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        done = subprocess.run([self._programs / "pg_isready", "-h", self.path], check=False, capture_output=True)
        return done.returncode == 0

    def _call(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._programs / program, *words], cwd=self.path, user=self._user, check=True, capture_output=True
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    found = [shutil.which("postgres"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)]
    programs = next((Path(each).resolve().parent for each in found if each is not None), None)
    if programs is None:
        pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("there is no driver for PostgreSQL here: pip install psycopg2-binary")
    path = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path must be short, and the server's user must reach it
    user = None
    if os.getuid() == 0:  # which the server refuses to run as
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam("postgres").pw_name
        if user is None:
            pytest.skip("the PostgreSQL server refuses root, and there is no user postgres")
        shutil.chown(path, user)
    server = Postgres(path, programs, user)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(path)


@pytest.fixture(params=["sqlite", "postgresql"])
def in_database(case: Case, request: pytest.FixtureRequest) -> Case:
    if request.param == "sqlite":
        case.storage = f"sqlite:///{case.root}/study.db"
    else:
        case.storage = request.getfixturevalue("server").url
    return case


def test_a_study_is_killed_and_goes_on(in_database: Case) -> None:
    case = in_database
    case.name = f"killed-{case.cookie}"
    case.write(n_trials=8, workers=2, seconds=0.1)
    for n in (2, 3):
        session = case.start()
        case.wait_for_trials(n)
        session.kill()
        case.assert_nothing_lives()
    ended = case.run()
    assert ended.code == 0, ended.output
    assert_sound(case)
    assert len(case.complete()) == 8
    assert not case.folder.journal.exists()


def test_a_server_that_ends_in_the_middle(case: Case, server: Postgres) -> None:
    case.storage, case.name = server.url, f"outage-{case.cookie}"
    case.write(n_trials=6, workers=2, seconds=0.1)
    session = case.start()
    case.wait_for_trials(3)
    server.stop()
    try:
        ended = session.end()
        assert ended.code == 2, ended.output
        assert "study storage" in ended.output
        assert "the study goes on where it stopped" in ended.output
        assert "Traceback" not in ended.output
        case.assert_nothing_lives()
        ended = case.run()
        assert ended.code == 2, ended.output
        assert "connection to server on socket" in ended.output
        assert "Traceback" not in ended.output
    finally:
        server.start()
    ended = case.run()
    assert ended.code == 0, ended.output
    assert_sound(case)
    assert len(case.complete()) == 6


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("sqlite:////nowhere/at/all/study.db", "unable to open database file"),
        ("postgresql+pg8001://somebody:secret@nowhere/study", "Can't load plugin"),
        ("mysql+mysqldb://somebody:secret@nowhere/study", "No module named 'MySQLdb'; install it"),
    ],
)
def test_a_storage_that_is_none_is_refused(case: Case, storage: str, words: str) -> None:
    case.storage = storage
    case.write(n_trials=2)
    ended = case.run()
    assert ended.code == 2, ended.output
    assert words in ended.output
    assert "secret" not in ended.output
    assert "Traceback" not in ended.output
    assert case.notes() == []
