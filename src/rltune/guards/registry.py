"""Guards by name: ours, and those of others."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rltune.errors import InputError, Problem
from rltune.guards.verdict import Guard
from rltune.registry import Registry, check_options, parameters_of
from rltune.types import Measurement

GUARDS = Registry("guard", {"divergence": "rltune.guards.divergence:divergence"}, form="module:function")

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

_OBJECTIVE = "objective"  # an argument that rltune fills in, for guards that take one of this name


def make_guard(name: str, options: Mapping[str, Any] = _NO_OPTIONS, *, objective: str) -> Guard:
    """A guard by its name, with its options filled in.

    Args:
        name: A name that `GUARDS` knows, or `module:function`.
        options: Keyword arguments of the guard.
        objective: The metric that is optimised, for guards that take an argument of this name.

    Raises:
        InputError: The guard or one of its options is unknown, or an option is missing.
    """
    function = GUARDS.find(name)
    _, *arguments = parameters_of(function).items()  # the first takes the measurements
    parameters = dict(arguments)
    check_options(name, parameters, options, ours=(_OBJECTIVE,))
    given = {_OBJECTIVE: objective} if _OBJECTIVE in parameters else {}
    guard: Guard = functools.partial(function, **given, **options)
    if name in GUARDS.built_in:
        _try(name, guard)
    return guard


def _try(name: str, guard: Guard) -> None:
    """Lets a guard of ours judge its options now, rather than at the first measurement."""
    try:
        guard([Measurement(0, {})])
    except TypeError as error:
        raise InputError([Problem((), f"`{name}` refuses its options: {error}")]) from error


def check_guard(name: str, options: Mapping[str, Any] = _NO_OPTIONS) -> None:
    """As much of `make_guard` as runs no code of others: a name that is nowhere, options of our own guards.

    Raises:
        InputError: As `make_guard`.
    """
    if name in GUARDS.built_in or not GUARDS.knows(name):
        make_guard(name, options, objective="")
