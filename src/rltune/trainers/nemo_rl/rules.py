"""The rules of NeMo RL about its recipes, each written once, over dotted keys.

Most of them NeMo RL checks itself, the costly ones only at the first training step, after every model is loaded and a
whole batch is generated.

Notation: P prompts per step, G generations per prompt, P·G rollouts, W GPUs that train, TP, CP, PP the sizes of tensor,
context and pipeline parallelism, DP = W / (TP·CP·PP) the replicas. "batch % DP == 0" is written as
"batch·TP·CP·PP % W == 0", which is the same where W % (TP·CP·PP) == 0 and never divides by 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rltune.trainers.nemo_rl.recipe import Algorithm, Backend, Recipe


@dataclass(frozen=True)
class Rule:
    """What must hold, in Python's syntax over dotted keys.

    `implied`: other rules see to it, so that no space needs it as a constraint.
    """

    number: int
    text: str
    message: str
    hint: str
    implied: bool = False


_NODES, _EACH = "cluster.num_nodes", "cluster.gpus_per_node"
_SHARED = "policy.generation.colocated.enabled"
_APART = "policy.generation.colocated.resources"
GENERATES = (Algorithm.GRPO, Algorithm.PPO, Algorithm.DISTILLATION)
CLIPPED = (Algorithm.GRPO, Algorithm.PPO)  # those with the clipped policy-gradient loss


def rules(recipe: Recipe) -> Iterator[Rule]:
    """Every rule for this recipe's algorithm and backend."""
    yield from _one_backend("policy")
    yield from _placement(recipe, "policy")
    yield from _schedule(recipe, "policy")
    if recipe.algorithm in GENERATES:
        yield from _step(recipe, "policy")
        yield from _generation(recipe)
    elif recipe.algorithm is Algorithm.DPO:
        yield from _preferences(recipe)
    else:
        yield from _replicas(recipe, "policy")
    if recipe.algorithm in CLIPPED:
        yield from _loss()
        yield from _rollout_settings(recipe)
    if recipe.algorithm is Algorithm.PPO:
        yield from _critic(recipe)
    if recipe.algorithm is Algorithm.RM:
        yield from _reward_model(recipe)
    if recipe.algorithm is Algorithm.DISTILLATION and recipe.has("teacher.dtensor_cfg"):
        yield from _teacher(recipe)
    yield from _saving(recipe)


def others_take_gpus(recipe: Recipe) -> bool:
    """Whether part of the cluster goes to what is neither training nor generation, by rules of its own.

    A reward model, teachers of on-policy distillation, judges of NeMo-Gym.
    """
    if recipe.algorithm not in GENERATES:
        return False
    environments = {value for key, value in recipe.leaves().items() if key.startswith("data.") and "env_name" in key}
    teachers, judges = recipe.get("on_policy_distillation"), recipe.get("env.nemo_gym.num_gpu_nodes")
    return "reward_model" in environments or bool(teachers) or bool(judges)


def _gpus(recipe: Recipe) -> str:
    """W: all GPUs, less those that only generate; null, with which no rule can be computed, where others take some."""
    if others_take_gpus(recipe):
        return "None"
    if recipe.algorithm not in GENERATES:
        return f"({_NODES} * {_EACH})"
    apart = f"{_EACH} - {_APART}.gpus_per_node if {_NODES} == 1 else ({_NODES} - {_APART}.num_nodes) * {_EACH}"
    return f"({_NODES} * {_EACH} if {_SHARED} else {apart})"


def _divisor(recipe: Recipe) -> str:
    """W to divide by: where it is 0, rule 7 is what is broken."""
    return f"max({_gpus(recipe)}, 1)"


def sizes(recipe: Recipe, model: str) -> tuple[str, str, str]:
    """The keys of TP, CP and PP, the last of them 1 on DTensor, which has no pipeline."""
    if _backend(recipe, model) is Backend.MEGATRON:
        megatron = f"{model}.megatron_cfg"
        return (
            f"{megatron}.tensor_model_parallel_size",
            f"{megatron}.context_parallel_size",
            f"{megatron}.pipeline_model_parallel_size",
        )
    return f"{model}.dtensor_cfg.tensor_parallel_size", f"{model}.dtensor_cfg.context_parallel_size", "1"


