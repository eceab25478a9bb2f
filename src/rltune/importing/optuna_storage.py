"""A study in a storage of Optuna, which is read and never written to."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import RltuneError
from rltune.storage import storage_errors
from rltune.wording import did_you_mean, listed

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class OptunaStudy:
    """A study as its storage has it.

    Attributes:
        storage: As it was named, without a password.
        trials: Those that have ended.
        unfinished: How many others there are.
    """

    storage: str
    name: str
    directions: tuple[str, ...]
    metrics: tuple[str, ...] | None
    trials: tuple[FrozenTrial, ...]
    unfinished: int

    @property
    def source(self) -> str:
        return f"the study {self.name} in {self.storage}, a storage of Optuna"


def read_study(storage: str, name: str | None = None) -> OptunaStudy:
    """A study in a storage; nothing is written there.

    Args:
        storage: A URL, as in `sqlite:///optuna.db`, or a journal's file.
        name: May be left out where there is one study.

    Raises:
        RltuneError: There is no such storage, or no such study in it; the message says which there are.
    """
    shown = re.sub(r"//[^/@]*@", "//...@", storage)
    try:
        opened = _opened(storage)
        names = optuna.get_all_study_names(opened)
        chosen = _chosen(names, name, shown)
        study = optuna.load_study(storage=opened, study_name=chosen)
        trials = study.get_trials(deepcopy=False)
    except storage_errors(ImportError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, RltuneError):
            raise
        why = str(_innermost(error)).strip()
        why = "it has no tables of Optuna's" if "version_info" in why else why
        raise RltuneError(f"{shown}: cannot be read as a storage of Optuna: {why}") from error
    ended = tuple(trial for trial in trials if trial.state in _FINISHED)
    metrics = study.metric_names
    return OptunaStudy(
        shown,
        chosen,
        tuple(direction.name.lower() for direction in study.directions),
        None if metrics is None else tuple(metrics),
        ended,
        len(trials) - len(ended),
    )


def _opened(storage: str) -> Any:
    if (match := re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(\?.*)?", storage)) is not None:
        file = Path(match[1])
        _refuse_missing(file)
        address = f"file:{quote(str(file.absolute()))}?mode=ro"
        options = {"creator": lambda: sqlite3.connect(address, uri=True)}
        return RDBStorage(storage, engine_kwargs=options, skip_table_creation=True)
    if "://" in storage:
        return RDBStorage(storage, skip_table_creation=True)
    file = Path(storage)
    _refuse_missing(file)
    with file.open("rb") as opened:
        if opened.read(16).startswith(b"SQLite format 3"):
            raise RltuneError(f"{storage} is an SQLite database; write sqlite:///{storage}")
    return JournalStorage(JournalFileBackend(str(file)))


def _refuse_missing(file: Path) -> None:
    if file.is_dir():
        raise RltuneError(f"{file} is a folder; give a journal's file, or a URL as in sqlite:///optuna.db")
    if not file.exists():
        raise RltuneError(f"{file} does not exist; give a journal's file, or a URL as in sqlite:///optuna.db")


def _chosen(names: Sequence[str], name: str | None, shown: str) -> str:
    if not names:
        raise RltuneError(f"{shown} holds no study")
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        assert name is not None
        return name
    if name is None:
        raise RltuneError(f"{shown} holds {len(names)} studies, {listed(names)}; name one of them by --study")
    raise RltuneError(f"{shown} holds no study `{name}` ({did_you_mean(name, names)})")


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
