"""What is optimised, which ranges are proposed for other metrics, and what chance does to one measurement."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rltune.objective import Direction, Objective
from rltune.trainers.nemo_rl.metrics import SCORED, validation_sets
from rltune.trainers.nemo_rl.presets.parts import Setting
from rltune.trainers.nemo_rl.recipe import Algorithm, Recipe


def objective_of(recipe: Recipe) -> tuple[Objective, str]:
    if recipe.algorithm in SCORED:
        why = "the plain reward on held-out prompts"
        if recipe.algorithm is Algorithm.DISTILLATION:
            return Objective("validation/accuracy", "maximize"), f"{why}; the loss has another scale for each kl_type"
        return Objective("validation/accuracy", "maximize"), f"{why}; train/reward is shaped, scaled, and can be gamed"
    if recipe.algorithm is Algorithm.SFT:
        why = "add a task's own metric if you can: the loss alone misjudges how long to train"
        return Objective("validation/val_loss", "minimize"), why
    which = validation_sets(recipe)[0]
    direction: Direction = "maximize"
    why = "held-out pairs in the right order; the loss is no measure"
    if recipe.algorithm is Algorithm.DPO:
        why += ": it scales with beta, which is tuned"
    return Objective(f"validation-{which}/accuracy", direction), why


def ranges_of(recipe: Recipe) -> Iterator[Setting]:
    """Only proposed: how far is too far depends on the data."""
    objective, _ = objective_of(recipe)
    if recipe.algorithm is Algorithm.DPO:
        metric = f"{objective.metric.rpartition('/')[0]}/rewards_chosen_mean"
        why = "beta times what the chosen answers have lost in log probability; far below 0, all answers got unlikely"
        yield Setting(metric, {"min": -5.0}, why, on=False)
    if recipe.algorithm is Algorithm.PPO:
        why = "below 0 the critic is worse than a constant; look up the metric's name in your first run"
        yield Setting("train/critic/explained_var", {"min": 0.0}, why, on=False)


def noise_of(recipe: Recipe) -> tuple[str, tuple[Setting, ...], float | None]:
    """What chance does to one measurement, what would help, and its standard error at an accuracy of one half.

    The standard error of an accuracy p over n answers is sqrt(p (1 - p) / n).
    """
    section = str(recipe.algorithm)
    if recipe.algorithm in SCORED:
        most, size = recipe.get(f"{section}.max_val_samples"), recipe.get(f"{section}.val_batch_size")
        repeats = recipe.get(f"{section}.val_num_generations_per_prompt")
        if not (isinstance(most, int) and isinstance(size, int) and 0 < size <= most):
            return "how many prompts are validated is not clear from the recipe", (), None
        return _scored_noise(f"{section}.", most // size * size, repeats if isinstance(repeats, int) else None)
    batches, size = recipe.get(f"{section}.val_batches"), recipe.get(f"{section}.val_global_batch_size")
    if not (isinstance(batches, int) and isinstance(size, int)) or batches < 1:
        return "validation takes the whole set", (), None
    n = batches * size
    key, enough = f"{section}.val_batches", math.ceil(1024 / size)
    why = f"{enough * size} samples in place of {n}, where the set has so many: validation is cheap here"
    more = (Setting(key, enough, why, on=False),) if enough > batches else ()
    if recipe.algorithm is Algorithm.SFT:
        return f"validation takes {n} samples", more, None
    error = _standard_error(n)
    return f"validation takes {n} pairs: one accuracy has a standard error of up to {error:.3f}", more, error


def _scored_noise(section: str, prompts: int, repeats: int | None) -> tuple[str, tuple[Setting, ...], float]:
    error = _standard_error(prompts * (repeats or 1))
    text = f"validation takes {prompts} prompts, {repeats or 1} answer{'s' if (repeats or 1) > 1 else ''} each: "
    text += f"one accuracy has a standard error of up to {error:.3f}"
    if repeats is None:
        why = f"{1024 - 1024 % prompts or prompts} prompts in place of {prompts}, where the set has so many"
        wanted = max(1024 - 1024 % prompts, prompts)
        return text, (Setting(f"{section}max_val_samples", wanted, why, on=False),) if wanted > prompts else (), error
    if prompts * repeats >= 2048:
        return text, (), error
    least = math.ceil(2048 / prompts)
    why = (
        f"a standard error of {_standard_error(prompts * least):.3f} in place of {error:.3f}, for {least / repeats:g} "
    )
    why += "times the time of validation; it also reports validation/pass_k. The cheapest way to a better search."
    return text, (Setting(f"{section}val_num_generations_per_prompt", least, why, on=False),), error


def _standard_error(n: int) -> float:
    return math.sqrt(0.25 / n)
