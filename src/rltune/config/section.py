"""One mapping of the study file: pydantic judges it, and its complaints become sentences here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeAlias, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails

from rltune.errors import InputError, Key, Problem
from rltune.wording import did_you_mean, found, listed, nearest

Whole: TypeAlias = Annotated[int, Field(ge=0)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Texts: TypeAlias = Annotated[tuple[str, ...], Field(strict=False)]  # a YAML list is no tuple

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "greater_than": "above {}",
    "greater_than_equal": "at least {}",
}
"""What pydantic calls an error, as what was expected; `{}` is the bound."""

_TRUTH = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}


class Section(BaseModel):
    """A mapping with known keys. A subclass says what may stand for it (`normalise`) and what must agree (`rules`).

    All that is wrong is reported at once: the rules look at what was given, whether or not its types are right.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    spellings: ClassVar[Mapping[str, str]] = {}
    """Other names of fields that the file may use."""

    homes: ClassVar[dict[str, str]] = {}
    """Where a key of the study file belongs, to help one that stands elsewhere; filled in beside the whole schema."""

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        """What was given as a mapping of fields.

        Raises:
            InputError: It cannot be read as one.
        """
        if not isinstance(given, Mapping):
            raise InputError([Problem((), f"must be a mapping, got {found(given)}", f"keys: {', '.join(cls.keys())}")])
        return dict(given)

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:  # noqa: ARG003 - for subclasses
        """What is wrong beyond single fields; `given` may hold anything."""
        yield from ()

    @classmethod
    def keys(cls) -> list[str]:
        return [*cls.model_fields, *cls.spellings]

    @classmethod
    def _rename(cls, fields: dict[str, Any]) -> tuple[dict[str, str], list[Problem]]:
        """Other spellings become names of fields, in place; which were used, and those that were one too many."""
        used: dict[str, str] = {}
        problems = []
        for other, name in cls.spellings.items():
            if other in fields and name in fields:
                del fields[other]
                problems.append(Problem((other,), f"stands beside {name}, and means the same", "keep one of them"))
            elif other in fields:
                fields[name] = fields.pop(other)
                used[name] = other
        return used, problems

    @model_validator(mode="wrap")
    @classmethod
    def _judge(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(given, cls):
            return given
        fields = cls.normalise(given)
        used, problems = cls._rename(fields)
        problems += cls.rules(fields)
        try:
            section = handler(fields)
        except ValidationError as error:
            problems = [p for details in error.errors(include_url=False) for p in _problems(cls, details)] + problems
        if problems:
            raise InputError(_spelled(problem, used) for problem in problems)
        return section


def problems_of(error: ValidationError) -> tuple[Problem, ...]:
    """What a section at the root reported."""
    (details,) = error.errors(include_url=False)
    return tuple(_problems(Section, details))


def wrong(message: str, hint: str = "", *key: str | int) -> InputError:
    """One problem, at the value being judged or at a key inside it."""
    return InputError([Problem(key, message, hint)])


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spelled(problem: Problem, used: Mapping[str, str]) -> Problem:
    if problem.key and problem.key[0] in used:
        return Problem((used[str(problem.key[0])], *problem.key[1:]), problem.message, problem.hint)
    return problem


def _problems(section: type[Section], details: ErrorDetails) -> Iterator[Problem]:
    key: Key = tuple(part for part in details["loc"] if part != "[key]")
    what, value, context = details["type"], details["input"], details.get("ctx", {})
    if isinstance(context.get("error"), InputError):
        yield from (problem.under(*key) for problem in context["error"].problems)
    elif "[key]" in details["loc"]:
        yield Problem(key, f"a name must be text, got {found(value)}", f'write "{value}"')
    elif what in ("extra_forbidden", "invalid_key"):
        yield Problem(key, "unknown key", _where_instead(section, str(key[-1])))
    elif what == "missing":
        examples = section.model_fields[str(key[-1])].examples or []
        yield Problem(key, "is missing", "".join(f"as in {key[-1]}: {example}" for example in examples))
    elif what == "literal_error":
        *allowed, last = re.findall(r"'(.*?)'", context["expected"])
        hint = did_you_mean(value, [*allowed, last]) if isinstance(value, str) else ""
        yield Problem(key, f"must be {', '.join(allowed)} or {last}, got {found(value)}", hint)
    else:
        bound = next((f"{context[name]:g}" for name in ("gt", "ge") if name in context), "")
        expected = _EXPECTED.get(what, "something else").format(bound)
        yield Problem(key, f"must be {expected}, got {found(value)}", _mend(what, value))


def _where_instead(section: type[Section], name: str) -> str:
    if name in section.homes and name not in section.keys():  # noqa: SIM118 - a method of ours
        return f"it belongs {section.homes[name]}"
    near = nearest(name, section.keys())
    return f"did you mean `{near}`?" if near else f"known: {listed(section.keys(), 40)}"


def _mend(what: str, value: Any) -> str:
    """How to write what was probably meant."""
    match what, value:
        case _, None:
            return "write a value, or remove the key"
        case "int_type", float() if value.is_integer():
            instead = str(int(value))
        case "int_type" | "float_type", str() if _reads_as_number(value):
            instead = f"{value} without quotes"
        case "bool_type", str() if value.lower() in _TRUTH:
            instead = _TRUTH[value.lower()]
        case "string_type", bool() | int() | float():
            instead = f'"{str(value).lower()}"'
        case "tuple_type", str():
            instead = f'["{value}"]'
        case _:
            return ""
    return f"write {instead}"


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
