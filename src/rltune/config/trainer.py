"""What runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from rltune.config.section import Count, NotNegative, Section, Texts, wrong
from rltune.errors import InputError, Problem
from rltune.trainers.function import NAMELESS
from rltune.trainers.registry import TRAINERS, check_trainer
from rltune.wording import found

_SOURCES = {"jsonl": "progress.jsonl", "stdout": "json", "tensorboard": "logs"}
"""The kinds of places that metrics are read from, with an example of where each looks."""

FOR_COMMANDS = ("metrics", "env", "cwd")
"""Keys that a function has no use for."""

KINDS = ("function", "command", "name", "nemo_rl")
"""A trainer is exactly one of these."""

FOR_ALL = ("config", "horizon")
"""Keys that mean the same for every trainer, and so are no options of one that has a name."""


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


def function_name(value: Any) -> Any:
    """`module:function`, or the function itself.

    Raises:
        InputError: It is neither.
    """
    if callable(value):
        return value
    if not isinstance(value, str):
        raise wrong(f"must name a function, got {found(value)}", "as in pkg.module:train")
    if NAMELESS.search(value):  # in a study that was run from Python, whose folder must be readable
        return value
    return _in_module(value, "function", "train")


def _in_module(value: str, kind: str, example: str) -> str:
    """`module:function` or `module:Class`, by its form."""
    if re.search(r"\.py:|/", value):
        module = value.partition(":")[0].removesuffix(".py").strip("./").replace("/", ".")
        name = value.partition(":")[2] or example
        raise wrong(f"must name a module, not a file, got {found(value)}", f"write {module}:{name}")
    if not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", value):
        module, _, name = value.rpartition(".")
        hint = f"write {module}:{name}" if module and re.fullmatch(r"[\w.]+", value) else f"as in pkg.module:{example}"
        raise wrong(f"must be module:{kind}, got {found(value)}", hint)
    return value


def _name(value: Any) -> Any:
    return _in_module(value, "Class", "MyTrainer") if isinstance(value, str) and re.search("[:/]", value) else value


def with_function_named(fields: dict[str, Any], key: str) -> dict[str, Any]:
    """A section's fields with a Python function written as its `module:name`."""
    if callable(function := fields.get(key)):
        named = function if hasattr(function, "__qualname__") else type(function)
        fields = {**fields, key: f"{named.__module__}:{named.__qualname__}"}
    return fields


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


def _dotted(value: Any) -> Any:
    """Nested mappings by their dotted keys: one that is set on a recipe is merged into what is there either way."""
    return dict(_leaves(value)) if isinstance(value, Mapping) else value


