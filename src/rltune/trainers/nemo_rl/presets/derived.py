"""What holds between the values of one configuration, and what follows from them, so that trials stay alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rltune.trainers.nemo_rl.presets.knobs import value_today
from rltune.trainers.nemo_rl.presets.parts import Setting
from rltune.trainers.nemo_rl.presets.shared import rollouts_of, usual_totals
from rltune.trainers.nemo_rl.recipe import Recipe
from rltune.trainers.nemo_rl.resume import steps_key
from rltune.types import HORIZON


def batch_rules(recipe: Recipe, tuned: Collection[str]) -> Iterator[Setting]:
    """Constraints of the preset's own; NeMo RL's rules come besides."""
    if "num_prompts" not in tuned:
        return
    totals = usual_totals(recipe)
    yield Setting(f"{totals[0]} <= num_prompts * num_generations <= {totals[-1]}", None, "rollouts in a step")
    if "global_batch_size" in tuned:
        often = max(16, rollouts_of(recipe) // value_today(recipe, "global_batch_size"))
        why = f"at most {often} updates with the rollouts of a step"
        yield Setting(f"num_prompts * num_generations <= {often} * global_batch_size", None, why)


def followers(recipe: Recipe, tuned: Collection[str], horizon: int | None) -> Iterator[Setting]:
    """What keeps trials alike: as many rollouts in a step, or fewer steps for larger ones.

    No configuration is to be better because it saw more samples.
    """
    if "num_generations" in tuned and "num_prompts" not in tuned:
        why = "the recipe's rollouts in a step, shared out: larger groups, fewer of them"
        yield Setting("num_prompts", f"{rollouts_of(recipe)} // num_generations", why)
    if horizon is None:
        return
    why = f"every trial sees the samples of `{HORIZON}` steps of the recipe: larger steps, fewer of them"
    if "num_prompts" in tuned:
        samples = f"{HORIZON} * {rollouts_of(recipe)}"
        yield Setting(steps_key(recipe), f"max(1, {samples} // (num_prompts * num_generations))", why)
    elif "global_batch_size" in tuned and not recipe.has(f"{recipe.algorithm}.num_prompts_per_step"):
        samples = f"{HORIZON} * {value_today(recipe, 'global_batch_size')}"
        yield Setting(steps_key(recipe), f"max(1, {samples} // global_batch_size)", why)
