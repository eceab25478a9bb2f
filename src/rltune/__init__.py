"""rltune tunes the hyperparameters of RL post-training and proves that what it ships beats what you had.

Names are loaded when they are first used, so that `import rltune` costs nothing inside a training script.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rltune.api import load, tune
    from rltune.cross_validation import cross_validate_hyperparameters
    from rltune.errors import RltuneError
    from rltune.manager import HyperparameterManager
    from rltune.objective import OptimizationObjective
    from rltune.pipeline import AutomatedHyperparameterOptimization
    from rltune.samplers.auto.sampler import AutoSampler
    from rltune.session import Result
    from rltune.trainers.context import Trial, report

__version__ = "0.1.0"

__all__ = [
    "AutoSampler",
    "AutomatedHyperparameterOptimization",
    "HyperparameterManager",
    "OptimizationObjective",
    "Result",
    "RltuneError",
    "Trial",
    "cross_validate_hyperparameters",
    "load",
    "report",
    "tune",
]

_HOMES = {
    "AutoSampler": "rltune.samplers.auto.sampler",
    "AutomatedHyperparameterOptimization": "rltune.pipeline",
    "HyperparameterManager": "rltune.manager",
    "OptimizationObjective": "rltune.objective",
    "Result": "rltune.session",
    "RltuneError": "rltune.errors",
    "Trial": "rltune.trainers.context",
    "cross_validate_hyperparameters": "rltune.cross_validation",
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
