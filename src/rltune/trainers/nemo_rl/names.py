"""Names that mean one thing in every recipe, and the keys that they set in a given one.

Where a recipe of NeMo RL keeps a hyperparameter depends on its algorithm, on what updates the policy, and on what must
move with it. With DTensor, the learning rate is `policy.optimizer.kwargs.lr`. With Megatron it is
`policy.megatron_cfg.optimizer.lr`, and two more keys must not come to lie above it; setting the first key there does
nothing at all. `learning_rate` is right in both.

A dotted key of the recipe may be tuned as well. `problems` finds those that would do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from rltune.errors import InputError, Problem
from rltune.trainers.config_text import did_you_mean
from rltune.trainers.nemo_rl.recipe import Algorithm, Recipe
from rltune.wording import found, listed, nearest


@dataclass(frozen=True)
class Name:
    """A hyperparameter under a name of its own.

    Attributes:
        text: How it is written in the study file.
        meaning: What it is and its unit, and what moves along.
    """

    text: str
    meaning: str


@dataclass(frozen=True)
class _Place:
    """What a name stands for in one recipe.

    Attributes:
        today: The value that the recipe has.
        sets: From a value, every key to set; the first is the key that the name stands for.
    """

    today: Any
    sets: Callable[[Any], dict[str, Any]]

    @property
    def keys(self) -> list[str]:
        return list(self.sets(self.today))


_Params: TypeAlias = Mapping[str, Any]
_NOTHING: _Params = MappingProxyType({})

_MODELS = ("policy", "value")
"""The sections of the models that are trained; `value` is PPO's critic."""

_TWINS: Mapping[str, str] = {
    "optimizer.kwargs.lr": "megatron_cfg.optimizer.lr",
    "optimizer.kwargs.weight_decay": "megatron_cfg.optimizer.weight_decay",
    "optimizer.kwargs.betas.0": "megatron_cfg.optimizer.adam_beta1",
    "optimizer.kwargs.betas.1": "megatron_cfg.optimizer.adam_beta2",
    "optimizer.kwargs.eps": "megatron_cfg.optimizer.adam_eps",
    "max_grad_norm": "megatron_cfg.optimizer.clip_grad",
    "scheduler.0.kwargs.total_iters": "megatron_cfg.scheduler.lr_warmup_iters",
    "dtensor_cfg.lora_cfg.dim": "megatron_cfg.peft.dim",
    "dtensor_cfg.lora_cfg.alpha": "megatron_cfg.peft.alpha",
    "dtensor_cfg.lora_cfg.dropout": "megatron_cfg.peft.dropout",
    "dtensor_cfg.tensor_parallel_size": "megatron_cfg.tensor_model_parallel_size",
    "dtensor_cfg.context_parallel_size": "megatron_cfg.context_parallel_size",
    "dtensor_cfg.activation_checkpointing": "megatron_cfg.activation_checkpointing",
}
"""Where the same setting stands with DTensor and with Megatron, below the section of its model."""

_ADVANTAGE_FLAGS: Mapping[str, str] = {
    "normalize_rewards": "normalize_rewards",
    "leave_one_out": "use_leave_one_out_baseline",
}
"""By name: the flags that stand both in `grpo`, and in `grpo.adv_estimator`, which is read."""

_NO_FLAGS = Problem((), "does nothing: REINFORCE++ (`grpo.adv_estimator.name`) normalises in its own way")

_NO_SWITCHES = ("checkpointing", "policy.generation.colocated")
"""Sections whose other keys count where their `enabled` is false, too."""

_OTHER_WORDS: Mapping[str, str] = {
    "lr": "learning_rate",
    "critic_lr": "critic_learning_rate",
    "value_lr": "critic_learning_rate",
    "warmup": "warmup_steps",
    "wd": "weight_decay",
    "kl": "kl_penalty",
    "kl_coef": "kl_penalty",
    "beta": "kl_penalty",
    "clip_eps": "clip_max",
    "clip_range": "clip_max",
    "clip_ratio": "clip_max",
    "group_size": "num_generations",
    "batch_size": "global_batch_size",
    "grad_clip": "max_grad_norm",
    "clip_grad": "max_grad_norm",
    "lora_rank": "lora_dim",
    "lora_r": "lora_dim",
    "epochs": "num_epochs",
}
"""What others call the same."""


