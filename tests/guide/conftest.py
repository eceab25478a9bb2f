import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT.parent / "shared" / "guide" / "hyperparameter-optimization.md"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Each test runs in a folder of its own and finds the examples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def yaml_examples():
    """The guide's two study files, to the letter."""
    if not GUIDE.exists():
        pytest.skip("the guide is not shipped with the project; its study files are read where it lies beside it")
    return re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
