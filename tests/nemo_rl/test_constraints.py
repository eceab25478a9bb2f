"""What NeMo RL would refuse: found in one recipe, and kept out of a search space. Two writings are held together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from independent_rules import broken

from rltune.space import SearchSpace
from rltune.trainers.nemo_rl.constraints import SpaceRules, Violation, space_rules, violations
from rltune.trainers.nemo_rl.names import expand, problems, value_of
from rltune.trainers.nemo_rl.recipe import Recipe, load_recipe

CHECKOUT = Path(os.environ.get("NEMO_RL_ROOT", "/nowhere")) / "examples/configs"
OWN = [
    path
    for name in ("grpo_math_1B", "grpo_math_1B_megatron", "grpo_math_8B", "prorlv2.v2", "ppo_math_1B", "dpo", "sft",
                 "rm", "distillation_math", "recipes/llm/dapo-qwen2.5-7b.v2", "recipes/llm/grpo-deepscaler-1.5b-8K",
                 "recipes/llm/grpo-deepscaler-1.5b-16K")
    if (path := CHECKOUT / f"{name}.yaml").is_file()
]  # fmt: skip

# -- small recipes -----------------------------------------------------------------------------------------------------


def model(megatron: bool) -> dict[str, Any]:
    """A policy or a critic on 8 GPUs or more."""
    return {
        "model_name": "tiny",
        "train_global_batch_size": 64,
        "train_micro_batch_size": 2,
        "max_total_sequence_length": 512,
        "dtensor_cfg": {
            "_v2": True,
            "enabled": not megatron,
            "sequence_parallel": False,
            "tensor_parallel_size": 1,
            "context_parallel_size": 1,
            "dp_replicate_size": 1,
            "lora_cfg": {"enabled": False, "dim": 8, "alpha": 32, "use_triton": True},
        },
        "megatron_cfg": {
            "enabled": megatron,
            "tensor_model_parallel_size": 1,
            "context_parallel_size": 1,
            "pipeline_model_parallel_size": 1,
            "defer_fp32_logits": False,
            "checkpoint": {"ckpt_assume_constant_structure": False},
            "optimizer": {"lr": 5e-6, "min_lr": 5e-7, "weight_decay": 0.01},
            "scheduler": {
                "start_weight_decay": 0.01,
                "end_weight_decay": 0.01,
                "lr_decay_iters": 100,
                "lr_warmup_iters": 10,
                "lr_warmup_init": 5e-7,
            },
        },
        "dynamic_batching": {"enabled": False},
        "sequence_packing": {"enabled": False},
        "optimizer": {"name": "torch.optim.AdamW", "kwargs": {"lr": 5e-6, "weight_decay": 0.01}},
        "scheduler": [
            {"name": "torch.optim.lr_scheduler.LinearLR", "kwargs": {"start_factor": 0.1, "total_iters": 50}},
            {"name": "torch.optim.lr_scheduler.ConstantLR", "kwargs": {"factor": 1.0}},
            {"milestones": [50]},
        ],
    }


GENERATES = {
    "logprob_batch_size": "${policy.train_micro_batch_size}",
    "logprob_chunk_size": None,
    "generation": {
        "backend": "vllm",
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": None,
        "val_temperature": "${.temperature}",
        "val_top_p": "${.top_p}",
        "val_top_k": "${.top_k}",
        "vllm_cfg": {
            "async_engine": False,
            "tensor_parallel_size": 1,
            "pipeline_parallel_size": 1,
            "expert_parallel_size": 1,
        },
        "colocated": {"enabled": True, "resources": {"gpus_per_node": None, "num_nodes": None}},
    },
}
TOKENS = {
    "train_mb_tokens": "${mul:${policy.max_total_sequence_length}, ${policy.train_micro_batch_size}}",
    "logprob_mb_tokens": "${mul:${policy.max_total_sequence_length}, ${policy.logprob_batch_size}}",
}
ROLLOUTS = {
    "num_prompts_per_step": 16,
    "num_generations_per_prompt": 8,
    "max_num_steps": 1000,
    "val_period": 10,
    "val_at_start": False,
    "val_at_end": False,
    "max_val_samples": 256,
    "val_batch_size": 64,
    "val_num_generations_per_prompt": 1,
    "stop_at_validation_metric": None,
    "stop_at_validation_threshold": None,
    "use_dynamic_sampling": False,
    "dynamic_sampling_max_gen_batches": 10,
    "batch_multiplier": 1,
    "skip_reference_policy_logprobs_calculation": False,
    "seq_logprob_error_threshold": None,
    "reward_scaling": {"enabled": False},
    "reward_shaping": {
        "enabled": False,
        "overlong_buffer_length": 128,
        "overlong_buffer_penalty": 1.0,
        "max_response_length": 512,
        "stop_properly_penalty_coef": None,
    },
}
LOSS = {
    "reference_policy_kl_penalty": 0.01,
    "ratio_clip_min": 0.2,
    "ratio_clip_max": 0.2,
    "ratio_clip_c": None,
    "use_importance_sampling_correction": False,
    "truncated_importance_sampling_type": None,
    "truncated_importance_sampling_ratio": None,
    "truncated_importance_sampling_ratio_min": None,
    "sequence_level_importance_ratios": False,
    "token_level_loss": True,
    "force_on_policy_ratio": False,
    "use_kl_in_reward": False,
    "use_cispo": False,
    "disable_ppo_ratio": False,
}
METRICS = {"sft": "val:val_loss", "dpo": "val:validation-default_loss", "rm": "val:validation-default_loss"}


def small(kind: str) -> dict[str, Any]:
    """A whole recipe by its kind: the algorithm, then `-megatron` where that is the backend."""
    algorithm, _, backend = kind.partition("-")
    policy = model(backend == "megatron")
    config: dict[str, Any] = {
        algorithm: {"max_num_steps": 1000, "val_period": 10, "seed": 1},
        "policy": policy,
        "checkpointing": {
            "enabled": True,
            "metric_name": METRICS.get(algorithm, "val:accuracy"),
            "model_save_format": "safetensors",
            "save_optimizer": True,
        },
        "data": {"use_multiple_dataloader": False, "num_prompts_per_dataloader": 8},
        "env": {"should_use_nemo_gym": False},
        "cluster": {"num_nodes": 1, "gpus_per_node": 8},
    }
    if algorithm in ("grpo", "ppo", "distillation"):
        policy |= GENERATES
        policy["dynamic_batching"] = {"enabled": False, **TOKENS}
        policy["sequence_packing"] = {"enabled": False, **TOKENS}
    if algorithm in ("grpo", "ppo"):
        config |= {algorithm: ROLLOUTS | {f"async_{algorithm}": {"enabled": False}, "seed": 1}, "loss_fn": dict(LOSS)}
    if algorithm == "ppo":
        config["ppo"] |= {"ppo_epochs": 4, "policy_training_start_step": 0}
        config["value"] = model(backend == "megatron")
    if algorithm == "dpo":
        config["dpo"] |= {"reference_policy_kl_penalty": 0.05}
    if algorithm == "rm":
        policy["reward_model_cfg"] = {"enabled": True}
    if algorithm == "distillation":
        prompts = {"num_prompts_per_step": 64, "num_generations_per_prompt": 2, "topk_logits_k": 64}
        config["distillation"] |= prompts | {"max_val_samples": 512, "val_batch_size": 64}
        config["teacher"] = model(megatron=False) | {"logprob_batch_size": 2}
    return config


KINDS = (
    "grpo",
    "grpo-megatron",
    "ppo",
    "ppo-megatron",
    "distillation",
    "dpo",
    "dpo-megatron",
    "sft",
    "sft-megatron",
    "rm",
)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    pytest.importorskip("omegaconf")
    folder = tmp_path_factory.mktemp("recipes")
    for kind in KINDS:
        (folder / f"{kind}.yaml").write_text(yaml.safe_dump(small(kind)), encoding="utf-8")
    return {kind: load_recipe(folder / f"{kind}.yaml") for kind in KINDS}


def numbers(recipe: Recipe) -> set[int]:
    return {each.rule for each in violations(recipe)}


# -- one recipe --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_recipe_breaks_nothing(recipes: dict[str, Recipe], kind: str) -> None:
    assert violations(recipes[kind]) == []
    assert broken(recipes[kind].values) == set()


LOSS_KEY = "loss_fn."
TRUNCATED = "loss_fn.truncated_importance_sampling_"
CORRECTED = {"loss_fn.use_importance_sampling_correction": True}
SHAPED = {"grpo.reward_shaping.enabled": True}
CISPO = {"loss_fn.use_cispo": True}
APART = {"policy.generation.colocated.enabled": False}
GPUS_APART = "policy.generation.colocated.resources.gpus_per_node"
NODES_APART = "policy.generation.colocated.resources.num_nodes"
BREAKS: list[tuple[int, str, dict[str, Any]]] = [
    (1, "grpo", {"grpo.num_prompts_per_step": 12}),
    (1, "distillation", {"distillation.num_prompts_per_step": 48}),
    (2, "grpo", {"policy.train_global_batch_size": 4, "policy.sequence_packing.enabled": True}),
    (2, "sft", {"cluster.gpus_per_node": 6, "policy.sequence_packing.enabled": True}),
    (3, "distillation", {"distillation.num_prompts_per_step": 32, "cluster.num_nodes": 16,
                         "policy.dtensor_cfg.tensor_parallel_size": 2}),
    (4, "grpo", {"policy.train_micro_batch_size": 3}),
    (4, "rm", {"policy.train_micro_batch_size": 16}),
    (5, "grpo", {"policy.sequence_packing.enabled": True, "policy.sequence_packing.train_mb_tokens": 511}),
    (5, "grpo", {"policy.dynamic_batching.enabled": True, "policy.dynamic_batching.logprob_mb_tokens": 511}),
    (6, "grpo", {"policy.sequence_packing.enabled": True, "policy.dynamic_batching.enabled": True}),
    (6, "sft-megatron", {"policy.dynamic_batching.enabled": True,
                         "policy.megatron_cfg.pipeline_model_parallel_size": 2}),
    (7, "sft", {"policy.dtensor_cfg.tensor_parallel_size": 16}),
    (7, "grpo", {"policy.dtensor_cfg.tensor_parallel_size": 3}),
    (8, "grpo", {"policy.dtensor_cfg.tensor_parallel_size": 4, "policy.logprob_batch_size": 4}),
    (9, "grpo", {"policy.generation.vllm_cfg.tensor_parallel_size": 3}),
    (9, "grpo", {"policy.generation.vllm_cfg.pipeline_parallel_size": 2}),
    (9, "grpo", {"policy.generation.vllm_cfg.expert_parallel_size": 3,
                 "policy.generation.vllm_cfg.tensor_parallel_size": 2}),
    (9, "grpo", {"policy.generation.top_p": 0.0}),
    (9, "grpo", {"policy.generation.top_k": 0}),
    (10, "sft", {"policy.dtensor_cfg.enabled": False}),
    (10, "sft", {"policy.megatron_cfg.enabled": True}),
    (11, "grpo", {"loss_fn.force_on_policy_ratio": True}),
    (12, "ppo", {"ppo.batch_multiplier": 2}),
    (13, "grpo", {"grpo.skip_reference_policy_logprobs_calculation": True}),
    (15, "grpo", {"loss_fn.use_kl_in_reward": True, "loss_fn.force_on_policy_ratio": True,
                  "policy.train_global_batch_size": 128}),
    (16, "grpo", {"loss_fn.ratio_clip_c": 1.0}),
    (17, "grpo", {"loss_fn.sequence_level_importance_ratios": True}),
    (18, "grpo", CISPO | {"loss_fn.disable_ppo_ratio": True}),
    (18, "grpo", CISPO | {"loss_fn.ratio_clip_c": 3.0}),
    (18, "grpo", CISPO | {"loss_fn.token_level_loss": False}),
    (19, "grpo", {f"{TRUNCATED}type": "tis", f"{TRUNCATED}ratio": 2.0}),
    (19, "grpo", CORRECTED | {f"{TRUNCATED}type": "other", f"{TRUNCATED}ratio": 2.0, f"{TRUNCATED}ratio_min": 0.5}),
    (19, "grpo", CORRECTED | {f"{TRUNCATED}type": "tis"}),
    (19, "grpo", CORRECTED | {f"{TRUNCATED}type": "tis", f"{TRUNCATED}ratio": 2.0, f"{TRUNCATED}ratio_min": 3.0}),
    (19, "grpo", CORRECTED | {f"{TRUNCATED}type": "icepop", f"{TRUNCATED}ratio": 2.0}),
    (20, "grpo", {"grpo.async_grpo.enabled": True} | CORRECTED),
    (20, "grpo", {"grpo.async_grpo.enabled": True, "policy.generation.vllm_cfg.async_engine": True}),
    (21, "grpo", {"policy.generation.val_temperature": 0.7}),
    (22, "grpo", {"grpo.max_val_samples": 32}),
    (23, "grpo", {"grpo.stop_at_validation_metric": "accuracy"}),
    (23, "grpo", {"grpo.stop_at_validation_metric": "pass_k", "grpo.stop_at_validation_threshold": 0.9}),
    (25, "grpo", SHAPED | {"grpo.reward_shaping.overlong_buffer_penalty": -1.0}),
    (25, "grpo", SHAPED | {"grpo.reward_shaping.stop_properly_penalty_coef": 1.5}),
    (25, "grpo", SHAPED | {"grpo.reward_shaping.max_response_length": None}),
    (26, "sft", {"checkpointing.metric_name": "val_loss"}),
    (27, "dpo", {"policy.sequence_packing.enabled": True}),
    (27, "dpo", {"policy.train_micro_batch_size": 3}),
    (28, "rm", {"policy.reward_model_cfg.enabled": False}),
    (28, "rm", {"policy.dtensor_cfg.context_parallel_size": 2}),
    (29, "ppo", {"value.dynamic_batching.enabled": True}),
    (29, "ppo-megatron", {"policy.megatron_cfg.checkpoint.ckpt_assume_constant_structure": True,
                          "ppo.policy_training_start_step": 5}),
    (30, "ppo", {"value.train_global_batch_size": 48}),
    (30, "ppo", {"ppo.ppo_epochs": 0}),
    (31, "distillation", {"distillation.topk_logits_k": 0}),
    (31, "distillation", {"policy.dtensor_cfg.sequence_parallel": True, "policy.sequence_packing.enabled": True}),
    (32, "grpo", {"policy.dtensor_cfg.context_parallel_size": 2, "policy.sequence_packing.enabled": True}),
    (32, "sft-megatron", {"policy.megatron_cfg.context_parallel_size": 2}),
    (33, "grpo-megatron", {"policy.logprob_chunk_size": 1024}),
    (34, "grpo-megatron", {"policy.megatron_cfg.optimizer.lr": 1e-7}),
    (34, "grpo-megatron", {"policy.megatron_cfg.scheduler.lr_warmup_iters": 100}),
    (34, "sft-megatron", {"policy.megatron_cfg.scheduler.lr_decay_iters": None, "sft.max_num_steps": 10}),
    (35, "grpo", APART | {GPUS_APART: 8}),
    (35, "grpo", APART | {"cluster.num_nodes": 4, GPUS_APART: 4, NODES_APART: 2}),
    (36, "grpo", {"policy.dtensor_cfg._v2": False}),
    (36, "sft", {"policy.dtensor_cfg.lora_cfg.enabled": True, "policy.dtensor_cfg.tensor_parallel_size": 2}),
    (37, "sft", {"policy.dtensor_cfg.dp_replicate_size": 3}),
    (37, "grpo", {"data.use_multiple_dataloader": True, "data.num_prompts_per_dataloader": 6}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "kind", "overrides"), BREAKS, ids=[f"{n}-{kind}-{i}" for i, (n, kind, _) in enumerate(BREAKS)]
)
def test_each_rule_is_found(recipes: dict[str, Recipe], rule: int, kind: str, overrides: dict[str, Any]) -> None:
    """Both writings of the rules find it, and the message names what was set."""
    recipe = recipes[kind].with_overrides(overrides)
    wrong = [each for each in violations(recipe) if each.rule == rule]
    assert wrong
    assert rule in broken(recipe.values)
    assert any(set(each.keys) & set(overrides) for each in wrong)
    assert all(each.hint and not each.hint.endswith(".") for each in wrong)


def test_the_message_says_what_was_found(recipes: dict[str, Recipe]) -> None:
    recipe = recipes["grpo"].with_overrides({"grpo.num_prompts_per_step": 12})
    assert violations(recipe) == [
        Violation(
            1,
            ("grpo.num_prompts_per_step", "grpo.num_generations_per_prompt", "policy.train_global_batch_size"),
            "prompts times generations must be a multiple of the global batch; got grpo.num_prompts_per_step = 12, "
            "grpo.num_generations_per_prompt = 8, policy.train_global_batch_size = 64",
            "lower `policy.train_global_batch_size` to a divisor of it",
        )
    ]


def test_gpus_that_only_generate_do_not_train(recipes: dict[str, Recipe]) -> None:
    """A batch of 64 is spread over 6 of 8 GPUs, or over 2 of 4 nodes."""
    assert numbers(
        recipes["grpo"].with_overrides(APART | {GPUS_APART: 2, "policy.sequence_packing.enabled": True})
    ) == {2}
    nodes = {"cluster.num_nodes": 4, GPUS_APART: 8, NODES_APART: 2}
    assert numbers(recipes["grpo"].with_overrides(APART | nodes)) == set()
    assert numbers(
        recipes["grpo"].with_overrides(APART | nodes | {NODES_APART: 1, "policy.sequence_packing.enabled": True})
    ) == {2}


def test_values_that_only_the_trainer_knows_are_passed_over(recipes: dict[str, Recipe]) -> None:
    recipe = recipes["grpo"].with_overrides({"cluster.gpus_per_node": "${oc.env:A_VARIABLE_THAT_IS_NOT_SET}"})
    assert violations(recipe) == []


def test_the_environment_may_switch_a_rule_off(recipes: dict[str, Recipe]) -> None:
    """As NeMo RL has it: tensor parallelism from 4 on, with two micro-batches."""
    fixed = {"policy.dtensor_cfg.tensor_parallel_size": 4, "policy.logprob_batch_size": 4}
    recipe, env = recipes["grpo"].with_overrides(fixed), {"NRL_IGNORE_TP_ACCURACY_CHECK": "1"}
    assert numbers(recipe) == {8}
    assert violations(recipe, env) == []
    assert space_rules(recipe, ["policy.train_micro_batch_size"], env).derived == {}


def test_gpus_of_unknown_others_are_not_judged(recipes: dict[str, Recipe]) -> None:
    """A reward model takes GPUs of the same cluster, so that 6 of 8 may train."""
    fixed = {"++data.train": {"env_name": "reward_model"}, "policy.train_global_batch_size": 4}
    recipe = recipes["grpo"].with_overrides(fixed)
    assert violations(recipe) == []
    rules = space_rules(recipe, ["policy.dtensor_cfg.context_parallel_size"])
    assert rules.constraints == ()
    assert any("7, 9 and 37 of NeMo RL are not checked" in note for note in rules.notes)


POOL: dict[str, list[Any]] = {  # by the end of a key; what a recipe has is set at random
    "num_prompts_per_step": [4, 12, 16, 32],
    "num_generations_per_prompt": [1, 4, 8],
    "train_global_batch_size": [16, 24, 64, 128],
    "train_micro_batch_size": [1, 2, 3],
    "logprob_batch_size": [1, 2],
    "tensor_parallel_size": [1, 2, 4],
    "tensor_model_parallel_size": [1, 2, 4],
    "pipeline_model_parallel_size": [1, 2],
    "context_parallel_size": [1, 2],
    "gpus_per_node": [4, 8],
    "num_nodes": [1, 2, 3],
    "sequence_packing.enabled": [True, False],
    "dynamic_batching.enabled": [True, False],
    "sequence_parallel": [True, False],
    "max_total_sequence_length": [256, 1024],
    "train_mb_tokens": [512],
    "force_on_policy_ratio": [True, False],
    "use_cispo": [True, False],
    "ratio_clip_c": [None, 0.5, 3.0],
    "token_level_loss": [True, False],
    "sequence_level_importance_ratios": [True, False],
    "reference_policy_kl_penalty": [0.0, 0.01],
    "use_kl_in_reward": [True, False],
    "skip_reference_policy_logprobs_calculation": [True, False],
    "use_dynamic_sampling": [True, False],
    "batch_multiplier": [1, 2],
    "use_multiple_dataloader": [True, False],
    "max_val_samples": [32, 256],
    "stop_properly_penalty_coef": [None, 0.5, 2.0],
    "reward_shaping.enabled": [True, False],
    "async_engine": [True, False],
    "async_grpo.enabled": [True, False],
    "expert_parallel_size": [1, 2],
    "optimizer.lr": [1e-7, 1e-6],
    "min_lr": [0.0, 5e-7],
    "lr_warmup_iters": [5, 200],
    "lr_decay_iters": [None, 100],
    "dp_replicate_size": [1, 2],
    "lora_cfg.enabled": [True, False],
    "_v2": [True, False],
    "metric_name": ["val:accuracy", "accuracy"],
    "ppo_epochs": [0, 1],
    "topk_logits_k": [0, 8],
}


def choices(recipe: Recipe) -> dict[str, list[Any]]:
    return {
        key: values
        for key in recipe.leaves()
        for end, values in POOL.items()
        if f".{key}".endswith(f".{end}") and ".resources." not in key
    }


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_both_writings_agree(recipes: dict[str, Recipe], data: st.DataObject) -> None:
    """What is spread over GPUs is not judged further where the GPUs do not fit, nor where the batch does not."""
    recipe = recipes[data.draw(st.sampled_from(KINDS))]
    possible = choices(recipe)
    keys = data.draw(st.lists(st.sampled_from(sorted(possible)), max_size=8, unique=True))
    recipe = recipe.with_overrides({key: data.draw(st.sampled_from(possible[key]), label=key) for key in keys})
    found, expected = numbers(recipe), broken(recipe.values)
    for unsure, beyond in ((7, {2, 3, 4, 27, 30, 37}), (2, {3, 4, 27, 37}), (27, {2})):
        if unsure in found | expected:
            found, expected = found - beyond, expected - beyond
    assert found == expected


# -- a space -----------------------------------------------------------------------------------------------------------

RATE = {"type": "float", "min": 1e-7, "max": 1e-4, "log": True}
POWERS = [1, 2, 4, 8, 16, 32, 64, 128]
SWITCH = {"type": "categorical", "choices": [True, False]}


def whole(low: int, high: int) -> dict[str, Any]:
    return {"type": "int", "min": low, "max": high}


def real(low: float, high: float) -> dict[str, Any]:
    return {"type": "float", "min": low, "max": high}


def among(*values: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(values)}


DTENSOR = "policy.dtensor_cfg."
MEGATRON = "policy.megatron_cfg."
SPACES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # the recipe, what is fixed in it, what is tuned
    "batches by name": (
        "grpo",
        {},
        {"num_prompts": among(*POWERS), "num_generations": whole(2, 24), "learning_rate": RATE,
         "global_batch_size": whole(8, 256), "kl_penalty": RATE | {"zero": 0.3},
         "clip_max": real(0.2, 0.4), "temperature": real(0.7, 1.2),
         "warmup_steps": whole(0, 50)},
    ),
    "batches by key": (
        "grpo",
        {},
        {"grpo.num_prompts_per_step": among(*POWERS), "grpo.num_generations_per_prompt": among(2, 4, 6, 8, 12, 16),
         "policy.train_micro_batch_size": whole(1, 16),
         "policy.sequence_packing.enabled": SWITCH, "policy.dynamic_batching.enabled": SWITCH,
         "policy.max_total_sequence_length": among(256, 512, 1024),
         "policy.optimizer.kwargs.lr": RATE, "policy.scheduler.0.kwargs.total_iters": whole(0, 99)},
    ),
    "one update per step": (
        "grpo",
        {"loss_fn.force_on_policy_ratio": True, "policy.train_global_batch_size": 128},
        {"num_prompts": whole(1, 64), "grpo.num_generations_per_prompt": among(4, 8, 16),
         "policy.train_micro_batch_size": among(1, 2, 3, 4), "loss_fn.use_kl_in_reward": SWITCH,
         "kl_penalty": RATE | {"zero": 0.5}},
    ),
    "parallel sizes": (
        "grpo",
        {},
        {f"{DTENSOR}tensor_parallel_size": among(1, 2, 3, 4, 8, 16), f"{DTENSOR}context_parallel_size": among(1, 2, 4),
         f"{DTENSOR}sequence_parallel": SWITCH, "policy.sequence_packing.enabled": SWITCH,
         "policy.train_global_batch_size": among(16, 32, 64, 96), "policy.train_micro_batch_size": among(1, 2, 4),
         "policy.logprob_batch_size": among(1, 2, 4),
         "policy.generation.vllm_cfg.tensor_parallel_size": among(1, 2, 3, 4),
         f"{DTENSOR}dp_replicate_size": among(1, 2, 4), f"{DTENSOR}lora_cfg.enabled": SWITCH},
    ),
    "wide tensor parallelism": (
        "grpo",
        {f"{DTENSOR}tensor_parallel_size": 4, "policy.logprob_batch_size": 2},
        {"policy.train_micro_batch_size": among(1, 2, 4, 8, 16), "policy.generation.top_p": real(0, 1)},
    ),
    "generation apart": (
        "grpo",
        APART | {"cluster.num_nodes": 4, GPUS_APART: 8, NODES_APART: 2},
        {NODES_APART: whole(1, 4), "global_batch_size": among(16, 24, 32, 48, 64, 96),
         "num_prompts": among(12, 16, 24, 32), "policy.train_micro_batch_size": among(1, 2, 3)},
    ),
    "losses": (
        "grpo",
        {},
        {"loss_fn.use_cispo": SWITCH, "loss_fn.token_level_loss": SWITCH, "loss_fn.ratio_clip_c": among(None, 1, 3, 10),
         "loss_fn.sequence_level_importance_ratios": SWITCH, "loss_fn.disable_ppo_ratio": SWITCH,
         f"{TRUNCATED}type": among(None, "tis", "icepop", "seq-mask-tis"), f"{TRUNCATED}ratio": among(None, 1.0, 2.0),
         f"{TRUNCATED}ratio_min": among(None, 0.5, 1.5), "loss_fn.use_importance_sampling_correction": SWITCH},
    ),
    "DAPO": (
        "grpo",
        SHAPED | {"grpo.use_dynamic_sampling": True, "loss_fn.ratio_clip_max": 0.28},
        {"grpo.batch_multiplier": among(1, 1.5, 2, 3), "grpo.use_dynamic_sampling": SWITCH,
         "grpo.reward_shaping.overlong_buffer_penalty": real(-0.5, 1),
         "grpo.reward_shaping.stop_properly_penalty_coef": among(None, 0, 0.5, 2),
         "grpo.max_val_samples": among(32, 64, 256),
         "grpo.val_batch_size": among(32, 64, 256), "learning_rate": RATE},
    ),
    "Megatron by name": (
        "grpo-megatron",
        {},
        {"learning_rate": RATE, "warmup_steps": whole(0, 200),
         "weight_decay": real(0, 0.2), "num_prompts": among(*POWERS)},
    ),
    "Megatron by key": (
        "grpo-megatron",
        {},
        {f"{MEGATRON}optimizer.lr": RATE, f"{MEGATRON}optimizer.min_lr": RATE, f"{MEGATRON}scheduler.lr_decay_iters":
         whole(1, 50), f"{MEGATRON}tensor_model_parallel_size": among(1, 2, 4),
         f"{MEGATRON}pipeline_model_parallel_size": among(1, 2), f"{MEGATRON}context_parallel_size": among(1, 2),
         "policy.sequence_packing.enabled": SWITCH, "policy.dynamic_batching.enabled": SWITCH,
         "policy.logprob_chunk_size": among(None, 1024), f"{MEGATRON}defer_fp32_logits": SWITCH},
    ),
    "the end of the decay": (
        "sft-megatron",
        {f"{MEGATRON}scheduler.lr_decay_iters": None, "sft.max_num_steps": 40},
        {f"{MEGATRON}scheduler.lr_decay_iters": among(None, 20, 60), "warmup_steps": whole(0, 80)},
    ),
    "PPO": (
        "ppo",
        {"ppo.skip_reference_policy_logprobs_calculation": True, "loss_fn.reference_policy_kl_penalty": 0.0},
        {"loss_fn.reference_policy_kl_penalty": among(0.0, 0.01, 0.1), "ppo.ppo_epochs": whole(0, 4),
         "value.train_global_batch_size": whole(8, 128), "ppo.num_prompts_per_step": among(8, 16, 24),
         "value.train_micro_batch_size": among(1, 2, 4), "learning_rate": RATE, "critic_learning_rate": RATE,
         "value.dynamic_batching.enabled": SWITCH},
    ),
    "PPO on Megatron": (
        "ppo-megatron",
        {"policy.megatron_cfg.checkpoint.ckpt_assume_constant_structure": True},
        {"learning_rate": RATE, "critic_ratio": {"type": "float", "min": 1, "max": 30, "log": True},
         "ppo.policy_training_start_step": among(0, 5), "checkpointing.save_optimizer": SWITCH,
         "value.megatron_cfg.context_parallel_size": among(1, 2), "value.sequence_packing.enabled": SWITCH},
    ),
    "distillation": (
        "distillation",
        {},
        {"num_prompts": among(16, 24, 32, 64), "teacher.dtensor_cfg.tensor_parallel_size": among(1, 2, 4),
         "teacher.train_micro_batch_size": among(1, 2), "distillation.topk_logits_k": among(0, 32, 64),
         "policy.train_global_batch_size": among(16, 32, 64), f"{DTENSOR}sequence_parallel": SWITCH,
         "policy.sequence_packing.enabled": SWITCH},
    ),
    "DPO": (
        "dpo",
        {},
        {"global_batch_size": whole(8, 256), "policy.train_micro_batch_size": among(1, 2, 4, 8),
         "learning_rate": RATE, "kl_penalty": RATE, "policy.dynamic_batching.enabled": SWITCH},
    ),
    "SFT": (
        "sft",
        {},
        {"global_batch_size": whole(8, 512), "policy.train_micro_batch_size": among(1, 2, 4, 8),
         "learning_rate": RATE, "policy.sequence_packing.enabled": SWITCH},
    ),
    "SFT on Megatron by key": (
        "sft-megatron",
        {},
        {f"{MEGATRON}optimizer.lr": RATE, f"{MEGATRON}optimizer.weight_decay": real(0, 0.2),
         f"{MEGATRON}scheduler.lr_warmup_iters": whole(0, 300)},
    ),
    "reward model": (
        "rm",
        {},
        {"global_batch_size": among(8, 16, 24, 64), "policy.train_micro_batch_size": among(1, 2, 3),
         f"{DTENSOR}context_parallel_size": among(1, 2), f"{DTENSOR}tensor_parallel_size": among(1, 2, 4, 8)},
    ),
}  # fmt: skip


def space_of(recipe: Recipe, tuned: Mapping[str, Any]) -> tuple[SearchSpace, SpaceRules]:
    """The space as a study makes it: the rules as its constraints, the recipe's values as constants."""
    rules = space_rules(recipe, list(tuned))
    return SearchSpace.from_mapping(tuned, rules.constraints, rules.derived, recipe.leaves()), rules


