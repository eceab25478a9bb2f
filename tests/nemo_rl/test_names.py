"""Names that mean one thing: what they set with DTensor and Megatron, and what would do nothing is refused."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rltune.errors import InputError
from rltune.trainers.nemo_rl.names import NAMES, expand, problems, value_of
from rltune.trainers.nemo_rl.recipe import Recipe, load_recipe

CHECKOUT = os.environ.get("NEMO_RL_ROOT", "")
"""A checkout of NeMo RL, whose example recipes are read where it is given."""

MODEL: dict[str, Any] = {
    "train_global_batch_size": 512,
    "max_grad_norm": 1.0,
    "dtensor_cfg": {
        "enabled": True,
        "tensor_parallel_size": 1,
        "lora_cfg": {"enabled": False, "dim": 8, "alpha": 32, "dropout": 0.0},
    },
    "megatron_cfg": {
        "enabled": False,
        "tensor_model_parallel_size": 1,
        "moe_permute_fusion": True,
        "peft": {"enabled": False, "dim": 8, "alpha": 32, "dropout": 0.0},
        "optimizer": {
            "lr": 5e-6,
            "min_lr": 5e-7,
            "weight_decay": 0.01,
            "adam_beta1": 0.9,
            "adam_beta2": 0.999,
            "adam_eps": 1e-8,
            "clip_grad": "${policy.max_grad_norm}",
        },
        "scheduler": {
            "start_weight_decay": "${policy.megatron_cfg.optimizer.weight_decay}",
            "end_weight_decay": "${policy.megatron_cfg.optimizer.weight_decay}",
            "lr_warmup_iters": 13,
            "lr_warmup_init": 5e-7,
        },
    },
    "make_sequence_length_divisible_by": "${policy.dtensor_cfg.tensor_parallel_size}",
    "optimizer": {
        "name": "torch.optim.AdamW",
        "kwargs": {"lr": 5e-6, "weight_decay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8},
    },
    "scheduler": [
        {"name": "torch.optim.lr_scheduler.LinearLR", "kwargs": {"start_factor": 0.1, "total_iters": 50}},
        {"name": "torch.optim.lr_scheduler.ConstantLR", "kwargs": {"factor": 1.0}},
        {"milestones": [50]},
    ],
}

GRPO: dict[str, Any] = {
    "grpo": {
        "num_prompts_per_step": 32,
        "num_generations_per_prompt": 16,
        "max_num_epochs": 1,
        "seed": 42,
        "normalize_rewards": True,
        "use_leave_one_out_baseline": True,
        "adv_estimator": {
            "name": "grpo",
            "normalize_rewards": "${grpo.normalize_rewards}",
            "use_leave_one_out_baseline": "${grpo.use_leave_one_out_baseline}",
        },
        "reward_shaping": {"enabled": False, "overlong_buffer_length": 128},
    },
    "loss_fn": {
        "reference_policy_kl_penalty": 0.01,
        "ratio_clip_min": 0.2,
        "ratio_clip_max": 0.28,
        "ratio_clip_c": None,
    },
    "checkpointing": {"enabled": False, "save_period": 10},
    "policy": {**MODEL, "generation": {"temperature": 1.0, "top_p": 1.0, "val_temperature": "${.temperature}"}},
    "data": {"train": {"seed": "${grpo.seed}", "split_validation_size": 0.05}},
}
PPO: dict[str, Any] = {
    "ppo": {
        "seed": 1,
        "max_num_epochs": 1,
        "ppo_epochs": 4,
        "policy_training_start_step": 0,
        "skip_reference_policy_logprobs_calculation": True,
        "adv_estimator": {"name": "gae", "gae_lambda": 0.95},
    },
    "loss_fn": {**GRPO["loss_fn"], "reference_policy_kl_penalty": 0.0},
    "value_loss_fn": {"cliprange": 0.2},
    "policy": {
        **MODEL,
        "scheduler": [
            {"name": "torch.optim.lr_scheduler.ConstantLR", "kwargs": {"total_iters": 9}},
            {"milestones": []},
        ],
    },
    "value": {**MODEL, "optimizer": {"name": "torch.optim.AdamW", "kwargs": {"lr": 5e-5, "weight_decay": 0.01}}},
}
DPO: dict[str, Any] = {
    "dpo": {"seed": 1, "max_num_epochs": 1, "reference_policy_kl_penalty": 0.05},
    "policy": MODEL,
}
SFT: dict[str, Any] = {
    "sft": {"seed": 1, "max_num_epochs": 1},
    "policy": {key: value for key, value in MODEL.items() if key != "scheduler"},
}
RM: dict[str, Any] = {"rm": SFT["sft"], "policy": SFT["policy"]}
DISTILLATION: dict[str, Any] = {
    "distillation": {"seed": 1, "num_prompts_per_step": 128, "num_generations_per_prompt": 1},
    "policy": MODEL,
    "teacher": MODEL,
}
KINDS = {"grpo": GRPO, "ppo": PPO, "dpo": DPO, "sft": SFT, "rm": RM, "distillation": DISTILLATION}

MEGATRON = {"policy.dtensor_cfg.enabled": False, "policy.megatron_cfg.enabled": True}
"""Turns a recipe's policy over to Megatron; whatever was set for DTensor stays behind."""