def _size(recipe: Recipe, model: str) -> str:
    return f"({' * '.join(sizes(recipe, model))})"


def _backend(recipe: Recipe, model: str) -> Backend:
    return Backend.MEGATRON if recipe.get(f"{model}.megatron_cfg.enabled") is True else Backend.DTENSOR


def _mixed(model: str) -> str:
    return f"({model}.sequence_packing.enabled or {model}.dynamic_batching.enabled)"


def _one_backend(model: str) -> Iterator[Rule]:
    yield Rule(
        10,
        f"{model}.dtensor_cfg.enabled != {model}.megatron_cfg.enabled",
        f"exactly one backend of `{model}` must be enabled",
        "set one `enabled` to true and the other to false",
    )


def _placement(recipe: Recipe, model: str) -> Iterator[Rule]:
    """What the constructor of a model refuses: how it is spread over the GPUs, how its batches are laid out."""
    tp, cp, pp = sizes(recipe, model)
    packing, dynamic = f"{model}.sequence_packing.enabled", f"{model}.dynamic_batching.enabled"
    yield Rule(
        7,
        f"{_gpus(recipe)} % {_size(recipe, model)} == 0 and {_gpus(recipe)} > 0",
        f"the GPUs that train must be a multiple of the parallel sizes of `{model}`, multiplied",
        "change `cluster.*`, or lower a parallel size",
    )
    if recipe.has(f"{model}.logprob_batch_size"):
        forced = " or loss_fn.force_on_policy_ratio" if recipe.algorithm in CLIPPED else ""
        yield Rule(
            8,
            f"{tp} < 4 or {model}.train_micro_batch_size == {model}.logprob_batch_size{forced}",
            "with a tensor parallel size from 4 on, both micro-batches must be equal",
            "set `logprob_batch_size` to `train_micro_batch_size`; or let the trainer's environment hold "
            "NRL_IGNORE_TP_ACCURACY_CHECK=1",
        )
    yield Rule(
        6,
        f"not ({packing} and {dynamic})",
        "sequence packing and dynamic batching exclude each other",
        "switch one of them off",
    )
    if pp != "1":
        yield Rule(6, f"not {dynamic} or {pp} == 1", "dynamic batching has no pipeline", "use sequence packing")
    for kind in ("sequence_packing", "dynamic_batching"):
        for limit in (f"{model}.{kind}.train_mb_tokens", f"{model}.{kind}.logprob_mb_tokens"):
            if recipe.has(limit):
                yield Rule(
                    5,
                    f"not {model}.{kind}.enabled or {model}.max_total_sequence_length <= {limit}",
                    "the longest sequence must fit into one micro-batch",
                    f"raise `{limit}`, or leave it to follow the sequence length",
                )
    yield from (
        _megatron_model(model, cp)
        if _backend(recipe, model) is Backend.MEGATRON
        else _dtensor_model(recipe, model, tp, cp)
    )


def _megatron_model(model: str, cp: str) -> Iterator[Rule]:
    chunk = f"{model}.logprob_chunk_size"
    yield Rule(
        32,
        f"{cp} == 1 or {model}.sequence_packing.enabled",
        "context parallelism on Megatron needs sequence packing",
        "switch packing on, or set the context parallel size to 1",
    )
    yield Rule(
        33,
        f"{chunk} == None or {chunk} <= 0 or {model}.megatron_cfg.defer_fp32_logits",
        "log-probabilities in chunks need deferred logits",
        f"set `{model}.megatron_cfg.defer_fp32_logits` to true",
    )