def configurations(recipe: Recipe, space: SearchSpace, n: int) -> Iterator[Recipe]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield recipe.with_overrides(expand(recipe, space.resolve(space.sample(rng))))


@pytest.mark.slow
@pytest.mark.parametrize("which", SPACES)
def test_whatever_a_space_holds_breaks_no_rule(recipes: dict[str, Recipe], which: str) -> None:
    """60 configurations from each of 18 spaces: more than 1,000, judged by both writings of the rules."""
    kind, fixed, tuned = SPACES[which]
    recipe = recipes[kind].with_overrides(fixed)
    space, _ = space_of(recipe, tuned)
    for each in configurations(recipe, space, 60):
        assert broken(each.values) == set()
        assert violations(each) == []


@pytest.mark.slow
@pytest.mark.parametrize("which", SPACES)
def test_whatever_a_space_leaves_out_breaks_a_rule(recipes: dict[str, Recipe], which: str) -> None:
    """The constraints are exact: drawn without them, a configuration is feasible just where no rule is broken."""
    kind, fixed, tuned = SPACES[which]
    recipe = recipes[kind].with_overrides(fixed)
    space, rules = space_of(recipe, tuned)
    free = SearchSpace.from_mapping(tuned, (), rules.derived, recipe.leaves())
    rng = np.random.default_rng(1)
    for params in (free.sample(rng) for _ in range(30)):
        values = recipe.with_overrides(expand(recipe, free.resolve(params))).values
        assert space.is_feasible(params) == (broken(values) == set()), params