def _leaves(value: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[Any, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _prefix(value: Any) -> Any:
    """What stands before the script; a list of words, as a command is."""
    try:
        return _command(value)
    except InputError as error:
        raise InputError(
            replace(p, hint=p.hint.replace("python, train.py", "uv, run")) for p in error.problems
        ) from None


class NemoRlConfig(Section):
    """NeMo RL with a recipe of its own: `trainer: {nemo_rl: {recipe: examples/configs/grpo_math_1B.yaml}}`.

    Attributes:
        recipe: The file; relative to `root`, or to the study file's folder.
        root: The checkout of NeMo RL, where the command runs; looked for upwards from the recipe where left out.
        script: The training script, relative to `root`; the algorithm's own where left out.
        launch: What stands before the script.
        overrides: Values that every trial gets, by dotted key.
        env: Environment variables beside rltune's own.
        hook: Whether a file of rltune's is put before the script, which adds an exact channel for metrics.
        warm_up: Whether one trial runs alone until its first step, while the workers' environments are built.
        keep_checkpoints: What stays of an ended trial.
        pause_seconds: How long a trial may take to finish its step and save a checkpoint once the study is stopped.
    """

    recipe: str
    root: str | None = None
    script: str | None = None
    launch: Annotated[Texts, BeforeValidator(_prefix)] = ("uv", "run")
    overrides: Annotated[dict[str, Any], BeforeValidator(_dotted)] = Field(default_factory=dict)
    env: Annotated[dict[str, str], BeforeValidator(_environment)] = Field(default_factory=dict)
    hook: Literal["auto", "off"] = "auto"
    warm_up: bool = True
    keep_checkpoints: Literal["best", "all", "none"] = "best"
    pause_seconds: NotNegative = 300.0

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        return {"recipe": given} if isinstance(given, str) else super().normalise(given)


class TrainerConfig(Section):
    """What runs: exactly one of `function`, `command`, `name` and `nemo_rl`. Paths are relative to the study file.

    Attributes:
        function: `module:function`, or from Python the function itself.
        command: The words of a command; `{config}` and the like are filled in for each trial.
        name: A trainer that an installed package offers, or `module:Class`.
        options: What that class takes: every other key but `config` and `horizon`.
        nemo_rl: A recipe of NeMo RL. In the copy of a study in its folder, `config` holds the recipe as it was.
        config: The trainer's own configuration, which a trial's parameters are put into: a file, or the mapping itself.
        metrics: Where a command's metrics are read.
        env: Environment variables that a command gets beside rltune's own.
        cwd: The folder that a command starts in; None for the study file's.
        horizon: The step at which a full run ends.
    """

    function: Annotated[Any, BeforeValidator(function_name)] = None
    command: Annotated[Texts | None, BeforeValidator(_command)] = None
    name: Annotated[str | None, BeforeValidator(_name)] = None
    options: dict[str, Any] = Field(default_factory=dict, exclude=True)
    nemo_rl: NemoRlConfig | None = None
    config: Annotated[str | dict[Any, Any] | None, BeforeValidator(_base_config)] = None
    metrics: MetricsConfig = MetricsConfig.model_construct()
    env: Annotated[dict[str, str], BeforeValidator(_environment)] = Field(default_factory=dict)
    cwd: str | None = None
    horizon: Count | None = None

    @classmethod
    def keys(cls) -> list[str]:
        return [name for name in cls.model_fields if name != "options"]

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        if callable(given):
            return {"function": given}
        if isinstance(given, str):
            raise wrong(f"must be a mapping, got {found(given)}", f"write trainer: {_as_mapping(given)}")
        fields = super().normalise(given)
        if fields.get("name") is None:
            return fields
        ours = (*KINDS, *FOR_ALL)
        known = {name: value for name, value in fields.items() if name in ours}
        return known | {"options": {name: value for name, value in fields.items() if name not in ours}}

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        named = [name for name in KINDS if given.get(name) is not None]
        if not named:
            yield Problem((), "has neither function nor command", 'as in function: "pkg.module:train"')
        for other in named[1:]:
            yield Problem((other,), f"stands beside {named[0]}", "keep the one that should run")
        if isinstance(given.get("name"), str) and not re.search("[:/]", given["name"]):
            yield from _unknown(given["name"])
        if named == ["function"]:
            misplaced = [name for name in FOR_COMMANDS if name in given]
            yield from (Problem((name,), "is for a command, not for a function", "remove it") for name in misplaced)
        if named == ["nemo_rl"]:
            yield from _misplaced_in_nemo_rl(given)

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if self.function is not None or self.nemo_rl is not None:
            fields = {name: value for name, value in fields.items() if name not in FOR_COMMANDS}
        if self.name is not None:
            fields = {name: value for name, value in fields.items() if name in ("name", *FOR_ALL)} | self.options
        return with_function_named(fields, "function")


def _misplaced_in_nemo_rl(given: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys of other trainers; what they are for here."""
    hints = {
        "metrics": "remove it: NeMo RL's own metrics are read",
        "env": "move it under nemo_rl",
        "cwd": "write nemo_rl: {root: ...}, the checkout of NeMo RL",
    }
    yield from (Problem((name,), "is for a command, not for nemo_rl", hints[name]) for name in hints if name in given)
    if isinstance(given.get("config"), str):
        yield Problem(("config",), "does nothing beside nemo_rl", "name the recipe in nemo_rl: {recipe: ...}")


def _as_mapping(given: str) -> str:
    """How to write what stands there as a text."""
    if given in TRAINERS.names():
        return f"{{name: {given}}}"
    return f"{{function: {given}}}" if ":" in given else "{command: [...]}"


def _unknown(name: str) -> Iterator[Problem]:
    try:
        check_trainer(name)
    except InputError as error:
        yield from error.problems
