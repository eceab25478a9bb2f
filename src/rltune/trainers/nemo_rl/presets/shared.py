"""Knobs of several algorithms: batches, groups of answers, the optimizer, warm-up, temperature."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from rltune.trainers.nemo_rl.presets.knobs import Knob, Room, allowed_choices, chosen_from, one, ranged, value_today
from rltune.trainers.nemo_rl.recipe import Recipe

_FEWEST_STEPS = 20
"""No batch size leaves fewer steps of a run: a schedule and an optimizer need some."""


def optimizer_knobs(recipe: Recipe, decay: int = 3) -> Iterator[Knob]:
    """What is nearly the same in all recipes.

    Args:
        recipe: The recipe.
        decay: The tier of the weight decay.
    """
    why = "Three usual strengths; it matters little in short runs."
    yield one(decay, "weight_decay", chosen_from(recipe, "weight_decay", (0.0, 0.01, 0.1)), why)
    why = "1.0 in every recipe of NeMo RL; lower is calmer."
    yield one(3, "max_grad_norm", ranged(recipe, "max_grad_norm", 0.1, 1.0, log=True), why)
    why = "How long Adam remembers the size of gradients: shorter for short runs."
    yield one(3, "adam_beta2", chosen_from(recipe, "adam_beta2", (0.95, 0.98, 0.999)), why)


def warmup_knob(recipe: Recipe, room: Room, steps: Iterable[int]) -> Knob:
    wanted = [n for n in steps if room.horizon is None or n < room.horizon]
    why = "Steps of training, not updates of the weights, until the learning rate is at its peak."
    return one(2, "warmup_steps", chosen_from(recipe, "warmup_steps", wanted), why)


def shares_of_a_run(room: Room, *shares: float) -> list[int]:
    """Warm-up in steps, from shares of a run; one of whole epochs is taken for 1,000 steps."""
    return sorted({round((room.horizon or 1000) * share) for share in shares})


def temperature_knob(recipe: Recipe) -> Knob:
    why = "Of sampling in training AND in validation, which NeMo RL does not tell apart: a lower one scores higher "
    why += "without a better policy. Fix it if you evaluate at another one. 1.0 in 97 % of recipes."
    return one(2, "temperature", ranged(recipe, "temperature", 0.7, 1.2), why)


def batch_knob(recipe: Recipe, tier: int, room: Room, sizes: Iterable[int]) -> Knob:
    why = "Samples in one update. The best learning rate grows with about its square root, so tune the two together."
    today = value_today(recipe, "global_batch_size")
    most = math.inf if room.horizon is None else room.horizon * today / _FEWEST_STEPS
    spec = allowed_choices(recipe, "global_batch_size", [size for size in sizes if size <= most])
    return one(tier, "global_batch_size", spec, why)


def groups_knob(recipe: Recipe, sizes: Iterable[int], room: Room, reason: str) -> Knob:
    """Answers to each prompt, at the recipe's rollouts in a step; where other totals are tried, prompts as well."""
    today = rollouts_of(recipe)
    groups = sorted({value_today(recipe, "num_generations"), *(size for size in sizes if today % size == 0)})
    by_group = {"type": "categorical", "choices": groups}
    if not _varies_total(recipe, room):
        return one(2, "num_generations", by_group, reason)
    counts = sorted({total // size for total in usual_totals(recipe) for size in groups if total % size == 0})
    specs = (by_group, {"type": "categorical", "choices": counts})
    return Knob(2, ("num_generations", "num_prompts"), specs, reason)


def _varies_total(recipe: Recipe, room: Room) -> bool:
    """Whether the rollouts of a step are tuned; with DAPO, which oversamples, they are not."""
    return room.tier == 3 and not recipe.is_dapo


def rollouts_of(recipe: Recipe) -> int:
    """Of one step."""
    return int(value_today(recipe, "num_prompts") * value_today(recipe, "num_generations"))


def usual_totals(recipe: Recipe) -> list[int]:
    """Rollouts in a step that are worth trying, the recipe's own among them."""
    return sorted({rollouts_of(recipe), 128, 256, 512, 1024, 2048})


def off_policy_knobs(recipe: Recipe, tier: int) -> Iterator[Knob]:
    """How many updates are made with the rollouts of one step."""
    if recipe.get("loss_fn.force_on_policy_ratio") is True:
        return  # the batch follows the rollouts
    made = rollouts_of(recipe)
    why = "Rollouts of a step by this are the updates made with them, of which all but the first are off policy: "
    why += f"1 update in 140 of 196 recipes, here {made} / {value_today(recipe, 'global_batch_size')}."
    sizes = [made // updates for updates in (1, 2, 4, 8, 16) if made % updates == 0]
    yield one(tier, "global_batch_size", allowed_choices(recipe, "global_batch_size", sizes), why)
