"""Executors by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rltune.errors import InputError, Problem
from rltune.registry import Registry, check_options, parameters_of
from rltune.types import Executor

EXECUTORS = Registry(
    "executor",
    {
        "inline": "rltune.executors.inline:InlineExecutor",
        "local": "rltune.executors.local:LocalExecutor",
        "ray": "rltune.executors.ray:RayExecutor",
    },
)


def make_executor(name: str, options: Mapping[str, Any]) -> Executor:
    """An executor by its name, or as `module:Class`.

    Raises:
        InputError: The executor or one of its options is unknown, or it refuses an option.
    """
    part = EXECUTORS.find(name)
    check_options(name, parameters_of(part), options)
    try:
        executor: Executor = part(**options)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError([Problem((), f"`{name}` refuses its options: {error}")]) from error
    return executor