def expand(recipe: Recipe, params: Mapping[str, Any]) -> dict[str, Any]:
    """Every dotted key to set for one trial, in the order of its parameters.

    Args:
        recipe: The recipe, with the overrides that hold for every trial.
        params: Values by name or by dotted key; what is no name is taken for a key and passes as it is.

    Raises:
        InputError: A name has no place in this recipe, or its value is of a kind that it cannot have; the place of the
            problem is the name.
    """
    settings: dict[str, Any] = {}
    wrong: list[Problem] = []
    for name, value in params.items():
        place = _place(recipe, name, params) if name in NAMES else None
        if isinstance(place, Problem):
            wrong.append(place.under(name))
        elif place is None:
            settings[name] = value
        elif not _fits(place, value):
            kind = "true or false" if isinstance(place.today, bool) else "a number"
            wrong.append(Problem((name,), f"must be {kind}, got {found(value)}"))
        else:
            settings |= place.sets(value)
    if wrong:
        raise InputError(wrong)
    return settings


def problems(recipe: Recipe, names: Iterable[str]) -> list[Problem]:
    """What is wrong with setting these names and dotted keys in trials; the place of each problem is the name.

    Those that the recipe does not know or has no place for, those that would do nothing, and two that set the same.
    """
    names = list(names)
    return [*_useless(recipe, names), *_clashes(recipe, names)]


def value_of(recipe: Recipe, name: str) -> Any:
    """What the recipe has today for a name or a dotted key: where a search around it begins.

    Raises:
        InputError: The name has no place in this recipe, or the key is not in it; the place of the problem is the name.
    """
    if name not in NAMES:
        if not _there(recipe, name):
            raise InputError([_unknown(recipe, name)])
        return recipe.get(name)
    place = _place(recipe, name)
    if isinstance(place, Problem):
        raise InputError([place.under(name)])
    return place.today


def key_of(recipe: Recipe, name: str) -> str | None:
    """The dotted key that one of `NAMES` stands for in a recipe; None where it has no place there."""
    place = _place(recipe, name)
    return None if isinstance(place, Problem) else place.keys[0]


def _useless(recipe: Recipe, names: Collection[str]) -> Iterator[Problem]:
    for name in names:
        place = _place(recipe, name) if name in NAMES else None
        if isinstance(place, Problem):
            yield place.under(name)
        elif place is None and not _there(recipe, name):
            yield _unknown(recipe, name)
        elif dead := _dead(recipe, place.keys[0] if place else name.removeprefix("++"), names):
            yield dead.under(name)


def _clashes(recipe: Recipe, names: Collection[str]) -> Iterator[Problem]:
    """Two that set the same key, or a section and a key in it."""
    places = {name: _place(recipe, name) for name in names if name in NAMES}
    known = [n for n in names if (isinstance(places[n], _Place) if n in NAMES else _there(recipe, n))]
    today = {name: value_of(recipe, name) for name in known}
    setters: dict[str, str] = {}
    for name in known:
        place = _place(recipe, name, today) if name in NAMES else None
        keys = place.keys if isinstance(place, _Place) else [name.removeprefix("++")]
        clash = next(((key, setters[k]) for key in keys for k in setters if _overlap(k, key)), None)
        if clash is not None:
            other = "is set as well" if clash[0] == clash[1] else f"`{clash[1]}` sets too"
            yield Problem((name,), f"sets `{clash[0]}`, which {other}", "keep one of them")
        setters |= dict.fromkeys(keys, name)


def _overlap(a: str, b: str) -> bool:
    return a == b or a.startswith(f"{b}.") or b.startswith(f"{a}.")


def _there(recipe: Recipe, key: str) -> bool:
    """Whether the key can be set: it has a value, or waits for one, or says that it may be new."""
    return key.startswith("++") or recipe.has(key) or recipe.raw(key) is not None


def _unknown(recipe: Recipe, name: str) -> Problem:
    if "." in name:
        live = [key for key in recipe.leaves() if not _dead(recipe, key)]
        return Problem((name,), "the recipe has no such key", _instead(recipe, name) or did_you_mean(name, live))
    near = _OTHER_WORDS.get(name) or nearest(name, NAMES)
    hint = f"did you mean `{near}`?" if near else f"the names are {listed(NAMES, limit=len(NAMES))}"
    return Problem((name,), "is no name that rltune knows, and no key of the recipe", hint)


