"""Samplers by name: ours, Optuna's, and those of others.

A sampler of one's own is any `optuna.samplers.BaseSampler`: a class, or a function that returns one. It gets those of
`space`, `seed` and `n_objectives` that its signature names, and its options as keywords. Unless it is a
`SpaceSampler` it is wrapped, so that it cannot leave the search space.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from rltune.errors import InputError, Problem
from rltune.samplers.base import SpaceSampler
from rltune.samplers.feasible import FeasibleSampler
from rltune.space import SearchSpace
from rltune.space.wording import did_you_mean, found, listed, nearest

GROUP = "rltune.samplers"
"""The entry point group in which a package offers samplers of its own."""

_BUILT_IN: dict[str, str] = {
    "auto": "rltune.samplers.tpe:tpe",
    "bayesian": "rltune.samplers.tpe:tpe",
    "tpe": "rltune.samplers.tpe:tpe",
    "gp": "rltune.samplers.gp:gp",
    "cmaes": "rltune.samplers.cmaes:cmaes",
    "nsga2": "rltune.samplers.nsga2:nsga2",
    "random": "rltune.samplers.random:RandomSampler",
    "sobol": "rltune.samplers.sobol:SobolSampler",
    "grid": "rltune.samplers.grid:GridSampler",
}
_GIVEN = ("space", "seed", "n_objectives")  # what a sampler may ask for beside its options

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def sampler_names() -> list[str]:
    """Every name that the study file may use, besides `module:Class`."""
    return sorted({*_BUILT_IN, *entry_points(group=GROUP).names})


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
        name_or_path: A name from `sampler_names`, or `module:Class`; or a sampler that was made already, whose draws
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
    make = _find(name_or_path)
    accepted = _accepted(make)
    _judge(name_or_path, accepted, options)
    given = {"space": space, "seed": seed, "n_objectives": n_objectives}
    asked = {key: value for key, value in given.items() if key in accepted}

    def build(seed: int) -> BaseSampler:
        return _build(name_or_path, make, {**options, **asked, **({"seed": seed} if "seed" in asked else {})})

    sampler = build(seed)
    return sampler if isinstance(sampler, SpaceSampler) else FeasibleSampler(space, seed, build)


def _find(name: str) -> Callable[..., Any]:
    if name in _BUILT_IN:
        return _load(name, _BUILT_IN[name])
    if offered := tuple(entry_points(group=GROUP, name=name)):
        return _load(name, offered[0].value)
    if ":" in name:
        return _load(name, name)
    known = sampler_names()
    near = nearest(name, known)
    hint = f"did you mean `{near}`? " if near else ""
    allowed = f"known are {listed(known)}, and `module:Class` for one of your own"
    raise InputError([Problem(("name",), f"there is no sampler `{name}`", hint + allowed)])


def _load(name: str, path: str) -> Callable[..., Any]:
    module, _, attribute = path.partition(":")
    try:
        loaded = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError([Problem(("name",), f"the sampler `{name}` cannot be loaded: {error}")]) from error
    if callable(loaded):
        return loaded
    raise InputError([Problem(("name",), f"`{name}` is neither a class nor a function, but {loaded!r}")])


def _accepted(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    if isinstance(make, type) and make.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    return inspect.signature(make).parameters


def _judge(name: str, accepted: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> None:
    """Unknown and missing options, by the signature."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {key: each for key, each in accepted.items() if each.kind in kinds and key not in _GIVEN}
    any_name = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in accepted.values())
    allowed = f"`{name}` takes {listed(named)}" if named else f"`{name}` takes no options"
    problems = []
    for option in options:
        if option in _GIVEN:
            problems.append(Problem((option,), "is set by the study", allowed))
        elif option not in named and not any_name:
            near = nearest(str(option), named)
            hint = f"{did_you_mean(str(option), named)} {allowed}" if near else allowed
            problems.append(Problem((option,), "unknown option", hint))
        elif option in named:
            problems += _type_problems(option, options[option], named[option].annotation)
    problems += (
        Problem((option,), "is missing", allowed)
        for option, each in named.items()
        if each.default is each.empty and option not in options
    )
    if problems:
        raise InputError(problems)


def _type_problems(option: str, value: Any, annotation: Any) -> list[Problem]:
    """Whether `value` is of the annotated type, where that is one or more plain words: `int`, `bool | None`."""
    words = str(getattr(annotation, "__name__", annotation)).replace(" ", "").split("|")
    if not all(word in _WORDS for word in words):
        return []
    kinds = [kind for word in words for kind in _WORDS[word]]
    if type(value) in kinds:
        return []
    return [Problem((option,), f"must be {' or '.join(words)}, got {found(value)}")]


_WORDS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "None": (type(None),),
}


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
