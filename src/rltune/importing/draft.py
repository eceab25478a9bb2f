"""A study as another tool had it, and the text of the study file that means the same."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rltune.config.schema import safe_name
from rltune.errors import Problem, SpaceError
from rltune.space import Parameter
from rltune.space.reading import parse_parameter
from rltune.trainers.config_text import yaml_text

_WIDTH = 110  # of comments

REPORTING = (
    "rltune reads what was measured from lines of JSON, such as {example}, which the program",
    "appends to the file that RLTUNE_METRICS names; or, with `metrics: {{stdout: json}}`, from what it prints.",
    "{{seed}} in the command is another one for each run, so that luck can be told from a gain: seed={{seed}}.",
)


@dataclass(frozen=True)
class Remark:
    """What is not in the study file as it was there.

    Attributes:
        where: `sweep.yaml:12: early_terminate.strict`.
        text: What became of it.
    """

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True)
class Ranged:
    """A parameter.

    Attributes:
        spec: As a study file has it.
        comment: What stands behind it.
    """

    spec: Mapping[str, Any]
    comment: str = ""


@dataclass(frozen=True)
class Setting:
    """A value of the study file, and what stands behind it."""

    value: Any
    comment: str = ""


@dataclass(frozen=True)
class Draft:
    """What another tool says, in the words of a study file.

    Attributes:
        source: What was read, for the head of the file: `sweep.yaml, a sweep of W&B`.
        command: The words that run one trial; None where the source does not say.
        words: More words, behind that command or behind one that is put in its place.
        function: `module:function` in place of a command.
        config: The trainer's own configuration.
        env: Variables of the command.
        metrics: Name and direction, the first objective's first.
        constraints: Metrics that must not be above 0.
        derived: Expressions by name.
        settings: Other top-level keys, in the order of the file.
        remarks: What is not as it was there.
    """

    source: str
    name: str
    parameters: Mapping[str, Ranged]
    metrics: Sequence[tuple[str, str]]
    command: Sequence[str] | None = None
    words: Sequence[str] = ()
    function: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    constraints: Sequence[str] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    workers: Setting | None = None
    remarks: Sequence[Remark] = ()

    @property
    def names_program(self) -> bool:
        """Whether it is known what runs; else the file has a command that its reader must change."""
        return self.command is not None or self.function is not None


PLACEHOLDER = ("python", "train.py", "{overrides}")
"""The command of a study whose source does not say what ran."""


def read_as(name: str, spec: Mapping[str, Any], place: tuple[str | int, ...]) -> tuple[Parameter | None, list[Problem]]:
    """The parameter that a draft is to have, or what the study file would have against it.

    Args:
        name: The parameter's.
        spec: As in a study file.
        place: Where it stands in the source.
    """
    try:
        return parse_parameter(name, spec), []
    except SpaceError as error:
        return None, [Problem((*place, *each.key[2:]), each.message, each.hint) for each in error.problems]


def text(draft: Draft, file: Path) -> str:
    """The study file.

    Args:
        draft: What it says.
        file: Its own path, which is named in the file.
    """
    return "\n".join([*_head(draft, file), *_settings(draft), *_trainer(draft), *_space(draft), *_end(draft), ""])


def _head(draft: Draft, file: Path) -> Iterator[str]:
    yield f"# From {draft.source}."
    yield f"#   rltune check {file}   shows what would run,   rltune run {file}   runs it."
    if draft.remarks:
        yield "#"
        yield "# Not as it was there:"
        for remark in draft.remarks:
            yield from textwrap.wrap(
                str(remark),
                _WIDTH,
                initial_indent="#   ",
                subsequent_indent="#     ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    yield ""


def _settings(draft: Draft) -> Iterator[str]:
    yield f"name: {flow(safe_name(draft.name))}"
    for key, setting in draft.settings.items():
        yield _line(f"{key}: {flow(setting.value)}", setting.comment)
    yield ""


def _trainer(draft: Draft) -> Iterator[str]:
    yield "trainer:"
    if draft.function is not None:
        yield f"  function: {flow(draft.function)}   # train(config) or train(config, trial)"
    else:
        if draft.command is None:
            yield "  # What ran is not known from there: put your own command here."
        example = json.dumps({"step": 1} | {name: 0.5 for name, _ in draft.metrics})
        for line in REPORTING:
            yield f"  # {line.format(example=example)}"
        yield "  command:"
        yield from (f"    - {flow(word)}" for word in (*(draft.command or PLACEHOLDER), *draft.words))
        if draft.env:
            yield f"  env: {flow(draft.env)}   # what is rounded has to reach the command too"
    if draft.config:
        yield f"  config: {flow(draft.config)}   # the same in every trial"
    yield ""


def _space(draft: Draft) -> Iterator[str]:
    yield "search_space:"
    for name, ranged in draft.parameters.items():
        yield _line(f"  {flow(name)}: {flow(ranged.spec)}", ranged.comment)
    if draft.derived:
        yield "derived:"
        yield from (f"  {flow(name)}: {flow(expression)}" for name, expression in draft.derived.items())
    yield ""


def _end(draft: Draft) -> Iterator[str]:
    (metric, direction), *others = draft.metrics
    yield "evaluation:"
    yield f"  metric: {flow(metric)}"
    yield f"  direction: {direction}"
    if others:
        yield f"  secondary_metrics: {flow(dict(others))}"
    if draft.constraints:
        yield f"  constraints: {flow({name: {'max': 0} for name in draft.constraints})}"
    if draft.workers is not None:
        yield ""
        yield "executor:"
        yield _line(f"  workers: {draft.workers.value}", draft.workers.comment)


def _line(content: str, comment: str) -> str:
    return f"{content}   # {comment}" if comment else content


def flow(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{flow(key)}: {flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    return yaml_text({"x": value}).removeprefix("x: ").rstrip("\n")
