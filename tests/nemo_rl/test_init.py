"""`rltune init` for a recipe of NeMo RL, and what comes out of such a study: files for NeMo RL, and its ledger."""

from __future__ import annotations

import functools
import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from optuna.trial import TrialState

from rltune import config as cfg
from rltune import session
from rltune.cli.main import main
from rltune.config.build import command_line_in
from rltune.folder import StudyDir
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.reporting.files import LEDGER, ledger_tsv, write_results
from rltune.trainers.nemo_rl.recipe import load_recipe
from rltune.trainers.registry import command_line
from rltune.types import Cause, Purpose

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")
pytest.importorskip("tensorboard", reason="metrics are read from event files")

CHECKOUT = Path(os.environ.get("NEMO_RL_ROOT", "/nowhere"))
OWN = sorted((CHECKOUT / "examples/configs").rglob("*.yaml"))
STANDING_IN = ("dapo", "distillation_math", "dpo", "grpo_math_1B", "grpo_math_1B_megatron", "ppo_math_1B", "rm", "sft")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def rltune(
    stand_in_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """Calls the command line in the folder that holds the checkout `NeMo-RL`."""
    monkeypatch.chdir(stand_in_root.parent)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(words))
        return Ended(int(end.value.code or 0), *capsys.readouterr())

    return functools.partial(call)


def init(rltune: Callable[..., Ended], recipe: str, *more: str) -> Ended:
    return rltune("init", "--trainer", "nemo-rl", "--recipe", recipe, "--force", *more)


# --- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STANDING_IN)
def test_what_init_writes_passes_check(rltune: Any, name: str) -> None:
    for budget in ("10", "100"):
        done = init(rltune, f"NeMo-RL/examples/configs/{name}.yaml", "--n-trials", budget)
        assert done.code == 0, done.err
        checked = rltune("check", "study.yaml", "--json")
        assert checked.code == 0, checked.err
        study = json.loads(checked.out)
        assert sum(study["plan"]["phases"].values()) == int(budget)
        assert set(study["plan"]["default"]) == set(study["parameters"])
        assert not study["warnings"]
        assert not [note for note in study["notes"] if note.startswith("constraint of NeMo RL")]  # all are in the file


@pytest.mark.slow
@pytest.mark.skipif(not OWN, reason="needs a checkout of NeMo RL, named by NEMO_RL_ROOT")
@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_nemo_rls_own_recipes(rltune: Any, stand_in_root: Path, path: Path) -> None:
    (stand_in_root / "examples/own").symlink_to(CHECKOUT / "examples/configs")
    recipe = Path("examples/own") / path.relative_to(CHECKOUT / "examples/configs")
    for budget in ("10", "30", "100"):
        assert init(rltune, str(recipe), "--root", "NeMo-RL", "--n-trials", budget).code == 0
        checked = rltune("check", "study.yaml")
        assert checked.code == 0, checked.err


def test_the_file_says_why(rltune: Any) -> None:
    done = init(rltune, "NeMo-RL/examples/configs/grpo_math_1B.yaml")
    text = Path("study.yaml").read_text()
    assert "    recipe: examples/configs/grpo_math_1B.yaml\n    root: NeMo-RL\n" in text
    assert "# The knob that matters most" in text
    assert "IN VALIDATION" in text.upper()  # of the temperature
    assert "# - policy.train_micro_batch_size" in text
    assert "# grpo.val_num_generations_per_prompt: " in text
    assert "standard error" in done.out
    assert max(map(len, text.splitlines())) <= 120


