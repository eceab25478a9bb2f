"""What it takes to run a study again: its file, and what ran it."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rltune.folder import StudyDir, read_json
from rltune.records import Commit

_GIT_SECONDS = 10.0
"""What a question to Git may take, on a repository of any size and a slow disk; a study waits no longer for it."""

_ANALYSED_WITH = ("rltune", "optuna", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Provenance:
    """Facts of the study folder; the same for a copy of it.

    Attributes:
        files: SHA-256 of the study file and of what is shipped, by name; only of files that are there.
        analysed_with: Versions of Python and of the packages behind the numbers.
        trained_with: What the first trial wrote down about its machine; empty where it wrote nothing.
        commits: What the code was at, that the study file lies beside; one for each time that it changed between two
            sessions, empty outside of a repository of Git.
    """

    files: Mapping[str, str]
    analysed_with: Mapping[str, str]
    trained_with: Mapping[str, str]
    commits: tuple[Commit, ...] = ()


class Head(NamedTuple):
    """What a folder's repository is at: the commit's full name, and whether a tracked file differs from it."""

    commit: str
    modified: bool


def head_of(folder: Path) -> Head | None:
    """Asks Git; None outside of a repository, before its first commit, and where Git is missing, fails or hangs.

    Files that Git does not track count for nothing, or a study folder beside the code would make every state modified.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if not commit or changed is None else Head(commit, bool(changed))


def _git(folder: Path, *words: str) -> str | None:
    """What Git prints of this very folder, whatever repository a hook of Git's has us run for; it takes no lock."""
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


def provenance(folder: StudyDir, commits: tuple[Commit, ...] = ()) -> Provenance:
    """Reads a few small files.

    Args:
        folder: The study's.
        commits: As its journal has them.
    """
    kept = (folder.study_file, folder.best_config, folder.best_overrides)
    env: Any = read_json(folder.trial(0).env)
    facts = env.items() if isinstance(env, Mapping) else ()
    return Provenance(
        files={path.name: _sha256(path) for path in kept if path.is_file()},
        analysed_with={"python": platform.python_version(), **{name: version(name) for name in _ANALYSED_WITH}},
        trained_with={str(name): value for name, value in facts if isinstance(value, str)},
        commits=commits,
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
