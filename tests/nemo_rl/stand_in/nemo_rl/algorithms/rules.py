"""What a recipe must satisfy beyond its types: some of it is asked at setup, the costly rest at the first step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from nemo_rl import misbehaviour
from nemo_rl.algorithms.optimizer import on_megatron

GPU_TOKENS = 100_000
"""Tokens in a micro batch that fit into the memory of a GPU."""


def parallel(model: Mapping[str, Any]) -> tuple[int, int, int]:
    """(tensor, context, pipeline) sizes of a model's backend."""
    if on_megatron(model):
        sizes = model["megatron_cfg"]
        return (
            sizes["tensor_model_parallel_size"],
            sizes["context_parallel_size"],
            sizes["pipeline_model_parallel_size"],
        )
    return model["dtensor_cfg"]["tensor_parallel_size"], model["dtensor_cfg"]["context_parallel_size"], 1


def check_setup(algorithm: str, config: Mapping[str, Any]) -> None:
    """Raises AssertionError, ValueError or RuntimeError, as the real code does where each rule stands."""
    _check_backend(config["policy"])
    _check_world(config["policy"], config["cluster"])
    _check_packing(config["policy"])
    if algorithm in ("grpo", "ppo"):
        _check_rollouts(config[algorithm], config["loss_fn"], config["policy"])
        _check_loss(config["loss_fn"])
    if algorithm in ("grpo", "ppo", "distillation"):
        _check_generation(config["policy"]["generation"], config["cluster"])
    if algorithm == "dpo":
        for name in ("sequence_packing", "dynamic_batching"):
            assert not config["policy"][name]["enabled"], f"{name} is currently not supported with DPO."
    if algorithm == "rm":
        assert config["policy"]["reward_model_cfg"]["enabled"], "reward_model_cfg must be enabled"
        assert not on_megatron(config["policy"]), "Reward models are currently only supported with DTensor"


def check_first_step(algorithm: str, config: Mapping[str, Any]) -> None:
    """What comes to light when the first batch is cut up, after the model was loaded and the batch generated."""
    for model in [config["policy"], *([config["value"]] if algorithm == "ppo" else [])]:
        _check_batch(algorithm, config[algorithm], model, config["cluster"])
    shaping = config[algorithm].get("reward_shaping") or {}
    if shaping.get("enabled"):
        _check_shaping(shaping)
    clip = config.get("loss_fn", {}).get("ratio_clip_c")
    assert clip is None or clip > 1, f"ratio_clip_c must exceed 1 representing a lower bound of the ratios, got {clip}."


def _check_shaping(shaping: Mapping[str, Any]) -> None:
    penalty, properly = shaping["overlong_buffer_penalty"], shaping["stop_properly_penalty_coef"]
    if properly is not None:
        assert 0 <= properly <= 1, f"stop_properly_penalty_coef must be in [0, 1], got {properly}"
        return
    lengths = (shaping["overlong_buffer_length"], penalty, shaping["max_response_length"])
    if any(value is None for value in lengths):
        raise ValueError("reward_shaping needs overlong_buffer_length, overlong_buffer_penalty and max_response_length")
    assert penalty >= 0, f"overlong_buffer_penalty must not be negative, got {penalty}"


def _check_backend(policy: Mapping[str, Any]) -> None:
    dtensor = bool(policy["dtensor_cfg"].get("enabled"))
    if on_megatron(policy) and dtensor:
        raise ValueError(
            "Configure either Megatron (policy.megatron_cfg.enabled=true) or DTensor "
            "(policy.dtensor_cfg.enabled=true), not both."
        )
    if not on_megatron(policy) and not dtensor:
        raise ValueError(
            "Please either set policy.megatron_cfg.enabled=true to use Megatron training backend or set "
            "policy.dtensor_cfg.enabled=true to use DTensor training backend."
        )
    if on_megatron(policy) and "TORCH_CUDA_ARCH_LIST" not in os.environ:
        raise RuntimeError("TORCH_CUDA_ARCH_LIST is not set. This is required in Megatron backend.")
    lora = policy["dtensor_cfg"].get("lora_cfg") or {}
    if dtensor and lora.get("enabled"):
        assert policy["dtensor_cfg"].get("_v2"), "LoRA is only supported with dtensor_cfg._v2=true"
        message = "use_triton must be False when tensor_parallel_size > 1"
        assert policy["dtensor_cfg"]["tensor_parallel_size"] == 1 or not lora.get("use_triton"), message


