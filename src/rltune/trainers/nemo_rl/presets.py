"""Search spaces to begin with: what is worth tuning in a recipe of NeMo RL, and in which range.

Which knobs there are, and their ranges, follow the algorithm. Where a range lies follows the recipe: it is drawn around
the recipe's own value, which is its default too. How many knobs there are follows the budget: those that matter most
always, more from 30 trials on, and those of small or uncertain effect from 100 on. What is left out is listed, with
the reason.

Most ranges stand on a census of NeMo RL's own recipes (286 of them, August 2026) and on papers, named at each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rltune.errors import InputError, Problem
from rltune.objective import Direction, Objective
from rltune.trainers.nemo_rl import names
from rltune.trainers.nemo_rl.constraints import space_rules, violations
from rltune.trainers.nemo_rl.recipe import Algorithm, Recipe
from rltune.trainers.nemo_rl.resume import steps_key

TIERS = (1, 30, 100)
"""From how many trials on the knobs of a tier are tuned; the first tier is 1."""

_INHERITED = 5e-6
"""The learning rate of grpo_math_1B, dpo and sft, which recipes for other models and sizes often just inherit."""

_USUAL_STEPS = 300
"""Steps of a full run where the recipe's own number is no plan but an upper limit."""

_FEWEST_STEPS = 20
"""No batch size leaves fewer steps of a run: a schedule and an optimizer need some."""


@dataclass(frozen=True)
class Tuned:
    """One parameter of the search space.

    Attributes:
        name: One of `names.NAMES`, or a dotted key.
        spec: The parameter as a study file describes it.
        reason: Why it is tuned, and why in this range.
    """

    name: str
    spec: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class Setting:
    """One other line of the study file.

    Attributes:
        key: Of the section it belongs to.
        value: What stands there.
        reason: Why.
        on: Whether it holds, or is only proposed: for the user to decide.
    """

    key: str
    value: Any
    reason: str
    on: bool = True


@dataclass(frozen=True)
class Frozen:
    """A knob that is left as it is.

    Attributes:
        name: One of `names.NAMES`, or a dotted key.
        value: What the recipe has; None where it has no place for it.
        reason: Why it is not tuned.
    """

    name: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Preset:
    """A study of one recipe.

    Attributes:
        parameters: What varies; the default of each is the recipe's own value.
        constraints: Expressions that every configuration fulfils; the keys of the settings.
        derived: Values that follow from parameters; `value` is the expression.
        objective: What is optimised.
        why_objective: Why that and nothing else.
        ranges: Ranges that metrics must keep, as `evaluation.constraints` takes them.
        horizon: The steps of a full run; None where the recipe trains whole epochs.
        why_horizon: Where it comes from.
        guards: Each `key` is a guard's name, each `value` its options.
        overrides: Values that every trial gets, by dotted key.
        frozen: What is left as it is.
        noise: What chance alone does to one value of the objective.
        notes: What else a user should know, above all rules of NeMo RL that no constraint can say.
    """

    parameters: tuple[Tuned, ...]
    constraints: tuple[Setting, ...]
    derived: tuple[Setting, ...]
    objective: Objective
    why_objective: str
    ranges: tuple[Setting, ...]
    horizon: int | None
    why_horizon: str
    guards: tuple[Setting, ...]
    overrides: tuple[Setting, ...]
    frozen: tuple[Frozen, ...]
    noise: str
    notes: tuple[str, ...]

    @property
    def search_space(self) -> dict[str, dict[str, Any]]:
        """The parameters as a study file has them."""
        return {each.name: dict(each.spec) for each in self.parameters}


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
    parameters, frozen = _sorted_out(recipe, _KNOBS[_kind(recipe)](recipe, _Room(tier, horizon)), tier)
    tuned = [each.name for each in parameters]
    constraints, derived = list(_batch_rules(recipe, tuned)), list(_followers(recipe, tuned, horizon))
    noise, measured, error = _noise(recipe)
    overrides = (*_fixed(recipe), *measured)
    length = {} if horizon is None else {steps_key(recipe): horizon}
    fixed = recipe.with_overrides(length | {each.key: each.value for each in overrides if each.on})
    rules = space_rules(fixed, [*tuned, *(each.key for each in derived)])
    constraints += [Setting(rule, None, "a rule of NeMo RL") for rule in rules.constraints]
    derived += [Setting(key, text, "a rule of NeMo RL: it must follow") for key, text in rules.derived.items()]
    objective, why_objective = _objective(recipe)
    return Preset(
        parameters=parameters,
        constraints=tuple(constraints),
        derived=tuple(derived),
        objective=objective,
        why_objective=why_objective,
        ranges=tuple(_ranges(recipe)),
        horizon=horizon,
        why_horizon=why_horizon,
        guards=tuple(_guards(recipe, error)),
        overrides=overrides,
        frozen=(*frozen, *_never(recipe)),
        noise=noise,
        notes=rules.notes,
    )


