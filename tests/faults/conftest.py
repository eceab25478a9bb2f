from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_harness import Case


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """A study in a folder of its own; whatever is left of it dies with the test."""
    case = Case(tmp_path)
    yield case
    case.close()