Make = Callable[..., Recipe]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder = tmp_path_factory.mktemp("recipes")

    def recipe(kind: str = "grpo", overrides: dict[str, Any] | None = None, /, **sections: Any) -> Recipe:
        path = folder / f"{kind}.yaml"
        path.write_text(json.dumps(copy.deepcopy(KINDS[kind]) | sections))
        return load_recipe(path, overrides=overrides or {})

    return recipe


def said(recipe: Recipe, *names: str) -> list[str]:
    return [str(problem) for problem in problems(recipe, names)]


# -- what a name sets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "dtensor", "megatron"),
    [
        ("adam_beta1", 0.8, "policy.optimizer.kwargs.betas.0", "policy.megatron_cfg.optimizer.adam_beta1"),
        ("adam_beta2", 0.95, "policy.optimizer.kwargs.betas.1", "policy.megatron_cfg.optimizer.adam_beta2"),
        ("adam_eps", 1e-6, "policy.optimizer.kwargs.eps", "policy.megatron_cfg.optimizer.adam_eps"),
        ("max_grad_norm", 0.5, "policy.max_grad_norm", "policy.max_grad_norm"),
        ("global_batch_size", 64, "policy.train_global_batch_size", "policy.train_global_batch_size"),
        ("num_prompts", 8, "grpo.num_prompts_per_step", "grpo.num_prompts_per_step"),
        ("num_generations", 8, "grpo.num_generations_per_prompt", "grpo.num_generations_per_prompt"),
        ("num_epochs", 2, "grpo.max_num_epochs", "grpo.max_num_epochs"),
        ("temperature", 0.9, "policy.generation.temperature", "policy.generation.temperature"),
        ("kl_penalty", 0.0, "loss_fn.reference_policy_kl_penalty", "loss_fn.reference_policy_kl_penalty"),
        ("clip_min", 0.1, "loss_fn.ratio_clip_min", "loss_fn.ratio_clip_min"),
        ("clip_max", 0.3, "loss_fn.ratio_clip_max", "loss_fn.ratio_clip_max"),
        ("clip_c", 3.0, "loss_fn.ratio_clip_c", "loss_fn.ratio_clip_c"),
        ("normalize_rewards", False, "grpo.normalize_rewards", "grpo.normalize_rewards"),
        ("leave_one_out", False, "grpo.use_leave_one_out_baseline", "grpo.use_leave_one_out_baseline"),
    ],
)
def test_one_key_for_a_name(make: Make, name: str, value: Any, dtensor: str, megatron: str) -> None:
    assert expand(make(), {name: value}) == {dtensor: value}
    assert expand(make("grpo", MEGATRON), {name: value}) == {megatron: value}


