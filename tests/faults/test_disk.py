"""A disk that is full, and one that is read-only: small file systems of our own, mounted for the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from fault_harness import Case, assert_sound
from optuna.trial import TrialState

from rltune.types import Cause

MEGABYTES = 2


class Disk:
    """A file system on which the case's study folder lies."""

    def __init__(self, case: Case) -> None:
        self.path = case.root / "runs"
        self.path.mkdir()

    def mount(self, *options: str) -> None:
        _mount("-t", "tmpfs", "-o", f"size={MEGABYTES}m", *options, "tmpfs", str(self.path))

    def make_read_only(self) -> None:
        _mount("-o", "remount,ro", str(self.path))

    def make_writable(self) -> None:
        _mount("-o", "remount,rw", str(self.path))

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=False, capture_output=True)

    def fill(self) -> None:
        """Takes every page that is left."""
        page = b"x" * 4096
        with (self.path / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            file.writelines(page for _ in range(MEGABYTES * 2**20))

    def free(self) -> None:
        """Takes away what fills it: the ballast, or a trial's log."""
        for file in [self.path / "ballast", *self.path.glob("study/trials/*/stdout.log")]:
            file.unlink(missing_ok=True)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting a file system is not permitted here: {done.stderr.strip()}")


@pytest.fixture
def disk(case: Case) -> Iterator[Disk]:
    disk = Disk(case)
    disk.mount()
    yield disk
    case.close()
    disk.unmount()


FULL = "study folder runs/study: no space left on the device; free some, then run again"


def test_a_trial_fills_the_disk_with_its_log(case: Case, disk: Disk) -> None:
    """What it prints fails first, and then what the tuner writes about it."""
    mended = case.root / "mended"
    case.write(n_trials=4, faults={1: "fills_the_disk"}, mended=mended)
    ended = case.run()
    assert ended.code == 2, ended.output
    assert FULL in ended.output
    assert "Traceback" not in ended.output
    case.assert_nothing_lives(0)
    assert case.records()[0].state is TrialState.COMPLETE
    disk.free()
    mended.touch()
    ended = case.run()
    assert ended.code == 0, ended.output
    assert_sound(case)
    records = case.records()
    assert all(r.state.is_finished() for r in records)
    assert records[1].cause in (Cause.ERROR, Cause.LOST)
    if records[1].cause is Cause.ERROR:
        assert records[1].message.startswith("the disk is full")
    assert len(case.complete()) == 4 - (records[1].cause is Cause.ERROR)


@pytest.mark.parametrize("kind", ["function", "command"])
def test_the_tuners_own_writes_fail(case: Case, disk: Disk, kind: str) -> None:
    """The trial itself does not mind the full disk."""
    mended = case.root / "mended"
    case.write(kind=kind, n_trials=3, workers=2, faults={1: "fills_the_disk_and_goes_on"}, mended=mended, seconds=0.1)
    ended = case.run()
    assert ended.code == 2, ended.output
    assert FULL in ended.output
    assert "Traceback" not in ended.output
    case.assert_nothing_lives(0)
    n_before = len(case.records())
    disk.free()
    mended.touch()
    ended = case.run()
    assert ended.code == 0, ended.output
    assert_sound(case)
    assert len(case.complete()) >= 2
    assert len(case.records()) >= n_before
    assert all(r.state.is_finished() for r in case.records())


def test_the_disk_is_full_at_the_start(case: Case, disk: Disk) -> None:
    case.write(n_trials=2)
    disk.fill()
    ended = case.run()
    assert ended.code == 2, ended.output
    assert FULL in ended.output
    assert case.notes() == []
    disk.free()
    assert case.run().code == 0
    assert len(case.complete()) == 2


def test_the_disk_is_full_when_the_study_goes_on(case: Case, disk: Disk) -> None:
    case.write(n_trials=2)
    assert case.run().code == 0
    disk.fill()
    case.write(n_trials=3)
    ended = case.run()
    assert ended.code == 2, ended.output
    assert FULL in ended.output
    assert len(case.notes()) == 2
    disk.free()
    assert case.run().code == 0
    assert len(case.complete()) == 3


READ_ONLY = "the file system is read-only; choose another folder with `--out`"


def test_a_read_only_disk_is_refused_before_any_trial(case: Case, disk: Disk) -> None:
    case.write(n_trials=2)
    disk.make_read_only()
    ended = case.run()
    assert ended.code == 2, ended.output
    assert f"study folder runs/study: {READ_ONLY}" in ended.output
    assert case.notes() == []
    ended = case.run("--out", "elsewhere")
    assert ended.code == 0, ended.output


def test_a_study_on_a_disk_that_has_become_read_only_can_be_looked_at(case: Case, disk: Disk) -> None:
    case.write(n_trials=2)
    assert case.run().code == 0
    disk.make_read_only()
    case.write(n_trials=3)
    ended = case.run()
    assert ended.code == 2, ended.output
    assert READ_ONLY in ended.output
    assert len(case.notes()) == 2
    for verb in ("status", "list", "best"):
        looked = case.call(verb, "runs/study")
        assert looked.code == 0, looked.output
    disk.make_writable()
    assert case.run().code == 0
    assert len(case.complete()) == 3
