"""Which parameters of the digits example vary, and the configurations that are measured.

The first half are points of a scrambled Sobol sequence, for an even view of the whole space, bad regions included. The
second half are crossings of the better ones, each a little changed, so that the table is dense where a search ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from rltune.space import Categorical, SearchSpace

SEED = 20_261_201

N_PARENTS = 32
"""The best of the first half, by their mean over seeds, of which the second half are crossings."""

CHANGED = 0.5
"""How likely a number of a crossing is moved, by a normal step of `STEP` of its range; a choice is drawn anew in a
fifth as many cases."""
STEP = 0.1

SPACE = SearchSpace.from_mapping(
    {
        "policy.optimizer.kwargs.lr": {"type": "float", "min": 1e-5, "max": 1e-2, "log": True},
        "policy.optimizer.kwargs.weight_decay": {"type": "float", "min": 1e-4, "max": 1.0, "log": True},
        "policy.optimizer.kwargs.beta1": {"type": "categorical", "choices": [0.8, 0.9, 0.95]},
        "policy.optimizer.kwargs.beta2": {"type": "categorical", "choices": [0.95, 0.99, 0.999]},
        "policy.max_grad_norm": {"type": "float", "min": 0.05, "max": 5.0, "log": True},
        "policy.scheduler.name": {"type": "categorical", "choices": ["constant", "cosine"]},
        "policy.scheduler.warmup_steps": {"type": "int", "min": 0, "max": 10},
        "policy.generation.temperature": {"type": "float", "min": 0.5, "max": 1.5},
        "loss_fn.reference_policy_kl_penalty": {"type": "float", "min": 1e-4, "max": 1.0, "log": True, "zero": 0.2},
        "loss_fn.ratio_clip_min": {"type": "float", "min": 0.05, "max": 0.5},
        "loss_fn.ratio_clip_max": {"type": "float", "min": 0.05, "max": 0.5},
        "loss_fn.entropy_coef": {"type": "float", "min": 1e-4, "max": 0.03, "log": True, "zero": 0.3},
        "env.format_bonus": {"type": "float", "min": 0.0, "max": 1.0},
        "grpo.num_generations_per_prompt": {"type": "categorical", "choices": [4, 8, 16, 32]},
        "grpo.ppo_epochs": {"type": "int", "min": 1, "max": 3},
        "grpo.normalize_rewards": {"type": "categorical", "choices": [True, False]},
        "grpo.use_leave_one_out_baseline": {"type": "categorical", "choices": [True, False]},
        "samples_per_step": {"type": "categorical", "choices": [128, 256, 512]},
        "updates_per_epoch": {"type": "categorical", "choices": [1, 2, 4, 8]},
    }
)


def overrides(params: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of the example's config.yaml: the two sizes of a step that are no keys of it become those that are."""
    keys = dict(params)
    samples, updates = keys.pop("samples_per_step"), keys.pop("updates_per_epoch")
    keys["grpo.num_prompts_per_step"] = samples // keys["grpo.num_generations_per_prompt"]
    keys["policy.train_global_batch_size"] = samples // updates
    return keys


DEFAULT: Mapping[str, Any] = {
    "policy.optimizer.kwargs.lr": 3e-4,
    "policy.optimizer.kwargs.weight_decay": 0.01,
    "policy.optimizer.kwargs.beta1": 0.9,
    "policy.optimizer.kwargs.beta2": 0.999,
    "policy.max_grad_norm": 1.0,
    "policy.scheduler.name": "constant",
    "policy.scheduler.warmup_steps": 4,
    "policy.generation.temperature": 1.0,
    "loss_fn.reference_policy_kl_penalty": 0.01,
    "loss_fn.ratio_clip_min": 0.2,
    "loss_fn.ratio_clip_max": 0.2,
    "loss_fn.entropy_coef": 0.0,
    "env.format_bonus": 0.1,
    "grpo.num_generations_per_prompt": 16,
    "grpo.ppo_epochs": 1,
    "grpo.normalize_rewards": True,
    "grpo.use_leave_one_out_baseline": False,
    "samples_per_step": 256,
    "updates_per_epoch": 4,
}
"""What the example's config.yaml has: the first row of the table."""


def spread(n: int) -> list[dict[str, Any]]:
    """The first half: `n` points of a Sobol sequence."""
    sequence = qmc.Sobol(len(SPACE.parameters), scramble=True, seed=np.random.default_rng(SEED))
    return [SPACE.from_unit(point) for point in sequence.random_base2(math.ceil(math.log2(n)))[:n]]


def crossings(points: Sequence[Mapping[str, Any]], scores: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    """The second half, without end: `scores` of the first half (n,), the higher the better."""
    order = np.argsort(-scores, kind="stable")[:N_PARENTS]
    parents = np.array([SPACE.to_unit(points[index]) for index in order])
    is_choice = np.array([isinstance(parameter, Categorical) for parameter in SPACE.parameters.values()])
    rng = np.random.default_rng([SEED, 1])
    while True:
        first, second = parents[rng.choice(len(parents), size=2, replace=False)]
        child = np.where(rng.random(len(first)) < 0.5, first, second)
        moved = np.clip(child + STEP * rng.standard_normal(len(child)), 0.0, 1.0 - 1e-9)
        drawn = rng.random(len(child))
        chance = rng.random(len(child))
        child = np.where(~is_choice & (chance < CHANGED), moved, child)
        child = np.where(is_choice & (chance < CHANGED / 5), drawn, child)
        yield SPACE.from_unit(child)