def test_the_learning_rate_of_megatron_moves_what_must_not_lie_above_it(make: Make) -> None:
    assert expand(make(), {"learning_rate": 1e-6}) == {"policy.optimizer.kwargs.lr": 1e-6}
    assert expand(make("grpo", MEGATRON), {"learning_rate": 1e-6}) == {
        "policy.megatron_cfg.optimizer.lr": 1e-6,
        "policy.megatron_cfg.optimizer.min_lr": 1e-7,
        "policy.megatron_cfg.scheduler.lr_warmup_init": 1e-7,
    }


@pytest.mark.parametrize("reference", ["${policy.megatron_cfg.optimizer.lr}", "${.lr}", "${mul:0.1,${.lr}}"])
def test_what_follows_the_learning_rate_by_itself_is_left_to(make: Make, reference: str) -> None:
    recipe = make("grpo", MEGATRON | {"policy.megatron_cfg.optimizer.min_lr": reference})
    assert list(expand(recipe, {"learning_rate": 1e-6})) == [
        "policy.megatron_cfg.optimizer.lr",
        "policy.megatron_cfg.scheduler.lr_warmup_init",
    ]


@given(
    lr=st.floats(1e-9, 1.0),
    today=st.floats(1e-9, 1.0),
    ratios=st.tuples(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.1, 0.99998, 1.0])),
)
@settings(deadline=None, max_examples=50)
def test_megatron_never_gets_a_rate_below_its_own_minimum(
    lr: float, today: float, ratios: tuple[float, float], make: Make
) -> None:
    optimizer, scheduler = "policy.megatron_cfg.optimizer", "policy.megatron_cfg.scheduler"
    rates = {f"{optimizer}.lr": today, f"{optimizer}.min_lr": today * ratios[0]}
    recipe = make("grpo", MEGATRON | rates | {f"{scheduler}.lr_warmup_init": today * ratios[1]})
    trial = recipe.with_overrides(expand(recipe, {"learning_rate": lr}))
    assert trial.get(f"{optimizer}.lr") == lr
    assert 0 <= trial.get(f"{optimizer}.min_lr") <= lr
    assert trial.get(f"{optimizer}.min_lr") == pytest.approx(lr * ratios[0])
    assert trial.get(f"{scheduler}.lr_warmup_init") == pytest.approx(lr * ratios[1])


def test_weight_decay_of_megatron_reaches_its_scheduler(make: Make) -> None:
    optimizer, scheduler = "policy.megatron_cfg.optimizer", "policy.megatron_cfg.scheduler"
    followed = make("grpo", MEGATRON)
    assert expand(followed, {"weight_decay": 0.1}) == {f"{optimizer}.weight_decay": 0.1}
    both = {f"{scheduler}.start_weight_decay": 0.01, f"{scheduler}.end_weight_decay": 0.02}
    trial = make("grpo", MEGATRON | both)
    assert expand(trial, {"weight_decay": 0.1}) == {
        f"{optimizer}.weight_decay": 0.1,
        f"{scheduler}.start_weight_decay": 0.1,
        f"{scheduler}.end_weight_decay": 0.2,
    }
    assert set(expand(trial, {"weight_decay": 0.0}).values()) == {0.0}
    unset = make("grpo", MEGATRON | both | {f"{optimizer}.weight_decay": 0.0})
    assert set(expand(unset, {"weight_decay": 0.1}).values()) == {0.1}


@pytest.mark.parametrize("steps", [0, 7])
def test_warm_up_has_two_places_with_dtensor_and_one_with_megatron(make: Make, steps: int) -> None:
    assert expand(make(), {"warmup_steps": steps}) == {
        "policy.scheduler.0.kwargs.total_iters": steps,
        "policy.scheduler.2.milestones": [steps],
    }
    assert expand(make("grpo", MEGATRON), {"warmup_steps": steps}) == {
        "policy.megatron_cfg.scheduler.lr_warmup_iters": steps
    }


def test_warm_up_leaves_later_milestones(make: Make) -> None:
    recipe = make("grpo", {"policy.scheduler.2.milestones": [50, 900]})
    assert expand(recipe, {"warmup_steps": 10})["policy.scheduler.2.milestones"] == [10, 900]