def _refuse_incomplete(recipe: Recipe) -> None:
    needed = ["learning_rate", "global_batch_size"]
    if recipe.algorithm in _SCORED:
        needed += ["num_prompts", "num_generations"]
    lacking = [name for name in needed if not _is_number(_today(recipe, name))]
    if lacking:
        hint = "name a recipe that NeMo RL runs as it is"
        raise InputError(Problem((name,), "has no number in the recipe", hint) for name in lacking)


# -- which knobs, from which budget on ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Room:
    """How much can be searched: the tier that the budget allows, and the steps of a run, None for whole epochs."""

    tier: int
    horizon: int | None


@dataclass(frozen=True)
class _Knob:
    """What could be tuned.

    Attributes:
        tier: From which on.
        names: Those that only make sense together; mostly one.
        specs: One for each, without its default.
        reason: Why, and the source.
    """

    tier: int
    names: tuple[str, ...]
    specs: tuple[Mapping[str, Any], ...]
    reason: str


def _sorted_out(recipe: Recipe, knobs: Iterable[_Knob], tier: int) -> tuple[tuple[Tuned, ...], list[Frozen]]:
    """What is tuned, and what is not though the algorithm has it."""
    tuned: list[Tuned] = []
    frozen: list[Frozen] = []
    for knob in knobs:
        problems = [str(problem) for name in knob.names for problem in names.problems(recipe, [name])]
        today = {name: None if problems else names.value_of(recipe, name) for name in knob.names}
        if problems:
            why: str | None = problems[0].partition(": ")[2]
        elif any(
            spec["type"] != "categorical" and not _is_number(today[name])
            for name, spec in zip(knob.names, knob.specs, strict=True)
        ):
            why = "has no number in the recipe"
        elif any(_is_single(spec) for spec in knob.specs):
            why = "no other value of the usual ones is allowed by this recipe's other settings"
        elif knob.tier > tier:
            why = f"tuned from {TIERS[knob.tier - 1]} trials on"
        else:
            why = None
        if why is not None:
            frozen += [Frozen(name, value, why) for name, value in today.items()]
            continue
        reasons = [knob.reason, *[f"goes with `{knob.names[0]}`"] * (len(knob.names) - 1)]
        specs = zip(knob.names, knob.specs, reasons, strict=True)
        tuned += [Tuned(n, {**spec, "default": _default(spec, today[n])}, reason) for n, spec, reason in specs]
    return tuple(tuned), frozen


def _is_single(spec: Mapping[str, Any]) -> bool:
    return len(spec.get("choices", (0, 1))) < 2


def _default(spec: Mapping[str, Any], today: Any) -> Any:
    return float(today) if spec["type"] == "float" else today


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _one(tier: int, name: str, spec: Mapping[str, Any], reason: str) -> _Knob:
    return _Knob(tier, (name,), (spec,), reason)


