"""Exceptions of libraries that are not here."""

from __future__ import annotations


def foreign(name: str) -> type[Exception]:
    """An exception that a traceback names `name`: its module and class, or its class alone."""
    module, _, kind = name.rpartition(".")
    return type(kind, (Exception,), {"__module__": module or "builtins"})
