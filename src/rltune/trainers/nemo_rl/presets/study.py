"""A preset put together: the knobs that the budget allows, rules, what follows, what every trial gets, and guards."""

from __future__ import annotations

from collections.abc import Iterator

from rltune.errors import InputError, Problem
from rltune.trainers.nemo_rl import names
from rltune.trainers.nemo_rl.constraints import space_rules
from rltune.trainers.nemo_rl.metrics import SCORED
from rltune.trainers.nemo_rl.presets.algorithms import KNOBS
from rltune.trainers.nemo_rl.presets.derived import batch_rules, followers
from rltune.trainers.nemo_rl.presets.frozen import never_tuned
from rltune.trainers.nemo_rl.presets.knobs import TIERS, Room, is_number, kind_of, sorted_out, value_today
from rltune.trainers.nemo_rl.presets.measured import noise_of, objective_of, ranges_of
from rltune.trainers.nemo_rl.presets.parts import Preset, Setting
from rltune.trainers.nemo_rl.recipe import Algorithm, Recipe
from rltune.trainers.nemo_rl.resume import steps_key

_USUAL_STEPS = 300
"""Steps of a full run where the recipe's own number is no plan but an upper limit."""


def preset(recipe: Recipe, budget: int) -> Preset:
    """A study of a recipe that so many trials can search.

    Args:
        recipe: The recipe, without overrides of the study's own.
        budget: The number of trials, from 1 on.

    Raises:
        InputError: The recipe lacks a number that every one of its algorithm has, such as a learning rate; the place
            is its name.
    """
    _refuse_incomplete(recipe)
    tier = sum(budget >= trials for trials in TIERS)
    horizon, why_horizon = _horizon(recipe)
    parameters, frozen = sorted_out(recipe, KNOBS[kind_of(recipe)](recipe, Room(tier, horizon)), tier)
    tuned = [each.name for each in parameters]
    constraints, derived = list(batch_rules(recipe, tuned)), list(followers(recipe, tuned, horizon))
    noise, measured, error = noise_of(recipe)
    overrides = (*_fixed(recipe), *measured)
    length = {} if horizon is None else {steps_key(recipe): horizon}
    fixed = recipe.with_overrides(length | {each.key: each.value for each in overrides if each.on})
    rules = space_rules(fixed, [*tuned, *(each.key for each in derived)])
    constraints += [Setting(rule, None, "a rule of NeMo RL") for rule in rules.constraints]
    derived += [Setting(key, text, "a rule of NeMo RL: it must follow") for key, text in rules.derived.items()]
    objective, why_objective = objective_of(recipe)
    return Preset(
        parameters=parameters,
        constraints=tuple(constraints),
        derived=tuple(derived),
        objective=objective,
        why_objective=why_objective,
        ranges=tuple(ranges_of(recipe)),
        horizon=horizon,
        why_horizon=why_horizon,
        guards=tuple(_guards(recipe, error)),
        overrides=overrides,
        frozen=(*frozen, *never_tuned(recipe)),
        noise=noise,
        notes=rules.notes,
    )


def tuned_from(recipe: Recipe) -> dict[str, int]:
    """From how many trials on `preset` tunes what it tunes, by name and by the dotted key that this stands for."""
    try:
        spaces = {trials: preset(recipe, trials).search_space for trials in reversed(TIERS)}
    except InputError:
        return {}
    found = {name: trials for trials, space in spaces.items() for name in space}
    return found | {key: found[name] for name in found if name in names.NAMES and (key := names.key_of(recipe, name))}


def _refuse_incomplete(recipe: Recipe) -> None:
    needed = ["learning_rate", "global_batch_size"]
    if recipe.algorithm in SCORED:
        needed += ["num_prompts", "num_generations"]
    lacking = [name for name in needed if not is_number(value_today(recipe, name))]
    if lacking:
        hint = "name a recipe that NeMo RL runs as it is"
        raise InputError(Problem((name,), "has no number in the recipe", hint) for name in lacking)


def _horizon(recipe: Recipe) -> tuple[int | None, str]:
    """The steps of a full run: the recipe's, where they are a plan; a multiple of the steps between two validations."""
    own, period = recipe.get(steps_key(recipe)), recipe.get(f"{recipe.algorithm}.val_period")
    if not isinstance(own, int) or own < 1:
        return None, "the recipe trains whole epochs"
    if own <= _USUAL_STEPS:
        return own, "the recipe's own"
    every = period if isinstance(period, int) and 0 < period <= _USUAL_STEPS else 1
    steps = _USUAL_STEPS - _USUAL_STEPS % every
    return steps, f"a guess; the recipe's {own} is an upper limit. Choose the length at which settings should compare"


def _fixed(recipe: Recipe) -> Iterator[Setting]:
    """What every trial gets."""
    section = str(recipe.algorithm)
    seeds = {k: v for k, v in recipe.leaves().items() if k.startswith("data.") and recipe.follows(k, f"{section}.seed")}
    for key, value in seeds.items():
        why = "each trial has a seed of its own, and this one also splits off the validation data: that must not change"
        yield Setting(key, value, why)
    period = f"{section}.val_period"
    if recipe.has(period) and not (isinstance(recipe.get(period), int) and recipe.get(period) > 0):
        yield Setting(period, 10, "the recipe never validates, and the metric is measured there")
    for key, why in (
        (f"{section}.val_at_start", "where the policy began: without it a guard cannot tell an early collapse"),
        (f"{section}.val_at_end", "the last step is measured whatever the number of steps"),
    ):
        if recipe.get(key) is False:
            yield Setting(key, True, why)


def _guards(recipe: Recipe, error: float | None) -> Iterator[Setting]:
    yield Setting("divergence", {}, "NaN or infinity")
    if recipe.algorithm not in (Algorithm.GRPO, Algorithm.PPO):
        return  # the others' thresholds are made for policy gradients
    noise = {} if error is None else {"standard_error": float(f"{error:.2g}")}
    yield Setting("collapse", noise, "the objective falls for good; standard_error is that of one validation")
    yield Setting("no_signal", {}, "no reward differs, so there is nothing to learn from")
    shadow = {"mode": "shadow"}
    yield Setting("kl", shadow, "runs away from the reference; shadow only writes down what it would have ended")
    yield Setting("truncation", shadow, "most answers are cut off, which is right for some models at first")
    yield Setting("hacking", noise | shadow, "reward rises while the objective falls")
    yield Setting("mismatch", {}, "generation and training disagree: never the configuration's fault, so only a note")