def _range(
    recipe: Recipe, name: str, low: float, high: float, *, log: bool = False, zero: float | None = None
) -> dict[str, Any]:
    """A range, stretched where the recipe's own value lies outside.

    Args:
        recipe: The recipe.
        name: What is tuned.
        low: Its lower end.
        high: Its upper end.
        log: Whether it is searched on a logarithmic scale.
        zero: On that scale: the share of configurations in which it is exactly 0.
    """
    today, low, high = _today(recipe, name), _tidy(low), _tidy(high)
    if isinstance(today, int | float) and not (log and today <= 0):
        low, high = min(low, float(today)), max(high, float(today))
    gate = {} if zero is None else {"zero": zero}
    return {"type": "float", "min": low, "max": high} | ({"log": True} if log else {}) | gate


def _choices(recipe: Recipe, name: str, values: Iterable[Any]) -> dict[str, Any]:
    """Choices, the recipe's own among them."""
    today = _today(recipe, name)
    choices = [today, *(value for value in values if value != today)]
    return {"type": "categorical", "choices": sorted(choices, key=lambda v: (v is None, v))}


def _allowed_choices(recipe: Recipe, name: str, values: Iterable[Any]) -> dict[str, Any]:
    """The same, without those with which the recipe breaks a rule of NeMo RL that it keeps today."""
    before = {violation.rule for violation in violations(recipe)}

    def is_allowed(value: Any) -> bool:
        try:
            changed = recipe.with_overrides(names.expand(recipe, {name: value}))
        except InputError:
            return True  # the name has no place here, which is told in its own words
        return all(violation.rule in before for violation in violations(changed))

    return _choices(recipe, name, filter(is_allowed, values))


def _switch(recipe: Recipe, name: str) -> dict[str, Any]:
    today = _today(recipe, name)
    return _allowed_choices(recipe, name, [not today] if isinstance(today, bool) else [])


def _today(recipe: Recipe, name: str) -> Any:
    try:
        return names.value_of(recipe, name)
    except InputError:
        return None


def _short(value: float) -> str:
    """`5e-7`, as one writes it."""
    return f"{value:g}".replace("e-0", "e-")


def _tidy(value: float) -> float:
    """Without the noise of floating point: 5e-07, not 4.9999999999999998e-07."""
    return float(f"{value:.6g}")


# -- the learning rate -------------------------------------------------------------------------------------------------


def _learning_rate(recipe: Recipe) -> _Knob:
    """The knob that matters most, around the recipe's value; or, where that is only inherited, around a usual one."""
    reason = "The knob that matters most (JF-HPO, arXiv:2606.03073)."
    if recipe.lora:
        low, high, more = _lora_rates(recipe)
        return _one(1, "learning_rate", _range(recipe, "learning_rate", low, high, log=True), f"{reason} {more}")
    centre, more = _centre(recipe)
    below, above = _SPANS[_kind(recipe)]
    spec = _range(recipe, "learning_rate", centre * below, centre * above, log=True)
    return _one(1, "learning_rate", spec, f"{reason} {more}")


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
    today = _today(recipe, "learning_rate")
    if not isinstance(today, int | float) or today <= 0:
        return 1e-6, "The recipe has no rate above 0 to search around."
    usual, why = _usual_rate(recipe)
    if today != _INHERITED or usual is None:
        return today, f"Around the recipe's own {_short(today)}."
    return (
        usual,
        f"Around {_short(usual)}, {why}: the recipe's {_short(today)} is NeMo RL's default, whatever the model.",
    )


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
    today = _today(recipe, "learning_rate") or 1e-6
    return today, today * 30, f"{ten}, and the recipe's may be either."


def model_size(model_name: str) -> float | None:
    """Parameters in billions, where the name says so: `Qwen2.5-1.5B` has 1.5, `Qwen3-30B-A3B` has 30."""
    found = re.search(r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z\d])", model_name)
    if found is None:
        return None
    return float(found[1]) / (1.0 if found[2] in "Bb" else 1000.0)


