"""What NeMo RL refuses, written a second time: plain arithmetic on a composed config, in the order of its own checks.

It shares nothing with `rltune.trainers.nemo_rl.constraints` but the numbers of the rules, so that the two can be held
against each other. `broken` walks through a run as NeMo RL does: set-up, first step, first validation, first save.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ALGORITHMS = ("grpo", "ppo", "dpo", "sft", "rm", "distillation")


def broken(config: Mapping[str, Any]) -> set[int]:
    """The numbers of the rules that a composed and resolved config breaks."""
    name = next(each for each in ALGORITHMS if each in config)
    section, policy = config[name], config["policy"]
    found: set[int] = set()
    train_gpus, generation_gpus = _gpus(config, name)
    rollouts = None
    if name in ("grpo", "ppo", "distillation"):
        rollouts = section["num_prompts_per_step"] * section["num_generations_per_prompt"]
        found |= set(_generation(config, name, generation_gpus))
    if name in ("grpo", "ppo"):
        found |= set(_loss(config["loss_fn"]))
        found |= set(_rollout_settings(config, name))
    on_policy = name in ("grpo", "ppo") and bool(config["loss_fn"].get("force_on_policy_ratio"))
    found |= set(_model(policy, train_gpus, on_policy))
    found |= set(_batches(policy, train_gpus, rollouts, paired=name == "dpo"))
    found |= set(_optimizer(policy, section))
    if name == "dpo" and Shape(policy).mixed:
        found.add(27)
    if name == "rm":
        shape = Shape(policy)
        trains = policy.get("reward_model_cfg", {}).get("enabled", False)
        if shape.megatron or shape.cp != 1 or shape.packed or not trains:
            found.add(28)
    if name == "ppo":
        found |= set(_critic(config, train_gpus, rollouts, on_policy))
    if name == "distillation" and "dtensor_cfg" in config.get("teacher", {}):
        found |= set(_teacher(config, train_gpus, rollouts))
    found |= set(_saving(config))
    return found


class Shape:
    """How one model is spread over GPUs, and how its batches are laid out."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        dtensor, megatron = model.get("dtensor_cfg") or {}, model.get("megatron_cfg") or {}
        self.dtensor, self.megatron = bool(dtensor.get("enabled")), bool(megatron.get("enabled"))
        if self.megatron:
            self.tp = megatron["tensor_model_parallel_size"]
            self.pp = megatron["pipeline_model_parallel_size"]
            self.cp = megatron["context_parallel_size"]
        else:
            self.tp, self.pp, self.cp = dtensor["tensor_parallel_size"], 1, dtensor["context_parallel_size"]
        self.packed = bool(model.get("sequence_packing", {}).get("enabled"))
        self.dynamic = bool(model.get("dynamic_batching", {}).get("enabled"))
        self.mixed = self.packed or self.dynamic

    @property
    def size(self) -> int:
        return int(self.tp * self.pp * self.cp)


def _gpus(config: Mapping[str, Any], name: str) -> tuple[int, int]:
    """GPUs that train, GPUs that generate."""
    nodes, each = config["cluster"]["num_nodes"], config["cluster"]["gpus_per_node"]
    together = nodes * each
    if name in ("dpo", "sft", "rm"):
        return together, 0
    colocated = config["policy"]["generation"].get("colocated", {"enabled": True})
    if colocated["enabled"]:
        return together, together
    apart = colocated["resources"]
    if nodes == 1:
        taken = apart["gpus_per_node"] or 0
        return each - taken, taken
    taken_nodes = apart["num_nodes"] or 0
    return (nodes - taken_nodes) * each, taken_nodes * (apart["gpus_per_node"] or 0)


