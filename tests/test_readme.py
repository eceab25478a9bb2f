"""What the README shows works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rltune.config import StudyConfig

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(first_line):
    return next(b for b in re.findall(r"```\w*\n(.*?)```", README, re.DOTALL) if b.startswith(first_line))


def run(folder, *words):
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_tour(tmp_path):
    for name in ("train.py", "study.yaml"):
        (tmp_path / name).write_text(block(f"# {name}"))
    done = run(tmp_path, "-m", "rltune", "run", "study.yaml")
    assert done.returncode == 0, done.stderr
    shown = block("$ rltune run study.yaml").splitlines()
    assert done.stdout.splitlines()[:2] == shown[1:3]
    assert "validation/loss on untouched seeds, lower is better" in done.stdout
    assert re.search(r"^(ship|keep your default): ", done.stdout, re.MULTILINE)


def test_the_study_from_python(tmp_path):
    (tmp_path / "tune.py").write_text(block("import rltune"))
    done = run(tmp_path, "tune.py")
    assert done.returncode == 0, done.stderr
    x, value = re.search(r"\{'x': ([\d.]+)\} ([\d.e-]+)", done.stdout).groups()
    assert abs((float(x) - 0.3) ** 2 - float(value)) < 1e-12
    assert float(value) < 0.02


def test_the_keys_of_the_table_are_those_of_the_study_file():
    table = README[README.index("| key |") : README.index("`--set a.b=c`")]
    rows = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert len(named) > 10
    assert named <= set(StudyConfig.model_fields)
