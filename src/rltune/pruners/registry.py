"""Pruners by name: Optuna's, ours, and those of others."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner

from rltune.errors import InputError, Problem
from rltune.registry import Registry, check_options, parameters_of
from rltune.wording import found

PRUNERS = Registry(
    "pruner",
    {
        "none": "optuna.pruners:NopPruner",
        "median": "optuna.pruners:MedianPruner",
        "percentile": "optuna.pruners:PercentilePruner",
        "halving": "optuna.pruners:SuccessiveHalvingPruner",
        "asha": "rltune.pruners.asha:AshaPruner",
        "hyperband": "optuna.pruners:HyperbandPruner",
        "patient": "optuna.pruners:PatientPruner",
        "forecast": "rltune.pruners.forecast:ForecastPruner",
        "plateau": "rltune.pruners.plateau:PlateauPruner",
    },
)

_WRAPPED = "wrapped_pruner"  # the argument of `patient` that is itself a pruner

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def make_pruner(name: str, options: Mapping[str, Any] = _NO_OPTIONS) -> BasePruner:
    """A pruner by its name.

    Args:
        name: A name that `PRUNERS` knows, or `module:Class`.
        options: The keyword arguments of its class, by the names that Optuna gives them. `patient` waits before
            another pruner may act: its `wrapped_pruner` is a name, or a mapping with a name and options.

    Raises:
        InputError: The pruner or an option is unknown, an option is missing, or a value is refused.
    """
    part = PRUNERS.find(name)
    parameters = parameters_of(part)
    if name == "patient":
        options = {**options, _WRAPPED: _wrapped(options.get(_WRAPPED))}
    check_options(name, parameters, options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            pruner = part(**options)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError([Problem((), f"`{name}` refuses its options: {error}")]) from error
    if not isinstance(pruner, BasePruner):
        raise InputError([Problem(("name",), f"`{name}` is not a pruner", "subclass optuna.pruners.BasePruner")])
    return pruner


def check_pruner(name: str, options: Mapping[str, Any] = _NO_OPTIONS) -> None:
    """As much of `make_pruner` as runs no code of others: a name that is nowhere, options of the built-in pruners.

    Raises:
        InputError: As `make_pruner`.
    """
    if name in PRUNERS.built_in or not PRUNERS.knows(name):
        make_pruner(name, options)


def _wrapped(given: Any) -> BasePruner | None:
    if given is None or isinstance(given, BasePruner):
        return given
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        hint = "as in wrapped_pruner: median, or wrapped_pruner: {name: percentile, percentile: 25.0}"
        raise InputError([Problem((_WRAPPED,), f"must name a pruner, got {found(given)}", hint)])
    if given["name"] == "asha":
        raise InputError([Problem((_WRAPPED,), "`asha` cannot be wrapped: it says where trials end", "use halving")])
    try:
        return make_pruner(given["name"], {key: value for key, value in given.items() if key != "name"})
    except InputError as error:
        raise InputError(problem.under(_WRAPPED) for problem in error.problems) from error
