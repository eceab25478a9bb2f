"""Problems of our own, in the likeness of RL post-training: noise, cliffs, conditions, mixed kinds, curves that cross.

Each is a bowl around a configuration that is named here, so the best is known exactly. From far away the bowl looks
flat, since a policy that learns nothing cannot get worse.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from benchmarks.search.problems import Array, Params, Problem, references
from rltune.space import SearchSpace

N_STEPS = 27

DIVERGED = 1.5
"""The loss of a training that diverges; it reports NaN."""


@dataclass(frozen=True)
class Landscape:
    """A loss over a search space, from 0 to about 1.

    Attributes:
        space: As a study file says it.
        optimum: Where the loss is least: 0, or `stuck`.
        weights: By parameter: how steep the bowl is; the distance is taken in the unit cube.
        valleys: Directions, as weights by parameter: the squared distance along each counts besides.
        offsets: What a choice costs that is not the best, by parameter and choice.
        heat: A direction; noise grows along it, beyond `cliff` training becomes unstable, and further on it diverges.
        cliff: Infinity where there is none.
        noise: Standard deviation of one evaluation.
        stuck: How likely a training is to learn nothing: its loss is 1 then.
    """

    space: Mapping[str, Any]
    optimum: Params
    weights: Mapping[str, float]
    valleys: tuple[Mapping[str, float], ...] = ()
    offsets: Mapping[str, Mapping[Any, float]] = field(default_factory=dict)
    heat: Mapping[str, float] = field(default_factory=dict)
    cliff: float = math.inf
    noise: float = 0.0
    stuck: float = 0.0

    @functools.cached_property
    def searched(self) -> SearchSpace:
        return SearchSpace.from_mapping(self.space)

    def away(self, params: Params) -> dict[str, float]:
        """How far each parameter lies from the optimum in the unit cube, for those that are active there and here."""
        known = self.searched.parameters
        return {
            name: known[name].to_unit(value) - known[name].to_unit(self.optimum[name])
            for name, value in params.items()
            if name in self.optimum
        }

    def beyond(self, params: Params) -> float:
        """How far beyond the cliff; below 0 on the safe side."""
        return _along(self.heat, self.away(params)) - self.cliff

    def true(self, params: Params) -> float:
        away = self.away(params)
        bowl = sum(weight * away.get(name, 0.0) ** 2 for name, weight in self.weights.items())
        bowl += sum(_along(valley, away) ** 2 for valley in self.valleys)
        loss = 1 - math.exp(-bowl)
        loss += sum(costs.get(params.get(name), 0.0) for name, costs in self.offsets.items())
        over = self.beyond(params)
        if over > 0.25:
            return DIVERGED
        return self.stuck + (1 - self.stuck) * (loss + (0.3 + over if over > 0 else 0.0))

    def observe(self, params: Params, rng: Generator) -> float:
        noise = self.noise * rng.standard_normal()  # drawn in any case, so that all arms see the same stream
        if self.heat:
            noise *= 1 + 2 * max(0.0, 1 + 5 * self.beyond(params))
        is_stuck = self.stuck > rng.random() if self.stuck else False
        loss = self.true(params)
        if loss == DIVERGED:
            return math.nan
        return noise + (1.0 if is_stuck else (loss - self.stuck) / (1 - self.stuck))


def _along(direction: Mapping[str, float], away: Mapping[str, float]) -> float:
    return sum(weight * away.get(name, 0.0) for name, weight in direction.items())


def _log(low: float, high: float) -> dict[str, Any]:
    return {"type": "float", "min": low, "max": high, "log": True}


def _choice(*choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}


_SMOOTH = Landscape(
    {f"x{i}": {"type": "float", "min": 0.0, "max": 1.0} for i in range(6)},
    {"x0": 0.31, "x1": 0.68, "x2": 0.52, "x3": 0.24, "x4": 0.77, "x5": 0.41},
    {f"x{i}": 0.4 for i in range(6)},
    ({"x0": 2.0, "x1": -2.0}, {"x1": 1.5, "x2": 1.5, "x3": 1.5}),
)

_CLIFF = Landscape(
    {
        "lr": _log(1e-7, 1e-4),
        "kl": _log(1e-4, 1.0),
        "clip": {"type": "float", "min": 0.05, "max": 0.4},
        "temperature": {"type": "float", "min": 0.5, "max": 1.5},
        "prompts": {"type": "int", "min": 8, "max": 512, "log": True},
        "epochs": {"type": "int", "min": 1, "max": 8},
    },
    {"lr": 4e-6, "kl": 0.01, "clip": 0.2, "temperature": 1.0, "prompts": 128, "epochs": 2},
    {"lr": 3.0, "kl": 1.0, "clip": 0.5, "temperature": 1.5, "prompts": 0.5, "epochs": 0.3},
    ({"lr": 1.5, "epochs": 0.8, "prompts": -0.8},),
    heat={"lr": 1.0, "epochs": 0.4, "kl": -0.3},
    cliff=0.12,
    noise=0.06,
)

_CONDITIONAL = Landscape(
    {
        "algorithm": _choice("grpo", "ppo", "rloo"),
        "lr": _log(1e-7, 1e-4),
        "kl": _log(1e-4, 1.0),
        "schedule": _choice("constant", "cosine", "linear"),
        "group": {"type": "int", "min": 2, "max": 32, "log": True, "when": "algorithm in ['grpo', 'rloo']"},
        "normalize": _choice(True, False) | {"when": "algorithm == 'grpo'"},
        "lambda": {"type": "float", "min": 0.8, "max": 1.0, "when": "algorithm == 'ppo'"},
        "critic_lr": _log(1e-6, 1e-3) | {"when": "algorithm == 'ppo'"},
    },
    {"algorithm": "grpo", "lr": 2e-6, "kl": 0.02, "schedule": "cosine", "group": 16, "normalize": False},
    {"lr": 5.0, "kl": 2.0, "group": 1.5},
    ({"lr": 1.5, "kl": -1.0},),
    {
        "algorithm": {"ppo": 0.12, "rloo": 0.06},
        "schedule": {"constant": 0.05, "linear": 0.02},
        "normalize": {True: 0.08},
    },
    noise=0.05,
)

_MIXED = Landscape(
    {
        "lr": _log(1e-7, 1e-4),
        "kl": _log(1e-4, 1.0),
        "clip": {"type": "float", "min": 0.05, "max": 0.4},
        "decay": {"type": "float", "min": 0.0, "max": 0.3, "step": 0.05},
        "prompts": {"type": "int", "min": 8, "max": 512, "log": True},
        "generations": {"type": "int", "min": 4, "max": 32, "step": 4},
        "epochs": {"type": "int", "min": 1, "max": 4},
        "optimizer": _choice("adamw", "muon", "lion"),
        "advantage": _choice("group", "leave_one_out"),
        "loss": _choice("token", "sequence", "constant", "none"),
    },
    {
        "lr": 3e-6,
        "kl": 0.003,
        "clip": 0.25,
        "decay": 0.1,
        "prompts": 64,
        "generations": 16,
        "epochs": 1,
        "optimizer": "muon",
        "advantage": "leave_one_out",
        "loss": "token",
    },
    {"lr": 3.0, "kl": 0.8, "clip": 0.4, "decay": 0.2, "prompts": 0.6, "generations": 0.6, "epochs": 0.2},
    ({"lr": 1.5, "prompts": -0.7, "epochs": 0.5}, {"kl": 0.8, "clip": 0.8}),
    {
        "optimizer": {"adamw": 0.04, "lion": 0.15},
        "advantage": {"group": 0.03},
        "loss": {"sequence": 0.05, "constant": 0.02, "none": 0.25},
    },
    noise=0.03,
)

_FLOOR = Landscape(
    {
        "lr": _log(1e-6, 1e-1),
        "gamma": {"type": "float", "min": 0.8, "max": 0.9999},
        "clip": {"type": "float", "min": 0.05, "max": 0.5},
    },
    {"lr": 1e-3, "gamma": 0.97, "clip": 0.2},
    {"lr": 40.0, "gamma": 12.0, "clip": 1.0},
    ({"lr": 4.0, "gamma": 3.0},),
    noise=0.15,
)

_STUCK = Landscape(
    {
        "lr": _log(1e-6, 1e-1),
        "entropy": _log(1e-5, 1e-1),
        "batch": {"type": "int", "min": 16, "max": 1024, "log": True},
        "epochs": {"type": "int", "min": 1, "max": 10},
    },
    {"lr": 4e-4, "entropy": 3e-3, "batch": 256, "epochs": 4},
    {"lr": 15.0, "entropy": 4.0, "batch": 1.0, "epochs": 1.0},
    ({"lr": 2.0, "batch": -2.0},),
    noise=0.05,
    stuck=0.3,
)

VALUES: Mapping[str, Landscape] = {
    "smooth": _SMOOTH,
    "cliff": _CLIFF,
    "conditional": _CONDITIONAL,
    "mixed": _MIXED,
    "floor": _FLOOR,
    "stuck": _STUCK,
}

CURVES: Mapping[str, Landscape] = {
    "curves_parallel": _MIXED,
    "curves_cross": _MIXED,
    "curves_collapse": _MIXED,
    "curves_late": _MIXED,
}


@functools.cache
def load(name: str) -> Problem:
    """A problem of our own by its name."""
    landscape = VALUES[name] if name in VALUES else CURVES[name]
    space, true = landscape.searched, landscape.true
    reference, median = references(space, true)
    shape = _SHAPES.get(name)
    return Problem(
        name=name,
        kind="made up" + (f", noise {landscape.noise:g}" if landscape.noise else ", no noise"),
        version=hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12],
        space=space,
        observe=landscape.observe,
        true=true,
        best=true(landscape.optimum),
        reference=reference,
        median=median,
        n_steps=N_STEPS if shape else 0,
        curve=functools.partial(_curve, landscape, shape) if shape else None,
        optimum=landscape.optimum,
    )


# --- training curves -------------------------------------------------------------------------------------------------


def _curve(landscape: Landscape, shape: Callable[[float, Array], Array], params: Params, rng: Generator) -> Array:
    """From the loss of an untrained policy to the true loss, as `shape` goes, with the noise of one evaluation.

    Half its variance is the seed's, which stays with a run, and half that of each validation.
    """
    noise = landscape.noise * math.sqrt(0.5) * (rng.standard_normal() + rng.standard_normal(N_STEPS))
    end = landscape.true(params)
    left = shape(landscape.away(params)["lr"], np.arange(1, N_STEPS + 1) / N_STEPS)
    return end + (1.0 - end) * left + noise


def _decay(rate: float, time: Array) -> Array:
    """From 1 at time 0 to 0 at time 1."""
    return (np.exp(-rate * time) - math.exp(-rate)) / (1 - math.exp(-rate))


def _parallel(_: float, time: Array) -> Array:
    """All learn at one pace, so the early order is the last one."""
    return _decay(4.0, time)


def _cross(lr: float, time: Array) -> Array:
    """What learns fast at first ends early: the larger the learning rate, the faster. The early order is misleading."""
    return _decay(2.0 * math.exp(5.0 * lr), time)


def _collapse(lr: float, time: Array) -> Array:
    """Too large a learning rate looks better than it is until two thirds of the training, then the policy collapses."""
    return _decay(4.0, time) - max(0.0, lr) * np.where(time < 2 / 3, time, 0.0)


def _late(lr: float, time: Array) -> Array:
    """Until the learning rate is lowered, at six tenths, curves tell how well it suits that phase, and not the last."""
    phase = 0.5 + 2.0 * (lr + 0.3) ** 2
    return phase + (1.0 - phase) * _decay(20.0, np.minimum(time, 0.6)) - phase * np.clip((time - 0.6) / 0.15, 0.0, 1.0)


_SHAPES: Mapping[str, Callable[[float, Array], Array]] = {
    "curves_parallel": _parallel,
    "curves_cross": _cross,
    "curves_collapse": _collapse,
    "curves_late": _late,
}