def _check_world(policy: Mapping[str, Any], cluster: Mapping[str, Any]) -> None:
    world = cluster["num_nodes"] * cluster["gpus_per_node"]
    tensor, context, pipeline = parallel(policy)
    least = tensor * context * pipeline
    if tensor >= 4 and "logprob_batch_size" in policy and not os.environ.get("NRL_IGNORE_TP_ACCURACY_CHECK"):
        message = "There is a known batch-variant accuracy issue with TP>=4 for both DTensor and Megatron backend."
        assert policy["train_micro_batch_size"] == policy["logprob_batch_size"], message
    if world < least:
        raise ValueError(f"World size ({world}) is insufficient for the parallelism configuration.")
    if world % least:
        raise ValueError(f"World size ({world}) must be divisible by PP * CP * TP ({least}).")


def _check_packing(policy: Mapping[str, Any]) -> None:
    packing, dynamic = _enabled(policy, "sequence_packing"), _enabled(policy, "dynamic_batching")
    if dynamic:
        assert parallel(policy)[2] == 1, "Dynamic batching is only supported for single pipeline parallel stage"
    assert not (packing and dynamic), "Sequence Packing is exclusive of Dynamic Batching."
    context, sequence = parallel(policy)[1], policy["dtensor_cfg"].get("sequence_parallel")
    if context > 1 and on_megatron(policy):
        assert packing, "Context Parallel only supports sequence packing in Megatron"
    if context > 1 and not on_megatron(policy):
        assert not packing, "Sequence packing is not supported with context parallel in DTensor"
        assert not sequence, "Context parallel is not supported with sequence parallel in DTensor"


def _check_rollouts(section: Mapping[str, Any], loss: Mapping[str, Any], policy: Mapping[str, Any]) -> None:
    rollouts = section["num_prompts_per_step"] * section["num_generations_per_prompt"]
    dynamic = section["use_dynamic_sampling"]
    assert dynamic or section["batch_multiplier"] == 1, (
        "batch_multiplier>1 can only be used if use_dynamic_sampling=True"
    )
    if section["stop_at_validation_metric"] is not None:
        assert section["stop_at_validation_threshold"] is not None, (
            "grpo.stop_at_validation_threshold must be set when grpo.stop_at_validation_metric is set"
        )
        assert section["stop_at_validation_metric"] != "pass_k" or section["val_num_generations_per_prompt"] > 1, (
            "grpo.stop_at_validation_metric='pass_k' requires grpo.val_num_generations_per_prompt > 1"
        )
    if loss["force_on_policy_ratio"]:
        assert rollouts == policy["train_global_batch_size"], (
            "force_on_policy_ratio requires train_global_batch_size == "
            "num_prompts_per_step * num_generations_per_prompt"
        )
    if section["skip_reference_policy_logprobs_calculation"]:
        assert loss["reference_policy_kl_penalty"] == 0, (
            "grpo.skip_reference_policy_logprobs_calculation=True requires loss_fn.reference_policy_kl_penalty == 0"
        )


