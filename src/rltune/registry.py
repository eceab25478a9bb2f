"""Parts by name: ours, those that other packages offer as entry points, and any `module:Class`.

Samplers, pruners, guards, trainers and executors are all found here, so a new one is one new file and no edit.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from rltune.errors import InputError, Problem
from rltune.wording import found, listed, nearest


@dataclass(frozen=True)
class Registry:
    """The parts of one kind.

    Attributes:
        kind: In the singular: `pruner`. The entry points' group is `rltune.pruners`.
        built_in: `module:attribute` by name; imported when asked for.
        form: What one of the user's own is called: `module:Class`, or `module:function`.
    """

    kind: str
    built_in: Mapping[str, str]
    form: str = "module:Class"

    @property
    def group(self) -> str:
        return f"rltune.{self.kind}s"

    def names(self) -> list[str]:
        """Every name but `module:attribute`."""
        return sorted({*self.built_in, *entry_points(group=self.group).names})

    def knows(self, name: str) -> bool:
        """Whether the name could be found, without importing anything."""
        return ":" in name or name in self.names()

    def find(self, name: str) -> Any:
        """The class or function of that name.

        Raises:
            InputError: There is none; the message says which there are.
        """
        if name in self.built_in:
            return _load(self.built_in[name])
        if offered := tuple(entry_points(group=self.group, name=name)):
            return self._loaded(name, offered[0].value)
        if ":" in name:
            return self._loaded(name, name)
        known = self.names()
        near = nearest(name, known)
        hint = f"did you mean `{near}`? " if near else ""
        allowed = f"known are {listed(known, 20)}, and `{self.form}` for one of your own"
        raise InputError([Problem(("name",), f"there is no {self.kind} `{name}`", hint + allowed)])

    def _loaded(self, name: str, where: str) -> Any:
        try:
            part = _load(where)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError([Problem(("name",), f"the {self.kind} `{name}` cannot be loaded: {error}")]) from error
        if not callable(part):
            raise InputError([Problem(("name",), f"`{name}` is no class and no function")])
        return part


def parameters_of(part: Any) -> dict[str, inspect.Parameter]:
    """What a class or function takes."""
    if isinstance(part, type) and part.__init__ is object.__init__:  # type: ignore[misc]
        return {}  # whose signature would be object's `(*args, **kwargs)`
    return dict(inspect.signature(part).parameters)


def check_options(
    name: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any], ours: Collection[str] = ()
) -> None:
    """Judges options before a part is called with them.

    Args:
        name: The part's, for messages.
        parameters: What it takes.
        given: The options.
        ours: Arguments that rltune fills in, which are no options.

    Raises:
        InputError: Unknown options, missing ones, and values of another kind than is annotated; all of them.
    """
    known = {key: p for key, p in parameters.items() if key not in ours and p.kind in _BY_NAME}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    allowed = f"`{name}` takes {listed(known, 20)}" if known else f"`{name}` takes no options"
    problems = []
    for option, value in given.items():
        if option in ours:
            problems.append(Problem((option,), "is set by the study", allowed))
        elif option in known:
            problems += _wrong_kind(option, value, known[option].annotation)
        elif not takes_any:
            near = nearest(str(option), known)
            hint = f"did you mean `{near}`? {allowed}" if near else allowed
            problems.append(Problem((option,), "unknown option", hint))
    problems += [
        Problem((option,), "is missing", allowed)
        for option, parameter in known.items()
        if option not in given and parameter.default is parameter.empty
    ]
    if problems:
        raise InputError(problems)


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

_NAMED = re.compile(r"""(?:typing\.)?Literal\[((?:['"]\w+['"](?:, )?)+)\]( \| None)?""")
"""One of several texts, as an annotation."""

_KINDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "None": "null"}


def _wrong_kind(option: str, value: Any, annotation: Any) -> list[Problem]:
    """Where the annotation is made of plain words, as in `int | None`: Python itself would not look at it."""
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    if (named := _NAMED.fullmatch(written)) is not None:
        texts, nullable = re.findall(r"\w+", named[1]), named[2] is not None
        expected = [*texts, *(["null"] if nullable else [])]
        if value in texts or (value is None and nullable):
            return []
        return [Problem((option,), f"must be {' or '.join(expected)}, got {found(value)}")]
    words = re.findall(r"\w+", written)
    kind = "None" if value is None else type(value).__name__
    fits = kind in words or (kind == "int" and "float" in words)
    if fits or not words or not set(words) <= set(_KINDS):
        return []
    expected = [_KINDS[word] for word in words if not (word == "int" and "float" in words)]
    return [Problem((option,), f"must be {' or '.join(expected)}, got {found(value)}")]


def _load(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