@pytest.mark.parametrize("kind", ["sft", "rm", "ppo"])
def test_without_a_warm_up_in_the_recipe_the_name_has_no_place(make: Make, kind: str) -> None:
    recipe = make(kind)
    (problem,) = problems(recipe, ["warmup_steps"])
    assert problem.key == ("warmup_steps",)
    assert "warms nothing up" in problem.message
    assert "LinearLR" in problem.hint
    with pytest.raises(InputError, match="warms nothing up"):
        expand(recipe, {"warmup_steps": 5})
    with pytest.raises(InputError, match="warms nothing up"):
        value_of(recipe, "warmup_steps")


def test_a_clip_of_megatrons_own_is_set_where_it_is(make: Make) -> None:
    recipe = make("grpo", MEGATRON | {"policy.megatron_cfg.optimizer.clip_grad": 1.0})
    assert expand(recipe, {"max_grad_norm": 0.3}) == {"policy.megatron_cfg.optimizer.clip_grad": 0.3}


def test_advantage_flags_that_have_lost_their_tie_are_set_twice(make: Make) -> None:
    recipe = make("grpo", {"grpo.adv_estimator.normalize_rewards": True})
    assert expand(recipe, {"normalize_rewards": False}) == {
        "grpo.adv_estimator.normalize_rewards": False,
        "grpo.normalize_rewards": False,
    }


def test_the_penalty_stands_elsewhere_for_dpo(make: Make) -> None:
    assert expand(make("dpo"), {"kl_penalty": 0.1}) == {"dpo.reference_policy_kl_penalty": 0.1}


def test_a_penalty_brings_back_the_reference_that_was_skipped(make: Make) -> None:
    key, skips = "loss_fn.reference_policy_kl_penalty", "ppo.skip_reference_policy_logprobs_calculation"
    assert expand(make("ppo"), {"kl_penalty": 0.01}) == {key: 0.01, skips: False}
    assert expand(make("ppo"), {"kl_penalty": 0.0}) == {key: 0.0, skips: True}
    assert expand(make("ppo", {skips: False}), {"kl_penalty": 0.01}) == {key: 0.01}


def test_clip_delta_is_on_top_of_the_trials_own_clip_min(make: Make) -> None:
    assert value_of(make(), "clip_delta") == 0.08
    assert expand(make(), {"clip_delta": 0.1}) == {"loss_fn.ratio_clip_max": 0.3}
    for clip_min in ("clip_min", "loss_fn.ratio_clip_min"):
        assert expand(make(), {"clip_delta": 0.1, clip_min: 0.15})["loss_fn.ratio_clip_max"] == 0.25


def test_the_critics_rate_alone_or_in_units_of_the_policys(make: Make) -> None:
    recipe = make("ppo")
    assert value_of(recipe, "critic_learning_rate") == 5e-5
    assert value_of(recipe, "critic_ratio") == 10
    assert expand(recipe, {"critic_learning_rate": 1e-5}) == {"value.optimizer.kwargs.lr": 1e-5}
    assert expand(recipe, {"critic_ratio": 2}) == {"value.optimizer.kwargs.lr": 1e-5}
    assert expand(recipe, {"critic_ratio": 20, "learning_rate": 1e-6}) == {
        "value.optimizer.kwargs.lr": 2e-5,
        "policy.optimizer.kwargs.lr": 1e-6,
    }


def test_the_critic_has_a_backend_of_its_own(make: Make) -> None:
    recipe = make("ppo", {"value.dtensor_cfg.enabled": False, "value.megatron_cfg.enabled": True})
    assert expand(recipe, {"learning_rate": 1e-6, "critic_ratio": 10}) == {
        "policy.optimizer.kwargs.lr": 1e-6,
        "value.megatron_cfg.optimizer.lr": 1e-5,
        "value.megatron_cfg.optimizer.min_lr": 1e-6,
        "value.megatron_cfg.scheduler.lr_warmup_init": 1e-6,
    }


