"""Search spaces to begin with: what is tuned, in which range, and that NeMo RL refuses none of it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from independent_rules import broken

from rltune.guards import check_guard
from rltune.objective import Objective
from rltune.space import SearchSpace
from rltune.trainers.nemo_rl.constraints import violations
from rltune.trainers.nemo_rl.names import expand, problems, value_of
from rltune.trainers.nemo_rl.presets import Preset, model_size, preset
from rltune.trainers.nemo_rl.recipe import Recipe, load_recipe
from rltune.types import HORIZON

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")

STAND_IN = Path(__file__).with_name("stand_in")
OWN = sorted(Path(os.environ.get("NEMO_RL_ROOT", "/nowhere"), "examples/configs").rglob("*.yaml"))
STANDING_IN = sorted((STAND_IN / "examples/configs").glob("*.yaml"))

Load = Callable[..., Recipe]


@pytest.fixture(scope="module")
def load() -> Load:
    def load(name: str = "grpo_math_1B", **overrides: Any) -> Recipe:
        """A recipe of the stand-in's; `__` in a keyword stands for a dot."""
        path = STAND_IN / "examples/configs" / f"{name}.yaml"
        return load_recipe(path, None, {key.replace("__", "."): value for key, value in overrides.items()})

    return load


@functools.cache
def of(path: Path, budget: int) -> Preset:
    return preset(load_recipe(path), budget)


def rate(made: Preset) -> tuple[float, float, float]:
    spec = made.search_space["learning_rate"]
    return spec["min"], spec["max"], spec["default"]


def in_study(recipe: Recipe, made: Preset) -> tuple[Recipe, SearchSpace]:
    """The recipe with what every trial gets, and the space that the study searches."""
    fixed = recipe.with_overrides({each.key: each.value for each in made.overrides if each.on})
    constraints = [each.key for each in made.constraints]
    derived = {each.key: each.value for each in made.derived}
    known = fixed.leaves() | {HORIZON: made.horizon}
    return fixed, SearchSpace.from_mapping(made.search_space, constraints, derived, known)


def frozen(made: Preset) -> dict[str, str]:
    return {each.name: each.reason for each in made.frozen}


# --- nothing that NeMo RL refuses ------------------------------------------------------------------------------------


def holds(recipe: Recipe, budget: int, n: int) -> None:
    made = of(recipe.path, budget)
    assert problems(recipe, list(made.search_space)) == []
    fixed, space = in_study(recipe, made)
    assert space.defaults() == {name: value_of(recipe, name) for name in made.search_space}
    rng = np.random.default_rng(0)
    for _ in range(n):
        configured = fixed.with_overrides(expand(fixed, space.resolve(space.sample(rng))))
        assert violations(configured) == []
        assert broken(configured.values) == set()


@pytest.mark.parametrize("budget", [30, 100])
@pytest.mark.parametrize("path", STANDING_IN, ids=lambda path: path.stem)
def test_every_configuration_may_run(path: Path, budget: int) -> None:
    holds(load_recipe(path), budget, 10)


@pytest.mark.slow
@pytest.mark.parametrize("path", STANDING_IN, ids=lambda path: path.stem)
def test_a_thousand_configurations_may_run(path: Path) -> None:
    holds(load_recipe(path), 100, 1_000 // len(STANDING_IN))


@pytest.mark.slow
@pytest.mark.skipif(not OWN, reason="needs a checkout of NeMo RL, named by NEMO_RL_ROOT")
@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_nemo_rls_own_recipes(path: Path) -> None:
    holds(load_recipe(path), 30, 50)
    holds(load_recipe(path), 100, 50)


# --- what is tuned ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("grpo_math_1B", ["learning_rate", "kl_penalty", "clip_delta"]),
        ("grpo_math_1B_megatron", ["learning_rate", "kl_penalty", "clip_delta"]),
        ("dapo", ["learning_rate", "clip_max"]),
        ("ppo_math_1B", ["learning_rate", "critic_ratio", "gae_lambda"]),
        ("dpo", ["learning_rate", "kl_penalty"]),
        ("sft", ["learning_rate", "global_batch_size"]),
        ("rm", ["learning_rate", "global_batch_size"]),
        ("distillation_math", ["learning_rate"]),
    ],
)
def test_a_larger_budget_tunes_more(load: Load, name: str, first: list[str]) -> None:
    small, medium, large = (of(load(name).path, budget).search_space for budget in (29, 30, 100))
    assert list(small) == first
    assert set(small) < set(medium) < set(large)
    assert set(preset(load(name), 99).search_space) == set(medium)