def _dtensor_model(recipe: Recipe, model: str, tp: str, cp: str) -> Iterator[Rule]:
    dtensor = f"{model}.dtensor_cfg"
    lora, copies = f"{dtensor}.lora_cfg", f"{dtensor}.dp_replicate_size"
    yield Rule(
        32,
        f"{cp} == 1 or not ({model}.sequence_packing.enabled or {dtensor}.sequence_parallel)",
        "context parallelism on DTensor excludes sequence packing and sequence parallelism",
        "switch them off, or set the context parallel size to 1",
    )
    yield Rule(36, f"not {lora}.enabled or {dtensor}._v2", "LoRA needs the second DTensor worker", "set `_v2: true`")
    yield Rule(
        36,
        f"not {lora}.enabled or {tp} == 1 or not {lora}.use_triton",
        "LoRA's Triton kernels need a tensor parallel size of 1",
        f"set `{lora}.use_triton` to false",
    )
    yield Rule(37, f"{copies} == 1 or {dtensor}._v2", "copies need the second DTensor worker", "set `_v2: true`")
    yield Rule(
        37,
        f"{copies} == 1 or {_gpus(recipe)} % ({_size(recipe, model)} * {copies}) == 0",
        "the replicas must be a multiple of the copies, `dp_replicate_size`",
        f"change `{copies}`",
    )


def _schedule(recipe: Recipe, model: str) -> Iterator[Rule]:
    """Megatron's own checks of its learning rates: `optimizer_param_scheduler.py` of Megatron-LM."""
    if _backend(recipe, model) is not Backend.MEGATRON:
        return
    optimizer, schedule = f"{model}.megatron_cfg.optimizer", f"{model}.megatron_cfg.scheduler"
    together = "scale the learning rate, `min_lr` and `lr_warmup_init` together, as the name `learning_rate` does"
    yield Rule(34, f"{optimizer}.min_lr >= 0", "the lowest learning rate must not be below 0", together)
    for floor in (f"{optimizer}.min_lr", f"{schedule}.lr_warmup_init"):
        yield Rule(34, f"{optimizer}.lr >= {floor}", "the learning rate must not be below its floor", together)
    steps, decay = f"{recipe.algorithm}.max_num_steps", f"{schedule}.lr_decay_iters"
    warmup = f"{schedule}.lr_warmup_iters"
    yield Rule(
        34,
        f"{warmup} < {decay} if {decay} != None else ({steps} <= 0 or {warmup} < {steps})",
        "warm-up must end before the decay of the learning rate does, which without an end of its own is the last step",
        f"lower `{warmup}`, or let the other end later",
    )


def _step(recipe: Recipe, model: str, number: int | None = None) -> Iterator[Rule]:
    """How the rollouts of one step are cut into global batches, those over replicas, those into micro-batches.

    Args:
        recipe: Gives the algorithm.
        model: `policy` or `value`.
        number: Instead of each rule's own.
    """
    batch, made = f"{model}.train_global_batch_size", rollouts(recipe)
    yield Rule(
        number or 1,
        f"{made} % {batch} == 0",
        "prompts times generations must be a multiple of the global batch",
        f"lower `{batch}` to a divisor of it",
    )
    yield from _replicas(recipe, model, number)
    yield Rule(
        number or 3,
        f"{model}.sequence_packing.enabled or {made} * {_size(recipe, model)} % {_divisor(recipe)} == 0",
        "without packing, prompts times generations must be a multiple of the replicas",
        "change the prompts or generations per step, or `cluster.*`",
        implied=True,  # by rules 1 and 2
    )


def _replicas(recipe: Recipe, model: str, number: int | None = None) -> Iterator[Rule]:
    batch, micro = f"{model}.train_global_batch_size", f"{model}.train_micro_batch_size"
    spread = f"{batch} * {_size(recipe, model)} % {_divisor(recipe)}"
    yield Rule(
        number or 2,
        f"{spread} == 0",
        "the global batch must be a multiple of the replicas: GPUs that train by parallel sizes",
        f"change `{batch}` or the parallel sizes",
    )
    yield Rule(
        number or 4,
        f"{_mixed(model)} or {batch} * {_size(recipe, model)} % ({_divisor(recipe)} * {micro}) == 0",
        "without packing or dynamic batching, each replica's share of the global batch must be a multiple of the "
        "micro-batch",
        f"change `{micro}`, or switch packing on",
    )


