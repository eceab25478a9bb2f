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


_OF_RAY: Mapping[str, Any] = {
    "address": None,
    "resources": {},
    "nodes": 1,
    "isolate": True,
    "runtime_env": None,
    "shared_storage": None,
    "autoscaling": False,
}
"""Keys that only the executor ray has, and what they are where nothing is said."""

_RAYS_NAMES = {"cpu": "CPU", "gpu": "GPU"}
"""Resources that Ray itself counts have names in capitals; the cluster's own ones are as they were declared."""


def _resources(value: Any) -> Any:
    """By Ray's names, each amount more than 0."""
    if not isinstance(value, Mapping):
        raise wrong(f"must be a mapping of resources to amounts, got {found(value)}", "as in {cpu: 4, gpu: 1}")
    for name, amount in value.items():
        if not isinstance(name, str):
            raise wrong(f"a resource's name must be text, got {found(name)}", "")
        if not is_number(amount) or amount < 0:
            raise wrong(f"must be an amount from 0 on, got {found(amount)}", "as in {cpu: 4, gpu: 0.5}", name)
        if amount > 1 and amount % 1 != 0:
            raise wrong(f"must be a whole number, or a fraction below 1, got {amount}", "", name)
    return {_RAYS_NAMES.get(name.lower(), name): float(amount) for name, amount in value.items()}


class ExecutorConfig(Section):
    """Where trials run.

    Attributes:
        name: `local` for a process each, `inline` for this process, `ray` for a cluster; others by their registered
            name.
        workers: How many trials run at once; None for one, and on a cluster for as many as it holds.
        gpus_per_trial: A whole number, or a fraction of one GPU to share it.
        gpus: Which GPUs may be used; None for all that are visible.
        timeout_minutes: A trial that runs longer is ended.
        setup_minutes: A trial that has not reported anything by then is ended; loading a large model takes long.
        stall_minutes: A trial that has reported, and then says nothing for longer, is ended; never before it is silent
            for five times its usual interval.
        memory_limit: A trial that holds more bytes is ended; also written as `8GB` or `8GiB`.
        grace_seconds: How long a trial has to end by itself once it is told to.
        warm: Load the trainer once and fork a process for each trial, instead of starting a Python for each.
        address: Of Ray's cluster, `auto` for the one of this machine; None to start one here for the run.
        resources: What Ray sets aside for each trial on a node, by its names: CPU, GPU, the cluster's own.
        nodes: On how many nodes a trial has that.
        isolate: Whether each trial is a process of its own under Ray; without, nothing is limited or measured.
        runtime_env: What the nodes need of the user's code, as Ray takes it.
        shared_storage: Whether the nodes see the study's folder; None to look.
        autoscaling: The cluster grows on demand, so what it lacks now may come.
        options: What else an executor that is not ours takes.
    """

    name: str = "local"
    workers: Count | None = None
    gpus_per_trial: NotNegative = 0.0
    gpus: Annotated[Any, BeforeValidator(_gpus)] = None
    timeout_minutes: Positive | None = None
    setup_minutes: Positive | None = None
    stall_minutes: Positive | None = None
    memory_limit: Annotated[Count | None, BeforeValidator(_bytes)] = None
    grace_seconds: NotNegative = Resources.grace_seconds
    warm: bool = True
    address: str | None = None
    resources: Annotated[dict[str, float], BeforeValidator(_resources)] = Field(default_factory=dict)
    nodes: Count = 1
    isolate: bool = True
    runtime_env: dict[str, Any] | None = None
    shared_storage: bool | None = None
    autoscaling: bool = False
    options: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @property
    def n_workers(self) -> int:
        """How many trials run at once, as far as the file says."""
        return self.workers or 1

    @property
    def fills_a_cluster(self) -> bool:
        """Whether as many trials run at once as there is room for."""
        return self.name == "ray" and self.workers is None

    @property
    def per_trial(self) -> dict[str, float]:
        """What Ray sets aside for a trial on a node: one CPU where nothing is said of them."""
        gpus = {"GPU": self.gpus_per_trial} if self.gpus_per_trial else {}
        return {"CPU": 1.0} | gpus | {name: amount for name, amount in self.resources.items() if amount}

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
        known_keys = {*cls.keys()} - {*_OF_RAY}  # such names are another executor's to choose
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
        yield from _unfit(name, given)
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


def _unfit(name: Any, given: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys that do nothing under this executor, or contradict each other."""
    if isinstance(name, str) and name in EXECUTORS.built_in and name != "ray":
        for key, default in _OF_RAY.items():
            if given.get(key, default) != default:  # the study that a folder keeps has the defaults in it
                yield Problem((key,), f"does nothing: the executor is {name}", "use the executor ray")
        return
    if name != "ray":
        return
    if given.get("gpus") is not None:
        yield Problem(("gpus",), "does nothing: Ray hands out its cluster's GPUs", "give resources: {gpu: 1}")
    resources, per_trial = given.get("resources"), given.get("gpus_per_trial")
    gpus = (
        next((v for k, v in resources.items() if str(k).lower() == "gpu"), None)
        if isinstance(resources, Mapping)
        else None
    )
    if gpus is not None and per_trial and gpus != per_trial:  # the study that a folder keeps has the default in it
        yield Problem(("gpus_per_trial",), f"is {per_trial}, but resources has {gpus} of them", "give one of the two")
    if given.get("isolate") is False:
        for key in ("timeout_minutes", "setup_minutes", "stall_minutes", "memory_limit"):
            if given.get(key) is not None:
                yield Problem(
                    (key,), "does nothing: without a process of its own, no trial can be ended", "isolate: true"
                )