def _dead(recipe: Recipe, key: str, tuned: Collection[str] = ()) -> Problem | None:
    """Why setting a key of the recipe would change nothing: a problem whose place is empty.

    Args:
        recipe: The recipe.
        key: A key that it has.
        tuned: All that is tuned: among it may be what switches the key's section on.
    """
    model, _, rest = key.partition(".")
    part = rest.partition(".")[0]
    if model == "teacher" and (part in ("optimizer", "scheduler") or rest.startswith("megatron_cfg.optimizer.")):
        return Problem((), "does nothing: the teacher is not trained", "the student stands below `policy`")
    if model in _MODELS and part in ("optimizer", "scheduler", "max_grad_norm") and _is_megatron(recipe, model):
        if _is_followed(recipe, key, f"{model}.{part}"):
            return None
        message = f"does nothing: Megatron updates `{model}`, and is set up by `{model}.megatron_cfg` alone"
        return Problem((), message, _instead(recipe, key))
    for name, flag in _ADVANTAGE_FLAGS.items():
        live, copy = f"grpo.adv_estimator.{flag}", f"grpo.{flag}"
        if key in (live, copy) and _is_reinforce(recipe):
            return _NO_FLAGS
        if key == copy and recipe.has(live) and not recipe.follows(live, key):
            return Problem((), f"does not reach the advantages, which are computed with `{live}`", f"tune `{name}`")
    return _switched_off(recipe, key, tuned)


def _switched_off(recipe: Recipe, key: str, tuned: Collection[str]) -> Problem | None:
    switch = _switch(recipe, key, tuned)
    if switch is None or _is_followed(recipe, key, switch.removesuffix(".enabled")):
        return None
    is_backend = switch.removesuffix(".enabled").endswith(("dtensor_cfg", "megatron_cfg"))
    hint = _instead(recipe, key) if is_backend else f"set `{switch}: true` in the trainer's overrides"
    return Problem((), f"does nothing: `{switch}` is false", hint)


def _switch(recipe: Recipe, key: str, tuned: Collection[str] = ()) -> str | None:
    """The `enabled: false` of a section that the key lies in, at any depth; None where there is none."""
    parts = key.split(".")
    sections = (".".join(parts[:n]) for n in range(1, len(parts)))
    switches = (f"{section}.enabled" for section in sections if section not in _NO_SWITCHES)
    return next((s for s in switches if recipe.get(s) is False and s != key and s not in tuned), None)


def _is_followed(recipe: Recipe, key: str, section: str) -> bool:
    """Whether a value outside `section` is computed from the one at `key`."""
    return any(recipe.follows(other, key) for other in recipe.leaves() if not _overlap(other, section))


def _instead(recipe: Recipe, key: str) -> str:
    """What to tune in place of a key of the backend that does not run; empty where the other has no such thing."""
    model, _, rest = key.partition(".")
    twins = {**_TWINS, **{megatron: dtensor for dtensor, megatron in _TWINS.items()}}
    live = f"{model}.{twins.get(rest)}"
    if not recipe.has(live) or _switch(recipe, live):
        return ""
    places = {name: place for name in NAMES if isinstance(place := _place(recipe, name), _Place)}
    name = next((name for name, place in places.items() if live in place.keys), None)
    if name is None:
        return "" if ".scheduler." in live else f"tune `{live}`"  # the first scheduler need not be a warm-up
    return f"tune `{name}`, which sets `{live}` here"


def _is_reinforce(recipe: Recipe) -> bool:
    return bool(recipe.get("grpo.adv_estimator.name") == "reinforce_plus_plus")


def _is_megatron(recipe: Recipe, model: str) -> bool:
    return recipe.get(f"{model}.megatron_cfg.enabled") is True


