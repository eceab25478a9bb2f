"""Where trials run: this process, this machine, a cluster.

The registry is loaded when asked for: a trial's process comes through here too, and must not wait for Optuna.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rltune.executors.registry import EXECUTORS, make_executor

__all__ = ["EXECUTORS", "make_executor"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rltune.executors import registry

    return getattr(registry, name)
