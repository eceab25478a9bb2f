"""What passes between the driver and a body, inside Tune's configurations and results. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rltune.errors import RltuneError
from rltune.types import Measurement, Outcome, Resources, Suggestion

MESSAGE = "message"
"""The key of Tune's results that holds a `Message`; None there only says that the trial is alive."""

JOB = "job"
"""The key of Tune's configurations that holds a `Job`."""


@dataclass(frozen=True)
class Kit:
    """What every trial of a study needs, on whatever node.

    Attributes:
        trainer: What runs, pickled: it is unpickled where its modules can be found.
        sys_path: Where the driver finds modules.
        resources: What each trial may use.
        isolate: A process for each trial; else all run in the actor's own.
        warm: Load the trainer once an actor.
        landmark: A file in the study's folder: a node that sees it shares the folder with the driver. None: all do.
        shared: Whether nodes share the folder; None to look.
        base: The study file's folder, as the driver knows it.
        log: Where the fork servers print, on nodes that share the folder.
        bundles: How many groups of resources a trial has, each on a node of its own.
    """

    trainer: bytes
    sys_path: tuple[str, ...]
    resources: Resources
    isolate: bool = True
    warm: bool = True
    landmark: Path | None = None
    shared: bool | None = None
    base: Path | None = None
    log: Path | None = None
    bundles: int = 1


@dataclass(frozen=True)
class Job:
    """One trial to run.

    Attributes:
        resume: The pieces of the checkpoint that it starts from, as references into Ray's object store; for nodes
            that do not see it.
    """

    suggestion: Suggestion
    resume: Sequence[Any] = ()


@dataclass(frozen=True)
class Piece:
    """A part of an archive of the trial's folder; `last` where the archive ends with it."""

    content: bytes
    last: bool


@dataclass(frozen=True)
class Unable:
    """No trial can run on this node."""

    error: RltuneError
    node: str


Message: TypeAlias = Measurement | Outcome | Piece | Unable
