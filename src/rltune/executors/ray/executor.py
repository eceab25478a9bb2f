"""The executor `ray`: the same trials, on however many machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rltune.errors import ExecutorError
from rltune.types import Brain, Resources, Trainer


@dataclass(frozen=True)
class RayExecutor:
    """Runs trials by Ray Tune, each on a node that has what it needs.

    Attributes:
        workers: How many trials run at once; None for as many as the cluster holds.
        resources: What each trial may use; enforced on its node.
        address: `auto` or an address to join a cluster; None to start one on this machine for the time of the run.
        per_trial: What Ray sets aside for a trial on one node, by Ray's names: `CPU`, `GPU`, or the cluster's own.
        nodes: On how many nodes a trial gets that; it runs on the first, and is told the others.
        isolate: Each trial in a process of its own; else in Ray's, without limits and without a log.
        warm: Load the trainer once for each of Ray's actors, and fork.
        runtime_env: What the nodes need of the user's code, as Ray takes it.
        shared: Whether the nodes see the study's folder; None to look.
        autoscaling: The cluster grows on demand, so what no node has now may come.
        base: The study file's folder.
        folder: The study's folder; None where all of this is on one machine.
        log: Where the processes that start trials print, on nodes that share the folder.
        ray_log: Where Ray's own messages go.

    Raises:
        ExecutorError: From `run`: Ray is not installed, no cluster is there, or no node could ever run a trial.
        TrainerError: From `run`: the trainer cannot be loaded on a node.
    """

    workers: int | None = None
    resources: Resources = field(default_factory=Resources)
    address: str | None = None
    per_trial: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1.0})
    nodes: int = 1
    isolate: bool = True
    warm: bool = True
    runtime_env: Mapping[str, Any] | None = None
    shared: bool | None = None
    autoscaling: bool = False
    base: Path | None = None
    folder: Path | None = None
    log: Path | None = None
    ray_log: Path | None = None

    def run(self, brain: Brain, trainer: Trainer, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Until the brain is done and nothing runs; or `should_stop` says so, which ends what runs as interrupted."""
        try:
            from rltune.executors.ray.session import run_trials
        except ImportError as error:
            raise ExecutorError(f"the executor ray needs Ray ({error}): pip install 'rltune[ray]'") from error
        run_trials(self, brain, trainer, should_stop)

    @property
    def n_at_once(self) -> int:
        """How many trials run at once, as far as the user has said."""
        return self.workers or 1