@pytest.mark.parametrize("path", STANDING_IN, ids=lambda path: path.stem)
def test_every_line_has_a_reason_and_every_knob_a_place(path: Path) -> None:
    small, large = of(path, 30), of(path, 100)
    lines = [*large.parameters, *large.constraints, *large.derived, *large.overrides, *large.guards, *large.frozen]
    assert all(len(each.reason) > 5 for each in lines)
    assert set(large.search_space) - {"num_prompts"} <= {*small.search_space, *frozen(small)}
    assert "policy.train_micro_batch_size" in frozen(large)
    for made in (small, large):
        names = [*made.search_space, *(each.name for each in made.frozen)]
        assert len(names) == len(set(names))
    for guard in large.guards:
        check_guard(guard.key, guard.value)


# --- ranges ----------------------------------------------------------------------------------------------------------


def test_a_range_lies_around_the_recipes_own_rate(load: Load) -> None:
    own = {"policy__optimizer__kwargs__lr": 3e-7}
    assert rate(preset(load(**own), 1)) == (3e-8, 3e-6, 3e-7)


@settings(max_examples=20, deadline=None)
@given(rate_today=st.floats(1e-9, 1e-2), beta=st.floats(1e-4, 10.0))
def test_the_recipes_own_values_lie_in_their_ranges(rate_today: float, beta: float) -> None:
    overrides = {"policy.optimizer.kwargs.lr": rate_today, "dpo.reference_policy_kl_penalty": beta}
    made = preset(load_recipe(STAND_IN / "examples/configs/dpo.yaml", None, overrides), 1)
    low, high, default = rate(made)
    assert low <= default == rate_today <= high
    assert high >= 10 * low
    assert made.search_space["kl_penalty"]["min"] <= beta <= made.search_space["kl_penalty"]["max"]


@pytest.mark.parametrize(
    ("model", "centre"),
    [
        ("Qwen/Qwen2.5-1.5B", 2e-6),
        ("meta-llama/Llama-3.1-8B-Instruct", 7e-7),
        ("Qwen/Qwen3-30B-A3B", 5e-7),
        ("my-model", 5e-6),
    ],
)
def test_an_inherited_rate_says_nothing_about_the_model(load: Load, model: str, centre: float) -> None:
    """5e-6 is what every recipe has that says nothing else; it stays the default, and in the range."""
    low, high, default = rate(preset(load(policy__model_name=model, policy__optimizer__kwargs__lr=5e-6), 1))
    assert (low, high) == pytest.approx((centre / 10, centre * 10))
    assert default == 5e-6


def test_adapters_take_higher_rates(load: Load) -> None:
    lora = {"++policy.dtensor_cfg.lora_cfg.enabled": True}
    assert rate(preset(load(**lora), 1))[:2] == (1e-6, 3e-4)
    assert rate(preset(load("sft", **lora), 1))[1] == 2e-3


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen/Qwen2.5-Math-7B", 7.0),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1.5),
        ("Qwen/Qwen3-30B-A3B", 30.0),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 0.135),
        ("/models/llama3", None),
    ],
)
def test_the_size_of_a_model_by_its_name(name: str, size: float | None) -> None:
    assert model_size(name) == size


def test_beta_by_how_log_probabilities_are_summed(load: Load) -> None:
    summed = preset(load("dpo"), 1).search_space["kl_penalty"]
    averaged = preset(load("dpo", **{"++dpo.preference_average_log_probs": True}), 1).search_space["kl_penalty"]
    assert (summed["min"], summed["max"]) == (0.01, 0.5)
    assert averaged["max"] == 10.0


def test_a_penalty_may_be_zero(load: Load) -> None:
    spec = preset(load(), 1).search_space["kl_penalty"]
    assert spec["zero"] == 0.35
    recipe = load(loss_fn__reference_policy_kl_penalty=0)
    assert preset(recipe, 1).search_space["kl_penalty"]["default"] == 0.0


