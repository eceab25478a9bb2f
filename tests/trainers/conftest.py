from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rltune.types import Suggestion


@pytest.fixture
def suggest(tmp_path: Path) -> Callable[..., Suggestion]:
    """A suggestion with these parameters, in a folder whose name needs quoting."""

    def make(params: dict[str, Any] | None = None, **fields: Any) -> Suggestion:
        directory = tmp_path / "trial 0007"
        directory.mkdir(exist_ok=True)
        return Suggestion(7, params or {}, 11, directory, **fields)

    return make
