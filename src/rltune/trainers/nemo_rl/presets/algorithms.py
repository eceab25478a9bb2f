"""The knobs of each algorithm, those that matter most first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from rltune.trainers.nemo_rl.presets.knobs import Knob, Room, chosen_from, one, ranged, switched
from rltune.trainers.nemo_rl.presets.learning_rate import learning_rate_knob
from rltune.trainers.nemo_rl.presets.shared import (
    batch_knob,
    groups_knob,
    off_policy_knobs,
    optimizer_knobs,
    shares_of_a_run,
    temperature_knob,
    warmup_knob,
)
from rltune.trainers.nemo_rl.recipe import Recipe


def _grpo(recipe: Recipe, room: Room) -> Iterator[Knob]:
    yield learning_rate_knob(recipe)
    kl = "Weight of the divergence from the reference policy. A third of the trials go without, which also frees the "
    kl += "reference model's memory and time. NeMo RL has 0.01 in 157 of 196 recipes, literature mostly 0.001."
    yield one(1, "kl_penalty", ranged(recipe, "kl_penalty", 1e-4, 5e-2, log=True, zero=0.35), kl)
    if recipe.get("loss_fn.use_cispo") is not True:
        clip = "How much wider the clip is above than below: 0.08 in DAPO (arXiv:2503.14476), 0 in most recipes."
        yield one(1, "clip_delta", ranged(recipe, "clip_delta", 0.0, 0.15), clip)
    group = "At the same total, larger groups ended with the same accuracy (ScaleRL, arXiv:2510.13786: 8 to 32), but "
    group += "their cost and noise differ."
    yield groups_knob(recipe, (4, 8, 16, 32, 64), room, group)
    yield from off_policy_knobs(recipe, 2)
    yield warmup_knob(recipe, room, (0, 10, 50))
    yield temperature_knob(recipe)
    yield from optimizer_knobs(recipe)
    for key, why in _GRPO_SWITCHES:
        yield one(3, key, switched(recipe, key), why)


_GRPO_SWITCHES = (
    ("loss_fn.token_level_loss", "The mean over tokens or over answers; it changes the scale of loss and KL penalty."),
    ("normalize_rewards", "Whether a group's rewards are divided by their standard deviation."),
    ("leave_one_out", "Whether an answer is left out of its own baseline."),
    ("grpo.overlong_filtering", "Whether answers that were cut off are left out of the loss."),
    (
        "loss_fn.use_importance_sampling_correction",
        "Whether the mismatch of generation and training is weighted away; a must where `mismatch` is reported.",
    ),
)


def _dapo(recipe: Recipe, room: Room) -> Iterator[Knob]:
    yield learning_rate_knob(recipe)
    clip = "Moves what is reached in the end, not only how fast (ScaleRL, arXiv:2510.13786); DAPO has 0.28."
    yield one(1, "clip_max", ranged(recipe, "clip_max", 0.22, 0.40), clip)
    yield groups_knob(recipe, (8, 16, 32), room, "At the same total; DAPO has 16.")
    dual = "The dual clip at negative advantages; null is none, DAPO has 10."
    yield one(2, "clip_c", chosen_from(recipe, "clip_c", (3, 10, None)), dual)
    many = "How many prompts are generated for, in units of those needed: more where few have mixed rewards."
    yield one(2, "grpo.batch_multiplier", chosen_from(recipe, "grpo.batch_multiplier", (1, 1.5, 2, 3)), many)
    yield from _overlong(recipe)
    yield warmup_knob(recipe, room, (0, 10, 50))
    yield from off_policy_knobs(recipe, 3)
    yield from optimizer_knobs(recipe)


def _overlong(recipe: Recipe) -> Iterator[Knob]:
    shaping = "grpo.reward_shaping"
    length, longest = f"{shaping}.overlong_buffer_length", recipe.get(f"{shaping}.max_response_length")
    if isinstance(longest, int) and isinstance(recipe.get(length), int):
        low, high = (math.ceil(longest * share) for share in (0.05, 0.25))
        low, high = min(low, recipe.get(length)), max(high, recipe.get(length))
        why = f"Tokens before the end in which the penalty grows: 5 to 25 % of the longest answer, {longest}."
        yield one(2, length, {"type": "int", "min": low, "max": high}, why)
    penalty = f"{shaping}.overlong_buffer_penalty"
    why = "The penalty at the very end, in units of reward; the metric is the reward without it."
    yield one(2, penalty, ranged(recipe, penalty, 0.5, 1.0), why)


def _ppo(recipe: Recipe, room: Room) -> Iterator[Knob]:
    yield learning_rate_knob(recipe)
    critic = "The critic's learning rate in units of the policy's: 10 in 8 of 10 recipes."
    yield one(1, "critic_ratio", ranged(recipe, "critic_ratio", 1.0, 30.0, log=True), critic)
    lam = "1 is Monte Carlo. The choices are even on the logarithm of 1 - lambda, which is the horizon of the estimate."
    yield one(1, "gae_lambda", chosen_from(recipe, "gae_lambda", (0.8, 0.9, 0.95, 0.98, 0.995, 1.0)), lam)
    epochs = "Passes over one step's samples: each is cheap next to generation, and one more step off policy."
    yield one(2, "ppo_epochs", chosen_from(recipe, "ppo_epochs", (1, 2, 4)), epochs)
    if recipe.get("loss_fn.use_cispo") is not True:
        clip = "How much wider the clip is above than below: DAPO's is 0.08."
        yield one(2, "clip_delta", ranged(recipe, "clip_delta", 0.0, 0.08), clip)
    head = "Steps in which the critic learns alone: a policy that follows an untrained critic forgets first."
    yield one(2, "critic_warmup_steps", chosen_from(recipe, "critic_warmup_steps", (0, 5, 10, 20, 50)), head)
    value = "How far the critic may move in one step; null leaves it free."
    yield one(2, "value_clip", chosen_from(recipe, "value_clip", (0.2, None)), value)
    kl = "None in most recipes of PPO. With one, a reference model is loaded besides."
    yield one(3, "kl_penalty", ranged(recipe, "kl_penalty", 1e-4, 1e-2, log=True, zero=0.8), kl)
    yield one(3, "clip_c", chosen_from(recipe, "clip_c", (3, 10)), "The dual clip at negative advantages.")
    yield warmup_knob(recipe, room, (0, 10, 50))
    yield temperature_knob(recipe)
    yield from optimizer_knobs(recipe)


def _dpo(recipe: Recipe, room: Room) -> Iterator[Knob]:
    yield learning_rate_knob(recipe)
    if recipe.get("dpo.preference_average_log_probs") is True:
        low, high = 1.0, 10.0
        why = "DPO's beta. With log probabilities averaged over tokens its scale is that of 5 (Tulu 3)."
    else:
        low, high = 0.01, 0.5
        why = "DPO's beta: the smaller, the further from the reference. NeMo RL has 0.05 in 10 of 12 recipes."
    yield one(1, "kl_penalty", ranged(recipe, "kl_penalty", low, high, log=True), why)
    sft = "Weight of the likelihood of the chosen answer, which keeps it from falling; 0 in most recipes."
    key = "dpo.sft_loss_weight"
    yield one(2, key, ranged(recipe, key, 1e-3, 0.3, log=True, zero=0.6), sft)
    yield batch_knob(recipe, 2, room, (32, 64, 128, 256))
    yield warmup_knob(recipe, room, shares_of_a_run(room, 0.0, 0.1))
    yield from optimizer_knobs(recipe, decay=2)


def _sft(recipe: Recipe, room: Room) -> Iterator[Knob]:
    yield learning_rate_knob(recipe)
    yield batch_knob(recipe, 1, room, (16, 32, 64, 128, 256, 512))
    if recipe.lora:
        rank = "The rank of the adapters; `lora_alpha` keeps its ratio to it, so that it is no second learning rate."
        yield one(2, "lora_dim", chosen_from(recipe, "lora_dim", (8, 16, 32, 64, 128, 256)), rank)
    yield warmup_knob(recipe, room, shares_of_a_run(room, 0.0, 0.03, 0.1))
    yield from optimizer_knobs(recipe, decay=2)


def _rm(recipe: Recipe, room: Room) -> Iterator[Knob]:
    yield learning_rate_knob(recipe)
    yield batch_knob(recipe, 1, room, (64, 128, 256))
    yield warmup_knob(recipe, room, shares_of_a_run(room, 0.0, 0.03, 0.1))
    yield from optimizer_knobs(recipe, decay=2)


def _distillation(recipe: Recipe, room: Room) -> Iterator[Knob]:
    yield learning_rate_knob(recipe)
    yield warmup_knob(recipe, room, (0, 10, 50))
    yield from optimizer_knobs(recipe, decay=2)


KNOBS: Mapping[str, Callable[[Recipe, Room], Iterator[Knob]]] = {
    "grpo": _grpo,
    "dapo": _dapo,
    "ppo": _ppo,
    "dpo": _dpo,
    "sft": _sft,
    "rm": _rm,
    "distillation": _distillation,
}
