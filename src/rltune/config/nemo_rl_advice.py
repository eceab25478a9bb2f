"""How a study of NeMo RL could be set up better. Only `rltune check` asks, so that other commands need not load it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rltune.analysis.advice import MOST, Advice, before
from rltune.config.schema import StudyConfig
from rltune.space import SearchSpace
from rltune.trainers.nemo_rl.metrics import strange_metric
from rltune.trainers.nemo_rl.presets import tuned_from
from rltune.trainers.nemo_rl.recipe import Algorithm, Recipe
from rltune.trainers.nemo_rl.resume import steps_key
from rltune.tuner import MEASURED_METRICS
from rltune.wording import listed


def nemo_rl_advice(config: StudyConfig, recipe: Recipe, space: SearchSpace, n_search: int) -> list[Advice]:
    """The gravest first. How many trials a parameter takes is what `rltune init` goes by."""
    worth = tuned_from(recipe)
    advice = [
        *_strange_objectives(config, recipe),
        *_no_group(recipe, space),
        *_long_warmup(config, recipe, space),
        *_too_early(config, space, worth),
    ]
    return [*advice, *before(space, n_search, worth)][:MOST]


def _strange_objectives(config: StudyConfig, recipe: Recipe) -> Iterator[Advice]:
    for objective in config.evaluation.objectives():
        strange = strange_metric(recipe, objective.metric)
        if strange is not None and objective.metric not in MEASURED_METRICS:
            yield Advice("unknown_metric", None, *strange)


def _no_group(recipe: Recipe, space: SearchSpace) -> Iterator[Advice]:
    names = ("num_generations", "grpo.num_generations_per_prompt")
    given = [name for name in names if any(each.get(name) == 1 for each in space.some())]
    if given and recipe.algorithm is Algorithm.GRPO:
        message = f"`{given[0]}` may be 1, where an answer has no group to be compared with, and nothing is learnt"
        yield Advice("no_group", given[0], message, "begin at 2")


def _long_warmup(config: StudyConfig, recipe: Recipe, space: SearchSpace) -> Iterator[Advice]:
    """As where the horizon was lowered: a rule forbids it on Megatron, and DTensor says nothing."""
    length = steps_key(recipe)
    full = recipe.get(length) if config.trainer.horizon is None else config.trainer.horizon
    for each in space.some():
        warmup, steps = each.get("warmup_steps", 0), each.get(length, full)
        if isinstance(steps, int) and 0 < steps <= warmup:
            message = (
                f"`warmup_steps` may be {warmup} where a trial ends at step {steps}, short of the peak learning rate"
            )
            yield Advice("long_warmup", "warmup_steps", message, "lower it, or train longer")
            return


def _too_early(config: StudyConfig, space: SearchSpace, worth: Mapping[str, int]) -> Iterator[Advice]:
    for trials in sorted(set(worth.values())):
        early = [name for name in space.parameters if worth.get(name) == trials > config.n_trials]
        if early:
            message = f"{listed(early)} {'is' if len(early) == 1 else 'are'} worth tuning from {trials} trials on"
            what = "it" if len(early) == 1 else "them"
            hint = f"leave {what} out, which keeps what the recipe has, or give more trials than {config.n_trials}"
            yield Advice("few_trials", early[0], message, hint)
