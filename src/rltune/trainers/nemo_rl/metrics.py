"""What NeMo RL reports, and when: the names of its metrics, and the steps after which it validates."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from rltune.errors import Problem
from rltune.trainers.nemo_rl.recipe import Algorithm, Recipe
from rltune.trainers.nemo_rl.resume import steps_key
from rltune.trainers.nemo_rl.rules import value
from rltune.wording import found, listed, nearest

SCORED = (Algorithm.GRPO, Algorithm.PPO, Algorithm.DISTILLATION)
"""Those whose validation generates answers and scores them."""

_OF_PAIRS = ("accuracy", "loss", "rewards_chosen_mean", "rewards_rejected_mean")
_OF_POLICY_GRADIENTS = (
    "reward",
    "kl_penalty",
    "approx_entropy",
    "probs_ratio",
    "token_mult_prob_error",
    "gen_kl_error",
    "truncation_rate",
    "mean_gen_tokens_per_sample",
)
_A_LETTER_OR_TWO = 0.9
"""How alike, from 0 to 1, a metric of training must be to a known one to be taken for it."""

_OF_EVERY_STEP = ("train/loss", "train/grad_norm", "train/lr", "timing/train/total_step_time")


def in_validation(recipe: Recipe) -> list[str]:
    """The metrics that every validation of a recipe reports; an environment of one's own may add others."""
    if recipe.algorithm is Algorithm.SFT:
        return ["validation/val_loss"]
    if recipe.algorithm in SCORED:
        repeats = recipe.get(f"{recipe.algorithm}.val_num_generations_per_prompt")
        more = ["validation/pass_k"] if isinstance(repeats, int) and repeats > 1 else []
        return ["validation/accuracy", "validation/avg_length", *more]
    return [f"validation-{each}/{metric}" for each in validation_sets(recipe) for metric in _OF_PAIRS]


def validation_sets(recipe: Recipe) -> list[str]:
    """What DPO and reward models call the sets that they validate on."""
    paths = recipe.get("data.val_data_paths")
    return [str(name) for name in paths] if isinstance(paths, Mapping) and paths else ["default"]


def checkpoint_metrics(recipe: Recipe) -> list[str]:
    """The same as `checkpointing.metric_name` takes them: ``val:accuracy``, ``val:validation-default_loss``."""
    return [f"val:{tag.removeprefix('validation/').replace('/', '_')}" for tag in in_validation(recipe)]


def strange_metric(recipe: Recipe, metric: str) -> tuple[str, str] | None:
    """What looks wrong with an objective, and what was probably meant; None where nothing does.

    Outside validation there are too many metrics to know them all, so only what is spelled like a known one counts.
    """
    section, slash, last = metric.rpartition("/")
    validated = {tag.rpartition("/")[2]: tag for tag in in_validation(recipe)}
    if slash and not section.startswith("validation"):
        known = [*_OF_EVERY_STEP, *_of_training(recipe)]
        near = None if metric in known else next(iter(get_close_matches(metric, known, 1, _A_LETTER_OR_TWO)), None)
        if near is None:
            return None
    elif metric in validated.values():
        return None
    else:
        near = validated.get(nearest(last, validated) or "")
    message = f"`{metric}` is no metric that NeMo RL is known to report for {recipe.algorithm}"
    return message, f"did you mean `{near}`?" if near else f"a validation reports {listed(validated.values())}"


def _of_training(recipe: Recipe) -> list[str]:
    gradients = recipe.algorithm in (Algorithm.GRPO, Algorithm.PPO)
    return [f"train/{each}" for each in _OF_POLICY_GRADIENTS] if gradients else []


def is_validated(metric: str) -> bool:
    """Whether a metric comes from validations only."""
    return metric.startswith(("validation/", "validation-", "timing/validation/"))


def never_validated(recipe: Recipe, steps: Any, varies: Collection[str] = ()) -> Problem | None:
    """Why no validation follows any training step; its place is the key, dotted, that is in the way.

    Args:
        recipe: With everything set in it that a trial sets.
        steps: Of the shortest trial; what is no number from 1 on is not known before the data is read.
        varies: What is tuned: where that decides, it is for the search to find out.
    """
    section = recipe.algorithm
    period, last, first = (f"{section}.{key}" for key in ("val_period", "val_at_end", "val_start_at"))
    every, begin = recipe.get(period), recipe.get(first)
    unknown = not isinstance(every, int) or not isinstance(steps, int) or steps < 1
    if unknown or value(recipe, last) is True or {period, last, first} & set(varies):
        return None
    hint = f"set `{last}: true` in trainer.nemo_rl.overrides, so that the last step is validated"
    if every < 1:
        return Problem((period,), f"is {found(every)}, so NeMo RL never validates after a training step", hint)
    start = max(begin, 1) if isinstance(begin, int) else 1
    if (earliest := math.ceil(start / every) * every) <= steps:
        return None
    message = f"the first validation after training would follow step {earliest}, and a trial ends at step {steps} "
    return Problem((period,), f"{message}({steps_key(recipe)})", f"{hint}; or lower `{period}`, or train longer")