def test_names_of_ppo(make: Make) -> None:
    params = {"ppo_epochs": 2, "critic_warmup_steps": 10, "gae_lambda": 0.9, "value_clip": 0.5}
    assert list(expand(make("ppo"), params).items()) == [
        ("ppo.ppo_epochs", 2),
        ("ppo.policy_training_start_step", 10),
        ("ppo.adv_estimator.gae_lambda", 0.9),
        ("value_loss_fn.cliprange", 0.5),
    ]


@pytest.mark.parametrize("kind", ["grpo", "sft", "dpo"])
@pytest.mark.parametrize(
    ("backend", "section"),
    [({}, "policy.dtensor_cfg.lora_cfg"), (MEGATRON, "policy.megatron_cfg.peft")],
    ids=["dtensor", "megatron"],
)
def test_the_rank_alone_changes_unless_alpha_is_tuned(
    make: Make, kind: str, backend: dict[str, Any], section: str
) -> None:
    recipe = make(kind, backend | {f"{section}.enabled": True})
    assert recipe.lora
    assert said(recipe, "lora_dim", "lora_alpha", "lora_dropout") == []
    assert expand(recipe, {"lora_dim": 16}) == {f"{section}.dim": 16, f"{section}.alpha": 64}
    assert type(expand(recipe, {"lora_dim": 16})[f"{section}.alpha"]) is int
    assert expand(recipe, {"lora_dim": 16, "lora_alpha": 8}) == {f"{section}.dim": 16, f"{section}.alpha": 8}
    assert expand(recipe, {"lora_dim": 16, f"{section}.alpha": 8}) == {f"{section}.dim": 16, f"{section}.alpha": 8}


def test_another_seed_leaves_the_validation_data_as_they_are(make: Make) -> None:
    trial = make().with_overrides(expand(make(), {"seed": 7}))
    assert trial.get("grpo.seed") == 7
    assert trial.get("data.train.seed") == 42
    assert expand(make("sft"), {"seed": 7}) == {"sft.seed": 7}


