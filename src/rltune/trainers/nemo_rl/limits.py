"""Which values a hyperparameter of NeMo RL may have, told by its name or key.

NeMo RL lets most others pass, and fails or learns nothing once the GPUs are taken: at no generation to a prompt, at a
temperature of 0, at half a sample in a batch. What depends on other settings too is a rule: see `rules`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rltune.errors import Problem
from rltune.space import Categorical, Float, Parameter, SearchSpace
from rltune.trainers.nemo_rl.names import NAMES, key_of
from rltune.trainers.nemo_rl.recipe import Recipe
from rltune.wording import found


@dataclass(frozen=True)
class Limit:
    """The values of one hyperparameter.

    Attributes:
        low: The least.
        high: The largest.
        beyond: Whether the ends themselves are left out.
        whole: Whether there are whole numbers only.
        null: Whether null is one of them.
    """

    low: float = -math.inf
    high: float = math.inf
    beyond: bool = False
    whole: bool = False
    null: bool = False

    def allows(self, value: Any) -> bool:
        """Whether it is one of the values."""
        if value is None:
            return self.null
        if isinstance(value, bool) or not isinstance(value, int | float) or (self.whole and value % 1):
            return False
        return self.low < value < self.high if self.beyond else self.low <= value <= self.high

    def __str__(self) -> str:
        words = ["a whole number" if self.whole else "a number"]
        if self.high < math.inf:
            words.append(
                f"{'between' if self.beyond else 'from'} {self.low} {'and' if self.beyond else 'to'} {self.high}"
            )
        elif self.low > -math.inf:
            words.append(f"above {self.low}" if self.beyond else f"from {self.low} on")
        return " ".join(words) + (" or null" if self.null else "")


_COUNT = Limit(low=1, whole=True)
_STEPS = Limit(low=0, whole=True)
_ABOVE_ZERO = Limit(low=0, beyond=True)
_FROM_ZERO = Limit(low=0)
_SHARE = Limit(low=0, high=1)
_PART = Limit(low=0, high=1, beyond=True)

_BY_NAME: Mapping[str, Limit] = {
    "learning_rate": _ABOVE_ZERO,
    "critic_learning_rate": _ABOVE_ZERO,
    "critic_ratio": _ABOVE_ZERO,
    "warmup_steps": _STEPS,
    "weight_decay": _FROM_ZERO,
    "max_grad_norm": Limit(low=0, beyond=True, null=True),
    "adam_beta1": _SHARE,
    "adam_beta2": _PART,
    "adam_eps": _ABOVE_ZERO,
    "global_batch_size": _COUNT,
    "num_epochs": _COUNT,
    "num_prompts": _COUNT,
    "num_generations": _COUNT,
    "temperature": _ABOVE_ZERO,
    "top_p": _SHARE,
    "kl_penalty": _FROM_ZERO,
    "clip_min": _FROM_ZERO,
    "clip_max": _FROM_ZERO,
    "clip_c": Limit(low=1, beyond=True, null=True),
    "critic_warmup_steps": _STEPS,
    "ppo_epochs": _COUNT,
    "gae_lambda": _SHARE,
    "value_clip": Limit(low=0, beyond=True, null=True),
    "lora_dim": _COUNT,
    "lora_alpha": _ABOVE_ZERO,
    "lora_dropout": _SHARE,
}
"""The names that are left out are true or false, or may have any number."""

_BY_KEY: tuple[tuple[re.Pattern[str], Limit], ...] = (
    (re.compile(r"\.val_(?:\w+_)?batch_size$|\.max_val_samples$"), Limit(low=1, whole=True, null=True)),  # null: all
    (re.compile(r"batch_size$|_mb_tokens$|_parallel_size$|\.save_period$|\.max_new_tokens$|\.topk_logits_k$"), _COUNT),
    (re.compile(r"_per_prompt$|_per_step$|_per_node$|\.num_nodes$|\.max_total_sequence_length$"), _COUNT),
    (re.compile(r"\.total_iters$|\.lr_warmup_iters$|\.overlong_buffer_length$|\.policy_training_start_step$"), _STEPS),
    (re.compile(r"\.(?:val_period|val_batches|max_num_steps|top_k|seed|num_workers)$"), Limit(whole=True, null=True)),
)
"""Of dotted keys that no name stands for; the first that is found in the key counts."""


def unfit_values(recipe: Recipe, parameters: Mapping[str, Parameter]) -> Iterator[Problem]:
    """Values of parameters that NeMo RL cannot train with, one of each; the places are those of the study file."""
    limits = _limits(recipe, parameters)
    for name, parameter in parameters.items():
        if limit := limits[name]:
            yield from _unfit(name, parameter, limit)


def unfit_derived(recipe: Recipe, space: SearchSpace) -> Iterator[Problem]:
    """The same of what is derived, as far as a few configurations tell."""
    limits = _limits(recipe, space.derived)
    seen: set[str] = set()
    for configuration in space.some():
        for name, formula in space.derived.items():
            limit = limits[name]
            if limit is None or name in seen or name not in configuration or limit.allows(configuration[name]):
                continue
            seen.add(name)
            read = sorted(each for each in formula.names if each in configuration)
            given = ", ".join(f"{each} = {found(configuration[each])}" for each in read)
            message = f"must be {limit}, got {found(configuration[name])}" + (f" with {given}" if given else "")
            yield Problem(("derived", name), message)


def _limits(recipe: Recipe, names: Iterable[str]) -> dict[str, Limit | None]:
    by_key = {key_of(recipe, name): limit for name, limit in _BY_NAME.items()}
    return {name: _limit(name.removeprefix("++"), by_key) for name in names}


def _limit(name: str, by_key: Mapping[str | None, Limit]) -> Limit | None:
    if name in NAMES:
        return _BY_NAME.get(name)
    if name in by_key:
        return by_key[name]
    return next((limit for pattern, limit in _BY_KEY if pattern.search(name)), None)


def _unfit(name: str, parameter: Parameter, limit: Limit) -> Iterator[Problem]:
    """The first value that is none, or that there are others than whole numbers between the ends."""
    if isinstance(parameter, Float) and limit.whole:
        message = f"`float` gives fractions, and NeMo RL needs {limit}"
        yield Problem(("search_space", name, "type"), message, "write `type: int`, or a list of choices")
        return
    for key, value in _ends(parameter):
        if not limit.allows(value):
            hint = "leave it out" if key in ("choices", "zero") else f"change `{key}`"
            yield Problem(("search_space", name, key), f"must be {limit}, got {found(value)}", hint)
            return


def _ends(parameter: Parameter) -> Iterable[tuple[str, Any]]:
    """The values that matter, each with the key that it stands for in the study file."""
    if isinstance(parameter, Categorical):
        return [("choices", choice) for choice in parameter.choices]
    ends: list[tuple[str, Any]] = [("min", parameter.low), ("max", parameter.high)]
    return [*ends, ("zero", 0.0)] if isinstance(parameter, Float) and parameter.zero is not None else ends
