"""The study folder: every path in it, and every way of writing there.

Nobody else builds a path inside a study folder. Files are appended to, or written beside and renamed; so a reader
never sees half a file, and the folder may be copied or moved at any time. Standard library only: workers import it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rltune.errors import FolderError
from rltune.types import Measurement, Outcome


@dataclass(frozen=True)
class TrialDir:
    """One trial's files: `trials/0012/`."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        return self.path / "overrides.txt"

    @property
    def command(self) -> Path:
        return self.path / "command.txt"

    @property
    def env(self) -> Path:
        return self.path / "env.json"

    @property
    def log(self) -> Path:
        """What the trial printed, both streams."""
        return self.path / "stdout.log"

    @property
    def metrics(self) -> Path:
        """Every measurement that reached the tuner, a JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def outcome(self) -> Path:
        """Written by the worker at the trial's end, so that a tuner killed at that moment loses nothing."""
        return self.path / "outcome.json"

    @property
    def result(self) -> Path:
        """Written by the tuner once the trial is closed."""
        return self.path / "result.json"

    @property
    def waiting(self) -> Path:
        """There while the trial waits for another one before it begins: time that its limits do not count."""
        return self.path / "waiting"

    @property
    def pausable(self) -> Path:
        """There from when the trial could be asked to pause, which is to save a checkpoint and end by itself."""
        return self.path / "pausable"

    @property
    def pause_request(self) -> Path:
        """Asks it to."""
        return self.path / "pause.request"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def fold(self, index: int) -> TrialDir:
        """The folder of one fold of a cross-validated trial, counted over all repeats."""
        return TrialDir(self.path / f"fold_{index}")

    def folds(self) -> list[TrialDir]:
        """Those that have begun, by their number."""
        begun = [path for path in self.path.glob("fold_*") if path.name[5:].isdigit()]
        return [TrialDir(path) for path in sorted(begun, key=lambda path: int(path.name[5:]))]

    def append_measurement(self, measurement: Measurement) -> None:
        """One line, one write: a crash can cut only the last line."""
        row: dict[str, Any] = {
            "step": measurement.step,
            "seconds": round(measurement.seconds, 3),
            **measurement.metrics,
        }
        if measurement.checkpoint is not None:
            row["checkpoint"] = measurement.checkpoint
        line = json.dumps(row).encode() + b"\n"
        with self.metrics.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):  # the disk is full
                os.ftruncate(file.fileno(), size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read_metrics(self) -> list[Measurement]:
        """The measurements so far; a line cut short by a crash is left out."""
        return list(_read_measurements(self.metrics))

    def write_outcome(self, outcome: Outcome) -> None:
        write_json(self.outcome, outcome.to_json())

    def read_outcome(self) -> Outcome | None:
        """How the trial ended; None where its worker did not get that far."""
        row = read_json(self.outcome)
        return None if row is None else Outcome.from_json(row)


@dataclass(frozen=True)
class StudyDir:
    """One study's folder. Relative paths in it stay right when it moves."""

    path: Path

    @property
    def study_file(self) -> Path:
        return self.path / "study.yaml"

    @property
    def journal(self) -> Path:
        return self.path / "journal.log"

    @property
    def lock_file(self) -> Path:
        return self.path / "study.lock"

    @property
    def stop_request(self) -> Path:
        return self.path / "stop.request"

    @property
    def trials_csv(self) -> Path:
        return self.path / "trials.csv"

    @property
    def best_config(self) -> Path:
        return self.path / "best_config.yaml"

    @property
    def best_schedule(self) -> Path:
        """Which parameters the best trial of a population had at which steps."""
        return self.path / "best_schedule.yaml"

    @property
    def best_overrides(self) -> Path:
        return self.path / "best_overrides.txt"

    @property
    def worker_log(self) -> Path:
        """What the processes that start trials print themselves."""
        return self.path / "workers.log"

    @property
    def ray_log(self) -> Path:
        """What Ray has to say in the driver."""
        return self.path / "ray.log"

    def tracker(self, name: str) -> Path:
        """What a tracker has got of the study; its log is beside it."""
        return self.path / "trackers" / f"{name}.json"

    @property
    def verdict(self) -> Path:
        return self.path / "verdict.json"

    @property
    def report(self) -> Path:
        """What came out, as a page that needs no other file."""
        return self.path / "report.html"

    def trial(self, number: int) -> TrialDir:
        return TrialDir(self.path / "trials" / f"{number:04d}")

    def create(self) -> None:
        """Makes the folder. Raises `FolderError` where that is not possible, before anything has run."""
        try:
            (self.path / "trials").mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            try:
                probe.write_bytes(b"more than a name, for which a full disk may have room")
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise FolderError(f"study folder {self.path}: {explain(error)}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes this process the only tuner on the folder.

        The lock is the kernel's: it ends with the process, however that ends.

        Raises:
            FolderError: Another process has it; the message says which.
        """
        with self.lock_file.open("a+") as file:
            if not _flock(file, patience=1.0):
                holder = read_json(self.lock_file) or {}
                who = f"process {holder.get('pid', '?')} on {holder.get('host', 'an unknown host')}"
                raise FolderError(
                    f"study folder {self.path}: {who} is already running this study; "
                    f"watch it with `rltune status {self.path}`, or end it with `rltune stop {self.path}`"
                )
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def holder(self) -> Mapping[str, Any] | None:
        """Process and host of the tuner at work on this folder; None where there is none. Writes nothing."""
        try:
            with self.lock_file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return read_json(self.lock_file) or {}
        except OSError:
            pass  # no such file, or a file system without locks
        return None


def _flock(file: IO[str], patience: float) -> bool:
    """Takes the lock; waits for those who only look whether it is taken, and who hold it for a moment."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)


def write_atomic(path: Path, text: str) -> None:
    """Writes beside and renames: a reader sees the old text or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """What the file holds; None where it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _read_measurements(path: Path) -> Iterator[Measurement]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            row = json.loads(line)
            step, seconds, checkpoint = row.pop("step"), row.pop("seconds", 0.0), row.pop("checkpoint", None)
        except (ValueError, AttributeError, KeyError):
            continue
        yield Measurement(step, row, seconds, checkpoint)


def explain(error: BaseException) -> str:
    """An operating system's error in a user's words, with what to do where that is plain."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    advice = {
        errno.ENOSPC: "no space left on the device; free some, then run again: the study goes on where it stopped",
        errno.EDQUOT: "the disk quota is used up; free some, then run again: the study goes on where it stopped",
        errno.EROFS: "the file system is read-only; choose another folder with `--out`",
        errno.EACCES: "permission denied; choose another folder with `--out`, or change its owner",
    }
    return advice.get(error.errno, error.strerror or str(error))
