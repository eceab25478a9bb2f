"""Executors by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rltune.registry import Registry, check_options, parameters_of
from rltune.types import Executor

EXECUTORS = Registry(
    "executor",
    {
        "inline": "rltune.executors.inline:InlineExecutor",
        "local": "rltune.executors.local:LocalExecutor",
    },
)


def make_executor(name: str, options: Mapping[str, Any]) -> Executor:
    """An executor by its name, or as `module:Class`.

    Raises:
        InputError: The executor or one of its options is unknown.
    """
    part = EXECUTORS.find(name)
    check_options(name, parameters_of(part), options)
    executor: Executor = part(**options)
    return executor
