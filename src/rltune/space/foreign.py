"""Parameters as other tools write them: Ray Tune's `tune.loguniform(1e-5, 1e-3)`, Optuna's distributions.

Ray's are known by the names of their classes: who has one has imported Ray already, and nobody else is to pay for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from rltune.errors import Problem, SpaceError
from rltune.wording import found

_GRID = "grid_search"
"""What `tune.grid_search` returns is a mapping with this one key."""


def is_foreign(value: Any) -> bool:
    """Whether another tool made it to say what may vary; also a list with such things in it."""
    if isinstance(value, list | tuple):
        return any(map(is_foreign, value))
    if isinstance(value, Mapping):
        return value.keys() == {_GRID}
    return isinstance(value, BaseDistribution) or _is_domain(value)


def as_spec(value: Any) -> dict[str, Any]:
    """The mapping of a study file that means the same as what `is_foreign` knows.

    Raises:
        SpaceError: There is none; the hint says what to write instead.
    """
    if isinstance(value, list | tuple):
        raise _refused("is a list with parameters of another tool in it", "give each a name of its own")
    if isinstance(value, Mapping):
        return _choices(value[_GRID])
    if isinstance(value, BaseDistribution):
        return _of_optuna(value)
    return _of_ray(value)


def _is_domain(value: Any) -> bool:
    return any(c.__name__ == "Domain" and c.__module__.startswith("ray.tune.") for c in type(value).__mro__)


def _of_optuna(distribution: BaseDistribution) -> dict[str, Any]:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return _range("float", low, high, log=log, step=step)
        case IntDistribution(low=low, high=high, log=log, step=step):
            return _range("int", low, high, log=log, step=None if step == 1 else step)
        case CategoricalDistribution(choices=choices):
            return _choices(choices)
    raise _unknown(distribution)


def _of_ray(domain: Any) -> dict[str, Any]:
    sampler = domain.get_sampler()
    step = getattr(sampler, "q", None)
    scale = type(sampler if step is None else sampler.get_sampler()).__name__
    log = scale == "_LogUniform"
    match type(domain).__name__, scale:
        case "Function", _:
            hint = 'write it as an expression, as in derived={"b": "2 * a"}; ranges that depend on each other are '
            raise _refused("is `tune.sample_from`, a function that nobody can search", f"{hint}`constraints`")
        case "Float", "_Normal":
            normal = sampler if step is None else sampler.get_sampler()
            low, high = normal.mean - 2 * normal.sd, normal.mean + 2 * normal.sd
            raise _refused("is `tune.randn`, which has no ends", f"write tune.uniform({low:g}, {high:g})")
        case (("Float" | "Integer"), ("_Uniform" | "_LogUniform")) if log and step not in (None, 1):
            hint = "leave out the steps, or list the values: tune.choice([...])"
            raise _refused(f"has a logarithmic scale with steps of {step:g}", hint)
        case "Float", "_LogUniform" if step is not None:
            hint = f"write tune.lograndint({domain.lower:g}, {domain.upper + 1:g})"
            raise _refused("has a logarithmic scale with steps of 1", hint)
        case "Float", ("_Uniform" | "_LogUniform"):
            return _range("float", domain.lower, domain.upper, log=log, step=step)
        case "Integer", ("_Uniform" | "_LogUniform") if step in (None, 1):
            return _range("int", domain.lower, domain.upper - 1, log=log)  # Ray's upper end is not drawn
        case "Integer", "_Uniform":  # multiples of the step, of which Ray draws both ends
            low, high = math.ceil(domain.lower / step) * step, math.floor(domain.upper / step) * step
            return _range("int", low, high, step=step)
        case "Categorical", _:
            return _choices(domain.categories)
    raise _unknown(domain)


def _range(kind: str, low: Any, high: Any, *, log: bool = False, step: Any = None) -> dict[str, Any]:
    extra = {"log": True} if log else {} if step is None else {"step": step}
    return {"type": kind, "min": low, "max": high, **extra}


def _choices(values: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(values) if isinstance(values, list | tuple) else values}


def _unknown(value: Any) -> SpaceError:
    kind = f"{type(value).__module__}.{type(value).__name__}"
    hint = "write it as in `{type: float, min: 1e-5, max: 1e-3, log: true}`"
    return _refused(f"is {found(value)} of another tool ({kind}) that rltune does not know", hint)


def _refused(message: str, hint: str) -> SpaceError:
    return SpaceError([Problem((), message, hint)])