def _vllm(generation: Mapping[str, Any], gpus: int) -> bool:
    """Whether vLLM starts."""
    vllm = generation["vllm_cfg"]
    tp, pp, ep = (vllm.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline", "expert"))
    if gpus % (tp * pp) or (pp > 1 and not vllm["async_engine"]):
        return False
    if ep > 1 and (ep % tp or (ep != tp and vllm["async_engine"])):
        return False
    if generation["top_k"] is not None and generation["top_k"] != -1 and generation["top_k"] < 1:
        return False
    return bool(0 < generation["top_p"] <= 1)


def _generation(config: Mapping[str, Any], name: str, gpus: int) -> Iterator[int]:
    generation = config["policy"]["generation"]
    if generation["backend"] == "vllm" and not _vllm(generation, gpus):
        yield 9
    if name == "grpo":
        gym = bool(config.get("env", {}).get("should_use_nemo_gym"))
        for what in ("temperature", "top_p", "top_k"):
            differs = generation.get(f"val_{what}", generation[what]) != generation[what]
            if differs and not (gym and generation["backend"] == "vllm" and what != "top_k"):
                yield 21
    colocated = generation.get("colocated", {"enabled": True})
    if not colocated["enabled"]:
        nodes, each = config["cluster"]["num_nodes"], config["cluster"]["gpus_per_node"]
        apart = colocated["resources"]
        if nodes == 1:
            if apart["gpus_per_node"] is None or not 0 < apart["gpus_per_node"] < each:
                yield 35
        elif apart["gpus_per_node"] != each or not apart["num_nodes"] or not 0 < apart["num_nodes"] < nodes:
            yield 35


def _loss(loss: Mapping[str, Any]) -> Iterator[int]:
    per_sequence = loss.get("sequence_level_importance_ratios", False)
    if loss.get("ratio_clip_c") is not None and loss["ratio_clip_c"] <= 1:
        yield 16
    if per_sequence and loss.get("token_level_loss", True):
        yield 17
    if loss.get("use_cispo", False):
        if loss.get("disable_ppo_ratio") or loss.get("force_on_policy_ratio") or per_sequence:
            yield 18
        if loss.get("ratio_clip_c") is not None or not loss.get("token_level_loss", True):
            yield 18
    kind = loss.get("truncated_importance_sampling_type")
    if kind is not None:
        high = loss.get("truncated_importance_sampling_ratio")
        low = loss.get("truncated_importance_sampling_ratio_min")
        if kind not in ("tis", "icepop", "seq-mask-tis") or not loss.get("use_importance_sampling_correction"):
            yield 19
        if high is None or high <= 0 or (low is not None and low > high):
            yield 19
        if kind != "tis" and low is None:
            yield 19
        if kind == "seq-mask-tis" and per_sequence:
            yield 19


def _rollout_settings(config: Mapping[str, Any], name: str) -> Iterator[int]:
    section, loss, policy = config[name], config["loss_fn"], config["policy"]
    kl, forced = loss["reference_policy_kl_penalty"], loss.get("force_on_policy_ratio", False)
    rollouts = section["num_prompts_per_step"] * section["num_generations_per_prompt"]
    if forced and policy["train_global_batch_size"] != rollouts:
        yield 11
    if section.get("batch_multiplier", 1) != 1 and not section.get("use_dynamic_sampling", False):
        yield 12
    if section.get("skip_reference_policy_logprobs_calculation", name == "ppo") and kl != 0:
        yield 13
    if loss.get("use_kl_in_reward") and kl != 0 and forced and section.get("seq_logprob_error_threshold") is None:
        yield 15
    if section.get(f"async_{name}", {}).get("enabled") and not _may_run_ahead(config, name):
        yield 20
    yield from _validation(section)
    if section.get("reward_shaping", {}).get("enabled") and not _shapes(section["reward_shaping"]):
        yield 25
    data = config.get("data", {})
    if data.get("use_multiple_dataloader"):
        prompts, part = section["num_prompts_per_step"], data["num_prompts_per_dataloader"]
        if section.get("use_dynamic_sampling", False):
            prompts, part = (int(each * section.get("batch_multiplier", 1)) for each in (prompts, part))
        if prompts % part:
            yield 37


def _may_run_ahead(config: Mapping[str, Any], name: str) -> bool:
    section, generation = config[name], config["policy"]["generation"]
    if generation["backend"] == "vllm" and not generation["vllm_cfg"].get("async_engine"):
        return False
    off = [section.get("use_dynamic_sampling"), config.get("data", {}).get("use_multiple_dataloader")]
    off += [section.get(kind, {}).get("enabled") for kind in ("reward_scaling", "reward_shaping")]
    return bool(config["loss_fn"].get("use_importance_sampling_correction")) and not any(off)


def _validation(section: Mapping[str, Any]) -> Iterator[int]:
    if section["val_period"] > 0 or section.get("val_at_start") or section.get("val_at_end"):  # noqa: SIM102
        if section["max_val_samples"] // section["val_batch_size"] == 0:
            yield 22
    stop = section.get("stop_at_validation_metric")
    if stop is not None and section.get("stop_at_validation_threshold") is None:
        yield 23
    if stop == "pass_k" and section.get("val_num_generations_per_prompt", 1) <= 1:
        yield 23


def _shapes(shaping: Mapping[str, Any]) -> bool:
    """Whether rewards can be shaped as asked: by what was cut off, else by length."""
    coefficient = shaping.get("stop_properly_penalty_coef")
    if coefficient is not None:
        return bool(0 <= coefficient <= 1)
    wanted = [shaping.get(key) for key in ("overlong_buffer_length", "overlong_buffer_penalty", "max_response_length")]
    return None not in wanted and bool(wanted[1] >= 0)


def _model(model: Mapping[str, Any], gpus: int, on_policy: bool) -> Iterator[int]:
    """What the constructor of a policy refuses; a teacher and a critic are built the same way."""
    shape = Shape(model)
    if shape.dtensor == shape.megatron:
        yield 10
        return
    if gpus < shape.size or gpus % shape.size:
        yield 7
    if "logprob_batch_size" in model and shape.tp >= 4 and not on_policy:  # noqa: SIM102
        if model["train_micro_batch_size"] != model["logprob_batch_size"]:
            yield 8
    if shape.packed and shape.dynamic:
        yield 6
    if shape.dynamic and shape.pp > 1:
        yield 6
    longest = model["max_total_sequence_length"]
    for kind, on in (("sequence_packing", shape.packed), ("dynamic_batching", shape.dynamic)):
        limits = [model.get(kind, {}).get(key) for key in ("train_mb_tokens", "logprob_mb_tokens")]
        if on and any(limit is not None and longest > limit for limit in limits):
            yield 5
    yield from _megatron(model, shape) if shape.megatron else _dtensor(model, shape, gpus)


def _megatron(model: Mapping[str, Any], shape: Shape) -> Iterator[int]:
    if shape.cp > 1 and not shape.packed:
        yield 32
    if (model.get("logprob_chunk_size") or 0) > 0 and not model["megatron_cfg"].get("defer_fp32_logits"):
        yield 33


def _dtensor(model: Mapping[str, Any], shape: Shape, gpus: int) -> Iterator[int]:
    dtensor = model["dtensor_cfg"]
    if shape.cp > 1 and (shape.packed or dtensor.get("sequence_parallel")):
        yield 32
    second = dtensor.get("_v2", False)
    lora = dtensor.get("lora_cfg") or {}
    if lora.get("enabled") and (not second or (shape.tp > 1 and lora.get("use_triton", True))):
        yield 36
    copies = dtensor.get("dp_replicate_size", 1)
    if copies > 1 and (not second or (gpus // shape.size) % copies):
        yield 37


def _batches(model: Mapping[str, Any], gpus: int, rollouts: int | None, paired: bool = False) -> Iterator[int]:
    """How one training step is cut: rollouts into global batches, over the replicas, into micro-batches."""
    shape = Shape(model)
    replicas = gpus // shape.size
    batch, micro = model["train_global_batch_size"], model["train_micro_batch_size"]
    if rollouts is not None and rollouts % batch:
        yield 1
    if replicas < 1:
        return
    if batch % replicas:
        yield 2
    if rollouts is not None and not shape.packed and rollouts % replicas:
        yield 3
    if paired:
        if batch % (replicas * micro):
            yield 27
    elif not shape.mixed and batch // replicas % micro:
        yield 4


def _optimizer(model: Mapping[str, Any], section: Mapping[str, Any]) -> Iterator[int]:
    if not Shape(model).megatron:
        return
    optimizer, schedule = model["megatron_cfg"]["optimizer"], model["megatron_cfg"]["scheduler"]
    if optimizer["min_lr"] < 0 or optimizer["lr"] < max(optimizer["min_lr"], schedule["lr_warmup_init"]):
        yield 34
    until = schedule.get("lr_decay_iters")
    until = section["max_num_steps"] if until is None else until
    if until > 0 and schedule["lr_warmup_iters"] >= until:
        yield 34


def _critic(config: Mapping[str, Any], gpus: int, rollouts: int | None, on_policy: bool) -> Iterator[int]:
    value, section = config["value"], config["ppo"]
    shape = Shape(value)
    yield from _model(value, gpus, on_policy)
    yield from _optimizer(value, section)
    if any(_batches(value, gpus, rollouts)):
        yield 30
    if section.get("ppo_epochs", 4) < 1:
        yield 30
    if shape.megatron:
        if shape.cp > 1 and not shape.packed:
            yield 29
    elif shape.mixed or shape.cp != 1:
        yield 29
    megatron, saving = config["policy"].get("megatron_cfg") or {}, config["checkpointing"]
    fixed = (megatron.get("checkpoint") or {}).get("ckpt_assume_constant_structure", False)
    if megatron.get("enabled") and fixed and section.get("policy_training_start_step", 0) > 0:  # noqa: SIM102
        if saving["enabled"] and saving["save_optimizer"]:
            yield 29


def _teacher(config: Mapping[str, Any], gpus: int, rollouts: int | None) -> Iterator[int]:
    teacher = config["teacher"]
    yield from _model(teacher, gpus, on_policy=False)
    replicas = gpus // Shape(teacher).size
    if rollouts is not None and replicas and not Shape(teacher).packed and rollouts % replicas:
        yield 3
    for model in (config["policy"], teacher):
        shape = Shape(model)
        if shape.dtensor and shape.packed and model["dtensor_cfg"].get("sequence_parallel"):
            yield 31
    if config["distillation"]["topk_logits_k"] <= 0:
        yield 31


def _saving(config: Mapping[str, Any]) -> Iterator[int]:
    saving = config["checkpointing"]
    if not saving["enabled"]:
        return
    metric = saving.get("metric_name")
    if metric is not None and metric[: metric.find(":") + 1] not in ("train:", "val:"):
        yield 26
    dtensor = config["policy"].get("dtensor_cfg") or {}
    first = dtensor.get("enabled") and not dtensor.get("_v2", False)
    if first and saving.get("model_save_format") is not None:
        yield 36
