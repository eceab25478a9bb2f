"""NeMo RL's page: its blocks run as they stand, in a folder with a checkout of the stand-in."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from test_pages import DOCS, Reader, blocks

from rltune.trainers.nemo_rl.names import NAMES, expand, value_of
from rltune.trainers.nemo_rl.recipe import load_recipe
from rltune.types import BY_CONFIGURATION, Cause

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")
pytest.importorskip("tensorboard", reason="metrics are read from event files")

PAGE = DOCS / "nemo_rl.md"
STAND_IN = Path(__file__).parents[1] / "nemo_rl" / "stand_in"
RECIPES = STAND_IN / "examples" / "configs"


class NemoReader(Reader):
    """Has a shell, for NeMo RL's own commands, and keys replace those of the file that `init` has written."""

    def console(self, block):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
            printed = self.run(["bash", "-c", command], block).splitlines()
            for line in shown.splitlines():
                assert line == "..." or line in printed, f"{command} does not print {line!r} but\n" + "\n".join(printed)

    def yaml(self, block):
        self.study = self.study or YAML(typ="safe", pure=True).load((self.folder / "study.yaml").read_text())
        super().yaml(block)


@pytest.fixture
def beside_a_checkout(tmp_path, monkeypatch):
    """A folder with a checkout; `uv` is the stand-in's, and so is `srun`, which runs what follows its options."""
    root = Path(shutil.copytree(STAND_IN, tmp_path / "NeMo-RL", ignore=shutil.ignore_patterns("__pycache__")))
    srun = root / "bin" / "srun"
    srun.write_text('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n')
    srun.chmod(0o755)
    path = [str(root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setenv("STAND_IN_PYTHON", sys.executable)
    monkeypatch.setenv("STAND_IN_STEP_SECONDS", "0")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return tmp_path


@pytest.mark.slow
def test_every_block_on_the_page_works(beside_a_checkout):
    reader = NemoReader(beside_a_checkout)
    for block in blocks(PAGE):
        reader.follow(block)


@pytest.mark.slow
def test_the_launch_prefix_trains(beside_a_checkout):
    """The block's own words, in a study of one trial."""
    launch = next(block for block in blocks(PAGE) if "launch: [srun" in block.text)
    recipe = "NeMo-RL/examples/configs/grpo_math_1B.yaml"
    reader = NemoReader(beside_a_checkout)
    reader.run(["rltune", "init", "--trainer", "nemo-rl", "--recipe", recipe], launch)
    reader.yaml(launch)
    small = ["--set", "n_trials=1", "--set", "protocol=simple", "--set", "trainer.horizon=10"]
    reader.run(["rltune", "run", "study.yaml", *small], launch)
    assert "srun --nodes=1" in (beside_a_checkout / "runs/grpo_math_1B/trials/0000/command.txt").read_text()


def rows(first):
    """The table whose head begins with `first`, without its head: lists of cells."""
    table = PAGE.read_text(encoding="utf-8").partition(f"| {first} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def keys_in(cell):
    return {word for word in re.findall(r"`([^`]+)`", cell) if "." in word}


def keys_of(recipe, name):
    """What a name sets; none where the recipe has no place for it."""
    try:
        return set(expand(recipe, {name: value_of(recipe, name)}))
    except ValueError:
        return set()


def test_every_name_is_there_and_no_other():
    assert [row[0].strip("`") for row in rows("name")] == [name for name in NAMES if name != "seed"]


@pytest.mark.parametrize("row", rows("name"), ids=lambda row: row[0].strip("`"))
def test_a_name_sets_the_keys_that_the_page_gives(row):
    name, on_dtensor, on_megatron = row[0].strip("`"), *row[1:]
    recipes = ("grpo_math_1B", "ppo_math_1B", "grpo_math_1B_megatron")
    of_grpo, of_ppo, of_megatron = (keys_of(load_recipe(RECIPES / f"{each}.yaml"), name) for each in recipes)
    assert keys_in(on_dtensor) == (of_grpo or of_ppo)
    assert of_megatron in (set(), keys_in(on_megatron) or keys_in(on_dtensor))  # nothing, of the critic


def test_the_causes_that_the_sampler_learns_from_are_those_of_the_page():
    causes = [(set(re.findall(r"`(\w+)`", row[1])), row[2]) for row in rows("what happened")]
    learnt = {
        cause for named, what in causes if what in ("the sampler stays away from there", "likewise") for cause in named
    }
    assert learnt == {cause.value for cause in BY_CONFIGURATION}
    assert {cause for named, _ in causes for cause in named} <= {cause.value for cause in Cause}