def test_keys_of_the_recipe_pass_as_they_are_and_in_order(make: Make) -> None:
    params = {"loss_fn.ratio_clip_max": 0.3, "temperature": 0.9, "++logger.wandb.group": "a"}
    assert list(expand(make(), params).items()) == [
        ("loss_fn.ratio_clip_max", 0.3),
        ("policy.generation.temperature", 0.9),
        ("++logger.wandb.group", "a"),
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", "1e-5", "must be a number, got the text '1e-5'"),
        ("learning_rate", True, "must be a number, got true"),
        ("learning_rate", None, "must be a number, got null"),
        ("normalize_rewards", 0.5, "must be true or false, got 0.5"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_before_a_gpu_finds_it(
    make: Make, name: str, value: Any, message: str
) -> None:
    with pytest.raises(InputError) as error:
        expand(make("grpo", MEGATRON), {name: value})
    assert str(error.value) == f"{name}: {message}"


def test_null_switches_off_what_stands_alone(make: Make) -> None:
    assert expand(make("grpo", {"loss_fn.ratio_clip_c": 10}), {"clip_c": None}) == {"loss_fn.ratio_clip_c": None}


# -- what the recipe has today -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [{}, MEGATRON], ids=["dtensor", "megatron"])
@pytest.mark.parametrize("kind", KINDS)
def test_setting_what_the_recipe_has_changes_nothing(make: Make, kind: str, backend: dict[str, Any]) -> None:
    recipe = make(kind, backend)
    names = [name for name in NAMES if not problems(recipe, [name])]
    assert {"learning_rate", "weight_decay", "max_grad_norm", "adam_beta2", "seed"} <= set(names)
    for name in names:
        assert recipe.with_overrides(expand(recipe, {name: value_of(recipe, name)})).values == recipe.values


def test_the_value_of_a_key_is_its_value(make: Make) -> None:
    assert value_of(make(), "policy.scheduler.2.milestones") == [50]
    assert value_of(make(), "policy.generation.val_temperature") == 1.0
    with pytest.raises(InputError, match=r"did you mean `policy\.generation\.temperature`"):
        value_of(make(), "policy.generation.temprature")


def test_every_name_says_what_it_means() -> None:
    assert all(name == each.text and each.meaning for name, each in NAMES.items())


# -- what would do nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lr", "lr: is no name that rltune knows, and no key of the recipe (did you mean `learning_rate`?)"),
        (
            "kl_penalti",
            "kl_penalti: is no name that rltune knows, and no key of the recipe (did you mean `kl_penalty`?)",
        ),
        (
            "grpo.temperature",
            "grpo.temperature: the recipe has no such key (did you mean `policy.generation.temperature`?)",
        ),
        (
            "grpo.num_prompts",
            "grpo.num_prompts: the recipe has no such key (did you mean `grpo.num_prompts_per_step`?)",
        ),
        (
            "value.optimizer.kwargs.lr",
            "value.optimizer.kwargs.lr: the recipe has no such key (did you mean `policy.opt",
        ),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(make: Make, name: str, expected: str) -> None:
    (message,) = said(make(), name)
    assert message.startswith(expected)


def test_a_name_like_no_other_is_told_with_all_names(make: Make) -> None:
    (message,) = said(make(), "xyz")
    assert all(f"`{name}`" in message for name in NAMES)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("sft", ["kl_penalty", "clip_max", "temperature", "num_generations", "critic_ratio", "clip_delta"]),
        ("rm", ["kl_penalty", "ppo_epochs", "leave_one_out"]),
        ("dpo", ["clip_min", "gae_lambda", "value_clip"]),
        ("grpo", ["critic_learning_rate", "ppo_epochs", "critic_warmup_steps"]),
        ("distillation", ["kl_penalty", "normalize_rewards"]),
    ],
)
def test_a_name_that_has_no_place_says_which_key_is_not_there(make: Make, kind: str, names: list[str]) -> None:
    for name, problem in zip(names, problems(make(kind), names), strict=True):
        assert problem.key == (name,)
        assert f"has no place in this recipe for `{kind}`: there is no `" in problem.message


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("policy.optimizer.kwargs.lr", "tune `learning_rate`, which sets `policy.megatron_cfg.optimizer.lr` here"),
        ("policy.optimizer.kwargs.weight_decay", "tune `weight_decay`"),
        ("policy.optimizer.kwargs.betas.1", "tune `adam_beta2`"),
        ("policy.scheduler.0.kwargs.total_iters", "tune `warmup_steps`"),
        ("policy.scheduler.2.milestones", ""),
        ("policy.dtensor_cfg.lora_cfg.alpha", ""),
    ],
)
def test_with_megatron_what_dtensor_reads_does_nothing(make: Make, key: str, instead: str) -> None:
    (problem,) = problems(make("grpo", MEGATRON), [key])
    assert "does nothing" in problem.message
    assert problem.hint.startswith(instead)


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("policy.megatron_cfg.optimizer.lr", "tune `learning_rate`, which sets `policy.optimizer.kwargs.lr` here"),
        ("policy.megatron_cfg.scheduler.lr_warmup_iters", "tune `warmup_steps`"),
        ("policy.megatron_cfg.tensor_model_parallel_size", "tune `policy.dtensor_cfg.tensor_parallel_size`"),
        ("policy.megatron_cfg.moe_permute_fusion", ""),
        ("policy.megatron_cfg.peft.dim", ""),
    ],
)
def test_with_dtensor_what_megatron_reads_does_nothing(make: Make, key: str, instead: str) -> None:
    (problem,) = problems(make(), [key])
    assert problem.message == "does nothing: `policy.megatron_cfg.enabled` is false"
    assert problem.hint.startswith(instead)


def test_where_the_optimizer_of_dtensor_is_gone_the_live_key_is_named(make: Make) -> None:
    recipe = make("grpo", MEGATRON | {"policy.optimizer": None})
    (message,) = said(recipe, "policy.optimizer.kwargs.lr")
    assert message.endswith("(tune `learning_rate`, which sets `policy.megatron_cfg.optimizer.lr` here)")


