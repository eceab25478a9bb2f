"""A study as plain data."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from rltune.space import Categorical, Float, Int, spec_of


def plain(value: Any) -> Any:
    """Dicts, lists and plain scalars for tuples, paths, NumPy's numbers and parameters; the rest as it is."""
    if isinstance(value, Float | Int | Categorical):
        value = spec_of(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return str(value) if isinstance(value, PurePath) else value