# --- batches and lengths ---------------------------------------------------------------------------------------------


def configurations(recipe: Recipe, budget: int) -> list[dict[str, Any]]:
    _, space = in_study(recipe, preset(recipe, budget))
    rng = np.random.default_rng(1)
    return [space.resolve(space.sample(rng)) for _ in range(100)]


def test_groups_share_out_the_same_rollouts(load: Load) -> None:
    recipe = load()
    drawn = configurations(recipe, 40)
    assert {each["num_generations"] for each in drawn} == {4, 8, 16, 32, 64}
    rollouts = recipe.get("grpo.num_prompts_per_step") * recipe.get("grpo.num_generations_per_prompt")
    assert {each["num_prompts"] * each["num_generations"] for each in drawn} == {rollouts}


@pytest.mark.parametrize(("name", "steps"), [("grpo_math_1B", "grpo.max_num_steps"), ("dpo", "dpo.max_num_steps")])
def test_every_trial_sees_as_many_samples(load: Load, name: str, steps: str) -> None:
    recipe = load(name)
    made = preset(recipe, 100)
    assert made.horizon is not None
    for each in configurations(recipe, 100):
        size = each["num_prompts"] * each["num_generations"] if name == "grpo_math_1B" else each["global_batch_size"]
        today = 512 if name == "grpo_math_1B" else recipe.get("policy.train_global_batch_size")
        assert made.horizon * today - size < each[steps] * size <= made.horizon * today


def test_a_batch_that_follows_the_rollouts_is_not_tuned(load: Load) -> None:
    made = preset(load(loss_fn__force_on_policy_ratio=True), 100)
    assert "global_batch_size" not in made.search_space
    assert "force_on_policy_ratio" in frozen(made)["global_batch_size"]


def test_a_run_of_epochs_keeps_its_length(load: Load) -> None:
    made = preset(load("rm", rm__max_num_steps=-1), 100)
    assert made.horizon is None
    assert made.derived == ()


# --- what is measured ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("grpo_math_1B", Objective("validation/accuracy", "maximize")),
        ("ppo_math_1B", Objective("validation/accuracy", "maximize")),
        ("distillation_math", Objective("validation/accuracy", "maximize")),
        ("sft", Objective("validation/val_loss", "minimize")),
        ("dpo", Objective("validation-default/accuracy", "maximize")),
        ("rm", Objective("validation-default/accuracy", "maximize")),
    ],
)
def test_the_objective_is_held_out(load: Load, name: str, objective: Objective) -> None:
    assert preset(load(name), 1).objective == objective


def test_the_objective_of_a_named_validation_set(load: Load) -> None:
    recipe = load("dpo", **{"++data.val_data_paths": {"helpful": "/data/val.jsonl"}})
    assert preset(recipe, 1).objective.metric == "validation-helpful/accuracy"


def test_more_answers_in_validation_are_proposed_where_chance_is_large(load: Load) -> None:
    noisy = load(**{"++grpo.val_num_generations_per_prompt": 1}, grpo__max_val_samples=256, grpo__val_batch_size=256)
    made = preset(noisy, 1)
    assert "0.031" in made.noise  # sqrt(0.25 / 256)
    assert [(each.value, each.on) for each in made.overrides if "val_num" in each.key] == [(8, False)]
    collapse = next(guard for guard in made.guards if guard.key == "collapse")
    assert collapse.value["standard_error"] == 0.031
    quiet = noisy.with_overrides({"grpo.val_num_generations_per_prompt": 8})
    assert not [each for each in preset(quiet, 1).overrides if "val_num" in each.key]


def test_the_split_of_the_data_stays_whatever_a_trials_seed(load: Load) -> None:
    recipe = load(**{"++data.train.seed": "${grpo.seed}"})
    fixed = {each.key: each.value for each in preset(recipe, 1).overrides if each.on}
    assert fixed["data.train.seed"] == recipe.get("grpo.seed")


def test_a_knob_that_nothing_reads_is_told_not_tuned(load: Load) -> None:
    made = preset(load(grpo__adv_estimator__name="reinforce_plus_plus"), 100)
    assert "normalize_rewards" not in made.search_space
    assert "REINFORCE++" in frozen(made)["normalize_rewards"]
