"""What docs/custom_algorithms.md shows is taken from that page and run: beside a study, and as an installed package."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rltune import session
from rltune.config import load

PAGE = (Path(__file__).parents[1] / "docs" / "custom_algorithms.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
FILES = {name: text for text in BLOCKS for name in re.findall(r"\A# (\S+)\n", text)}
PARTS = ("local_search.py", "behind_best.py", "bored.py", "bandit.py", "threads.py")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Every file of the page, in a folder that is not on Python's path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "beside the study"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def package(tmp_path):
    """The parts as an installed package: what an installer would leave on Python's path."""
    site = tmp_path / "site"
    module, info = site / "my_algorithms", site / "my_algorithms-0.1.0.dist-info"
    for each in (module, info):
        each.mkdir(parents=True)
    for name in PARTS:
        (module / name).write_text(FILES[name])
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    return site


def by_name():
    """The study of the page with the short names in it."""
    (short,) = [text for text in BLOCKS if text.startswith("trainer: {name: bandit,")]
    yaml = YAML(typ="safe")
    return {**yaml.load(FILES["study.yaml"]), **yaml.load(short)}


def rltune(*words, cwd, path=()):
    """The command line as it is when it is installed: the working folder is not on Python's path."""
    command = [sys.executable, "-P", "-W", "error", "-m", "rltune", *map(str, words)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_the_examples_are_short():
    assert set(FILES) == {*PARTS, "study.yaml", "pyproject.toml", "test_my_algorithms.py"}
    assert max(len(FILES[name].splitlines()) for name in PARTS) <= 45


def test_all_parts_together_beside_the_study(folder):
    done = rltune("run", folder / "study.yaml", "--out", "out", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    result = session.read(folder.parent / "out")
    assert len(result.records) == 14
    assert {r.state.name for r in result.records} <= {"COMPLETE", "PRUNED", "FAIL"}
    assert {r.cause for r in result.records} <= {None, "collapsed"}, [r.message for r in result.records]
    assert "arms:\n- 0.2\n- 0.8\n" in result.folder.best_config.read_text()


OURS = {"algorithm": "random", "pruner": "none", "guards": ["divergence"], "executor": "inline"}


@pytest.mark.parametrize("part", ["trainer", *OURS])
def test_each_part_alone(folder, part):
    """The others are those of rltune."""
    yaml = YAML(typ="safe")
    study = yaml.load(FILES["study.yaml"])
    yaml.dump({**study, **{key: value for key, value in OURS.items() if key != part}}, folder / "study.yaml")
    result = session.run(load(folder / "study.yaml", ["n_trials=30", "protocol=simple"]), out=folder / "out")
    records = result.records
    assert len(records) == 30
    complete = [r for r in records if r.state.name == "COMPLETE"]
    if part == "algorithm":
        values = [r.params["averaging"] for r in complete]
        assert len(set(values)) < len(values) / 2  # most are kept from the best
    elif part == "pruner":
        assert any(r.state.name == "PRUNED" for r in records)
    elif part == "guards":
        (message, *_) = [r.message for r in records if r.cause == "collapsed"]
        assert "below 0.1 3 times in a row" in message
    else:
        assert complete == records


def test_all_parts_by_name_from_an_installed_package(folder, package, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    study = elsewhere / "study.yaml"
    YAML(typ="safe").dump(by_name(), study)
    checked = rltune("check", study, cwd=tmp_path, path=[package])
    assert checked.returncode == 0, checked.stderr
    assert "local_search (keep: 0.7)" in checked.stdout
    done = rltune("run", study, "--out", "out", cwd=tmp_path, path=[package])
    assert done.returncode == 0, done.stderr
    assert "baseline finished" in done.stdout
    assert "\nship: " in done.stdout or "\nkeep your default: " in done.stdout
    listed = rltune("status", "out", cwd=tmp_path, path=[package])
    assert listed.returncode == 0, listed.stderr


def test_a_misspelled_name_is_answered_with_the_nearest(package, tmp_path):
    study = by_name()
    study["trainer"]["name"] = "bandid"
    study["algorithm"]["keeep"] = 0.1
    YAML(typ="safe").dump(study, tmp_path / "study.yaml")
    refused = rltune("check", "study.yaml", cwd=tmp_path, path=[package])
    assert refused.returncode == 2
    assert "trainer.name: there is no trainer `bandid` (did you mean `bandit`? known are `bandit`" in refused.stderr


def test_the_package_that_is_gone(tmp_path):
    YAML(typ="safe").dump(by_name(), tmp_path / "study.yaml")
    refused = rltune("check", "study.yaml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "there is no trainer `bandit`" in " ".join(refused.stderr.split())


@pytest.mark.slow
def test_the_contracts_hold(folder):
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_my_algorithms.py"]
    env = os.environ | {"PYTHONPATH": "."}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert not re.search(r"skipped|xfailed|deselected", done.stdout)
