"""The range of the learning rate, by algorithm, by the size of the model, and by whether adapters are trained."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rltune.trainers.nemo_rl.presets.knobs import Knob, kind_of, one, ranged, short_text, value_today
from rltune.trainers.nemo_rl.recipe import Algorithm, Recipe

_INHERITED = 5e-6
"""The learning rate of grpo_math_1B, dpo and sft, which recipes for other models and sizes often just inherit."""


def learning_rate_knob(recipe: Recipe) -> Knob:
    """The knob that matters most, around the recipe's value; or, where that is only inherited, around a usual one."""
    reason = "The knob that matters most (JF-HPO, arXiv:2606.03073)."
    if recipe.lora:
        low, high, more = _lora_rates(recipe)
        return one(1, "learning_rate", ranged(recipe, "learning_rate", low, high, log=True), f"{reason} {more}")
    centre, more = _centre(recipe)
    below, above = _SPANS[kind_of(recipe)]
    spec = ranged(recipe, "learning_rate", centre * below, centre * above, log=True)
    return one(1, "learning_rate", spec, f"{reason} {more}")


_SPANS: Mapping[str, tuple[float, float]] = {
    "grpo": (0.1, 10.0),
    "dapo": (0.1, 10.0),
    "ppo": (0.1, 5.0),
    "dpo": (0.1, 20.0),  # from literature's 5e-7: to both sides of NeMo RL's own 5e-6
    "sft": (0.1, 10.0),
    "rm": (0.15, 10.0),
    "distillation": (0.1, 5.0),
}
"""The range in units of its centre."""


def _centre(recipe: Recipe) -> tuple[float, str]:
    """Where the range lies for training all weights, and why there."""
    today = value_today(recipe, "learning_rate")
    if not isinstance(today, int | float) or today <= 0:
        return 1e-6, "The recipe has no rate above 0 to search around."
    usual, why = _usual_rate(recipe)
    if today != _INHERITED or usual is None:
        return today, f"Around the recipe's own {short_text(today)}."
    inherited = f"the recipe's {short_text(today)} is NeMo RL's default, whatever the model."
    return usual, f"Around {short_text(usual)}, {why}: {inherited}"


def _usual_rate(recipe: Recipe) -> tuple[float | None, str]:
    if recipe.algorithm is Algorithm.DPO:
        return 5e-7, "literature's value (SimPO's grid is 3e-7 to 1e-6)"
    if recipe.algorithm is Algorithm.SFT:
        return 1e-5, "between the two values that NeMo RL's recipes have, 5e-6 and 2e-5"
    billions = model_size(str(recipe.get("policy.model_name")))
    if recipe.algorithm is not Algorithm.GRPO or billions is None:
        return None, ""
    rate, band = (2e-6, "up to 3B") if billions <= 3 else (7e-7, "of 7B to 9B") if billions < 20 else (5e-7, "from 30B")
    return rate, f"usual for models {band}"


def _lora_rates(recipe: Recipe) -> tuple[float, float, str]:
    """The range for adapters, which take about ten times the rate of all weights (Schulman et al. 2025)."""
    ten = "The best rate of adapters is about ten times that of all weights (Schulman et al. 2025)"
    if recipe.algorithm is Algorithm.SFT:
        return 5e-5, 2e-3, f"{ten}; of 29 models the best lay from 1e-4 to 1e-3."
    if recipe.algorithm is Algorithm.GRPO or recipe.algorithm is Algorithm.PPO:
        return 1e-6, 3e-4, f"{ten}; NeMo RL's own recipes for adapters keep the rate of all weights."
    if recipe.algorithm is Algorithm.DPO:
        return 5e-7, 1e-4, f"{ten}."
    today = value_today(recipe, "learning_rate") or 1e-6
    return today, today * 30, f"{ten}, and the recipe's may be either."


def model_size(model_name: str) -> float | None:
    """Parameters in billions, where the name says so: `Qwen2.5-1.5B` has 1.5, `Qwen3-30B-A3B` has 30."""
    found = re.search(r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z\d])", model_name)
    if found is None:
        return None
    return float(found[1]) / (1.0 if found[2] in "Bb" else 1000.0)