# -- the algorithms ----------------------------------------------------------------------------------------------------


def _kind(recipe: Recipe) -> str:
    return "dapo" if recipe.is_dapo else str(recipe.algorithm)


def _grpo(recipe: Recipe, room: _Room) -> Iterator[_Knob]:
    yield _learning_rate(recipe)
    kl = "Weight of the divergence from the reference policy. A third of the trials go without, which also frees the "
    kl += "reference model's memory and time. NeMo RL has 0.01 in 157 of 196 recipes, literature mostly 0.001."
    yield _one(1, "kl_penalty", _range(recipe, "kl_penalty", 1e-4, 5e-2, log=True, zero=0.35), kl)
    if recipe.get("loss_fn.use_cispo") is not True:
        clip = "How much wider the clip is above than below: 0.08 in DAPO (arXiv:2503.14476), 0 in most recipes."
        yield _one(1, "clip_delta", _range(recipe, "clip_delta", 0.0, 0.15), clip)
    group = "At the same total, larger groups ended with the same accuracy (ScaleRL, arXiv:2510.13786: 8 to 32), but "
    group += "their cost and noise differ."
    yield _groups(recipe, (4, 8, 16, 32, 64), room, group)
    yield from _off_policy(recipe, 2)
    yield _warmup(recipe, room, (0, 10, 50))
    yield _temperature(recipe)
    yield from _optimizer(recipe)
    for key, why in _GRPO_SWITCHES:
        yield _one(3, key, _switch(recipe, key), why)


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


def _dapo(recipe: Recipe, room: _Room) -> Iterator[_Knob]:
    yield _learning_rate(recipe)
    clip = "Moves what is reached in the end, not only how fast (ScaleRL, arXiv:2510.13786); DAPO has 0.28."
    yield _one(1, "clip_max", _range(recipe, "clip_max", 0.22, 0.40), clip)
    yield _groups(recipe, (8, 16, 32), room, "At the same total; DAPO has 16.")
    dual = "The dual clip at negative advantages; null is none, DAPO has 10."
    yield _one(2, "clip_c", _choices(recipe, "clip_c", (3, 10, None)), dual)
    many = "How many prompts are generated for, in units of those needed: more where few have mixed rewards."
    yield _one(2, "grpo.batch_multiplier", _choices(recipe, "grpo.batch_multiplier", (1, 1.5, 2, 3)), many)
    yield from _overlong(recipe)
    yield _warmup(recipe, room, (0, 10, 50))
    yield from _off_policy(recipe, 3)
    yield from _optimizer(recipe)


def _overlong(recipe: Recipe) -> Iterator[_Knob]:
    shaping = "grpo.reward_shaping"
    length, longest = f"{shaping}.overlong_buffer_length", recipe.get(f"{shaping}.max_response_length")
    if isinstance(longest, int) and isinstance(recipe.get(length), int):
        low, high = (math.ceil(longest * share) for share in (0.05, 0.25))
        low, high = min(low, recipe.get(length)), max(high, recipe.get(length))
        why = f"Tokens before the end in which the penalty grows: 5 to 25 % of the longest answer, {longest}."
        yield _one(2, length, {"type": "int", "min": low, "max": high}, why)
    penalty = f"{shaping}.overlong_buffer_penalty"
    why = "The penalty at the very end, in units of reward; the metric is the reward without it."
    yield _one(2, penalty, _range(recipe, penalty, 0.5, 1.0), why)


