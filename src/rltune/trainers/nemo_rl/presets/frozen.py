"""What no preset tunes, and why."""

from __future__ import annotations

from collections.abc import Iterator

from rltune.trainers.nemo_rl.presets.knobs import kind_of, value_today
from rltune.trainers.nemo_rl.presets.parts import Frozen
from rltune.trainers.nemo_rl.recipe import Recipe


def never_tuned(recipe: Recipe) -> Iterator[Frozen]:
    """What no preset tunes."""
    micro = "policy.train_micro_batch_size"
    yield Frozen(micro, recipe.get(micro), "changes memory and speed, not what is learnt")
    length = "a longer run is a costlier one; it may end a run before `trainer.horizon` does"
    yield Frozen("num_epochs", value_today(recipe, "num_epochs"), length)
    yield Frozen("adam_beta1", value_today(recipe, "adam_beta1"), "the same in all recipes")
    schedule = "another shape of the learning rate makes a short run say less about a long one; write it in the recipe"
    yield Frozen("policy.scheduler", None, schedule)
    kind, section = kind_of(recipe), str(recipe.algorithm)
    if kind in ("grpo", "ppo", "dapo"):
        yield Frozen("clip_min", value_today(recipe, "clip_min"), "0.2 in all recipes but one")
        yield Frozen("top_p", value_today(recipe, "top_p"), "changes validation as well, and 1 in all recipes")
        yield Frozen(
            "loss_fn.use_cispo", recipe.get("loss_fn.use_cispo"), "needs a clip of its own: a study of its own"
        )
    if recipe.get("loss_fn.force_on_policy_ratio") is True:
        batch = value_today(recipe, "global_batch_size")
        yield Frozen("global_batch_size", batch, "is prompts times generations: `loss_fn.force_on_policy_ratio` is on")
    if kind == "dapo":
        yield Frozen("kl_penalty", value_today(recipe, "kl_penalty"), "DAPO goes without")
        yield Frozen("leave_one_out", value_today(recipe, "leave_one_out"), "off in DAPO")
        yield Frozen("loss_fn.token_level_loss", recipe.get("loss_fn.token_level_loss"), "on in DAPO")
        yield Frozen("temperature", value_today(recipe, "temperature"), "changes validation as well")
    if kind in ("ppo", "distillation"):
        yield Frozen("num_generations", value_today(recipe, "num_generations"), "the recipe's batch is kept")
    if kind == "ppo":
        yield Frozen(
            "ppo.adv_estimator.gae_gamma", recipe.get("ppo.adv_estimator.gae_gamma"), "1: one reward, at the end"
        )
    if kind == "distillation":
        yield Frozen("global_batch_size", value_today(recipe, "global_batch_size"), "64 in NeMo RL's recipes")
        yield Frozen("temperature", value_today(recipe, "temperature"), "changes validation as well")
    if recipe.lora:
        yield Frozen("lora_alpha", value_today(recipe, "lora_alpha"), "a second learning rate")
        if kind != "sft":
            yield Frozen("lora_dim", value_today(recipe, "lora_dim"), "rank 1 is enough for RL (Schulman et al. 2025)")
    steps = f"{section}.seed"
    yield Frozen(steps, recipe.get(steps), "each trial gets its own from the study")
