"""Pruners by name: Optuna's, ours, and those of others."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import warnings
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import optuna
from optuna.pruners import BasePruner

from rltune.errors import InputError, Problem
from rltune.pruners.plateau import PlateauPruner

GROUP = "rltune.pruners"
"""The entry point group in which a package offers pruners of its own."""

SEVERAL_OBJECTIVES = ("none", "plateau")
"""The pruners that work with several objectives; all others compare trials by one number."""

_BUILT_IN: dict[str, type[BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "patient": optuna.pruners.PatientPruner,
    "plateau": PlateauPruner,
}
_WRAPPED = "wrapped_pruner"  # `patient`'s argument that is itself a pruner

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def pruner_names() -> list[str]:
    """Every name that the study file may use, besides `module:Class`."""
    return sorted({*_BUILT_IN, *entry_points(group=GROUP).names})


def make_pruner(name: str, options: Mapping[str, Any] = _NO_OPTIONS) -> BasePruner:
    """A pruner by its name.

    Args:
        name: A name from `pruner_names`, or `module:Class`.
        options: The keyword arguments of its class, by the names that Optuna gives them. `patient` waits before
            another pruner may act: its `wrapped_pruner` is a name, or a mapping with a name and options.

    Raises:
        InputError: The pruner or an option is unknown, an option is missing, or a value is refused.
    """
    cls = _find(name)
    options = dict(options)
    if name == "patient":
        options[_WRAPPED] = _wrapped(options.get(_WRAPPED))
    _judge(name, cls, options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = cls(**options)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError([Problem((), f"`{name}` refuses its options: {error}")]) from error
    if not isinstance(pruner, BasePruner):
        raise InputError([Problem(("name",), f"`{name}` is not a pruner", "subclass optuna.pruners.BasePruner")])
    return pruner


def check_pruner(name: str, options: Mapping[str, Any] = _NO_OPTIONS) -> None:
    """As much of `make_pruner` as needs no code of others: a name that is nowhere, options of the built-in pruners.

    Raises:
        InputError: As `make_pruner`.
    """
    if name in _BUILT_IN:
        make_pruner(name, options)
    elif ":" not in name and name not in pruner_names():
        _find(name)


def _find(name: str) -> Any:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if found := tuple(entry_points(group=GROUP, name=name)):
        return found[0].load()
    module, colon, attribute = name.partition(":")
    if not colon:
        known = pruner_names()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        allowed = f"known are {', '.join(known)}, and `module:Class` for one of your own"
        raise InputError([Problem(("name",), f"there is no pruner `{name}`", hint + allowed)])
    try:
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise InputError([Problem(("name",), f"the pruner `{name}` cannot be loaded: {error}")]) from error


def _wrapped(given: Any) -> BasePruner | None:
    if given is None or isinstance(given, BasePruner):
        return given
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        hint = "as in wrapped_pruner: median, or wrapped_pruner: {name: percentile, percentile: 25.0}"
        raise InputError([Problem((_WRAPPED,), "must name a pruner", hint)])
    try:
        return make_pruner(given["name"], {key: value for key, value in given.items() if key != "name"})
    except InputError as error:
        raise InputError(problem.under(_WRAPPED) for problem in error.problems) from error


def _judge(name: str, cls: Any, options: Mapping[str, Any]) -> None:
    """Unknown and missing options, by the signature of the class."""
    parameters = {} if cls.__init__ is object.__init__ else dict(inspect.signature(cls).parameters)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    allowed = f"`{name}` takes {', '.join(parameters)}" if parameters else f"`{name}` takes no options"
    problems = []
    for option in options:
        if option not in parameters:
            near = difflib.get_close_matches(str(option), parameters, n=1)
            hint = f"did you mean `{near[0]}`? {allowed}" if near else allowed
            problems.append(Problem((option,), "unknown option", hint))
    for option, parameter in parameters.items():
        if option not in options and parameter.default is parameter.empty:
            problems.append(Problem((option,), "is missing", allowed))
    if problems:
        raise InputError(problems)
