"""Guards by name: ours, and those of others."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rltune.errors import InputError, Problem
from rltune.guards.verdict import Guard, Mode, StudyGuard
from rltune.objective import Direction
from rltune.registry import Registry, check_options, parameters_of
from rltune.types import Measurement
from rltune.wording import found

GUARDS = Registry(
    "guard",
    {
        "divergence": "rltune.guards.divergence:divergence",
        "kl": "rltune.guards.kl:kl",
        "grad_norm": "rltune.guards.grad_norm:grad_norm",
        "no_signal": "rltune.guards.no_signal:no_signal",
        "collapse": "rltune.guards.collapse:collapse",
        "truncation": "rltune.guards.truncation:truncation",
        "hacking": "rltune.guards.hacking:hacking",
        "mismatch": "rltune.guards.mismatch:mismatch",
    },
    form="module:function",
)

_MODES = {"mismatch": Mode.SHADOW}
"""Guards of ours that do not end a trial unless told to: what they see is no fault of the configuration."""

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

_OURS = ("objective", "direction")  # arguments that rltune fills in, for guards that take one of these names

_MODE = inspect.Parameter("mode", inspect.Parameter.KEYWORD_ONLY, default=Mode.KILL)  # every guard's, taken out here


def make_guard(
    name: str, options: Mapping[str, Any] = _NO_OPTIONS, *, objective: str, direction: Direction = "minimize"
) -> StudyGuard:
    """A guard by its name, with its options filled in.

    Args:
        name: A name that `GUARDS` knows, or `module:function`.
        options: Keyword arguments of the guard; and `mode`, which says what becomes of its verdict.
        objective: The metric that is optimised, for guards that take an argument of this name.
        direction: Where that metric should go, likewise.

    Raises:
        InputError: The guard or one of its options is unknown, or an option is missing.
    """
    function = GUARDS.find(name)
    _, *arguments = parameters_of(function).items()  # the first takes the measurements
    parameters = dict(arguments)
    check_options(name, parameters | {_MODE.name: _MODE}, options, ours=_OURS)
    mode = _mode(options.get(_MODE.name, _MODES.get(name, Mode.KILL)))
    own = {key: value for key, value in options.items() if key != _MODE.name}
    filled = {"objective": objective, "direction": direction}
    given = {key: value for key, value in filled.items() if key in parameters}
    guard: Guard = functools.partial(function, **given, **own)
    if name in GUARDS.built_in:
        _try(name, guard)
    return StudyGuard(name, guard, mode)


def _mode(given: Any) -> Mode:
    if given not in tuple(Mode):
        allowed = f"must be {' or '.join(Mode)}, got {found(given)}"
        hint = "`shadow` writes down what the guard would have ended, and lets it run"
        raise InputError([Problem((_MODE.name,), allowed, hint)])
    return Mode(given)


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
    elif _MODE.name in options:
        _mode(options[_MODE.name])