def _fits(place: _Place, value: Any) -> bool:
    """Whether a value is of the kind of today's; null fits where nothing is computed from it."""
    if not _is_number(place.today):
        return not isinstance(place.today, bool) or isinstance(value, bool)
    return _is_number(value) or (value is None and len(place.keys) == 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# Where each name stands. Every function below takes the recipe and the trial's other parameters, and returns the
# place, or a problem (its own place empty) where the recipe has none.


def _place(recipe: Recipe, name: str, params: _Params = _NOTHING) -> _Place | Problem:
    return _FINDERS[name](recipe, params)


def _single(recipe: Recipe, key: str) -> _Place | Problem:
    """One key, and nothing that moves with it."""
    if not _there(recipe, key):
        message = f"has no place in this recipe for `{recipe.algorithm}`: there is no `{key}`"
        return Problem((), message, "remove it; if NeMo RL knows the key, give it a value in the recipe instead")
    return _Place(recipe.get(key), lambda value: {key: value})


def _key(key: str, recipe: Recipe, _params: _Params) -> _Place | Problem:
    return _single(recipe, key)


def _in_algorithm(key: str, recipe: Recipe, _params: _Params) -> _Place | Problem:
    return _single(recipe, f"{recipe.algorithm}.{key}")


def _by_backend(dtensor: str, recipe: Recipe, _params: _Params) -> _Place | Problem:
    return _single(recipe, f"policy.{_TWINS[dtensor] if _is_megatron(recipe, 'policy') else dtensor}")


def _learning_rate(model: str, recipe: Recipe, _params: _Params) -> _Place | Problem:
    """With Megatron, the rates at the start of warm-up and at the end of decay must not come to lie above it."""
    if not _is_megatron(recipe, model):
        return _single(recipe, f"{model}.optimizer.kwargs.lr")
    megatron = f"{model}.megatron_cfg"
    along = (f"{megatron}.optimizer.min_lr", f"{megatron}.scheduler.lr_warmup_init")
    return _in_proportion(recipe, f"{megatron}.optimizer.lr", along)


def _weight_decay(recipe: Recipe, _params: _Params) -> _Place | Problem:
    """With Megatron, the scheduler sets it at every step, on its way from one value to another."""
    if not _is_megatron(recipe, "policy"):
        return _single(recipe, "policy.optimizer.kwargs.weight_decay")
    scheduler = "policy.megatron_cfg.scheduler"
    along = (f"{scheduler}.start_weight_decay", f"{scheduler}.end_weight_decay")
    return _in_proportion(recipe, "policy.megatron_cfg.optimizer.weight_decay", along)


def _max_grad_norm(recipe: Recipe, _params: _Params) -> _Place | Problem:
    clip_grad = "policy.megatron_cfg.optimizer.clip_grad"
    apart = _is_megatron(recipe, "policy") and not recipe.follows(clip_grad, "policy.max_grad_norm")
    return _single(recipe, clip_grad if apart else "policy.max_grad_norm")


def _warmup_steps(recipe: Recipe, _params: _Params) -> _Place | Problem:
    """With DTensor, schedulers take turns: the length of the first, and the step at which the next takes over."""
    if _is_megatron(recipe, "policy"):
        return _single(recipe, "policy.megatron_cfg.scheduler.lr_warmup_iters")
    schedulers = recipe.get("policy.scheduler")
    first = schedulers[0] if isinstance(schedulers, list) and schedulers else {}
    last = schedulers[-1] if isinstance(schedulers, list) and schedulers else {}
    if not str(first.get("name")).endswith(".LinearLR") or not last.get("milestones"):
        return Problem((), *_no_warmup(schedulers))
    length, turns = "policy.scheduler.0.kwargs.total_iters", f"policy.scheduler.{len(schedulers) - 1}.milestones"
    later = last["milestones"][1:]
    return _Place(recipe.get(length), lambda steps: {length: steps, turns: [steps, *later]})


def _no_warmup(schedulers: Any) -> tuple[str, str]:
    has = "`policy.scheduler` does not begin with a LinearLR" if schedulers else "there is no `policy.scheduler`"
    hint = "write a list of LinearLR, ConstantLR and milestones there, as examples/configs/grpo_math_1B.yaml does"
    return f"has no place in this recipe, which warms nothing up: {has}", hint


def _kl_penalty(recipe: Recipe, _params: _Params) -> _Place | Problem:
    """A recipe without a penalty may leave out the reference policy's log probabilities, which a penalty needs."""
    if recipe.algorithm is Algorithm.DPO:
        return _single(recipe, "dpo.reference_policy_kl_penalty")
    key, skips = "loss_fn.reference_policy_kl_penalty", f"{recipe.algorithm}.skip_reference_policy_logprobs_calculation"
    place = _single(recipe, key)
    if isinstance(place, Problem) or recipe.get(skips) is not True:
        return place
    return _Place(place.today, lambda value: {key: value, skips: value == 0})


def _clip_delta(recipe: Recipe, params: _Params) -> _Place | Problem:
    """How much wider the clip is above than below."""
    low, high = _numeric(recipe, "clip_min"), _numeric(recipe, "clip_max")
    if isinstance(low, Problem):
        return low
    if isinstance(high, Problem):
        return high
    key, clip_min = high.keys[0], _given(params, "clip_min", low)
    return _Place(_tidy(high.today - low.today), lambda delta: {key: _tidy(clip_min + delta)})


def _critic_ratio(recipe: Recipe, params: _Params) -> _Place | Problem:
    """The critic's learning rate in units of the policy's."""
    actor, critic = _numeric(recipe, "learning_rate"), _numeric(recipe, "critic_learning_rate")
    if isinstance(critic, Problem):
        return critic
    if isinstance(actor, Problem):
        return actor
    rate = _given(params, "learning_rate", actor)
    today = _tidy(critic.today / actor.today) if actor.today else None
    return _Place(today, lambda ratio: critic.sets(critic.today if ratio is None else _tidy(rate * ratio)))


def _numeric(recipe: Recipe, name: str) -> _Place | Problem:
    place = _place(recipe, name)
    if isinstance(place, Problem) or _is_number(place.today):
        return place
    return Problem((), f"needs a number at `{place.keys[0]}`, which is {found(place.today)} in the recipe")


def _advantage_flag(name: str, recipe: Recipe, _params: _Params) -> _Place | Problem:
    """The estimator's flag, and its copy in `grpo`, which logs and dynamic sampling read."""
    flag = _ADVANTAGE_FLAGS[name]
    live, copy = f"grpo.adv_estimator.{flag}", f"grpo.{flag}"
    if _is_reinforce(recipe):
        return _NO_FLAGS
    if recipe.follows(live, copy):
        return _single(recipe, copy)
    place = _single(recipe, live)
    if isinstance(place, Problem) or not recipe.has(copy):
        return place
    return _Place(place.today, lambda value: {live: value, copy: value})


def _lora_dim(recipe: Recipe, params: _Params) -> _Place | Problem:
    """Adapters are scaled by alpha/dim, so that alpha has to move for the rank alone to be what changes."""
    dim, alpha = _by_backend("dtensor_cfg.lora_cfg.dim", recipe, params), _place(recipe, "lora_alpha")
    if isinstance(dim, Problem) or isinstance(alpha, Problem) or {"lora_alpha", *alpha.keys} & set(params):
        return dim
    return _in_proportion(recipe, dim.keys[0], alpha.keys)


def _seed(recipe: Recipe, _params: _Params) -> _Place | Problem:
    """Seeds in `data` that follow it stay: they split the data into training and validation."""
    key = f"{recipe.algorithm}.seed"
    place = _single(recipe, key)
    split = {k: value for k, value in recipe.leaves().items() if k.startswith("data.") and recipe.follows(k, key)}
    return place if isinstance(place, Problem) else _Place(place.today, lambda seed: {key: seed, **split})


def _in_proportion(recipe: Recipe, key: str, along: Iterable[str]) -> _Place | Problem:
    """A key, and others that keep their ratio to it; those that are computed from it need no setting."""
    place = _single(recipe, key)
    if isinstance(place, Problem):
        return place
    today = place.today
    moving = {other: recipe.get(other) for other in along if not recipe.follows(other, key)}
    moving = {other: value for other, value in moving.items() if isinstance(value, int | float)}
    return _Place(today, lambda value: {key: value} | {k: _scaled(value, v, today) for k, v in moving.items()})


def _scaled(value: float, other: float, today: float) -> float:
    """What `other` becomes where `today` becomes `value`: the ratio of the two stays, where there is one."""
    if other == today or not today:
        return value
    scaled = _tidy(value * other / today)
    if other < today:
        scaled = min(scaled, float(value))  # Megatron refuses a minimum that rounding has lifted above its rate
    return int(scaled) if isinstance(other, int) and scaled.is_integer() else scaled


def _tidy(value: float) -> float:
    """Without the noise of floating point: 1e-6, not 1.0000000000000002e-06."""
    return float(f"{value:.12g}")


def _given(params: _Params, name: str, place: _Place) -> Any:
    """What the trial has for a name: its parameter of that name or for that key, else the recipe's value."""
    return params.get(name, params.get(place.keys[0], place.today))


_Find: TypeAlias = Callable[[Recipe, _Params], _Place | Problem]

_TABLE: tuple[tuple[str, _Find, str], ...] = (
    ("learning_rate", partial(_learning_rate, "policy"), "peak learning rate of the policy"),
    ("warmup_steps", _warmup_steps, "training steps, in PPO updates, until the learning rate is at its peak"),
    ("weight_decay", _weight_decay, "decoupled weight decay of the policy"),
    ("max_grad_norm", _max_grad_norm, "norm that the policy's gradients are clipped to"),
    ("adam_beta1", partial(_by_backend, "optimizer.kwargs.betas.0"), "decay of Adam's mean of the gradients"),
    ("adam_beta2", partial(_by_backend, "optimizer.kwargs.betas.1"), "decay of Adam's mean of their squares"),
    ("adam_eps", partial(_by_backend, "optimizer.kwargs.eps"), "what Adam adds to its denominator"),
    ("global_batch_size", partial(_key, "policy.train_global_batch_size"), "samples in one update of the weights"),
    ("num_epochs", partial(_in_algorithm, "max_num_epochs"), "passes over the training data"),
    ("seed", _seed, "seed of the training; the split of the data into training and validation stays"),
    ("num_prompts", partial(_in_algorithm, "num_prompts_per_step"), "prompts in one step"),
    ("num_generations", partial(_in_algorithm, "num_generations_per_prompt"), "answers to each prompt"),
    ("temperature", partial(_key, "policy.generation.temperature"), "sampling temperature, in validation too"),
    ("top_p", partial(_key, "policy.generation.top_p"), "probability mass that is sampled from, in validation too"),
    ("kl_penalty", _kl_penalty, "weight of the divergence from the reference policy; for DPO its beta"),
    ("clip_min", partial(_key, "loss_fn.ratio_clip_min"), "how far below 1 the probability ratio is clipped"),
    ("clip_max", partial(_key, "loss_fn.ratio_clip_max"), "how far above 1 the probability ratio is clipped"),
    ("clip_delta", _clip_delta, "clip_max minus clip_min; sets clip_max"),
    ("clip_c", partial(_key, "loss_fn.ratio_clip_c"), "dual clip: lower bound of the loss at negative advantages"),
    ("normalize_rewards", partial(_advantage_flag, "normalize_rewards"), "divide by the group's standard deviation"),
    ("leave_one_out", partial(_advantage_flag, "leave_one_out"), "leave each answer out of its own baseline"),
    ("critic_learning_rate", partial(_learning_rate, "value"), "peak learning rate of PPO's critic"),
    ("critic_ratio", _critic_ratio, "critic_learning_rate over learning_rate; sets the former"),
    ("critic_warmup_steps", partial(_in_algorithm, "policy_training_start_step"), "PPO steps for the critic alone"),
    ("ppo_epochs", partial(_in_algorithm, "ppo_epochs"), "passes over the samples of one PPO step"),
    ("gae_lambda", partial(_in_algorithm, "adv_estimator.gae_lambda"), "lambda of generalised advantage estimation"),
    ("value_clip", partial(_key, "value_loss_fn.cliprange"), "how far PPO's critic may move in one step"),
    ("lora_dim", _lora_dim, "rank of the adapters; lora_alpha keeps its ratio to it, unless it is set as well"),
    ("lora_alpha", partial(_by_backend, "dtensor_cfg.lora_cfg.alpha"), "adapters are scaled by lora_alpha / lora_dim"),
    ("lora_dropout", partial(_by_backend, "dtensor_cfg.lora_cfg.dropout"), "dropout before or after the adapters"),
)

_FINDERS: Mapping[str, _Find] = {text: find for text, find, _ in _TABLE}

NAMES: Mapping[str, Name] = {text: Name(text, meaning) for text, _, meaning in _TABLE}
"""Every name that stands for a hyperparameter; not each has a place in every recipe."""