def _ppo(recipe: Recipe, room: _Room) -> Iterator[_Knob]:
    yield _learning_rate(recipe)
    critic = "The critic's learning rate in units of the policy's: 10 in 8 of 10 recipes."
    yield _one(1, "critic_ratio", _range(recipe, "critic_ratio", 1.0, 30.0, log=True), critic)
    lam = "1 is Monte Carlo. The choices are even on the logarithm of 1 - lambda, which is the horizon of the estimate."
    yield _one(1, "gae_lambda", _choices(recipe, "gae_lambda", (0.8, 0.9, 0.95, 0.98, 0.995, 1.0)), lam)
    epochs = "Passes over one step's samples: each is cheap next to generation, and one more step off policy."
    yield _one(2, "ppo_epochs", _choices(recipe, "ppo_epochs", (1, 2, 4)), epochs)
    if recipe.get("loss_fn.use_cispo") is not True:
        clip = "How much wider the clip is above than below: DAPO's is 0.08."
        yield _one(2, "clip_delta", _range(recipe, "clip_delta", 0.0, 0.08), clip)
    head = "Steps in which the critic learns alone: a policy that follows an untrained critic forgets first."
    yield _one(2, "critic_warmup_steps", _choices(recipe, "critic_warmup_steps", (0, 5, 10, 20, 50)), head)
    value = "How far the critic may move in one step; null leaves it free."
    yield _one(2, "value_clip", _choices(recipe, "value_clip", (0.2, None)), value)
    kl = "None in most recipes of PPO. With one, a reference model is loaded besides."
    yield _one(3, "kl_penalty", _range(recipe, "kl_penalty", 1e-4, 1e-2, log=True, zero=0.8), kl)
    yield _one(3, "clip_c", _choices(recipe, "clip_c", (3, 10)), "The dual clip at negative advantages.")
    yield _warmup(recipe, room, (0, 10, 50))
    yield _temperature(recipe)
    yield from _optimizer(recipe)


def _dpo(recipe: Recipe, room: _Room) -> Iterator[_Knob]:
    yield _learning_rate(recipe)
    if recipe.get("dpo.preference_average_log_probs") is True:
        low, high = 1.0, 10.0
        why = "DPO's beta. With log probabilities averaged over tokens its scale is that of 5 (Tulu 3)."
    else:
        low, high = 0.01, 0.5
        why = "DPO's beta: the smaller, the further from the reference. NeMo RL has 0.05 in 10 of 12 recipes."
    yield _one(1, "kl_penalty", _range(recipe, "kl_penalty", low, high, log=True), why)
    sft = "Weight of the likelihood of the chosen answer, which keeps it from falling; 0 in most recipes."
    key = "dpo.sft_loss_weight"
    yield _one(2, key, _range(recipe, key, 1e-3, 0.3, log=True, zero=0.6), sft)
    yield _batch(recipe, 2, room, (32, 64, 128, 256))
    yield _warmup(recipe, room, _shares(room, 0.0, 0.1))
    yield from _optimizer(recipe, decay=2)


def _sft(recipe: Recipe, room: _Room) -> Iterator[_Knob]:
    yield _learning_rate(recipe)
    yield _batch(recipe, 1, room, (16, 32, 64, 128, 256, 512))
    if recipe.lora:
        rank = "The rank of the adapters; `lora_alpha` keeps its ratio to it, so that it is no second learning rate."
        yield _one(2, "lora_dim", _choices(recipe, "lora_dim", (8, 16, 32, 64, 128, 256)), rank)
    yield _warmup(recipe, room, _shares(room, 0.0, 0.03, 0.1))
    yield from _optimizer(recipe, decay=2)


def _rm(recipe: Recipe, room: _Room) -> Iterator[_Knob]:
    yield _learning_rate(recipe)
    yield _batch(recipe, 1, room, (64, 128, 256))
    yield _warmup(recipe, room, _shares(room, 0.0, 0.03, 0.1))
    yield from _optimizer(recipe, decay=2)


def _distillation(recipe: Recipe, room: _Room) -> Iterator[_Knob]:
    yield _learning_rate(recipe)
    yield _warmup(recipe, room, (0, 10, 50))
    yield from _optimizer(recipe, decay=2)


