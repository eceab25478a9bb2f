"""From what a study file or a Python script says to a parameter.

A mapping, as in YAML: `{type: float, min: 1e-5, max: 1e-3, log: true}`; or the guide's short form:
`("float", 1e-5, 1e-3, {"log": True})`, `("categorical", [8, 16, 32])`; or what Ray Tune and Optuna have for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from numbers import Number
from typing import Any, cast

from rltune.errors import Key, Problem, SpaceError
from rltune.space.expressions import Expression
from rltune.space.foreign import as_spec, is_foreign
from rltune.space.parameters import Categorical, Float, Int, Parameter
from rltune.wording import did_you_mean, found, listed

_RANGE_KEYS = {  # in a study file: in the class
    "min": "low",
    "max": "high",
    "log": "log",
    "step": "step",
    "n_points": "n_points",
    "default": "default",
    "prior": "prior",
    "when": "when",
}
_CHOICE_KEYS = {"choices": "choices", "default": "default", "prior": "prior", "when": "when"}
_KINDS: dict[str, tuple[type[Any], dict[str, str], tuple[str, ...]]] = {
    "float": (Float, {**_RANGE_KEYS, "zero": "zero"}, ("min", "max")),
    "int": (Int, _RANGE_KEYS, ("min", "max")),
    "categorical": (Categorical, _CHOICE_KEYS, ("choices",)),
}
_OTHER_WORDS = {  # what other tools call it
    "low": "min",
    "lower": "min",
    "high": "max",
    "upper": "max",
    "values": "choices",
    "options": "choices",
    "q": "step",
    "num": "n_points",
    "condition": "when",
    "if": "when",
}


def parse_parameter(name: str, spec: Any) -> Parameter:
    """The parameter that `spec` describes.

    Raises:
        SpaceError: With every problem found, keyed `(name, "min")` and so on.
    """
    try:
        return _parse(spec)
    except SpaceError as error:
        raise SpaceError(problem.under(name) for problem in error.problems) from None


def _parse(spec: Any) -> Parameter:
    if isinstance(spec, Float | Int | Categorical):
        return spec
    if is_foreign(spec):
        spec = as_spec(spec)
    if isinstance(spec, list | tuple):
        spec = _from_short_form(spec)
    if not isinstance(spec, Mapping):
        hint = "as in `{type: float, min: 1e-5, max: 1e-3, log: true}`"
        raise SpaceError([Problem((), f"must be a mapping, got {found(spec)}", hint)])
    make, keys, required = _kind(spec)
    problems = [
        *_unknown_keys(spec, keys),
        *(Problem((key,), "is missing", f"`type: {spec['type']}` needs {listed(required)}") for key in required
          if key not in spec),
    ]  # fmt: skip
    arguments = {keys[key]: value for key, value in spec.items() if key in keys}
    try:
        _read_condition(arguments)
    except SpaceError as error:
        problems += (problem.under("when") for problem in error.problems)
        del arguments["when"]
    problems += _try(make, arguments, keys, required)
    if problems:
        raise SpaceError(problems)
    return cast("Parameter", make(**arguments))


def split_constants(search_space: Any) -> tuple[Any, dict[str, Any]]:
    """The parameters of a search space from Python by dotted name, and what is constant in it.

    Single values are constants. A space with parameters of another tool's may be written in the way of Ray Tune
    besides: nested, and then all that says of nothing how it varies is a constant.
    """
    if not isinstance(search_space, Mapping):
        return search_space, {}
    in_rays_way = _holds_foreign(search_space)
    leaves = dict(_leaves(search_space)) if in_rays_way else dict(search_space)
    constants = {
        name: value
        for name, value in leaves.items()
        if value is None or isinstance(value, bool | Number | str) or (in_rays_way and not _varies(value))
    }
    return {name: value for name, value in leaves.items() if name not in constants}, constants


def _holds_foreign(value: Any) -> bool:
    inner = value.values() if isinstance(value, Mapping) else ()
    return is_foreign(value) or any(map(_holds_foreign, inner))


def _leaves(space: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[Any, Any]]:
    for name, value in space.items():
        if isinstance(value, Mapping) and _holds_foreign(value) and not is_foreign(value):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield (f"{prefix}{name}" if prefix else name), value


def _varies(value: Any) -> bool:
    if isinstance(value, Mapping) and not is_foreign(value):
        return "type" in value
    if isinstance(value, list | tuple) and not is_foreign(value):
        return bool(value) and isinstance(value[0], str) and value[0] in _KINDS
    return isinstance(value, Float | Int | Categorical) or is_foreign(value)


def _try(
    make: type[Any], arguments: Mapping[str, Any], keys: Mapping[str, str], required: Iterable[str]
) -> list[Problem]:
    """What the values themselves have wrong, as far as the missing ones let one see."""
    if any(keys[key] not in arguments for key in required):
        return []
    try:
        make(**arguments)
    except SpaceError as error:
        return list(error.problems)
    return []


def _kind(spec: Mapping[Any, Any]) -> tuple[type[Any], dict[str, str], tuple[str, ...]]:
    kind = spec.get("type")
    if isinstance(kind, str) and kind in _KINDS:
        return _KINDS[kind]
    if "type" in spec:
        hint = did_you_mean(kind, _KINDS) if isinstance(kind, str) else ""
        hint = "use `type: categorical` with `choices: [true, false]`" if kind in ("bool", "boolean") else hint
        raise SpaceError([Problem(("type",), f"must be one of {listed(_KINDS)}, got {found(kind)}", hint)])
    if spec and all(isinstance(value, Mapping) for value in spec.values()):
        raise SpaceError([Problem((), "is a mapping of mappings", "join nested names with dots, as in `policy.lr`")])
    raise SpaceError([Problem(("type",), "is missing", f"one of {listed(_KINDS)}")])


def _unknown_keys(spec: Mapping[Any, Any], keys: Mapping[str, str]) -> Iterable[Problem]:
    for key in spec:
        if key != "type" and key not in keys:
            meant = _OTHER_WORDS.get(key) if isinstance(key, str) else None
            hint = f"did you mean `{meant}`?" if meant in keys else did_you_mean(str(key), keys)
            yield Problem((str(key),), f"is no key of `type: {spec['type']}`", hint)


def _read_condition(arguments: dict[str, Any]) -> None:
    when = arguments.get("when")
    if when is not None and not isinstance(when, Expression):
        arguments["when"] = Expression(when)


def _from_short_form(spec: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    kind, *rest = spec or [None]
    if not isinstance(kind, str) or kind not in _KINDS:
        hint = did_you_mean(kind, _KINDS) if isinstance(kind, str) else 'for choices: `("categorical", [8, 16])`'
        message = f"a short form starts with one of {listed(_KINDS)}, got {found(kind)}"
        raise SpaceError([Problem((), message, hint)])
    options = rest.pop() if rest and isinstance(rest[-1], Mapping) else {}
    required = _KINDS[kind][2]
    if len(rest) != len(required):
        example = '("categorical", [8, 16])' if kind == "categorical" else f'("{kind}", 1, 8, {{"log": True}})'
        message = (
            f"`{kind}` takes {listed(required)} in this order and then a mapping of options, got {len(rest)} values"
        )
        raise SpaceError([Problem((), message, f"as in `{example}`")])
    return {"type": kind, **dict(zip(required, rest, strict=True)), **options}


def spec_of(parameter: Parameter) -> dict[str, Any]:
    """The mapping that `parse_parameter` reads as this very parameter."""
    kind, (_, keys, required) = next((kind, each) for kind, each in _KINDS.items() if type(parameter) is each[0])
    given = {key: getattr(parameter, attribute) for key, attribute in keys.items()}
    unsaid = {field.name: field.default for field in fields(parameter)}
    said = {key: value for key, value in given.items() if key in required or value != unsaid[keys[key]]}
    if "when" in said:
        said["when"] = str(said["when"])
    return {"type": kind, **said}


def read_parameters(search_space: Any, problems: list[Problem]) -> dict[str, Parameter | None]:
    """Each parameter by name, None where it cannot be read; `problems` grows.

    Raises:
        SpaceError: There are none.
    """
    if not isinstance(search_space, Mapping) or not search_space:
        message = f"must be a mapping from names to parameters, got {found(search_space)}"
        hint = "as in `lr: {type: float, min: 1e-5, max: 1e-3, log: true}`"
        raise SpaceError([Problem(("search_space",), message if search_space else "has no parameters", hint)])
    parameters: dict[str, Parameter | None] = {}
    for name, spec in search_space.items():
        if not isinstance(name, str) or not name or "`" in name:
            problems.append(Problem(("search_space", str(name)), f"a name must be text, got {found(name)}"))
            continue
        parameters[str(name)] = None
        try:
            parameters[str(name)] = parse_parameter(str(name), spec)
        except SpaceError as error:
            problems += (problem.under("search_space") for problem in error.problems)
    return parameters


def read_constraints(constraints: Any, problems: list[Problem]) -> list[Expression | None]:
    """Each constraint, None where it cannot be read; `problems` grows."""
    if isinstance(constraints, str) or not isinstance(constraints, Iterable):
        message = f"must be a list of expressions, got {found(constraints)}"
        problems.append(Problem(("constraints",), message, 'as in `constraints: ["a % b == 0"]`'))
        return []
    return [_read_expression(each, ("constraints", index), problems) for index, each in enumerate(constraints)]


def read_derived(derived: Any, problems: list[Problem]) -> dict[str, Expression | None]:
    """Each derived value by name, None where it cannot be read; `problems` grows."""
    if not isinstance(derived, Mapping):
        message = f"must be a mapping from names to expressions, got {found(derived)}"
        problems.append(Problem(("derived",), message, 'as in `derived: {batch: "a * b"}`'))
        return {}
    return {name: _read_expression(_as_text(each), ("derived", name), problems) for name, each in derived.items()}


def _read_expression(text: Any, key: Key, problems: list[Problem]) -> Expression | None:
    if isinstance(text, Expression):
        return text
    try:
        return Expression(text)
    except SpaceError as error:
        problems += (problem.under(*key) for problem in error.problems)
        return None


def _as_text(value: Any) -> Any:
    """A derived value may be given as a plain number or as true or false."""
    return repr(value) if isinstance(value, bool | int | float) else value
