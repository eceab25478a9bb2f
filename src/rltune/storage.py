"""The storage behind the Optuna study: a journal in the study folder, or a database."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import FolderError
from rltune.folder import StudyDir, explain

JOURNAL = "journal"
"""The storage that is a file in the study folder; anything else is a database URL."""

_SYNC_SECONDS = 1.0

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?]+)(.*)")


def open_study(
    storage: str,
    folder: StudyDir,
    name: str,
    directions: Sequence[str],
    *,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    repair: bool = False,
    create: bool = True,
) -> optuna.Study:
    """Opens the study, made where it is not there yet.

    Without a pruner nothing is pruned: Optuna's own default would, silently.

    Args:
        storage: `journal`, or a database URL as SQLAlchemy takes it.
        folder: Whose journal to use.
        name: The study's name inside the storage.
        directions: `minimize` or `maximize`, one an objective.
        sampler: Optuna's default where None; only of use to the process that asks.
        pruner: Likewise.
        repair: Take away what a crash left half written; only for the process that holds the folder's lock.
        create: Make the study, and a journal's file, where there is none.

    Raises:
        FolderError: The storage cannot be read, or holds a study of that name with other directions, or none.
    """
    where = _storage_name(storage, folder)
    if not create and (missing := _missing_file(storage, folder)) is not None:
        where = f"{missing.name} in it yet" if missing == folder.journal else f"{missing}, where its trials are kept"
        raise FolderError(f"study folder {folder.path}: there is no {where}")
    try:
        opened, pruner = _open_storage(storage, folder, repair=repair), pruner or NopPruner()
        try:
            study = optuna.load_study(storage=opened, study_name=name, sampler=sampler, pruner=pruner)
        except KeyError:
            if not create:
                raise
            with unannounced():
                study = optuna.create_study(
                    storage=opened,
                    study_name=name,
                    directions=[StudyDirection[d.upper()] for d in directions],
                    sampler=sampler,
                    pruner=pruner,
                )
    except storage_errors(ImportError, ValueError, KeyError) as error:
        raise FolderError(f"study storage {where}: {_explain_storage(error)}") from error
    found = [d.name.lower() for d in study.directions]
    if found != list(directions):
        raise FolderError(f"study `{name}` in {where} has the directions {found}, asked for {list(directions)}")
    return study


@contextmanager
def unannounced() -> Iterator[None]:
    """Optuna announces each study that is made; not in here."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def storage_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """For an `except`: what a storage raises when its disk or its server fails, and others."""
    sqlalchemy = sys.modules.get("sqlalchemy.exc")  # loaded only where there is a database
    return (OSError, StorageInternalError, *([] if sqlalchemy is None else [sqlalchemy.SQLAlchemyError]), *others)


def storage_failed(error: Exception, storage: str, folder: StudyDir) -> FolderError:
    """One of `storage_errors`, met while a study ran, in a user's words."""
    if isinstance(error, OSError):
        return FolderError(f"study folder {folder.path}: {explain(error)}")
    what = f"study storage {_storage_name(storage, folder)}: {_explain_storage(error)}"
    return FolderError(f"{what}\nOnce that is mended, run again: the study goes on where it stopped.")


def _explain_storage(error: BaseException) -> str:
    """The innermost cause, which is the driver's own sentence; what lies around it names the SQL."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it, or name another driver in the URL, as in postgresql+psycopg2://"
    return explain(error).strip()


class Journal(JournalFileBackend):
    """Optuna's journal file, faster and harder to hurt; the format is Optuna's, so its tools read it.

    Every line is handed to the kernel at once, so it outlives the death of this process. It is forced onto the disk
    (against a loss of power) when a trial ends, at most once a second; what ends within that second, the kernel writes
    out by itself half a minute later at the most. A line cut short by a full disk is taken back,
    and one left by a crash is taken away when the journal is opened for writing: lines after it would be unreadable.

    Writers keep out of each other's way by the kernel's lock on the file, which ends with its process. Optuna's own
    lock is a link beside the journal: twice as slow as all else, and left behind by a process that is killed. Where
    Optuna's tools write too, lines stay whole because each is one write at the file's end.
    """

    def __init__(self, path: Path, *, repair: bool) -> None:
        path = path.absolute()
        if repair and path.exists():
            _cut_torn_line(path)
        super().__init__(str(path))
        self._synced = -_SYNC_SECONDS

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        data = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with open(self._file_path, "ab", buffering=0) as file:  # noqa: PTH123 - Optuna keeps a str
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            try:
                written = file.write(data)
                if any(_ends_a_trial(log) for log in logs) and time.monotonic() - self._synced >= _SYNC_SECONDS:
                    os.fsync(file.fileno())
                    self._synced = time.monotonic()
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise
            if written != len(data):
                os.ftruncate(file.fileno(), size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _ends_a_trial(log: Mapping[str, Any]) -> bool:
    """Operation 6 of Optuna's journal sets a trial's state; the states above 0 (running) and below 4 are final."""
    return log.get("op_code") == 6 and log.get("state") in (1, 2, 3)


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        end = position = file.seek(0, os.SEEK_END)
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < end:
            file.truncate(position)


def _open_storage(storage: str, folder: StudyDir, *, repair: bool) -> BaseStorage:
    if storage == JOURNAL:
        return JournalStorage(Journal(folder.journal, repair=repair))
    return RDBStorage(storage)


def study_on(study: optuna.Study, storage: Any) -> optuna.Study:
    """The same study as another storage shows it, such as one that passes most things on to the real one."""
    # `copy.copy` would fail on the study that Hyperband shows to samplers: it hides its attributes.
    view: optuna.Study = object.__new__(type(study))
    state = object.__getattribute__(study, "__dict__")
    object.__getattribute__(view, "__dict__").update(
        state,
        _storage=storage,
        _directions=storage.get_study_directions(study._study_id),
        _thread_local=type(state["_thread_local"])(),  # where Optuna caches trials
    )
    return view


class StorageView:
    """A storage that passes everything on; what is derived from it shows trials in another way, or leaves some out."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def shown(self, trial: FrozenTrial) -> FrozenTrial | None:
        """A trial as it is to be seen; None where it is not."""
        return trial

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Optuna's, by which all that read a study read its trials; `states` are those that are shown."""
        trials = map(self.shown, self.real.get_all_trials(study_id, deepcopy=deepcopy))
        return [trial for trial in trials if trial is not None and (states is None or trial.state in states)]


def storage_at(storage: str, base: Path) -> str:
    """The storage, with the file of an SQLite database that is given relative to `base` where it really is."""
    match = _SQLITE.fullmatch(storage)
    return f"{match[1]}{(base / match[2]).absolute()}{match[3]}" if match and match[2][0] not in "/:" else storage


def _missing_file(storage: str, folder: StudyDir) -> Path | None:
    """The file that the storage is, where it is one and not there."""
    match = _SQLITE.fullmatch(storage)
    file = folder.journal if storage == JOURNAL else Path(match[2]) if match and match[2][0] != ":" else None
    return None if file is None or file.exists() else file


def _storage_name(storage: str, folder: StudyDir) -> str:
    return str(folder.journal) if storage == JOURNAL else storage.rpartition("@")[2]
