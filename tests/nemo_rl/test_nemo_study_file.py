"""`trainer: {nemo_rl: ...}` in a study file: what is read, what is refused with its line, and a whole study."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rltune import config as cfg
from rltune import session
from rltune.cli.main import main
from rltune.errors import StudyFileError
from rltune.trainers.config_text import float_text
from rltune.trainers.nemo_rl.trainer import NemoRlTrainer
from rltune.types import Cause

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")
pytest.importorskip("tensorboard", reason="metrics are read from event files")

STUDY = f"""\
name: tiny
n_trials: 3
protocol: simple
algorithm: random
trainer:
  nemo_rl:
    recipe: examples/configs/grpo_math_1B.yaml
    root: NeMo-RL
    launch: ["{sys.executable}"]
    overrides:
      grpo.val_period: 2
      policy.model_name: tiny
    env: {{STAND_IN_STEP_SECONDS: 0}}
  horizon: 4
search_space:
  learning_rate: {{type: float, min: 1e-6, max: 1e-4, log: true}}
  num_generations: {{type: categorical, choices: [4, 8, 12, 16]}}
evaluation: {{metric: validation/accuracy, direction: maximize}}
executor: {{gpus_per_trial: 1, gpus: [0]}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """A study file beside a copy of the stand-in checkout, with changes of its text."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(__file__).with_name("stand_in"), tmp_path / "NeMo-RL", ignore=ignored)

    def study(*changes: tuple[str, str]) -> Path:
        text = STUDY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "study.yaml"
        file.write_text(text)
        return file

    return study


def prepared(file: Path) -> Any:
    config = cfg.load(file)
    return session.prepare(config, session.study_dir(config, file.with_name("runs")))


def refused(file: Path) -> str:
    with pytest.raises(StudyFileError) as error:
        prepared(file)
    return str(error.value)


def test_what_the_file_says_reaches_the_trainer(study: Any) -> None:
    trainer = prepared(study()).trainer
    assert isinstance(trainer, NemoRlTrainer)
    assert trainer.recipe.get("policy.tokenizer.name") == "tiny"
    assert (trainer.launch, trainer.horizon, trainer.gpus_per_trial) == ((sys.executable,), 4, 1)
    assert (trainer.hook, trainer.warm_up, trainer.keep_checkpoints) == ("auto", True, "best")


@pytest.mark.parametrize("recipe", ["NeMo-RL/examples/configs/grpo_math_1B.yaml", "own.yaml"])
def test_a_recipe_relative_to_the_study_file(study: Any, recipe: str) -> None:
    file = study(("recipe: examples/configs/grpo_math_1B.yaml", f"recipe: {recipe}"))
    file.with_name("own.yaml").write_text("defaults: NeMo-RL/examples/configs/grpo_math_1B.yaml\n")
    assert prepared(file).trainer.recipe.path == file.parent / recipe


def test_the_root_is_found_from_the_recipe(study: Any) -> None:
    file = study(("recipe: examples", "recipe: NeMo-RL/examples"), ("    root: NeMo-RL\n", ""))
    assert prepared(file).trainer.recipe.root == file.with_name("NeMo-RL")


def test_nested_overrides_are_dotted_ones(study: Any) -> None:
    old = "      grpo.val_period: 2\n      policy.model_name: tiny\n"
    file = study((old, "      grpo: {val_period: 2}\n      policy: {model_name: tiny}\n"))
    assert prepared(file).trainer.overrides == {"grpo.val_period": 2, "policy.model_name": "tiny"}


def test_defaults_are_the_recipes_own_values(study: Any) -> None:
    parts = prepared(study())
    assert parts.space.defaults() == {"learning_rate": 5e-6, "num_generations": 16}


def test_rules_of_nemo_rl_become_constraints(study: Any) -> None:
    """32 prompts of 4, 8 or 12 are no multiple of the batch of 512."""
    parts = prepared(study())
    assert not parts.space.is_feasible({"learning_rate": 1e-5, "num_generations": 8})
    assert any(note.startswith("constraint of NeMo RL: ") for note in parts.notes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    root: NeMo-RL", "    root: nowhere", ":8: trainer.nemo_rl.root: there is no folder"),
        ("grpo_math_1B.yaml", "grpo_math.yaml", ":7: trainer.nemo_rl.recipe:"),
        ("      policy.model_name: tiny", "      policy.model: tiny", ":12: trainer.nemo_rl.overrides.policy.model:"),
        (
            "      policy.model_name: tiny",
            "      ~policy.scheduler: null",
            ":12: trainer.nemo_rl.overrides.~policy.scheduler: cannot be deleted: overrides set values, and `~` would",
        ),
        (
            "      policy.model_name: tiny",
            "      ~policy.scheduler: null",
            "section `policy` without `policy.scheduler`",
        ),
        ("      policy.model_name: tiny", "      +policy.extra: 1", "begins with `++` (write `++policy.extra`)"),
        ("  learning_rate:", "  learning_rat:", ":16: search_space.learning_rat:"),
        ("gpus_per_trial: 1", "gpus_per_trial: 0.5", ":19: executor.gpus_per_trial: must be a whole number for NeMo"),
        ("gpus_per_trial: 1, gpus: [0]", "workers: 2", ":19: executor.gpus_per_trial: is 0, so 2 trials at once"),
        ("    root: NeMo-RL", "    roots: NeMo-RL", ":8: trainer.nemo_rl.roots:"),
        ("  horizon: 4", "  horizon: 4\n  cwd: x", ":15: trainer.cwd: is for a command, not for nemo_rl"),
        ("  horizon: 4", "  horizon: 4\n  command: [x]", "trainer.nemo_rl: stands beside command"),
        ("  horizon: 4", "  horizon: 4\n  config: x.yaml", ":15: trainer.config: does nothing beside nemo_rl"),
        ("    launch: [", "    launch: uv run # [", ":9: trainer.nemo_rl.launch: must be a list of words"),
        ("    root: NeMo-RL", "    root: NeMo-RL\n    hook: maybe", ":9: trainer.nemo_rl.hook:"),
    ],
)
def test_problems_have_their_line(study: Any, old: str, new: str, said: str) -> None:
    assert said in refused(study((old, new)))


def test_another_kind_on_the_command_line(study: Any) -> None:
    config = cfg.load(study(), ["trainer.command=[python, train.py]"])
    assert (config.trainer.nemo_rl, config.trainer.command) == (None, ("python", "train.py"))
    config = cfg.load(study(), ["trainer.nemo_rl.overrides.policy.model_name=other"])
    assert config.trainer.nemo_rl is not None
    assert config.trainer.nemo_rl.overrides["policy.model_name"] == "other"


def test_the_study_reads_back(study: Any) -> None:
    config = cfg.load(study())
    assert cfg.from_mapping(config.to_mapping()) == config


def test_check_shows_the_command_lines(study: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", str(study()), "--json"])
    assert not end.value.code
    draws = json.loads(capsys.readouterr().out)["draws"]
    words = draws[0]["command"]
    assert words[:1] + words[-1:] == [sys.executable, "cluster.gpus_per_node=1"]
    assert words[words.index("--config") + 1] == "examples/configs/grpo_math_1B.yaml"
    assert f"policy.optimizer.kwargs.lr={float_text(draws[0]['params']['learning_rate'])}" in words


@pytest.mark.slow
def test_a_whole_study(study: Any) -> None:
    file = study()
    config = cfg.load(file)
    result = session.run(config, out=file.with_name("runs"))
    assert [record.cause for record in result.records] == [None] * 3
    assert result.best is not None
    kept = cfg.load(file.with_name("runs") / "study.yaml")
    assert kept.trainer.config["policy"]["model_name"] == "tiny"
    assert kept.trainer.nemo_rl == config.trainer.nemo_rl
    assert session.read(file.with_name("runs")).best == result.best
    again = session.run(config, out=file.with_name("runs"))
    assert len(again.records) == 3


@pytest.mark.slow
def test_a_broken_network_is_not_the_configurations_fault(study: Any) -> None:
    """The same configuration is asked again with its seed, though not for ever."""
    env = ("{STAND_IN_STEP_SECONDS: 0}", "{STAND_IN: 'nccl:1'}")
    file = study(env, ("n_trials: 3", "n_trials: 1"))
    records = session.run(cfg.load(file), out=file.with_name("runs")).records
    assert [(r.cause, r.retry_of) for r in records] == [(Cause.LOST, None), (Cause.LOST, 0), (Cause.LOST, 1)]
    assert len({record.seed for record in records}) == 1


@pytest.mark.slow
def test_one_trial_runs_alone_until_its_first_step(study: Any) -> None:
    executor = ("{gpus_per_trial: 1, gpus: [0]}", "{gpus_per_trial: 1, gpus: [0, 1], workers: 2}")
    runs = study(executor).with_name("runs")
    result = session.run(cfg.load(runs.with_name("study.yaml")), out=runs)
    assert [record.cause for record in result.records] == [None] * 3
    waited = ["waits for the first trial" in (runs / f"trials/{n:04d}/stdout.log").read_text() for n in range(3)]
    assert sorted(waited[:2]) == [False, True]  # whichever of the first two got the lock
    assert not waited[2]
