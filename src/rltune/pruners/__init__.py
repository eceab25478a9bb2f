"""Pruners: they end trials early, because others did better at the same step or because nothing more will come.

All are Optuna's `BasePruner`s. `make_pruner` makes them by name; one of your own is a class in a file of yours, named
as `module:Class`.
"""

from rltune.pruners.any_of import AnyPruner
from rltune.pruners.plateau import PlateauPruner, on_plateau
from rltune.pruners.registry import PRUNERS, SEVERAL_OBJECTIVES, check_pruner, make_pruner

__all__ = [
    "PRUNERS",
    "SEVERAL_OBJECTIVES",
    "AnyPruner",
    "PlateauPruner",
    "check_pruner",
    "make_pruner",
    "on_plateau",
]