def _preferences(recipe: Recipe) -> Iterator[Rule]:
    """DPO keeps chosen and rejected answers side by side, so nothing may change the order of a batch."""
    batch, micro = "policy.train_global_batch_size", "policy.train_micro_batch_size"
    yield Rule(27, f"not {_mixed('policy')}", "DPO excludes sequence packing and dynamic batching", "switch them off")
    yield Rule(
        2,
        f"{batch} * {_size(recipe, 'policy')} % {_divisor(recipe)} == 0",
        "the global batch must be a multiple of the replicas: GPUs that train by parallel sizes",
        f"change `{batch}` or the parallel sizes",
        implied=True,  # by rule 27
    )
    yield Rule(
        27,
        f"{batch} * {_size(recipe, 'policy')} % ({_divisor(recipe)} * {micro}) == 0",
        "DPO's global batch must be a multiple of the replicas times the micro-batch",
        f"change `{batch}` or `{micro}`",
    )


def rollouts(recipe: Recipe) -> str:
    """P·G, of an algorithm that generates."""
    return f"({recipe.algorithm}.num_prompts_per_step * {recipe.algorithm}.num_generations_per_prompt)"


def _generation(recipe: Recipe) -> Iterator[Rule]:
    generation = "policy.generation"
    vllm, other = f"{generation}.vllm_cfg", f"{generation}.backend != 'vllm'"
    tp, pp, ep = (f"{vllm}.{kind}_parallel_size" for kind in ("tensor", "pipeline", "expert"))
    each, nodes = f"{_APART}.gpus_per_node", f"{_APART}.num_nodes"
    apart = f"{each} if {_NODES} == 1 else {nodes} * {each}"
    yield Rule(
        9,
        f"{other} or ({_gpus(recipe)} if {_SHARED} else {apart}) % ({tp} * {pp}) == 0",
        "the GPUs that generate must be a multiple of vLLM's tensor and pipeline parallel sizes, multiplied",
        f"change `{tp}`",
    )
    yield Rule(
        9, f"{other} or {pp} == 1 or {vllm}.async_engine", "vLLM's pipeline needs its async engine", f"set `{pp}` to 1"
    )
    yield Rule(
        9,
        f"{other} or {ep} == 1 or {ep} % {tp} == 0",
        "vLLM's expert parallel size must be 1 or a multiple of its tensor parallel size",
        f"change `{ep}`",
    )
    yield Rule(
        9,
        f"{other} or {ep} == 1 or {ep} == {tp} or not {vllm}.async_engine",
        "vLLM's async engine needs equal expert and tensor parallel sizes",
        f"set `{ep}` to `{tp}`",
    )
    top_p, top_k = f"{generation}.top_p", f"{generation}.top_k"
    yield Rule(9, f"{other} or 0 < {top_p} <= 1", "top_p must lie above 0 and up to 1", "1.0 leaves it off")
    yield Rule(
        9,
        f"{other} or {top_k} == None or {top_k} == -1 or {top_k} >= 1",
        "top_k must be null, -1 or from 1 on",
        "null leaves it off",
    )
    yield Rule(
        35,
        f"{_SHARED} or {each} != None and (0 < {each} < {_EACH} if {_NODES} == 1 else "
        f"{each} == {_EACH} and {nodes} != None and 0 < {nodes} < {_NODES})",
        "generation on GPUs of its own needs a part of the only node, or whole nodes, and must leave some for training",
        f"set `{each}` and, with several nodes, `{nodes}`",
    )
    if recipe.algorithm is Algorithm.GRPO:
        yield from _validation_sampling(recipe)


def _validation_sampling(recipe: Recipe) -> Iterator[Rule]:
    generation = "policy.generation"
    gym = f"{generation}.backend == 'vllm' and env.should_use_nemo_gym"
    for what in ("temperature", "top_p", "top_k"):
        own, train = f"{generation}.val_{what}", f"{generation}.{what}"
        if recipe.has(own):
            yield Rule(
                21,
                f"{own} == {train}" if what == "top_k" else f"{own} == {train} or ({gym})",
                "validation samples as training does, except with NeMo-Gym on vLLM",
                f"let `{own}` follow: ${{.{what}}}",
            )


