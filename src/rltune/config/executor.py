"""Where trials run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from rltune.config.section import Count, NotNegative, Positive, Section, is_number, wrong
from rltune.errors import InputError, Problem
from rltune.executors import EXECUTORS
from rltune.types import Resources
from rltune.wording import found

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def _bytes(value: Any) -> Any:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([A-Za-z]+)", value) if isinstance(value, str) else None
    if match is None or match[2].upper() not in _UNITS:
        raise wrong(f"must be a number of bytes or a size, got {found(value)}", "as in 8GB, 7.5GiB or 8000000000")
    return round(Fraction(match[1]) * _UNITS[match[2].upper()])


def _gpus(value: Any) -> Any:
    if value is None:
        return value
    if not isinstance(value, list | tuple):
        raise wrong(f"must be a list of GPUs, got {found(value)}", "as in [0, 1]; leave it out for all")
    for n, gpu in enumerate(value):
        if isinstance(gpu, bool) or not isinstance(gpu, int | str) or (isinstance(gpu, int) and gpu < 0):
            raise wrong(f"must be a GPU's index or its UUID, got {found(gpu)}", "", n)
        if gpu in value[:n]:
            raise wrong(f"names the GPU {gpu} twice", "", n)
    return tuple(value)


class ExecutorConfig(Section):
    """Where trials run.

    Attributes:
        name: `local` for a process each, `inline` for this process; others by their registered name.
        workers: How many trials run at once.
        gpus_per_trial: A whole number, or a fraction of one GPU to share it.
        gpus: Which GPUs may be used; None for all that are visible.
        timeout_minutes: A trial that runs longer is ended.
        setup_minutes: A trial that has not reported anything by then is ended; loading a large model takes long.
        stall_minutes: A trial that has reported, and then says nothing for longer, is ended; never before it is silent
            for five times its usual interval.
        memory_limit: A trial that holds more bytes is ended; also written as `8GB` or `8GiB`.
        grace_seconds: How long a trial has to end by itself once it is told to.
        warm: Load the trainer once and fork a process for each trial, instead of starting a Python for each.
        options: What else an executor that is not ours takes.
    """

    name: str = "local"
    workers: Count = 1
    gpus_per_trial: NotNegative = 0.0
    gpus: Annotated[Any, BeforeValidator(_gpus)] = None
    timeout_minutes: Positive | None = None
    setup_minutes: Positive | None = None
    stall_minutes: Positive | None = None
    memory_limit: Annotated[Count | None, BeforeValidator(_bytes)] = None
    grace_seconds: NotNegative = Resources.grace_seconds
    warm: bool = True
    options: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @classmethod
    def keys(cls) -> list[str]:
        return [name for name in cls.model_fields if name != "options"]

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        if isinstance(given, str):
            return {"name": given}
        fields = super().normalise(given)
        if fields.get("name", "local") in tuple(EXECUTORS.built_in):
            return fields
        known_keys = cls.keys()
        known = {name: value for name, value in fields.items() if name in known_keys}
        return known | {"options": {name: value for name, value in fields.items() if name not in known}}

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        name = given.get("name", "local")
        if isinstance(name, str) and not EXECUTORS.knows(name):
            try:
                EXECUTORS.find(name)
            except InputError as error:
                yield from error.problems
        workers, per_trial, gpus = given.get("workers"), given.get("gpus_per_trial", 0), given.get("gpus")
        if name == "inline" and isinstance(workers, int) and workers > 1:
            yield Problem(("workers",), f"inline runs one trial at a time, got {workers}", "use the executor local")
        if not is_number(per_trial):
            return
        if per_trial > 1 and per_trial % 1 != 0:
            message = f"must be a whole number, or a fraction below 1 to share a GPU, got {per_trial}"
            yield Problem(("gpus_per_trial",), message)
        if isinstance(gpus, list | tuple) and per_trial == 0:
            yield Problem(("gpus",), "does nothing while gpus_per_trial is 0", "add gpus_per_trial: 1")
        elif isinstance(gpus, list | tuple) and per_trial > len(gpus):
            yield Problem(("gpus_per_trial",), f"is {per_trial:g}, but only {len(gpus)} may be used", "name more gpus")

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return fields | self.options
