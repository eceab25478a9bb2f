"""What `rltune check` says of a study of NeMo RL: of lengths, derived values, values, metrics and the budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rltune import config as cfg
from rltune import session
from rltune.cli.main import main
from rltune.config.build import Parts
from rltune.errors import StudyFileError
from rltune.types import Suggestion

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")
pytest.importorskip("tensorboard", reason="metrics are read from event files")

Write = Callable[..., Path]


def prepared(file: Path, *overrides: str) -> Parts:
    config = cfg.load(file, overrides)
    return session.prepare(config, session.study_dir(config, file.with_name("runs")))


def refused(file: Path, *overrides: str) -> list[str]:
    """Every problem of a study file, each with its line where it has one."""
    with pytest.raises(StudyFileError) as error:
        prepared(file, *overrides)
    return str(error.value).splitlines()


def initialised(root: Path, recipe: str = "grpo_math_1B", budget: int = 100) -> Path:
    """What `rltune init` writes for a recipe of the checkout, beside it."""
    file = root.with_name("study.yaml")
    path = root / "examples/configs" / f"{recipe}.yaml"
    words = ["init", "--trainer", "nemo-rl", "--recipe", str(path), "--n-trials", str(budget), "-o", str(file)]
    with pytest.raises(SystemExit) as end:
        main([*words, "--force"])
    assert not end.value.code
    return file


def lines_of(file: Path, text: str) -> list[int]:
    return [n for n, line in enumerate(file.read_text().splitlines(), 1) if text in line]


# --- the length of a run ---------------------------------------------------------------------------------------------

SIZES = {"global_batch_size": {"type": "categorical", "choices": [32, 64, 128], "default": 32}}


class TestHorizon:
    @pytest.mark.parametrize(("recipe", "samples"), [("grpo_math_1B", 512), ("dpo", 128), ("sft", 32)])
    @pytest.mark.parametrize("horizon", [3, 30, 900])
    def test_what_init_derives_follows_it(self, stand_in_root: Path, recipe: str, samples: int, horizon: int) -> None:
        parts = prepared(initialised(stand_in_root, recipe), f"trainer.horizon={horizon}")
        default = parts.space.defaults()
        assert default is not None
        algorithm = recipe.partition("_")[0]
        assert parts.space.resolve(default)[f"{algorithm}.max_num_steps"] == horizon
        for seed in range(20):
            drawn = parts.space.resolve(parts.space.sample(np.random.default_rng(seed)))
            size = drawn.get("num_prompts", 0) * drawn.get("num_generations", 0) or drawn["global_batch_size"]
            assert drawn[f"{algorithm}.max_num_steps"] == max(1, horizon * samples // size)
            assert set(steps_of(parts, drawn)) == {drawn[f"{algorithm}.max_num_steps"]}

    def test_a_length_that_does_not_follow_it_is_refused(self, nemo_study: Write) -> None:
        derived = {"sft.max_num_steps": "1920 // global_batch_size"}
        file = nemo_study("sft.yaml", horizon=20, search_space=SIZES, derived=derived, evaluation=VAL_LOSS)
        (said,) = refused(file)
        assert f":{lines_of(file, 'max_num_steps')[0]}: derived.sft.max_num_steps: `1920 //" in said
        assert "does not follow trainer.horizon, which is 20 and would do nothing" in said
        assert "`trainer.horizon * 32 // global_batch_size`; or remove trainer.horizon" in said

    def test_without_one_a_length_may_be_anything(self, nemo_study: Write) -> None:
        derived = {"sft.max_num_steps": "1920 // global_batch_size"}
        trainer = json.loads(nemo_study("sft.yaml").read_text())["trainer"] | {"horizon": None}
        file = nemo_study("sft.yaml", trainer=trainer, search_space=SIZES, derived=derived, evaluation=VAL_LOSS)
        parts = prepared(file)
        assert set(steps_of(parts, parts.space.resolve({"global_batch_size": 64}))) == {30}

    def test_one_that_is_gone_is_named(self, stand_in_root: Path) -> None:
        file = initialised(stand_in_root, "sft")
        (said,) = refused(file, "trainer.horizon=null")
        assert "trainer.horizon" in said
        assert f":{lines_of(file, 'sft.max_num_steps')[0]}: derived.sft.max_num_steps" in said


def steps_of(parts: Parts, params: dict[str, Any]) -> list[int]:
    """The length by the whole configuration, and by the command line of a trial."""
    trainer: Any = parts.trainer
    key = f"{trainer.recipe.algorithm}.max_num_steps"
    words = trainer.render(Suggestion(0, params, 1, Path("/nowhere/trials/0000"), parts.config.trainer.horizon))
    told = [int(word.partition("=")[2]) for word in words if word.removeprefix("++").startswith(f"{key}=")]
    return [trainer.config(params)[str(trainer.recipe.algorithm)]["max_num_steps"], *told]


VAL_LOSS = {"metric": "validation/val_loss", "direction": "minimize"}


# --- derived values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "formula", "said"),
    [
        ("policy.optimizer.kwargs.lrr", "learning_rate * 2", "the recipe has no such key (did you mean `policy.opt"),
        ("policy.optimizer.kwargs.lr", "learning_rate * 2", "sets `policy.optimizer.kwargs.lr`, which `learning_rate`"),
        ("policy.megatron_cfg.optimizer.lr", "learning_rate * 2", "does nothing: `policy.megatron_cfg.enabled` is fa"),
        ("checkpointing.checkpoint_dir", "'elsewhere'", "is set by rltune in every trial: a folder of its own"),
        ("logger.log_dir", "'elsewhere'", "is set by rltune in every trial: a folder of its own"),
        ("grpo.seed", "7 + 1", "is set by rltune in every trial: the seed that the study gives each trial"),
        ("data.train.seed", "7 + 1", "is set by rltune in every trial: the recipe's seed"),
        ("total", "learning_rate * 2", "is no name that rltune knows, and no key of the recipe"),
    ],
)
def test_derived_values_are_judged_as_parameters_are(nemo_study: Write, key: str, formula: str, said: str) -> None:
    file = nemo_study(derived={key: formula})
    (problem,) = refused(file)
    assert f":{lines_of(file, json.dumps(key) + ':')[-1]}: derived.{key}: " in problem
    assert said in problem


def test_a_dead_key_that_is_derived_names_the_live_one(nemo_study: Write) -> None:
    file = nemo_study("grpo_math_1B_megatron.yaml", derived={"policy.optimizer.kwargs.lr": "learning_rate * 2"})
    (problem,) = refused(file)
    assert "derived.policy.optimizer.kwargs.lr: does nothing" in problem
    assert "`learning_rate`, which sets `policy.megatron_cfg.optimizer.lr` here" in problem


def test_two_derived_values_for_one_key(nemo_study: Write) -> None:
    formulas = {"num_prompts": "16 * 2", "grpo.num_prompts_per_step": "8 * 4"}
    (problem,) = refused(nemo_study(derived=formulas))
    assert "derived.grpo.num_prompts_per_step: sets `grpo.num_prompts_per_step`, which `num_prompts` sets" in problem


def test_a_rule_that_a_derived_value_heals_is_not_held_against_the_recipe(nemo_study: Write) -> None:
    """512 rollouts are no multiple of a batch of 96; with one that is derived they are."""
    own = {"overrides": {"policy.train_global_batch_size": 96}}
    (problem,) = refused(nemo_study(nemo_rl=own))
    assert "prompts times generations must be a multiple of the global batch" in problem
    prepared(nemo_study(nemo_rl=own, derived={"policy.train_global_batch_size": "64 * 8"}))


# --- values ----------------------------------------------------------------------------------------------------------

FLOAT = {"type": "float", "min": 1, "max": 8}


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [
        ("warmup_steps", FLOAT, ".type: `float` gives fractions, and NeMo RL needs a whole number from 0 on"),
        ("grpo.val_batch_size", FLOAT, ".type: `float` gives fractions"),
        ("policy.train_global_batch_size", FLOAT, ".type: `float` gives fractions"),
        ("num_generations", {"type": "int", "min": 0, "max": 16}, ".min: must be a whole number from 1 on, got 0"),
        ("num_generations", {"type": "categorical", "choices": [16, 0]}, ".choices: must be a whole number from 1 on"),
        ("num_prompts", {"type": "categorical", "choices": [32, 16.5]}, ".choices: must be a whole number from 1 on"),
        ("grpo.num_prompts_per_step", {"type": "int", "min": -1, "max": 32}, ".min: must be a whole number from 1 on"),
        ("policy.train_micro_batch_size", {"type": "categorical", "choices": [4, None]}, "from 1 on, got null (leave"),
        (
            "kl_penalty",
            {"type": "categorical", "choices": [0.01, None]},
            ".choices: must be a number from 0 on, got nu",
        ),
        ("warmup_steps", {"type": "categorical", "choices": [50, None]}, ".choices: must be a whole number from 0 on"),
        ("learning_rate", {"type": "float", "min": -1e-6, "max": 1e-5}, ".min: must be a number above 0, got -1e-06"),
        ("learning_rate", {"type": "float", "min": 0, "max": 1e-5}, ".min: must be a number above 0, got 0.0 (change"),
        (
            "learning_rate",
            {"type": "float", "min": 1e-7, "max": 1e-5, "log": True, "zero": 0.1},
            ".zero: must be a number above 0, got 0.0 (leave it out)",
        ),
        ("policy.optimizer.kwargs.lr", {"type": "float", "min": -1e-6, "max": 1e-5}, ".min: must be a number above 0"),
        ("temperature", {"type": "float", "min": 0, "max": 1.2}, ".min: must be a number above 0, got 0.0"),
        ("policy.generation.temperature", {"type": "float", "min": -1, "max": 1.2}, ".min: must be a number above 0"),
        ("adam_beta2", {"type": "float", "min": 0.9, "max": 1.5}, ".max: must be a number between 0 and 1, got 1.5"),
    ],
)
def test_values_that_nemo_rl_cannot_train_with(nemo_study: Write, name: str, spec: dict[str, Any], said: str) -> None:
    file = nemo_study(search_space={name: {**spec, **({} if "choices" in spec else {"default": spec["max"]})}})
    (problem,) = [each for each in refused(file) if f": search_space.{name}" in each and said in each]
    line = int(problem.partition("study.yaml:")[2].partition(":")[0])
    assert line >= lines_of(file, f"{json.dumps(name)}: {{")[0]


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("clip_c", {"type": "categorical", "choices": [3, 10, None]}),
        ("max_grad_norm", {"type": "float", "min": 0.1, "max": 1.0}),
        ("kl_penalty", {"type": "float", "min": 1e-4, "max": 0.1, "log": True, "zero": 0.3}),
        ("warmup_steps", {"type": "int", "min": 0, "max": 50}),
        ("top_p", {"type": "float", "min": 0.8, "max": 1.0}),
        ("policy.generation.top_k", {"type": "categorical", "choices": [None, -1, 20]}),
    ],
)
def test_values_that_it_can_train_with(nemo_study: Write, name: str, spec: dict[str, Any]) -> None:
    prepared(nemo_study(search_space={name: spec}))


def test_a_derived_value_that_comes_to_nothing(nemo_study: Write) -> None:
    groups = {"num_generations": {"type": "categorical", "choices": [16, 1024]}}
    file = nemo_study(search_space=groups, derived={"num_prompts": "512 // num_generations", "global_batch_size": "64"})
    problems = refused(file)
    said = "derived.num_prompts: must be a whole number from 1 on, got 0 with num_generations = 1024"
    assert any(said in each for each in problems)


# --- metrics ---------------------------------------------------------------------------------------------------------


class TestValidation:
    @pytest.mark.parametrize(
        ("overrides", "said"),
        [
            ({}, "would follow step 10, and a trial ends at step 4 (grpo.max_num_steps)"),
            ({"grpo.val_at_start": True}, "would follow step 10, and a trial ends at step 4"),
            ({"grpo.val_period": 0}, "grpo.val_period is 0, so NeMo RL never validates after a training step"),
            ({"grpo.val_period": 2, "++grpo.val_start_at": 5}, "would follow step 6, and a trial ends at step 4"),
        ],
    )
    def test_an_objective_that_is_never_measured(self, nemo_study: Write, overrides: Any, said: str) -> None:
        (problem,) = refused(nemo_study(horizon=4, nemo_rl={"overrides": overrides}))
        assert ": evaluation.metric: `validation/accuracy` would never be measured: " in problem
        assert said in problem
        assert "set `grpo.val_at_end: true` in trainer.nemo_rl.overrides" in problem

    @pytest.mark.parametrize("overrides", [{"grpo.val_at_end": True}, {"grpo.val_period": 4}])
    def test_one_that_is(self, nemo_study: Write, overrides: Any) -> None:
        prepared(nemo_study(horizon=4, nemo_rl={"overrides": overrides}))

    def test_a_metric_of_training_needs_no_validation(self, nemo_study: Write) -> None:
        prepared(nemo_study(horizon=4, evaluation={"metric": "train/reward", "direction": "maximize"}))

    def test_a_shorter_trial_by_a_derived_length(self, nemo_study: Write) -> None:
        derived = {"sft.max_num_steps": "trainer.horizon * 32 // global_batch_size"}
        file = nemo_study("sft.yaml", horizon=20, search_space=SIZES, derived=derived, evaluation=VAL_LOSS)
        (problem,) = refused(file)
        assert "would follow step 10, and a trial ends at step 5 (sft.max_num_steps)" in problem
        prepared(file, "trainer.horizon=40")


def advice_of(file: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    return list(checked(file, capsys, *words)["advice"])


def checked(file: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["check", str(file), "--json", *words])
    out, err = capsys.readouterr()
    assert not end.value.code, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize(
    ("recipe", "metric", "hint"),
    [
        ("grpo_math_1B.yaml", "validation/acuracy", "did you mean `validation/accuracy`?"),
        ("grpo_math_1B.yaml", "accuracy", "did you mean `validation/accuracy`?"),
        ("grpo_math_1B.yaml", "train/rewards", "did you mean `train/reward`?"),
        ("sft.yaml", "validation/accuracy", "a validation reports `validation/val_loss`"),
        ("dpo.yaml", "validation/accuracy", "did you mean `validation-default/accuracy`?"),
        ("grpo_math_1B.yaml", "validation/accuracy", None),
        ("grpo_math_1B.yaml", "train/critic/explained_var", None),
        ("grpo_math_1B.yaml", "train/critic/loss", None),
        ("grpo_math_1B.yaml", "train/reward_of_mine", None),
        ("grpo_math_1B.yaml", "training_time", None),
    ],
)
def test_an_objective_that_is_spelled_wrongly(
    nemo_study: Write, capsys: pytest.CaptureFixture[str], recipe: str, metric: str, hint: str | None
) -> None:
    file = nemo_study(recipe, horizon=50, evaluation={"metric": metric, "direction": "maximize"})
    strange = [each for each in advice_of(file, capsys) if each["kind"] == "unknown_metric"]
    assert [each["hint"] for each in strange] == ([] if hint is None else [hint])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("val:acuracy", "`val:acuracy` must be measured, else the first save fails; did you mean `val:accuracy`?"),
        ("val:xyz", "always measured: `val:accuracy`, `val:avg_length`"),
        ("val:accuracy", None),
    ],
)
def test_a_checkpoint_metric_that_is_spelled_wrongly(
    nemo_study: Write, capsys: pytest.CaptureFixture[str], given: str, said: str | None
) -> None:
    own = {"overrides": {"checkpointing.enabled": True, "checkpointing.metric_name": given}}
    notes = [n for n in checked(nemo_study(nemo_rl=own), capsys)["notes"] if n.startswith("rule 26")]
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]
    off = {"overrides": own["overrides"] | {"checkpointing.enabled": False}}
    assert not [n for n in checked(nemo_study(nemo_rl=off), capsys)["notes"] if n.startswith("rule 26")]


def test_a_group_of_one(nemo_study: Write, capsys: pytest.CaptureFixture[str]) -> None:
    groups = {"num_generations": {"type": "categorical", "choices": [1, 16]}}
    file = nemo_study(search_space=groups, derived={"num_prompts": "512 // num_generations"})
    assert [each["kind"] for each in advice_of(file, capsys)] == ["no_group"]


def test_a_warm_up_that_a_lower_horizon_cuts_off(stand_in_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = initialised(stand_in_root, "grpo_math_1B", 40)
    (only,) = advice_of(file, capsys, "--set", "trainer.horizon=20")
    assert (only["kind"], only["parameter"]) == ("long_warmup", "warmup_steps")
    assert "where a trial ends at step 20" in only["message"]


# --- advice and `init` agree -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["grpo_math_1B", "dapo", "ppo_math_1B", "dpo", "sft", "rm", "distillation_math"])
def test_check_does_not_advise_against_what_init_has_chosen(
    stand_in_root: Path, capsys: pytest.CaptureFixture[str], recipe: str
) -> None:
    for budget in (10, 40, 100):
        assert advice_of(initialised(stand_in_root, recipe, budget), capsys) == []


def test_with_fewer_trials_it_names_what_init_would_leave_out(
    stand_in_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = initialised(stand_in_root, "grpo_math_1B", 100)
    middle, late = advice_of(file, capsys, "--set", "n_trials=20")
    assert "`num_generations`" in middle["message"]
    assert "worth tuning from 30 trials on" in middle["message"]
    assert "`adam_beta2`" in late["message"]
    assert "worth tuning from 100 trials on" in late["message"]


def test_a_key_counts_as_the_name_that_sets_it(nemo_study: Write, capsys: pytest.CaptureFixture[str]) -> None:
    rate = {"policy.optimizer.kwargs.lr": {"type": "float", "min": 1e-7, "max": 1e-5, "log": True}}
    assert advice_of(nemo_study(search_space=rate, n_trials=5), capsys) == []


# --- a whole study ---------------------------------------------------------------------------------------------------


def test_the_length_that_a_horizon_gives_is_in_the_folder_too(
    stand_in_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a trial ran, and what `best` shows afterwards from the folder alone."""
    file = initialised(stand_in_root, "sft", 10)
    runs = file.with_name("runs")
    small = ["trainer.horizon=8", "n_trials=2", "protocol=simple", "algorithm=random"]
    config = cfg.load(file, small)
    monkeypatch.chdir(file.parent)
    result = session.run(config, out=runs)
    assert result.best is not None
    size = result.best.params["global_batch_size"]
    wanted = max(1, 8 * 32 // size)
    assert session.read(runs).space.resolve(result.best.params)["sft.max_num_steps"] == wanted
    for record in result.records:
        steps = max(1, 8 * 32 // record.params["global_batch_size"])
        assert f"sft.max_num_steps={steps}" in (runs / f"trials/{record.number:04d}/command.txt").read_text()
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["best", str(runs)])
    assert not end.value.code
    assert f"sft.max_num_steps={wanted}" in capsys.readouterr().out
    assert f"sft.max_num_steps={wanted}\n" in (runs / "best_overrides.txt").read_text()
