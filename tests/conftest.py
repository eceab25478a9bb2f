import sys

import pytest


@pytest.fixture(autouse=True)
def _python_path(monkeypatch):
    """A study puts its own folder on Python's path, where the next test must not find it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
