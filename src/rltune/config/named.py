"""Things with a name and options of their own: the sampler, the pruner, the guards, the trackers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, model_serializer

from rltune.config.section import Section, wrong
from rltune.errors import InputError, Problem
from rltune.guards import check_guard
from rltune.pruners import check_pruner
from rltune.samplers import SAMPLERS
from rltune.trackers import TRACKERS, check_tracker
from rltune.wording import found


class Named(Section):
    """A name, or a mapping of a name and options: `tpe`, `{name: tpe, multivariate: true}`."""

    name: str = Field(examples=["..."])
    options: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        if isinstance(given, str):
            return {"name": given}
        if not isinstance(given, Mapping):
            raise wrong(f"must be a name, or a mapping with a name and options, got {found(given)}")
        options = {key: value for key, value in given.items() if key != "name"}
        return ({"name": given["name"]} if "name" in given else {}) | {"options": options}

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if isinstance(given.get("name"), str):
            try:
                cls.check(given["name"], given.get("options", {}))
            except InputError as error:
                yield from error.problems

    @classmethod
    def check(cls, name: str, options: Mapping[str, Any]) -> None:
        """Raises `InputError` for a name that is nowhere, or for wrong options of what is built in."""

    @model_serializer
    def _flat(self) -> Any:
        return {"name": self.name, **self.options} if self.options else self.name


class AlgorithmConfig(Named):
    """The sampler. Its options are judged where it is made, since they depend on the search space."""

    @classmethod
    def check(cls, name: str, options: Mapping[str, Any]) -> None:  # noqa: ARG003
        if not SAMPLERS.knows(name):
            SAMPLERS.find(name)


class PrunerConfig(Named):
    @classmethod
    def check(cls, name: str, options: Mapping[str, Any]) -> None:
        check_pruner(name, options)


class GuardConfig(Named):
    @classmethod
    def check(cls, name: str, options: Mapping[str, Any]) -> None:
        check_guard(name, options)


class TrackerConfig(Named):
    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        """Options may also stand below the name: `mlflow: {experiment: grpo}`."""
        if isinstance(given, Mapping) and len(given) == 1:
            ((name, options),) = given.items()
            if name in TRACKERS.built_in and isinstance(options, Mapping | None):
                return {"name": name, "options": dict(options or {})}
        return super().normalise(given)

    @classmethod
    def check(cls, name: str, options: Mapping[str, Any]) -> None:
        check_tracker(name, options)