def _loss() -> Iterator[Rule]:
    """The clipped policy-gradient loss, of which each variant excludes some switches."""
    clip, cispo = "loss_fn.ratio_clip_c", "loss_fn.use_cispo"
    per_sequence, per_token = "loss_fn.sequence_level_importance_ratios", "loss_fn.token_level_loss"
    yield Rule(16, f"{clip} == None or {clip} > 1", "the dual clip must be null or above 1", "10 is usual; or null")
    yield Rule(
        17,
        f"not {per_sequence} or not {per_token}",
        "ratios of whole sequences (GSPO) need a loss of whole sequences",
        f"set `{per_token}` to false",
    )
    for switch in ("loss_fn.disable_ppo_ratio", "loss_fn.force_on_policy_ratio", per_sequence):
        yield Rule(18, f"not {cispo} or not {switch}", f"CISPO excludes `{switch}`", "switch one of them off")
    yield Rule(18, f"not {cispo} or {clip} == None", "CISPO excludes the dual clip", f"set `{clip}` to null")
    yield Rule(18, f"not {cispo} or {per_token}", "CISPO needs a loss of tokens", f"set `{per_token}` to true")
    kind = "loss_fn.truncated_importance_sampling_type"
    high = "loss_fn.truncated_importance_sampling_ratio"
    low = f"{high}_min"
    for must, message, hint in (
        (f"{kind} in ['tis', 'icepop', 'seq-mask-tis']", "it must be tis, icepop or seq-mask-tis", f"change `{kind}`"),
        ("loss_fn.use_importance_sampling_correction", "it needs the correction itself", "switch the correction on"),
        (f"{high} != None and {high} > 0", "it needs an upper limit above 0", f"set `{high}`, such as 2.0"),
        (f"{low} == None or {high} == None or {low} <= {high}", "its limits must be in order", f"lower `{low}`"),
        (f"{kind} == 'tis' or {low} != None", "other than tis it needs a lower limit", f"set `{low}`, such as 0.5"),
        (f"{kind} != 'seq-mask-tis' or not {per_sequence}", "seq-mask-tis weighs tokens", "use another type"),
    ):
        yield Rule(19, f"{kind} == None or ({must})", f"truncated importance sampling: {message}", hint)


def _rollout_settings(recipe: Recipe) -> Iterator[Rule]:
    """Settings of GRPO and PPO that depend on each other."""
    section = str(recipe.algorithm)
    yield from _batch_of_a_step(recipe, section)
    yield from _reference_policy(section)
    yield from _ahead_of_training(section)
    yield from _validation(section)
    yield from _reward_shaping(section)
    yield from _dataloaders(section)


_KL = "loss_fn.reference_policy_kl_penalty"
_FORCED = "loss_fn.force_on_policy_ratio"


def _batch_of_a_step(recipe: Recipe, section: str) -> Iterator[Rule]:
    batch = "policy.train_global_batch_size"
    dynamic, many = f"{section}.use_dynamic_sampling", f"{section}.batch_multiplier"
    yield Rule(
        11,
        f"not {_FORCED} or {batch} == {rollouts(recipe)}",
        "with `force_on_policy_ratio` the global batch must be prompts times generations",
        f"set `{batch}` to their product",
    )
    yield Rule(
        12,
        f"{many} == 1 or {dynamic}",
        "a batch multiplier needs dynamic sampling",
        f"set `{many}` to 1 or `{dynamic}` to true",
    )


def _reference_policy(section: str) -> Iterator[Rule]:
    skip, threshold = f"{section}.skip_reference_policy_logprobs_calculation", f"{section}.seq_logprob_error_threshold"
    yield Rule(
        13,
        f"not {skip} or {_KL} == 0",
        "a KL penalty needs the reference policy's log-probabilities",
        f"set `{skip}` to false",
    )
    yield Rule(
        15,
        f"not loss_fn.use_kl_in_reward or {_KL} == 0 or not {_FORCED} or {threshold} != None",
        "KL in the reward needs real log-probabilities, which `force_on_policy_ratio` leaves out",
        f"set `{threshold}`, or switch one of them off",
    )


