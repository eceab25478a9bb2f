"""What it takes to run a study again: its file, and what ran it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rltune.folder import StudyDir, read_json

_ANALYSED_WITH = ("rltune", "optuna", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Provenance:
    """Facts of the study folder; the same for a copy of it.

    Attributes:
        files: SHA-256 of the study file and of what is shipped, by name; only of files that are there.
        analysed_with: Versions of Python and of the packages behind the numbers.
        trained_with: What the first trial wrote down about its machine; empty where it wrote nothing.
    """

    files: Mapping[str, str]
    analysed_with: Mapping[str, str]
    trained_with: Mapping[str, str]


def provenance(folder: StudyDir) -> Provenance:
    """Reads a few small files."""
    kept = (folder.study_file, folder.best_config, folder.best_overrides)
    env: Any = read_json(folder.trial(0).env)
    facts = env.items() if isinstance(env, Mapping) else ()
    return Provenance(
        files={path.name: _sha256(path) for path in kept if path.is_file()},
        analysed_with={"python": platform.python_version(), **{name: version(name) for name in _ANALYSED_WITH}},
        trained_with={str(name): value for name, value in facts if isinstance(value, str)},
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
