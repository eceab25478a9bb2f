"""The site builds without a warning, holds every public name, and loads nothing from elsewhere."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rltune

pytest.importorskip("mkdocs")

ROOT = Path(__file__).parents[2]
MODULES = ("rltune.types", "rltune.errors", "rltune.objective")
"""Every name that these define is public."""


def build(root, site):
    """Like `make docs`; the hooks of the site go by the configuration's own folder."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", root / "mkdocs.yml", "-d", site]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=root)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    path = tmp_path_factory.mktemp("site")
    done = build(ROOT, path)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.fixture(scope="module")
def anchors(site):
    pages = (page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    return {anchor for page in pages for anchor in re.findall(r'id="([^"]+)"', page)}


@pytest.mark.slow
def test_every_public_name_has_its_place(anchors):
    assert {f"rltune.{name}" for name in rltune.__all__} <= anchors


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_a_public_module_has_its_place(name, anchors):
    module = importlib.import_module(name)
    ours = {n for n, value in vars(module).items() if getattr(value, "__module__", "") == name and n[0] != "_"}
    assert ours
    assert {f"{name}.{each}" for each in ours} <= anchors


@pytest.mark.slow
def test_the_causes_of_a_failure_are_explained(anchors):
    assert {f"rltune.types.Cause.{cause.name}" for cause in importlib.import_module("rltune.types").Cause} <= anchors


LEADS_NOWHERE = {
    "[a page](guide/nowhere.md)": "guide/nowhere.md",
    "[an anchor](study_file.md#nowhere)": "study_file.md#nowhere",
    "[a file of the repository](../NOWHERE.md)": "NOWHERE.md",
    '<a href="cli.html#nowhere">an anchor in HTML</a>': "cli.html#nowhere",
    '<script src="https://example.org/x.js"></script>': "https://example.org/x.js",
}
"""What a page may say, and what the build must say to that."""


@pytest.mark.slow
def test_what_leads_nowhere_is_an_error(tmp_path):
    for name in ("docs", "src", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "docs" / "index.md").open("a", encoding="utf-8") as index:
        index.write("\n\n".join(["", *LEADS_NOWHERE, ""]))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    warnings = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line)
    assert [told for told in LEADS_NOWHERE.values() if told not in warnings] == []