def _ahead_of_training(section: str) -> Iterator[Rule]:
    """Asynchronous training: rollouts are generated while earlier ones are trained on."""
    ahead, engine = f"{section}.async_{section}.enabled", "policy.generation.vllm_cfg.async_engine"
    for must, hint in (
        (f"policy.generation.backend != 'vllm' or {engine}", f"set `{engine}` to true"),
        ("loss_fn.use_importance_sampling_correction", "switch the correction on"),
        (f"not {section}.use_dynamic_sampling", "switch dynamic sampling off"),
        (f"not {section}.reward_scaling.enabled", "switch reward scaling off"),
        (f"not {section}.reward_shaping.enabled", "switch reward shaping off"),
        ("not data.use_multiple_dataloader", "use one dataloader"),
    ):
        yield Rule(20, f"not {ahead} or ({must})", f"asynchronous training needs `{must}`", hint)


def _validation(section: str) -> Iterator[Rule]:
    """What is validated, and what may end a run there."""
    samples, size = f"{section}.max_val_samples", f"{section}.val_batch_size"
    validates = f"({section}.val_period > 0 or {section}.val_at_start or {section}.val_at_end)"
    stop, repeats = f"{section}.stop_at_validation", f"{section}.val_num_generations_per_prompt"
    yield Rule(
        22,
        f"not {validates} or {samples} >= {size}",
        "validation needs at least one whole batch",
        f"lower `{size}` to a divisor of `{samples}`: what is left over is not validated",
    )
    yield Rule(
        23,
        f"{stop}_metric == None or {stop}_threshold != None",
        "stopping at a metric needs a threshold",
        f"set `{stop}_threshold`",
    )
    yield Rule(
        23,
        f"{stop}_metric != 'pass_k' or {repeats} > 1",
        "pass_k is measured from two generations on",
        f"raise `{repeats}`",
    )


def _reward_shaping(section: str) -> Iterator[Rule]:
    """By a factor for answers that were cut off, or else by length."""
    shaping = f"{section}.reward_shaping"
    coefficient, penalty = f"{shaping}.stop_properly_penalty_coef", f"{shaping}.overlong_buffer_penalty"
    by_factor = f"not {shaping}.enabled or {coefficient}"
    yield Rule(
        25,
        f"{by_factor} == None or 0 <= {coefficient} <= 1",
        "the factor for answers that were cut off must lie between 0 and 1",
        "1 leaves their reward as it is",
    )
    for needed in (f"{shaping}.overlong_buffer_length", penalty, f"{shaping}.max_response_length"):
        yield Rule(
            25,
            f"{by_factor} != None or {needed} != None",
            "shaping the reward by length needs three values",
            f"set `{needed}`",
        )
    yield Rule(
        25,
        f"{by_factor} != None or {penalty} == None or {penalty} >= 0",
        "the penalty on overlong answers must not be below 0",
        "0 is no penalty",
    )


def _dataloaders(section: str) -> Iterator[Rule]:
    prompts, part = f"{section}.num_prompts_per_step", "data.num_prompts_per_dataloader"
    dynamic, many = f"{section}.use_dynamic_sampling", f"{section}.batch_multiplier"
    yield Rule(
        37,
        f"not data.use_multiple_dataloader or (int({prompts} * {many}) % int({part} * {many}) == 0 if {dynamic} "
        f"else {prompts} % {part} == 0)",
        "the prompts of a step must be a multiple of those of one dataloader",
        f"change `{part}`",
    )


def _critic(recipe: Recipe) -> Iterator[Rule]:
    yield from _one_backend("value")
    yield from _placement(recipe, "value")
    yield from _schedule(recipe, "value")
    yield from _step(recipe, "value", number=30)
    yield Rule(30, "ppo.ppo_epochs >= 1", "there must be at least one epoch on each batch", "set `ppo.ppo_epochs`")
    _, cp, _ = sizes(recipe, "value")
    if _backend(recipe, "value") is Backend.MEGATRON:
        yield Rule(
            29,
            f"{cp} == 1 or value.sequence_packing.enabled",
            "context parallelism of the critic on Megatron needs sequence packing",
            "switch packing on",
        )
    else:
        yield Rule(
            29,
            f"{cp} == 1 and not {_mixed('value')}",
            "the critic on DTensor has no context parallelism, no packing and no dynamic batching",
            "switch them off, or use Megatron",
        )
    fixed = "policy.megatron_cfg.checkpoint.ckpt_assume_constant_structure"
    yield Rule(
        29,
        f"not policy.megatron_cfg.enabled or not {fixed} or ppo.policy_training_start_step <= 0 or "
        "not checkpointing.enabled or not checkpointing.save_optimizer",
        "a head start for the critic changes what a checkpoint holds",
        f"set `{fixed}` to false",
    )