def test_a_key_of_the_other_backend_counts_where_something_follows_it(make: Make) -> None:
    recipe = make("grpo", MEGATRON)
    assert said(recipe, "policy.dtensor_cfg.tensor_parallel_size") == []  # a sequence length follows it
    assert said(recipe, "policy.max_grad_norm") == []  # Megatron's own follows it
    apart = make("grpo", MEGATRON | {"policy.megatron_cfg.optimizer.clip_grad": 1.0})
    (message,) = said(apart, "policy.max_grad_norm")
    assert message.endswith("(tune `max_grad_norm`, which sets `policy.megatron_cfg.optimizer.clip_grad` here)")


def test_keys_of_a_section_that_is_off_do_nothing_unless_its_switch_is_tuned(make: Make) -> None:
    switch, key = "grpo.reward_shaping.enabled", "grpo.reward_shaping.overlong_buffer_length"
    assert said(make(), key) == [
        f"{key}: does nothing: `{switch}` is false (set `{switch}: true` in the trainer's overrides)"
    ]
    assert said(make(), key, switch) == []
    assert said(make("grpo", {switch: True}), key) == []
    assert said(make(), "checkpointing.save_period") == []


@pytest.mark.parametrize("backend", [{}, MEGATRON], ids=["dtensor", "megatron"])
def test_names_of_lora_do_nothing_where_it_is_off(make: Make, backend: dict[str, Any]) -> None:
    recipe = make("sft", backend)
    for message in said(recipe, "lora_dim", "lora_alpha"):
        assert "does nothing" in message
        assert "enabled: true` in the trainer's overrides" in message


def test_a_copy_that_does_not_reach_the_advantages_is_told(make: Make) -> None:
    assert said(make(), "grpo.normalize_rewards") == []
    (message,) = said(make("grpo", {"grpo.adv_estimator.normalize_rewards": True}), "grpo.normalize_rewards")
    assert "are computed with `grpo.adv_estimator.normalize_rewards` (tune `normalize_rewards`)" in message


def test_another_estimator_reads_no_flags(make: Make) -> None:
    recipe = make("grpo", {"grpo.adv_estimator.name": "reinforce_plus_plus"})
    for message in said(recipe, "normalize_rewards", "leave_one_out", "grpo.adv_estimator.normalize_rewards"):
        assert "does nothing: REINFORCE++" in message


def test_the_teacher_is_not_trained(make: Make) -> None:
    (message,) = said(make("distillation"), "teacher.optimizer.kwargs.lr")
    assert "the teacher is not trained" in message


def test_every_problem_is_told(make: Make) -> None:
    names = ["lr", "temperature", "policy.megatron_cfg.optimizer.lr", "ppo_epochs"]
    assert [problem.key for problem in problems(make(), names)] == [(name,) for name in names if name != "temperature"]


# -- two for one key ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("clip_max", "clip_delta", "sets `loss_fn.ratio_clip_max`, which `clip_max` sets too"),
        (
            "learning_rate",
            "policy.optimizer.kwargs.lr",
            "sets `policy.optimizer.kwargs.lr`, which `learning_rate` sets too",
        ),
        ("policy.scheduler", "warmup_steps", "sets `policy.scheduler.0.kwargs.total_iters`, which `policy.scheduler`"),
        ("grpo.seed", "seed", "sets `grpo.seed`, which is set as well"),
        ("++grpo.seed", "grpo.seed", "sets `grpo.seed`, which `++grpo.seed` sets too"),
    ],
)
def test_two_that_set_the_same_are_told_once(make: Make, first: str, second: str, message: str) -> None:
    (problem,) = problems(make(), [first, second])
    assert problem.key == (second,)
    assert problem.message.startswith(message)


def test_what_moves_along_counts_as_set(make: Make) -> None:
    (problem,) = problems(make("grpo", MEGATRON), ["learning_rate", "policy.megatron_cfg.optimizer.min_lr"])
    assert "which `learning_rate` sets too" in problem.message


