"""The words of a command: `{name}` stands for a value of the trial, `{{` and `}}` for braces."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rltune.errors import Key, Problem, TrainerError
from rltune.trainers.config_text import did_you_mean, overrides, value_text

OVERRIDES = "overrides"
"""The one placeholder that makes several words of one."""

BUILT_IN: Mapping[str, str] = {
    "config": "the file with the trial's whole configuration",
    OVERRIDES: "one key=value per parameter",
    "trial_dir": "the trial's folder",
    "number": "the trial's number",
    "seed": "what to seed randomness with",
    "fold": "the fold of a cross-validated trial, from 0",
    "n_folds": "how many folds there are",
    "repeat": "how many times the data has been split into folds before",
    "horizon": "the step at which a full run ends",
    "resume_from": "a checkpoint to start from",
    "python": "the Python that runs rltune",
}

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def names_in(word: str) -> list[str]:
    """The placeholders of one word."""
    return [match[1] for match in _TOKEN.finditer(word) if match[1] is not None]


def problems_in(word: str, parameters: Collection[str], place: Key) -> list[Problem]:
    """What cannot be filled in in one word."""
    problems = []
    if any(match[0] in "{}" for match in _TOKEN.finditer(word)):
        problems.append(Problem(place, f"{word!r} has a brace without its partner", "a literal brace is {{ or }}"))
    known = [*BUILT_IN, *parameters]
    for name in names_in(word):
        if name not in known:
            hint = did_you_mean(name, known) or "a literal brace is {{ or }}"
            problems.append(Problem(place, f"{{{name}}} in {word!r} is not known; known are {_listed(known)}", hint))
        elif name in parameters and name in BUILT_IN:
            problems.append(
                Problem(
                    place, f"{{{name}}} is {BUILT_IN[name]}, and also the name of a parameter", "rename the parameter"
                )
            )
    return problems


def fill(word: str, values: Mapping[str, Any]) -> str:
    """One word with its placeholders filled in.

    Raises:
        TrainerError: A placeholder has no value.
    """

    def filled(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if values.get(match[1]) is None and (match[1] in BUILT_IN or match[1] not in values):
            raise TrainerError(f"{{{match[1]}}} in {word!r} has no value in this trial")
        return value_text(values[match[1]])

    return _TOKEN.sub(filled, word)


def fill_all(words: Sequence[str], values: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, ...]:
    """The words of a command, filled in.

    A word with `{overrides}` is repeated for each of them. What this trial has no value for (an inactive parameter, no
    fold, no horizon) is left out with its name: `--momentum={momentum}`, or `--momentum` and `{momentum}`.

    Raises:
        TrainerError: A word that stands alone needs a value that this trial does not have.
    """
    result: list[str] = []
    for i, word in enumerate(words):
        names = names_in(word)
        if OVERRIDES in names:
            result += [fill(word, {**values, OVERRIDES: text}) for text in overrides(params)]
        elif all(_has_value(name, values) for name in names):
            result.append(fill(word, values))
        elif word.startswith("-") or "=" in word:
            continue
        elif i and _is_option(words[i - 1]):
            result.pop()
        else:
            fill(word, values)  # says what is missing
    return tuple(result)


def _has_value(name: str, values: Mapping[str, Any]) -> bool:
    return name in values and (name not in BUILT_IN or values[name] is not None)


def _is_option(word: str) -> bool:
    return word.startswith("-") and "=" not in word and not names_in(word)


def _listed(names: Sequence[str], most: int = 30) -> str:
    shown = ", ".join(f"{{{name}}}" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
