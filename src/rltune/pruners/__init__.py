"""Pruners: they end trials early, because others did better at the same step or because nothing more will come.

All are Optuna's `BasePruner`s. `make_pruner` makes them by name; one of your own is a class in a file of yours, named
as `module:Class`.
"""

from rltune.pruners.asha import AshaPruner
from rltune.pruners.forecast import ForecastPruner
from rltune.pruners.plateau import PlateauPruner, on_plateau
from rltune.pruners.registry import PRUNERS, check_pruner, make_pruner

__all__ = [
    "PRUNERS",
    "AshaPruner",
    "ForecastPruner",
    "PlateauPruner",
    "check_pruner",
    "make_pruner",
    "on_plateau",
]
