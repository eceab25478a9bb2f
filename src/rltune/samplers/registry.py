"""Samplers by name: ours, Optuna's, and those of others.

A sampler of one's own is any `optuna.samplers.BaseSampler`: a class, or a function that returns one. It gets those of
`space`, `seed` and `n_objectives` that its signature names, and its options as keywords. Unless it is a
`SpaceSampler` it is wrapped, so that it cannot leave the search space.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from rltune.errors import InputError, Problem
from rltune.registry import Registry, check_options, parameters_of
from rltune.samplers.base import SpaceSampler
from rltune.samplers.feasible import FeasibleSampler
from rltune.space import SearchSpace

SAMPLERS = Registry(
    "sampler",
    {
        "auto": "rltune.samplers.auto.sampler:auto",
        "bayesian": "rltune.samplers.auto.sampler:auto",
        "tpe": "rltune.samplers.tpe:tpe",
        "gp": "rltune.samplers.gp:gp",
        "cmaes": "rltune.samplers.cmaes:cmaes",
        "nsga2": "rltune.samplers.nsga2:nsga2",
        "random": "rltune.samplers.random:RandomSampler",
        "sobol": "rltune.samplers.sobol:SobolSampler",
        "grid": "rltune.samplers.grid:GridSampler",
        "population": "rltune.samplers.population:PopulationSampler",
    },
)
_GIVEN = ("space", "seed", "n_objectives")  # what a sampler may ask for beside its options

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def make_sampler(
    name_or_path: str | BaseSampler,
    options: Mapping[str, Any] = _NO_OPTIONS,
    *,
    space: SearchSpace,
    seed: int,
    n_objectives: int = 1,
) -> BaseSampler:
    """A sampler that never proposes what the space forbids.

    Args:
        name_or_path: A name that `SAMPLERS` knows, or `module:Class`; or a sampler that was made already, whose draws
            are then not reproducible over a resume.
        options: Keyword arguments of its class or function, except for `space`, `seed`, `n_objectives`.
        space: What may vary and what must hold.
        seed: The study's, from 0 on.
        n_objectives: How many numbers a trial is told with.

    Raises:
        InputError: The sampler or an option is unknown, an option is missing, a value is refused, or the sampler
            cannot do with this space or so many objectives.
    """
    if isinstance(name_or_path, BaseSampler):
        ready = name_or_path
        return ready if isinstance(ready, SpaceSampler) else FeasibleSampler(space, seed, lambda _: ready)
    make = SAMPLERS.find(name_or_path)
    accepted = parameters_of(make)
    check_options(name_or_path, accepted, options, ours=_GIVEN)
    given = {"space": space, "seed": seed, "n_objectives": n_objectives}
    asked = {key: value for key, value in given.items() if key in accepted}

    def build(seed: int) -> BaseSampler:
        return _build(name_or_path, make, {**options, **asked, **({"seed": seed} if "seed" in asked else {})})

    sampler = build(seed)
    return sampler if isinstance(sampler, SpaceSampler) else FeasibleSampler(space, seed, build)


def _build(name: str, make: Callable[..., Any], arguments: Mapping[str, Any]) -> BaseSampler:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # once for every trial otherwise
            sampler = make(**arguments)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError([Problem((), f"`{name}` refuses its options: {error}")]) from error
    if not isinstance(sampler, BaseSampler):
        message = f"`{name}` gives {type(sampler).__name__}, which is not a sampler"
        raise InputError([Problem(("name",), message, "subclass optuna.samplers.BaseSampler")])
    return sampler