def test_the_root_may_be_told_and_the_recipe_be_relative_to_it(rltune: Any, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("defaults: NeMo-RL/examples/configs/sft.yaml\n")
    assert init(rltune, "own.yaml", "--root", "NeMo-RL").code == 0
    assert rltune("check", "study.yaml").code == 0
    assert init(rltune, "examples/configs/sft.yaml", "--root", "NeMo-RL", "-o", "NeMo-RL/study.yaml").code == 0
    assert rltune("check", "NeMo-RL/study.yaml").code == 0


@pytest.mark.parametrize("own", ["own.yaml", "recipes/own.yaml"])
def test_the_root_is_found_by_what_a_recipe_inherits(rltune: Any, tmp_path: Path, own: str) -> None:
    """Also by way of another of one's own."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/own.yaml").write_text("defaults: ../own.yaml\n")
    (tmp_path / "own.yaml").write_text("defaults: NeMo-RL/examples/configs/sft.yaml\n")
    assert init(rltune, own).code == 0
    assert f"    recipe: ../{own}\n    root: NeMo-RL\n" in Path("study.yaml").read_text()
    checked = rltune("check", "study.yaml")
    assert checked.code == 0, checked.err


def test_without_any_checkout_nothing_is_written(rltune: Any, tmp_path: Path) -> None:
    recipe = (tmp_path / "NeMo-RL/examples/configs/sft.yaml").read_text()
    (tmp_path / "own.yaml").write_text(recipe)
    refused = init(rltune, "own.yaml")
    assert refused.code == 2
    assert "--recipe own.yaml: neither it nor a recipe that it inherits from lies in a checkout" in refused.err
    assert "give --root" in refused.err
    assert not (tmp_path / "study.yaml").exists()
    assert init(rltune, "own.yaml", "--root", "NeMo-RL").code == 0
    assert rltune("check", "study.yaml").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--recipe", "NeMo-RL/examples/configs/grpo_math.yaml"], "did you mean NeMo-RL/examples/configs/grpo_math_1B"),
        (["--recipe", "grpo_math_1.yaml", "--root", "NeMo-RL"], "examples/configs/grpo_math_1B"),
        (["--recipe", "other.yaml"], "has none of the sections `grpo`, `ppo`"),
        (["--recipe", "half.yaml"], "global_batch_size: has no number in the recipe"),
        (["--recipe", "NeMo-RL/bin/uv"], "is not YAML"),
        (["--recipe", "x.yaml", "--root", "nowhere"], "--root nowhere: there is no folder"),
        ([], "--trainer nemo-rl needs --recipe"),
    ],
)
def test_what_is_no_recipe(rltune: Any, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "other.yaml").write_text("a: 1\n")
    (tmp_path / "half.yaml").write_text("sft: {max_num_steps: 60}\npolicy: {}\n")
    refused = rltune("init", "--trainer", "nemo-rl", *words)
    assert refused.code == 2
    assert said in refused.err
    assert not (tmp_path / "study.yaml").exists()


def test_a_recipe_is_for_nemo_rl(rltune: Any) -> None:
    assert "add --trainer nemo-rl" in rltune("init", "--trainer", "a:b", "--recipe", "x.yaml").err
    assert "add --trainer nemo-rl" in rltune("init", "--root", "x").err


def test_the_number_of_trials_of_any_study(rltune: Any) -> None:
    assert rltune("init", "--trainer", "a:b", "--n-trials", "7").code == 0
    assert cfg.load(Path("study.yaml")).n_trials == 7


# --- what comes out --------------------------------------------------------------------------------------------------


def parts_of(file: Path) -> Any:
    config = cfg.load(file)
    return session.prepare(config, session.study_dir(config, file.with_name("runs")))


@pytest.mark.parametrize("name", STANDING_IN)
def test_the_best_is_written_as_nemo_rl_takes_it(rltune: Any, tmp_path: Path, name: str) -> None:
    """The words set on the recipe's own file give the very config beside them, and so do those from the folder alone.

    What is neither tuned nor the study's own stays as the recipe has it, its loggers too, whatever trials do.
    """
    file = tmp_path / f"NeMo-RL/examples/configs/{name}.yaml"
    init(rltune, str(file), "--n-trials", "100")
    parts = parts_of(tmp_path / "study.yaml")
    params = parts.space.resolve(parts.space.defaults() | {"learning_rate": 2e-6})
    words = command_line(parts.trainer, params)
    assert [word for word in words if word.endswith("=2.0e-06")]
    assert not [word for word in words if word.startswith("learning_rate")]
    as_run = parts.trainer.config(params)
    kept = parts.config.with_base_config(parts.base_config)
    for each in (words, command_line_in(kept, params)):
        assert load_recipe(file, overrides=read(each)).values == as_run
    assert as_run["logger"] == load_recipe(file).values["logger"]


def read(words: Sequence[str]) -> dict[str, Any]:
    """Words of the command line as settings, by Hydra's own reader."""
    parser = pytest.importorskip("hydra.core.override_parser.overrides_parser").OverridesParser.create()
    found = parser.parse_overrides(list(words))
    return {("++" if each.is_add() else "") + each.key_or_group: each.value() for each in found}


def test_the_files_are_read_by_hydra_and_omegaconf(rltune: Any, tmp_path: Path) -> None:
    init(rltune, "NeMo-RL/examples/configs/dapo.yaml", "--n-trials", "100")
    parts, folder = parts_of(tmp_path / "study.yaml"), StudyDir(tmp_path / "runs")
    folder.create()
    params = parts.space.defaults() | {"clip_max": 0.3, "learning_rate": 2e-6}
    write_results(
        folder,
        parts.space,
        parts.plan.objectives,
        records=[],
        best=TrialRecord(0, TrialState.COMPLETE, Purpose.SEARCH, params, values=(0.5,)),
        verdict=None,
        to_config=parts.trainer.config,
        to_overrides=functools.partial(command_line, parts.trainer),
    )
    given = read(folder.best_overrides.read_text().splitlines())
    assert (given["grpo.max_num_steps"], given["loss_fn.ratio_clip_max"]) == (300, 0.3)
    best = load_recipe(folder.best_config)
    assert best.is_dapo
    assert {key: best.get(key) for key in given} == given


@pytest.mark.slow
def test_a_whole_study_and_its_ledger(rltune: Any, tmp_path: Path) -> None:
    init(rltune, "NeMo-RL/examples/configs/grpo_math_1B.yaml", "--n-trials", "10")
    small = ["--set", "trainer.horizon=4", "--set", "n_trials=3", "--set", "protocol=simple", "--out", "runs"]
    small += ["--set", "algorithm=random", "--set", "guards=[divergence]"]
    done = rltune("run", "study.yaml", *small)
    assert done.code == 0, done.err
    shown = rltune("best", "runs").out
    assert "policy.optimizer.kwargs.lr=" in shown
    ledger = rltune("export", "runs", "--format", "ledger").out
    head, *rows = [dict(zip(LEDGER, line.split("\t"), strict=True)) for line in ledger.splitlines()]
    assert list(head.values()) == list(LEDGER)
    assert [row["index"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["status"] == "keep"
    best = None
    for row in rows:
        value = float(row["metric_value"])
        assert (row["status"] == "keep") == (best is None or value > best)
        best = value if best is None else max(best, value)
        assert row["recipe"] == "examples/configs/grpo_math_1B.yaml"
        assert row["metric_name"] == "validation/accuracy"
        assert Path(row["log_path"]).is_file()
        assert "examples/run_grpo.py" in shlex.split(row["command"])


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (Cause.DIVERGED, "discard"),
        (Cause.COLLAPSED, "discard"),
        (Cause.NO_SIGNAL, "discard"),
        (Cause.REWARD_HACKING, "discard"),
        (Cause.MISMATCH, "discard"),
        (Cause.NO_VALUE, "discard"),
        (Cause.ERROR, "crash"),
        (Cause.OUT_OF_MEMORY, "crash"),
        (Cause.TIMEOUT, "crash"),
        (Cause.STALLED, "crash"),
        (Cause.LOST, "crash"),
        (Cause.IGNORED_KEY, "crash"),
    ],
)
def test_in_the_ledger_a_run_that_worked_has_not_crashed(tmp_path: Path, cause: Cause, status: str) -> None:
    ended = TrialRecord(0, TrialState.FAIL, Purpose.SEARCH, {"learning_rate": 1e-4}, cause=cause)
    text = ledger_tsv([ended], Objective("validation/accuracy", "maximize"), StudyDir(tmp_path))
    row = dict(zip(LEDGER, text.splitlines()[1].split("\t"), strict=True))
    assert row["status"] == status
    assert cause.value in row["description"]