_KNOBS: Mapping[str, Callable[[Recipe, _Room], Iterator[_Knob]]] = {
    "grpo": _grpo,
    "dapo": _dapo,
    "ppo": _ppo,
    "dpo": _dpo,
    "sft": _sft,
    "rm": _rm,
    "distillation": _distillation,
}


# -- knobs of several algorithms ---------------------------------------------------------------------------------------


def _optimizer(recipe: Recipe, decay: int = 3) -> Iterator[_Knob]:
    """What is nearly the same in all recipes.

    Args:
        recipe: The recipe.
        decay: The tier of the weight decay.
    """
    why = "Three usual strengths; it matters little in short runs."
    yield _one(decay, "weight_decay", _choices(recipe, "weight_decay", (0.0, 0.01, 0.1)), why)
    why = "1.0 in every recipe of NeMo RL; lower is calmer."
    yield _one(3, "max_grad_norm", _range(recipe, "max_grad_norm", 0.1, 1.0, log=True), why)
    why = "How long Adam remembers the size of gradients: shorter for short runs."
    yield _one(3, "adam_beta2", _choices(recipe, "adam_beta2", (0.95, 0.98, 0.999)), why)


def _warmup(recipe: Recipe, room: _Room, steps: Iterable[int]) -> _Knob:
    wanted = [n for n in steps if room.horizon is None or n < room.horizon]
    why = "Steps of training, not updates of the weights, until the learning rate is at its peak."
    return _one(2, "warmup_steps", _choices(recipe, "warmup_steps", wanted), why)


def _shares(room: _Room, *shares: float) -> list[int]:
    """Warm-up in steps, from shares of a run; one of whole epochs is taken for 1,000 steps."""
    return sorted({round((room.horizon or 1000) * share) for share in shares})


def _temperature(recipe: Recipe) -> _Knob:
    why = "Of sampling in training AND in validation, which NeMo RL does not tell apart: a lower one scores higher "
    why += "without a better policy. Fix it if you evaluate at another one. 1.0 in 97 % of recipes."
    return _one(2, "temperature", _range(recipe, "temperature", 0.7, 1.2), why)


def _batch(recipe: Recipe, tier: int, room: _Room, sizes: Iterable[int]) -> _Knob:
    why = "Samples in one update. The best learning rate grows with about its square root, so tune the two together."
    today = _today(recipe, "global_batch_size")
    most = math.inf if room.horizon is None else room.horizon * today / _FEWEST_STEPS
    spec = _allowed_choices(recipe, "global_batch_size", [size for size in sizes if size <= most])
    return _one(tier, "global_batch_size", spec, why)


