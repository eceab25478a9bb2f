"""What runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from rltune.config.section import Count, Section, Texts, wrong
from rltune.errors import Problem
from rltune.wording import found

_SOURCES = {"jsonl": "progress.jsonl", "stdout": "json", "tensorboard": "logs"}
"""The kinds of places that metrics are read from, with an example of where each looks."""

FOR_COMMANDS = ("metrics", "env", "cwd")
"""Keys that a function has no use for."""


class MetricsConfig(Section):
    """Where a command's metrics are read: `jsonl`, `{stdout: json}`, `{stdout: PATTERN}`, `{tensorboard: FOLDER}`.

    Attributes:
        source: The kind of place.
        where: The file for `jsonl`, the pattern or `json` for `stdout`, the folder for `tensorboard`; None where the
            source knows.
        step: What the step is called, where a line names it; None where the source knows.
    """

    source: Literal["jsonl", "stdout", "tensorboard"] = "jsonl"
    where: str | None = None
    step: str | None = None

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        fields = {given: None} if isinstance(given, str) else super().normalise(given)
        sources = [name for name in fields if name != "step"]
        if len(sources) != 1 or sources[0] not in _SOURCES:
            named = ", ".join(map(str, sources)) or "nothing"
            hint = 'as in jsonl, {stdout: json}, {stdout: "loss=(?P<loss>.+)"} or {tensorboard: logs}'
            raise wrong(f"must be one of {', '.join(_SOURCES)}, got {named}", hint)
        source = sources[0]
        where = fields.pop(source)
        if not isinstance(where, str) and (where is not None or source != "jsonl"):
            key = [] if isinstance(given, str) else [source]
            raise wrong(f"must be text, got {found(where)}", f"as in {{{source}: {_SOURCES[source]}}}", *key)
        return {"source": source, "where": where, **fields}

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if given["source"] == "tensorboard" and "step" in given:
            yield Problem(("step",), "does nothing: TensorBoard's files count their own steps", "remove it")

    @model_serializer
    def _flat(self) -> Any:
        if self.where is None and self.step is None:
            return self.source
        return {self.source: self.where} | ({} if self.step is None else {"step": self.step})


def _function(value: Any) -> Any:
    if callable(value):
        return value
    if not isinstance(value, str):
        raise wrong(f"must name a function, got {found(value)}", "as in pkg.module:train")
    if re.search(r"\.py:|/", value):
        module = value.partition(":")[0].removesuffix(".py").strip("./").replace("/", ".")
        name = value.partition(":")[2] or "train"
        raise wrong(f"must name a module, not a file, got {found(value)}", f"write {module}:{name}")
    if not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", value):
        module, _, name = value.rpartition(".")
        hint = f"write {module}:{name}" if module and re.fullmatch(r"[\w.]+", value) else "as in pkg.module:train"
        raise wrong(f"must be module:function, got {found(value)}", hint)
    return value


def _command(value: Any) -> Any:
    if isinstance(value, str):
        words = ", ".join(f'"{w}"' if re.search(r"[\s{}\[\],:#]", w) else w for w in _split(value))
        raise wrong(f"must be a list of words, got {found(value)}", f"write [{words}]")
    if isinstance(value, Sequence) and not value:
        raise wrong("must not be empty", "as in [python, train.py]")
    return [_word(item) for item in value] if isinstance(value, Sequence) else value


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _word(value: Any) -> Any:
    """Numbers are fine as words of a command; `true` is not, since nobody knows which spelling was meant."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _environment(value: Any) -> Any:
    return {name: _word(text) for name, text in value.items()} if isinstance(value, Mapping) else value


def _base_config(value: Any) -> Any:
    if isinstance(value, str | Mapping):
        return value
    raise wrong(f"must be the path of a config file, or a mapping, got {found(value)}")


class TrainerConfig(Section):
    """What runs: exactly one of `function` and `command`. Paths are relative to the study file's folder.

    Attributes:
        function: `module:function`, or from Python the function itself.
        command: The words of a command; `{config}` and the like are filled in for each trial.
        config: The trainer's own configuration, which a trial's parameters are put into: a file, or the mapping itself.
        metrics: Where a command's metrics are read.
        env: Environment variables that a command gets beside rltune's own.
        cwd: The folder that a command starts in; None for the study file's.
        horizon: The step at which a full run ends.
    """

    function: Annotated[Any, BeforeValidator(_function)] = None
    command: Annotated[Texts | None, BeforeValidator(_command)] = None
    config: Annotated[str | dict[Any, Any] | None, BeforeValidator(_base_config)] = None
    metrics: MetricsConfig = MetricsConfig.model_construct()
    env: Annotated[dict[str, str], BeforeValidator(_environment)] = Field(default_factory=dict)
    cwd: str | None = None
    horizon: Count | None = None

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        if callable(given):
            return {"function": given}
        if isinstance(given, str):
            hint = f"write trainer: {{function: {given}}}" if ":" in given else "write trainer: {command: [...]}"
            raise wrong(f"must be a mapping, got {found(given)}", hint)
        return super().normalise(given)

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        named = [name for name in ("function", "command") if given.get(name) is not None]
        if not named:
            yield Problem((), "has neither function nor command", 'as in function: "pkg.module:train"')
        if len(named) > 1:
            yield Problem(("command",), "stands beside function", "keep the one that should run")
        if named == ["function"]:
            misplaced = [name for name in FOR_COMMANDS if name in given]
            yield from (Problem((name,), "is for a command, not for a function", "remove it") for name in misplaced)

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if self.function is not None:
            fields = {name: value for name, value in fields.items() if name not in FOR_COMMANDS}
        if callable(self.function):
            named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
            fields["function"] = f"{named.__module__}:{named.__qualname__}"
        return fields
