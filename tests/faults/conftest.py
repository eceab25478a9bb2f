from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
from fault_harness import Case


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """A study in a folder of its own; whatever is left of it dies with the test."""
    case = Case(tmp_path)
    yield case
    case.close()


@pytest.fixture(scope="session", autouse=True)
def _no_fork_server_is_left() -> Iterator[None]:
    """The one that `fault_harness` forks warm command lines from would end a moment after the tests."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