@pytest.mark.parametrize("pair", [("clip_min", "clip_delta"), ("learning_rate", "critic_ratio")])
def test_names_that_build_on_each_other_go_together(make: Make, pair: tuple[str, str]) -> None:
    assert said(make("ppo"), *pair) == []


# -- NeMo RL's own recipes ---------------------------------------------------------------------------------------------

DEFAULTS: dict[str, dict[str, Any]] = {
    "grpo_math_1B.yaml": {
        "learning_rate": 5e-6,
        "weight_decay": 0.01,
        "warmup_steps": 50,
        "num_prompts": 32,
        "num_generations": 16,
        "global_batch_size": 512,
        "kl_penalty": 0.01,
        "clip_delta": 0.0,
        "temperature": 1.0,
        "adam_beta2": 0.999,
    },
    "grpo_math_1B_megatron.yaml": {
        "learning_rate": 5e-6,
        "weight_decay": 0.01,
        "warmup_steps": 13,
        "adam_beta2": 0.999,
    },
    "grpo_math_8B.yaml": {"learning_rate": 3e-7, "warmup_steps": 13, "num_prompts": 64, "num_generations": 32},
    "prorlv2.v2.yaml": {"learning_rate": 5e-6, "kl_penalty": 1e-4, "clip_max": 0.27},
    "ppo_math_1B.yaml": {"learning_rate": 1e-6, "critic_learning_rate": 1e-5, "critic_ratio": 10.0, "ppo_epochs": 4},
    "dpo.yaml": {
        "learning_rate": 5e-6,
        "weight_decay": 0.1,
        "warmup_steps": 20,
        "kl_penalty": 0.05,
        "adam_beta2": 0.98,
    },
    "sft.yaml": {"learning_rate": 5e-6, "weight_decay": 0.1, "global_batch_size": 32, "num_epochs": 1},
    "rm.yaml": {"learning_rate": 2e-6, "weight_decay": 0.1, "global_batch_size": 128},
    "distillation_math.yaml": {"learning_rate": 2e-5, "warmup_steps": 10, "num_prompts": 128, "num_generations": 1},
    "recipes/llm/dapo-qwen2.5-7b.v2.yaml": {
        "learning_rate": 1e-6,
        "warmup_steps": 10,
        "clip_delta": 0.08,
        "clip_c": 10,
    },
    "recipes/llm/grpo-deepscaler-1.5b-8K.yaml": {"learning_rate": 2e-6, "kl_penalty": 0.0, "global_batch_size": 64},
    "recipes/llm/grpo-deepscaler-1.5b-16K.yaml": {"learning_rate": 2e-6, "kl_penalty": 0.001, "clip_delta": 0.08},
}

with_examples = pytest.mark.skipif(not CHECKOUT, reason="needs a checkout of NeMo RL, named by NEMO_RL_ROOT")


@with_examples
@pytest.mark.parametrize("name", DEFAULTS)
def test_names_in_the_recipes_of_nemo_rl(name: str) -> None:
    recipe = load_recipe(Path(CHECKOUT, "examples", "configs", name))
    assert {each: value_of(recipe, each) for each in DEFAULTS[name]} == DEFAULTS[name]
    assert said(recipe, *(each for each in DEFAULTS[name] if each != "critic_ratio")) == []
    for each in (each for each in NAMES if not problems(recipe, [each])):
        assert recipe.with_overrides(expand(recipe, {each: value_of(recipe, each)})).values == recipe.values


@with_examples
def test_the_dead_optimizer_of_a_megatron_recipe_is_found() -> None:
    recipe = load_recipe(
        Path(CHECKOUT, "examples", "configs", "recipes/llm/dapo-qwen2.5-7b.v2.yaml"), overrides=MEGATRON
    )
    (message,) = said(recipe, "policy.optimizer.kwargs.lr")
    assert message.endswith("(tune `learning_rate`, which sets `policy.megatron_cfg.optimizer.lr` here)")
