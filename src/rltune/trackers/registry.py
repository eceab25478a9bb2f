"""Trackers by name: ours, and those of others."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from rltune.errors import InputError, Problem
from rltune.registry import Registry, check_options, parameters_of

TRACKERS = Registry(
    "tracker",
    {
        "tensorboard": "rltune.trackers.tensorboard:TensorBoardTracker",
        "mlflow": "rltune.trackers.mlflow:MLflowTracker",
        "wandb": "rltune.trackers.wandb:WandbTracker",
    },
)
"""Each name of ours is also that of the package and of the extra that it needs."""

_OURS = ("study",)  # the argument that rltune fills in


def check_tracker(name: str, options: Mapping[str, Any]) -> None:
    """As much as runs no code of others: a name that is nowhere, options of our own trackers.

    Raises:
        InputError: What is wrong.
    """
    if name in TRACKERS.built_in or not TRACKERS.knows(name):
        check_options(name, parameters_of(TRACKERS.find(name)), options, ours=_OURS)


def require(name: str, options: Mapping[str, Any]) -> None:
    """The same, and that the tracker can be loaded here.

    Raises:
        InputError: What is wrong; where a package is missing, how to install it.
    """
    if name in TRACKERS.built_in and importlib.util.find_spec(name) is None:
        hint = f"pip install 'rltune[{name}]'"
        raise InputError([Problem((), f"the tracker `{name}` needs a package that is not installed here", hint)])
    check_options(name, parameters_of(TRACKERS.find(name)), options, ours=_OURS)
