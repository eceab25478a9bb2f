import sys

import pytest


@pytest.fixture(autouse=True)
def _python_path(monkeypatch):
    """A study puts its own folder on Python's path, where the next test must not find it."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that share what their file makes once run in one worker: else each worker would make it."""
    for item in items:
        made = item._fixtureinfo.name2fixturedefs.values() if hasattr(item, "_fixtureinfo") else ()
        if item.get_closest_marker("xdist_group") is None and any(each[-1].scope == "module" for each in made):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