def _check_loss(loss: Mapping[str, Any]) -> None:
    if loss["sequence_level_importance_ratios"]:
        assert not loss["token_level_loss"], (
            "sequence-level importance sampling (e.g. GSPO) is mutually exclusive with token-level loss"
        )
    if loss["use_cispo"]:
        for other in ("disable_ppo_ratio", "force_on_policy_ratio", "sequence_level_importance_ratios"):
            assert not loss[other], f"use_cispo is incompatible with {other}"
        assert loss["ratio_clip_c"] is None, "use_cispo is incompatible with dual clipping (ratio_clip_c)"
        assert loss["token_level_loss"], "use_cispo requires token_level_loss=True"
    kind = loss["truncated_importance_sampling_type"]
    if kind is not None:
        high, low = loss["truncated_importance_sampling_ratio"], loss["truncated_importance_sampling_ratio_min"]
        assert loss["use_importance_sampling_correction"], (
            "truncated importance sampling is only supported when use_importance_sampling_correction is True"
        )
        assert (high or 0) > 0, "truncated_importance_sampling_ratio should be positive"
        assert low is None or low <= high, "truncated_importance_sampling_ratio_min must be <= the ratio"
        assert kind == "tis" or low is not None, f"truncated_importance_sampling_ratio_min should be set for {kind}"
        assert kind != "seq-mask-tis" or not loss["sequence_level_importance_ratios"], (
            "seq-mask-tis is incompatible with sequence_level_importance_ratios=True"
        )


def _check_generation(generation: Mapping[str, Any], cluster: Mapping[str, Any]) -> None:
    for name in ("temperature", "top_p", "top_k"):
        assert generation.get(f"val_{name}", generation[name]) == generation[name], (
            "generation.val_temperature/val_top_p/val_top_k differing from the train sampling params is only "
            "supported for vLLM NeMo-Gym rollouts."
        )
    if generation["backend"] != "vllm":
        return
    vllm = generation["vllm_cfg"]
    size = vllm["tensor_parallel_size"] * vllm.get("pipeline_parallel_size", 1)
    world = cluster["num_nodes"] * cluster["gpus_per_node"]
    assert world % size == 0, f"World size must be a multiple of model parallel size. Got world size {world}."
    if vllm.get("pipeline_parallel_size", 1) > 1:
        assert vllm["async_engine"], "When pipeline_parallel_size > 1, async_engine must be set to True"
    top_p, top_k = generation["top_p"], generation["top_k"]
    if top_k is not None and top_k != -1 and top_k < 1:
        raise ValueError(f"top_k valid values: i) None or -1: no filtering. ii) >= 1: top-k filtering. Got {top_k=}.")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p valid values: i) 1.0: no filtering. ii) (0, 1]: top-p filtering. Got {top_p=}.")


def _check_batch(
    algorithm: str, section: Mapping[str, Any], model: Mapping[str, Any], cluster: Mapping[str, Any]
) -> None:
    batch, micro = model["train_global_batch_size"], model["train_micro_batch_size"]
    tensor, context, pipeline = parallel(model)
    ranks = cluster["num_nodes"] * cluster["gpus_per_node"] // (tensor * context * pipeline)
    packing, dynamic = _enabled(model, "sequence_packing"), _enabled(model, "dynamic_batching")
    length = model["max_total_sequence_length"]
    if algorithm in ("grpo", "ppo", "distillation"):
        rollouts = section["num_prompts_per_step"] * section["num_generations_per_prompt"]
        if not packing:
            assert rollouts % ranks == 0, f"Batch size ({rollouts}) is not a multiple of shards ({ranks})"
        message = f"Total batch size ({rollouts}) is not a multiple of batch_size ({batch})"
        assert rollouts % batch == 0, message
    assert batch % ranks == 0, f"Batch size ({batch}) is not a multiple of shards ({ranks})"
    if not packing and not dynamic:
        message = f"Data dict size ({batch // ranks}) is not a multiple of the provided microbatch size ({micro})"
        assert batch // ranks % micro == 0, message
        if micro * length > GPU_TOKENS:
            raise misbehaviour.out_of_memory("total capacity of 79.11 GiB of which 0.41 GiB is free")
    for on, name in ((packing, "sequence_packing"), (dynamic, "dynamic_batching")):
        room = model[name].get("train_mb_tokens", micro * length) if on else length
        if length > room:
            raise ValueError(f"Sequence length {length} exceeds bin capacity {room}")
        if on and room > GPU_TOKENS:
            raise misbehaviour.out_of_memory("total capacity of 79.11 GiB of which 0.41 GiB is free")


def _enabled(model: Mapping[str, Any], name: str) -> bool:
    return bool((model.get(name) or {}).get("enabled"))
