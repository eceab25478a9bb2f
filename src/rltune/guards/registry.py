"""Guards by name."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from rltune.errors import InputError, Problem
from rltune.guards.divergence import divergence
from rltune.guards.verdict import Guard

GROUP = "rltune.guards"
"""The entry point group in which a package offers guards of its own."""

_BUILT_IN = {"divergence": divergence}

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def guard_names() -> list[str]:
    """Every name that the study file may use, besides `module:function`."""
    return sorted({*_BUILT_IN, *entry_points(group=GROUP).names})


def make_guard(name: str, options: Mapping[str, Any] = _NO_OPTIONS, *, objective: str) -> Guard:
    """A guard by its name, with its options filled in.

    Args:
        name: A name from `guard_names`, or `module:function`.
        options: Keyword arguments of the guard.
        objective: The metric that is optimised, given to guards that take an argument of this name.

    Raises:
        InputError: The guard or one of its options is unknown, or an option is missing.
    """
    function = _find(name)
    parameters = _options(function)
    given = {"objective": objective, **options} if "objective" in parameters else dict(options)
    _judge(name, parameters, given)
    return functools.partial(function, **given)


def check_guard(name: str, options: Mapping[str, Any] = _NO_OPTIONS) -> None:
    """As much of `make_guard` as needs no code of others: a name that is nowhere, options of our own guards.

    Raises:
        InputError: As `make_guard`.
    """
    if name in _BUILT_IN:
        make_guard(name, options, objective="")
    elif ":" not in name and name not in guard_names():
        _find(name)


def _find(name: str) -> Any:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if found := tuple(entry_points(group=GROUP, name=name)):
        return found[0].load()
    module, colon, attribute = name.partition(":")
    if not colon:
        known = guard_names()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        allowed = f"known are {', '.join(known)}, and `module:function` for one of your own"
        raise InputError([Problem(("name",), f"there is no guard `{name}`", hint + allowed)])
    try:
        function = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise InputError([Problem(("name",), f"the guard `{name}` cannot be loaded: {error}")]) from error
    if not callable(function):
        raise InputError([Problem(("name",), f"`{name}` is not a function")])
    return function


def _options(function: Any) -> dict[str, inspect.Parameter]:
    """The arguments of a guard after the measurements."""
    _, *parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter for parameter in parameters}


def _judge(name: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> None:
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    known = [option for option in parameters if option != "objective"]
    allowed = f"`{name}` takes {', '.join(known)}" if known else f"`{name}` takes no options"
    problems = []
    for option in given:
        if option not in parameters:
            near = difflib.get_close_matches(str(option), known, n=1)
            hint = f"did you mean `{near[0]}`? {allowed}" if near else allowed
            problems.append(Problem((option,), "unknown option", hint))
    for option, parameter in parameters.items():
        if option not in given and parameter.default is parameter.empty:
            problems.append(Problem((option,), "is missing", allowed))
    if problems:
        raise InputError(problems)
