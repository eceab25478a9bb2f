"""rltune tunes the hyperparameters of RL post-training and proves that what it ships beats what you had.

Names are loaded when they are first used, so that `import rltune` costs nothing inside a training script.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rltune.api import load, tune
    from rltune.errors import RltuneError
    from rltune.objective import OptimizationObjective
    from rltune.session import Result
    from rltune.trainers.context import Trial, report

__version__ = "0.1.0"

__all__ = ["OptimizationObjective", "Result", "RltuneError", "Trial", "load", "report", "tune"]

_HOMES = {
    "OptimizationObjective": "rltune.objective",
    "Result": "rltune.session",
    "RltuneError": "rltune.errors",
    "Trial": "rltune.trainers.context",
    "load": "rltune.api",
    "report": "rltune.trainers.context",
    "tune": "rltune.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rltune' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