def _groups(recipe: Recipe, sizes: Iterable[int], room: _Room, reason: str) -> _Knob:
    """Answers to each prompt, at the recipe's rollouts in a step; where other totals are tried, prompts as well."""
    today = _rollouts(recipe)
    groups = sorted({_today(recipe, "num_generations"), *(size for size in sizes if today % size == 0)})
    by_group = {"type": "categorical", "choices": groups}
    if not _varies_total(recipe, room):
        return _one(2, "num_generations", by_group, reason)
    counts = sorted({total // size for total in _totals(recipe) for size in groups if total % size == 0})
    specs = (by_group, {"type": "categorical", "choices": counts})
    return _Knob(2, ("num_generations", "num_prompts"), specs, reason)


def _varies_total(recipe: Recipe, room: _Room) -> bool:
    """Whether the rollouts of a step are tuned; with DAPO, which oversamples, they are not."""
    return room.tier == 3 and not recipe.is_dapo


def _rollouts(recipe: Recipe) -> int:
    """Of one step."""
    return int(_today(recipe, "num_prompts") * _today(recipe, "num_generations"))


def _totals(recipe: Recipe) -> list[int]:
    """Rollouts in a step that are worth trying, the recipe's own among them."""
    return sorted({_rollouts(recipe), 128, 256, 512, 1024, 2048})


def _off_policy(recipe: Recipe, tier: int) -> Iterator[_Knob]:
    """How many updates are made with the rollouts of one step."""
    if recipe.get("loss_fn.force_on_policy_ratio") is True:
        return  # the batch follows the rollouts
    made = _rollouts(recipe)
    why = "Rollouts of a step by this are the updates made with them, of which all but the first are off policy: "
    why += f"1 update in 140 of 196 recipes, here {made} / {_today(recipe, 'global_batch_size')}."
    sizes = [made // updates for updates in (1, 2, 4, 8, 16) if made % updates == 0]
    yield _one(tier, "global_batch_size", _allowed_choices(recipe, "global_batch_size", sizes), why)


# -- what holds between them -------------------------------------------------------------------------------------------


def _batch_rules(recipe: Recipe, tuned: Collection[str]) -> Iterator[Setting]:
    """Constraints of the preset's own; NeMo RL's rules come besides."""
    if "num_prompts" not in tuned:
        return
    totals = _totals(recipe)
    yield Setting(f"{totals[0]} <= num_prompts * num_generations <= {totals[-1]}", None, "rollouts in a step")
    if "global_batch_size" in tuned:
        often = max(16, _rollouts(recipe) // _today(recipe, "global_batch_size"))
        why = f"at most {often} updates with the rollouts of a step"
        yield Setting(f"num_prompts * num_generations <= {often} * global_batch_size", None, why)


def _followers(recipe: Recipe, tuned: Collection[str], horizon: int | None) -> Iterator[Setting]:
    """What keeps trials alike: as many rollouts in a step, or fewer steps for larger ones.

    No configuration is to be better because it saw more samples.
    """
    if "num_generations" in tuned and "num_prompts" not in tuned:
        why = "the recipe's rollouts in a step, shared out: larger groups, fewer of them"
        yield Setting("num_prompts", f"{_rollouts(recipe)} // num_generations", why)
    if horizon is None:
        return
    why = f"every trial sees the samples of {horizon} steps of the recipe: larger steps, fewer of them"
    if "num_prompts" in tuned:
        samples = f"{horizon} * {_rollouts(recipe)}"
        yield Setting(steps_key(recipe), f"{samples} // (num_prompts * num_generations)", why)
    elif "global_batch_size" in tuned and not recipe.has(f"{recipe.algorithm}.num_prompts_per_step"):
        samples = f"{horizon} * {_today(recipe, 'global_batch_size')}"
        yield Setting(steps_key(recipe), f"{samples} // global_batch_size", why)


# -- what is measured --------------------------------------------------------------------------------------------------

_SCORED = (Algorithm.GRPO, Algorithm.PPO, Algorithm.DISTILLATION)
"""Those whose validation generates answers and scores them."""


def _objective(recipe: Recipe) -> tuple[Objective, str]:
    if recipe.algorithm in _SCORED:
        why = "the plain reward on held-out prompts"
        if recipe.algorithm is Algorithm.DISTILLATION:
            return Objective("validation/accuracy", "maximize"), f"{why}; the loss has another scale for each kl_type"
        return Objective("validation/accuracy", "maximize"), f"{why}; train/reward is shaped, scaled, and can be gamed"
    if recipe.algorithm is Algorithm.SFT:
        why = "add a task's own metric if you can: the loss alone misjudges how long to train"
        return Objective("validation/val_loss", "minimize"), why
    paths = recipe.get("data.val_data_paths")
    which = next(iter(paths)) if isinstance(paths, Mapping) and paths else "default"
    direction: Direction = "maximize"
    why = "held-out pairs in the right order; the loss is no measure"
    if recipe.algorithm is Algorithm.DPO:
        why += ": it scales with beta, which is tuned"
    return Objective(f"validation-{which}/accuracy", direction), why


def _ranges(recipe: Recipe) -> Iterator[Setting]:
    """Only proposed: how far is too far depends on the data."""
    objective, _ = _objective(recipe)
    if recipe.algorithm is Algorithm.DPO:
        metric = f"{objective.metric.rpartition('/')[0]}/rewards_chosen_mean"
        why = "beta times what the chosen answers have lost in log probability; far below 0, all answers got unlikely"
        yield Setting(metric, {"min": -5.0}, why, on=False)
    if recipe.algorithm is Algorithm.PPO:
        why = "below 0 the critic is worse than a constant; look up the metric's name in your first run"
        yield Setting("train/critic/explained_var", {"min": 0.0}, why, on=False)


def _noise(recipe: Recipe) -> tuple[str, tuple[Setting, ...], float | None]:
    """What chance does to one measurement, what would help, and its standard error at an accuracy of one half.

    The standard error of an accuracy p over n answers is sqrt(p (1 - p) / n).
    """
    section = str(recipe.algorithm)
    if recipe.algorithm in _SCORED:
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


# -- the rest of the study ---------------------------------------------------------------------------------------------


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


def _never(recipe: Recipe) -> Iterator[Frozen]:
    """What no preset tunes."""
    micro = "policy.train_micro_batch_size"
    yield Frozen(micro, recipe.get(micro), "changes memory and speed, not what is learnt")
    length = "a longer run is a costlier one; it may end a run before `trainer.horizon` does"
    yield Frozen("num_epochs", _today(recipe, "num_epochs"), length)
    yield Frozen("adam_beta1", _today(recipe, "adam_beta1"), "the same in all recipes")
    schedule = "another shape of the learning rate makes a short run say less about a long one; write it in the recipe"
    yield Frozen("policy.scheduler", None, schedule)
    kind, section = _kind(recipe), str(recipe.algorithm)
    if kind in ("grpo", "ppo", "dapo"):
        yield Frozen("clip_min", _today(recipe, "clip_min"), "0.2 in all recipes but one")
        yield Frozen("top_p", _today(recipe, "top_p"), "changes validation as well, and 1 in all recipes")
        yield Frozen(
            "loss_fn.use_cispo", recipe.get("loss_fn.use_cispo"), "needs a clip of its own: a study of its own"
        )
    if recipe.get("loss_fn.force_on_policy_ratio") is True:
        batch = _today(recipe, "global_batch_size")
        yield Frozen("global_batch_size", batch, "is prompts times generations: `loss_fn.force_on_policy_ratio` is on")
    if kind == "dapo":
        yield Frozen("kl_penalty", _today(recipe, "kl_penalty"), "DAPO goes without")
        yield Frozen("leave_one_out", _today(recipe, "leave_one_out"), "off in DAPO")
        yield Frozen("loss_fn.token_level_loss", recipe.get("loss_fn.token_level_loss"), "on in DAPO")
        yield Frozen("temperature", _today(recipe, "temperature"), "changes validation as well")
    if kind in ("ppo", "distillation"):
        yield Frozen("num_generations", _today(recipe, "num_generations"), "the recipe's batch is kept")
    if kind == "ppo":
        yield Frozen(
            "ppo.adv_estimator.gae_gamma", recipe.get("ppo.adv_estimator.gae_gamma"), "1: one reward, at the end"
        )
    if kind == "distillation":
        yield Frozen("global_batch_size", _today(recipe, "global_batch_size"), "64 in NeMo RL's recipes")
        yield Frozen("temperature", _today(recipe, "temperature"), "changes validation as well")
    if recipe.lora:
        yield Frozen("lora_alpha", _today(recipe, "lora_alpha"), "a second learning rate")
        if kind != "sft":
            yield Frozen("lora_dim", _today(recipe, "lora_dim"), "rank 1 is enough for RL (Schulman et al. 2025)")
    steps = f"{section}.seed"
    yield Frozen(steps, recipe.get(steps), "each trial gets its own from the study")