def _reward_model(recipe: Recipe) -> Iterator[Rule]:
    _, cp, _ = sizes(recipe, "policy")
    for must, hint in (
        ("not policy.megatron_cfg.enabled", "use DTensor"),
        (f"{cp} == 1", "set it to 1"),
        ("not policy.sequence_packing.enabled", "switch packing off"),
        ("policy.reward_model_cfg.enabled", "switch it on"),
    ):
        yield Rule(28, must, f"a reward model needs `{must}`", hint)


def _teacher(recipe: Recipe) -> Iterator[Rule]:
    yield from _one_backend("teacher")
    yield from _placement(recipe, "teacher")
    spread = f"{rollouts(recipe)} * {_size(recipe, 'teacher')} % {_divisor(recipe)}"
    yield Rule(
        3,
        f"teacher.sequence_packing.enabled or {spread} == 0",
        "without packing, prompts times generations must be a multiple of the teacher's replicas",
        "change the prompts per step, or the teacher's parallel sizes",
    )
    for model in ("policy", "teacher"):
        dtensor = f"{model}.dtensor_cfg"
        yield Rule(
            31,
            f"not {dtensor}.enabled or not {dtensor}.sequence_parallel or not {model}.sequence_packing.enabled",
            "distillation on DTensor excludes sequence parallelism with packing",
            "switch one of them off",
        )
    yield Rule(31, "distillation.topk_logits_k > 0", "the teacher must give at least one logit", "64 is usual")


def _saving(recipe: Recipe) -> Iterator[Rule]:
    if _backend(recipe, "policy") is Backend.DTENSOR:
        yield Rule(
            36,
            "not checkpointing.enabled or policy.dtensor_cfg._v2 or checkpointing.model_save_format == None",
            "the first DTensor worker saves in no format of choice",
            "set `checkpointing.model_save_format` to null, or `policy.dtensor_cfg._v2` to true",
        )


_ABSENT = {  # what NeMo RL takes where a recipe has no such key; by the end of the key
    "enabled": False,
    "colocated.enabled": True,
    "_v2": False,
    "sequence_parallel": False,
    "lora_cfg.use_triton": True,
    "dp_replicate_size": 1,
    "defer_fp32_logits": False,
    "pipeline_parallel_size": 1,
    "expert_parallel_size": 1,
    "async_engine": False,
    "should_use_nemo_gym": False,
    "use_multiple_dataloader": False,
    "sequence_level_importance_ratios": False,
    "token_level_loss": True,
    "use_cispo": False,
    "disable_ppo_ratio": False,
    "force_on_policy_ratio": False,
    "use_importance_sampling_correction": False,
    "use_kl_in_reward": False,
    "use_dynamic_sampling": False,
    "batch_multiplier": 1,
    "grpo.skip_reference_policy_logprobs_calculation": False,
    "ppo.skip_reference_policy_logprobs_calculation": True,
    "ppo_epochs": 4,
    "policy_training_start_step": 0,
    "val_at_start": False,
    "val_at_end": False,
    "val_num_generations_per_prompt": 1,
    "ckpt_assume_constant_structure": False,
    "save_optimizer": True,
}


def value(recipe: Recipe, key: str) -> Any:
    """The recipe's value, else what NeMo RL takes; null where neither says one."""
    if recipe.has(key):
        return recipe.get(key)
    parts = key.split(".")
    ends = (".".join(parts[-n:]) for n in (2, 1))
    return next((_ABSENT[end] for end in ends if end in _ABSENT), None)
