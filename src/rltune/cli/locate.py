"""Which study a verb is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltune.cli.exits import UsageError
from rltune.errors import FolderError
from rltune.folder import StudyDir

if TYPE_CHECKING:
    from rltune.records import TrialRecord

RUNS = Path("runs")
"""Where study folders are looked for; the study file's `out` names another place."""


def study_folder(given: Path | None) -> Path:
    """The folder of a study that is given as its folder, its name, its study file, or not at all.

    Raises:
        FolderError: There is no such study; the message says which there are.
        StudyFileError: A study file was given, and it is wrong.
    """
    if given is None:
        return _only_one()
    if given.is_file():
        inside = given.name == StudyDir(given.parent).study_file.name and _is_study(given.parent)
        return given.parent if inside else _of_file(given)
    for path in (given, RUNS / given):
        if _is_study(path):
            return path
    wrong = "not a study folder" if given.is_dir() else "there is no such study"
    raise FolderError(f"{given}: {wrong}; {_there_are(_studies())}")


def split(words: Iterable[str]) -> tuple[list[int], Path | None]:
    """Trial numbers and at most one study, in any order: `12 13 runs/x`.

    Raises:
        UsageError: There is more than one study, or no number.
    """
    words = list(words)
    numbers = [int(word) for word in words if word.isdecimal()]
    others = [word for word in words if not word.isdecimal()]
    if len(others) > 1:
        raise UsageError(f"give one study, not {len(others)}: {', '.join(others)}")
    if not numbers:
        raise UsageError("give the number of a trial, as in `rltune show 12` or `rltune show 12 runs/my-study`")
    return numbers, Path(others[0]) if others else None


def find(records: Sequence[TrialRecord], number: int) -> TrialRecord:
    """A trial by its number.

    Raises:
        UsageError: There is none; the message says which there are.
    """
    if number >= len(records):
        there = f"there are trials 0 to {len(records) - 1}" if records else "there is no trial yet"
        raise UsageError(f"there is no trial {number}; {there}")
    return records[number]


def who(holder: Mapping[str, Any]) -> str:
    """The process that runs a study, in words."""
    return f"process {holder.get('pid', '?')} on {holder.get('host', 'an unknown host')}"


def _only_one() -> Path:
    if _is_study(Path()):
        return Path()
    found = _studies()
    if len(found) == 1:
        return found[0]
    if not found:
        raise FolderError(f"which study? {_there_are(found)}")
    raise FolderError(f"which study? {_there_are(found)}; name one of them")


def _of_file(file: Path) -> Path:
    from rltune import config, session

    path = session.study_dir(config.load(file)).path
    if not _is_study(path):
        raise FolderError(f"{file}: this study has not run yet (there is no {path}); start it with `rltune run {file}`")
    return path


def _is_study(path: Path) -> bool:
    """A study file alone is one that somebody wrote; what a run leaves beside it makes the folder."""
    folder = StudyDir(path)
    return folder.study_file.is_file() and any(p.exists() for p in (folder.journal, folder.lock_file))


def _studies() -> list[Path]:
    return sorted(path for path in RUNS.glob("*") if _is_study(path))


def _there_are(studies: list[Path]) -> str:
    if not studies:
        return f"there is none under {RUNS}; `rltune run STUDY.yaml` makes one"
    shown = ", ".join(str(path) for path in studies[:10])
    return f"there {'is' if len(studies) == 1 else 'are'} {shown}{' and more' if len(studies) > 10 else ''}"
