"""`--set a.b=c`: a change of one key of the study file from the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from rltune.config.nodes import parse
from rltune.config.reader import Document
from rltune.config.trainer import FOR_ALL, FOR_COMMANDS, KINDS
from rltune.errors import InputError, Key, Problem, StudyFileError
from rltune.wording import found

DOTTED = ("search_space", "derived")
"""Sections whose names contain dots: `policy.optimizer.lr` is one parameter, not three levels."""


def apply_overrides(document: Document, overrides: Iterable[str]) -> Document:
    """The document with each `key=value` applied in turn; the document given stays as it is.

    The value is YAML: `1e-2` is a number, `[1, 2]` a list, `{min: 0}` a mapping, `a: b` and `job:train` text.
    Mappings on the way that do not exist are created, for the schema to judge. Setting another kind of trainer
    than the file's replaces the file's, with what belonged to it.

    Raises:
        StudyFileError: An override has no `=`, a value that is not YAML, or a path that leads through a value.
    """
    problems: list[Problem] = []
    for text in overrides:
        try:
            document = _apply(document, text)
        except InputError as error:
            problems += error.problems
    if problems:
        raise StudyFileError(document.file, problems)
    return document


def _apply(document: Document, text: str) -> Document:
    path, equals, value_text = text.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        raise InputError([Problem((), f"--set {text} is not of the form key=value", "as in --set executor.workers=4")])
    value = _value(text, value_text)
    key = _resolve(document.data, parts, value, text)
    data = _replace(document.data, key, value)
    if len(key) == 2 and key[0] == "trainer" and key[1] in KINDS:
        data["trainer"] = _one_kind(data["trainer"], str(key[1]))
    return dataclasses.replace(document, data=data, overrides={**document.overrides, key: text})


def _value(text: str, value_text: str) -> Any:
    try:
        value, _ = parse(value_text)
    except InputError as error:
        reasons = "; ".join(str(problem) for problem in error.problems)
        raise InputError([Problem((), f"--set {text} has a value that is not YAML: {reasons}")]) from None
    in_brackets = value_text.lstrip().startswith(("{", "["))
    return value_text if isinstance(value, dict | list) and not in_brackets else value


def _resolve(data: dict[str, Any], parts: list[str], value: Any, text: str) -> Key:
    """The key that a dotted path means: at each level the longest run of parts that exists, else one part."""
    key: list[str] = []
    here: Any = data
    while parts:
        if here is True:  # short for a mapping, as in `cross_validation: true`; what is none is found later
            here = {}
        if here is not None and not isinstance(here, dict):
            where = ".".join(key)
            message = f"--set {text} leads through {where}, which is {found(here)}"
            raise InputError([Problem(tuple(key), message, f"set {where} as a whole")])
        here = here or {}
        lengths = range(len(parts), 0, -1)
        take = next((n for n in lengths if ".".join(parts[:n]) in here), _new_length(key, parts, value))
        name, parts = ".".join(parts[:take]), parts[take:]
        key.append(name)
        here = here.get(name)
    return tuple(key)


def _new_length(key: list[str], parts: list[str], value: Any) -> int:
    """How many parts a name has that is not in the file yet: one, but all of a parameter's in the search space."""
    if len(key) != 1 or key[0] not in DOTTED:
        return 1
    whole = key[0] == "derived" or isinstance(value, dict) or (isinstance(value, list) and parts[-1] != "choices")
    return len(parts) if whole else max(1, len(parts) - 1)  # search_space.a.b.max=1 sets `max` of the parameter a.b


def _replace(data: dict[str, Any] | None, key: Key, value: Any) -> dict[str, Any]:
    name, rest = str(key[0]), key[1:]
    data = data if isinstance(data, dict) else {}
    return {**data, name: _replace(data.get(name), rest, value) if rest else value}


def with_trainer(data: dict[str, Any], function: Any) -> dict[str, Any]:
    """The study with a function as its trainer, in place of what ran before."""
    given = data.get("trainer")
    rest = given if isinstance(given, dict) else {}
    return {**data, "trainer": _one_kind({**rest, "function": function}, "function")}


def _one_kind(trainer: dict[str, Any], chosen: str) -> dict[str, Any]:
    others = [name for name in KINDS if name != chosen and name in trainer]
    if "nemo_rl" in (chosen, *others) and others:  # a recipe stands for the config that another trainer was given
        return {name: value for name, value in trainer.items() if name in (chosen, "horizon")}
    if others and "name" in (chosen, *others):  # options are whatever else is there
        return {name: value for name, value in trainer.items() if name in (chosen, *FOR_ALL)}
    dropped = [*others, *FOR_COMMANDS] if chosen == "function" else others
    return {name: value for name, value in trainer.items() if name not in dropped}