@pytest.mark.slow
@pytest.mark.skipif(not OWN, reason="recipes of NeMo RL are no part of this project; NEMO_RL_ROOT=<a checkout> tells")
@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_nemo_rls_own_recipes(path: Path) -> None:
    """Sound as they are, and so is a space around each of them: 1,000 configurations in all."""
    recipe = load_recipe(path)
    assert violations(recipe) == []
    assert broken(recipe.values) == set()
    tuned = around(recipe)
    space, _ = space_of(recipe, tuned)
    assert space.is_feasible({name: value_of(recipe, name) for name in tuned})
    for each in configurations(recipe, space, 1_000 // len(OWN) + 1):
        assert broken(each.values) == set()
        assert violations(each) == []


def around(recipe: Recipe) -> dict[str, Any]:
    """A space around what a recipe has today."""
    space: dict[str, Any] = {}
    for name in ("num_prompts", "num_generations", "global_batch_size", "policy.train_micro_batch_size"):
        if problems(recipe, [name]) == []:
            today = value_of(recipe, name)
            space[name] = among(*sorted({max(today // 2, 1), today, 2 * today}))
    rate = value_of(recipe, "learning_rate")
    space["learning_rate"] = {"type": "float", "min": rate / 10, "max": rate * 10, "log": True}
    ranges = {"warmup_steps": whole(0, 60), "kl_penalty": real(0, 0.1), "temperature": real(0.7, 1.2),
              "clip_max": real(0.2, 0.4), "weight_decay": real(0, 0.2)}  # fmt: skip
    return space | {name: range_ for name, range_ in ranges.items() if problems(recipe, [name]) == []}


# -- what a user reads -------------------------------------------------------------------------------------------------


def test_constraints_are_short_and_in_the_names_that_are_tuned(recipes: dict[str, Recipe]) -> None:
    """What does not vary is computed: 8 GPUs, each with whole micro-batches of 2."""
    rules = space_rules(recipes["grpo"], ["num_prompts", "global_batch_size", "learning_rate", "clip_max"])
    assert rules.constraints == (
        "num_prompts * grpo.num_generations_per_prompt % global_batch_size == 0",
        "global_batch_size % 8 == 0",
        "global_batch_size % 16 == 0",
    )
    assert rules.derived == {}


@pytest.mark.parametrize("kind", KINDS)
def test_learning_rates_need_no_constraint(recipes: dict[str, Recipe], kind: str) -> None:
    """Nor does a region of a space tie them to anything: names move what belongs together."""
    assert space_rules(recipes[kind], ["learning_rate", "weight_decay", "max_grad_norm"]).constraints == ()


def test_names_and_keys_come_to_the_same(recipes: dict[str, Recipe]) -> None:
    by_name = space_rules(recipes["grpo"], ["num_prompts", "num_generations"]).constraints
    by_key = space_rules(recipes["grpo"], ["grpo.num_prompts_per_step", "grpo.num_generations_per_prompt"]).constraints
    assert by_name == ("num_prompts * num_generations % policy.train_global_batch_size == 0",)
    assert by_key == (
        "grpo.num_prompts_per_step * grpo.num_generations_per_prompt % policy.train_global_batch_size == 0",
    )


def test_what_follows_by_itself_needs_no_constraint(recipes: dict[str, Recipe]) -> None:
    """Token limits and the other micro-batch are interpolations of what is tuned."""
    packed = {"policy.sequence_packing.enabled": True, f"{DTENSOR}tensor_parallel_size": 4}
    recipe = recipes["grpo"].with_overrides(packed)
    tuned = ["policy.max_total_sequence_length", "policy.train_micro_batch_size", "policy.generation.temperature"]
    rules = space_rules(recipe, tuned)
    assert (rules.constraints, rules.derived) == ((), {})


def test_a_limit_that_does_not_follow_is_a_constraint(recipes: dict[str, Recipe]) -> None:
    fixed = {"policy.sequence_packing.enabled": True, "policy.sequence_packing.train_mb_tokens": 2048}
    rules = space_rules(recipes["grpo"].with_overrides(fixed), ["policy.max_total_sequence_length"])
    assert rules.constraints == ("policy.max_total_sequence_length <= policy.sequence_packing.train_mb_tokens",)


@pytest.mark.parametrize(
    ("kind", "fixed", "tuned", "derived"),
    [
        (
            "grpo",
            {"loss_fn.force_on_policy_ratio": True, "policy.train_global_batch_size": 128},
            ["num_prompts"],
            {"policy.train_global_batch_size": "num_prompts * grpo.num_generations_per_prompt"},
        ),
        (
            "ppo",
            {"ppo.skip_reference_policy_logprobs_calculation": True, "loss_fn.reference_policy_kl_penalty": 0.0},
            ["loss_fn.reference_policy_kl_penalty"],
            {"ppo.skip_reference_policy_logprobs_calculation": "loss_fn.reference_policy_kl_penalty == 0"},
        ),
        (
            "grpo",
            {f"{DTENSOR}tensor_parallel_size": 4, "policy.logprob_batch_size": 2},
            ["policy.train_micro_batch_size"],
            {"policy.logprob_batch_size": "policy.train_micro_batch_size"},
        ),
        (
            "grpo-megatron",
            {},
            [f"{MEGATRON}optimizer.lr"],
            {
                f"{MEGATRON}optimizer.min_lr": f"{MEGATRON}optimizer.lr * 0.1",
                f"{MEGATRON}scheduler.lr_warmup_init": f"{MEGATRON}optimizer.lr * 0.1",
            },
        ),
        (
            "sft",
            {},
            ["policy.scheduler.0.kwargs.total_iters"],
            {"policy.scheduler.2.milestones.0": "`policy.scheduler.0.kwargs.total_iters`"},
        ),
    ],
)
def test_what_must_follow_is_derived(
    recipes: dict[str, Recipe], kind: str, fixed: dict[str, Any], tuned: list[str], derived: dict[str, str]
) -> None:
    assert space_rules(recipes[kind].with_overrides(fixed), tuned).derived == derived


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "warmup_steps", "kl_penalty"])
def test_what_a_name_sets_is_not_derived_again(recipes: dict[str, Recipe], name: str) -> None:
    skips = {"ppo.skip_reference_policy_logprobs_calculation": True, "loss_fn.reference_policy_kl_penalty": 0.0}
    for kind in ("ppo", "ppo-megatron"):
        assert space_rules(recipes[kind].with_overrides(skips), [name]).derived == {}


def test_what_is_tuned_itself_is_not_derived(recipes: dict[str, Recipe]) -> None:
    recipe = recipes["grpo"].with_overrides(
        {"loss_fn.force_on_policy_ratio": True, "policy.train_global_batch_size": 128}
    )
    rules = space_rules(recipe, ["num_prompts", "global_batch_size"])
    assert rules.derived == {}
    assert "global_batch_size == num_prompts * grpo.num_generations_per_prompt" in rules.constraints


def test_a_broken_rule_that_nothing_tuned_can_mend_is_a_note(recipes: dict[str, Recipe]) -> None:
    recipe = recipes["grpo"].with_overrides({"grpo.max_val_samples": 32, "grpo.num_prompts_per_step": 12})
    rules = space_rules(recipe, ["num_prompts"])
    notes = [note for note in rules.notes if "whatever is tuned" in note]
    assert len(notes) == 1
    assert notes[0].startswith("rule 22 of NeMo RL")
    assert "lower `grpo.val_batch_size`" in notes[0]


@pytest.mark.parametrize(
    ("kind", "fixed", "tuned", "note"),
    [
        ("grpo", {}, ["num_prompts"], "rule 1 of NeMo RL: `policy.train_global_batch_size` stays 64"),
        ("grpo-megatron", {}, ["learning_rate"], "rule 10 of NeMo RL: Megatron needs TORCH_CUDA_ARCH_LIST"),
        ("grpo", {}, ["kl_penalty"], "rule 14 of NeMo RL: without a KL penalty no reference model is loaded"),
        ("grpo", {}, ["temperature"], "rule 21 of NeMo RL: validation samples as training does"),
        ("grpo", {"grpo.use_dynamic_sampling": True}, ["learning_rate"], "rule 24 of NeMo RL: a step that finds no"),
        ("sft", {"checkpointing.metric_name": "val_loss"}, ["learning_rate"], "rule 26 of NeMo RL: the metric that"),
        ("sft", {"checkpointing.metric_name": "val:loss"}, ["learning_rate"], "rule 26 of NeMo RL: `val:loss` must"),
        ("distillation", {}, ["learning_rate"], "rule 31 of NeMo RL: student and teacher"),
        ("sft", {f"{DTENSOR}context_parallel_size": 2}, ["learning_rate"], "rule 32 of NeMo RL: vision models"),
    ],
)
def test_what_only_a_run_can_show_is_a_note(
    recipes: dict[str, Recipe], kind: str, fixed: dict[str, Any], tuned: list[str], note: str
) -> None:
    notes = space_rules(recipes[kind].with_overrides(fixed), tuned).notes
    assert any(each.startswith(note) for each in notes)
    assert not any(each.startswith(note) for each in space_rules(recipes["rm"], ["learning_rate"]).notes)


def test_few_values_are_listed_exactly(recipes: dict[str, Recipe]) -> None:
    """The batches are a region of their own, whatever the learning rate does: samplers need no luck."""
    tuned = {"num_prompts": among(8, 16, 24), "global_batch_size": among(32, 64, 96, 192)}
    space, _ = space_of(recipes["grpo"], tuned)
    feasible = [(p, b) for p in (8, 16, 24) for b in (32, 64, 96, 192) if p * 8 % b == 0]
    assert space.size == len(feasible)
    assert {(each["num_prompts"], each["global_batch_size"]) for each in space.grid()} == set(feasible)
