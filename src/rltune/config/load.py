"""A study file, or a mapping, becomes a `StudyConfig`, or one error with everything that is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rltune.config.dump import plain
from rltune.config.overrides import apply_overrides, with_trainer
from rltune.config.reader import ROOT, Document, read
from rltune.config.schema import StudyConfig, safe_name
from rltune.config.section import problems_of
from rltune.errors import Problem, StudyFileError


def load(
    path: str | Path, overrides: Iterable[str] = (), *, trainer: Callable[..., Any] | str | None = None
) -> StudyConfig:
    """The study in a file. Without a name of its own it takes the file's.

    Args:
        path: The study file.
        overrides: Changes as `key=value`, see `apply_overrides`.
        trainer: A function, or `module:function`, in place of the file's trainer.

    Raises:
        StudyFileError: Something is wrong: every problem, in the order of the file.
    """
    document = apply_overrides(read(path), overrides)
    named = {"name": safe_name(Path(path).stem), **document.data}
    return _study(dataclasses.replace(document, data=named), trainer)


def from_mapping(mapping: Mapping[str, Any], *, trainer: Callable[..., Any] | str | None = None) -> StudyConfig:
    """The same from Python data, with or without the root key; `trainer` in it may be a function.

    Raises:
        StudyFileError: Something is wrong: every problem.
    """
    data = plain(mapping)
    inner = data[ROOT] if set(data) == {ROOT} and isinstance(data[ROOT], dict) else data
    return _study(Document(inner), trainer)


def _study(document: Document, trainer: Callable[..., Any] | str | None) -> StudyConfig:
    if trainer is not None:
        document = dataclasses.replace(document, data=with_trainer(document.data, trainer))
    try:
        config = StudyConfig.model_validate(document.data)
    except ValidationError as error:
        raise StudyFileError(document.file, _in_order(document, problems_of(error))) from None
    config._document = document
    return config


def _in_order(document: Document, problems: Iterable[Problem]) -> list[Problem]:
    """With their lines, as they stand in the file; those of `--set` come last."""
    located = [document.locate(_at_name(document, problem)) for problem in problems]
    return sorted(located, key=lambda problem: (problem.line is None, problem.line))


def _at_name(document: Document, problem: Problem) -> Problem:
    """`pruner.name` is called `pruner` where the file says `pruner: median`."""
    *above, last = problem.key or ("",)
    value: Any = document.data
    for part in above:
        value = _child(value, part)
    return dataclasses.replace(problem, key=tuple(above)) if last == "name" and isinstance(value, str) else problem


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, list) and isinstance(part, int):
        return value[part]
    return value.get(part) if isinstance(value, Mapping) else None
