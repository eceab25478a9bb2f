"""One trial after another, in one of Tune's actors: the same processes, limits and measurements as on one machine.

Tune asks for the next result; the actor answers with what its trial has said, and with nothing from time to time, so
that it hears in between whether to stop. A result that is answered by the next question means: go on.
"""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray import tune
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rltune.errors import RltuneError, TrainerError
from rltune.executors.fork_server import ForkServer
from rltune.executors.gpus import GpuPool, visible_gpus
from rltune.executors.inline import InlineExecutor
from rltune.executors.local import ProcessSession
from rltune.executors.ray.cluster import RAYS_OWN
from rltune.executors.ray.files import Outbox, unpacked
from rltune.executors.ray.messages import JOB, MESSAGE, Job, Kit, Message, Piece, Unable
from rltune.types import Brain, Decision, Idle, Measurement, Outcome, Suggestion, Trainer

_BEAT_SECONDS = 0.25
"""How long a trial may be silent before its actor says that it is alive, and hears whether to stop."""

_HOSTS_VARIABLE = "RLTUNE_HOSTS"
"""The addresses of a trial's nodes, its own first, separated by commas."""


class TrialBody(tune.Trainable):
    """Runs trials, one at a time, for as long as Tune reuses it."""

    def setup(self, config: dict[str, Any], kit: Kit | None = None) -> None:
        """Starts what all trials here share. A failure is the first trial's to tell, since Tune would only log it."""
        assert kit is not None
        self._kit = kit
        self._server: ForkServer | None = None
        self._unable: RltuneError | None = None
        self._shared = _is_shared(kit)
        self._scratch: Path | None = None
        self._thread: threading.Thread | None = None
        try:
            self._trainer = _unpickled(kit)
            if kit.isolate:
                log = kit.log if self._shared else None
                environ = _surroundings(kit.bundles)
                self._server = ForkServer(self._trainer, warm=kit.warm, log=log, environ=environ).__enter__()
        except RltuneError as error:
            self._unable = error
        self._prepare(config[JOB])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial."""
        self._prepare(new_config[JOB])
        return True

    def step(self) -> dict[str, Any]:
        """What the trial says next; None where it has been silent for a while.

        The trial begins with the first of these questions: where a node dies in the middle of `setup` or
        `reset_config`, Tune asks for the same elsewhere, and a trial must not run twice.
        """
        if self._thread is not None:
            self._thread.start()
            self._thread = None
        unable = self._unable and Unable(self._unable, socket.gethostname())
        message = unable or next(self._messages)
        return {MESSAGE: message, "done": isinstance(message, Outcome | Unable)}

    def hear(self, *, interrupt: bool = False) -> None:
        """The driver's word: the trial is to stop at its latest report, or wherever it is."""
        if interrupt:
            self._run.interrupted.set()
        else:
            self._run.decision = Decision.STOP

    def cleanup(self) -> None:
        """Ends what runs, and the fork server with it."""
        self._run.interrupted.set()
        self._run.answer()
        if self._server is not None:
            self._server.__exit__()
        self._clear()

    def _clear(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _prepare(self, job: Job) -> None:
        self._clear()
        self._scratch = None if self._shared else Path(tempfile.mkdtemp(prefix="rltune-node-"))
        here, outbox = job.suggestion, None
        if self._scratch is not None:
            here = _on_this_node(job, self._scratch)
            outbox = Outbox(here.directory)
        self._run = _Run(here, outbox, job.suggestion.directory)
        self._messages = self._run.messages()
        if self._unable is None:
            self._thread = threading.Thread(target=self._drive, args=(self._run,), daemon=True)

    def _drive(self, run: _Run) -> None:
        try:
            if self._server is None:
                InlineExecutor().run(run, self._trainer, run.interrupted.is_set)
                return
            resources = self._kit.resources
            pool = GpuPool(visible_gpus(), resources.gpus) if resources.gpus else None
            ProcessSession(run, self._server, run.interrupted.is_set, resources=resources, n_slots=1, pool=pool).run()
        except RltuneError as error:
            run.say(Unable(error, socket.gethostname()))


class _Run(Brain):
    """The brain, as one trial's executor sees it: its questions go to the driver and its answers come from there."""

    def __init__(self, suggestion: Suggestion, outbox: Outbox | None, directory: Path) -> None:
        self._suggestion: Suggestion | None = suggestion
        self._here = suggestion.directory
        self._outbox = outbox
        self._directory = directory
        self._said: SimpleQueue[Message] = SimpleQueue()
        self._answers: SimpleQueue[Decision] = SimpleQueue()
        self.decision = Decision.CONTINUE
        self.interrupted = threading.Event()

    def suggest(self) -> Suggestion | Idle:
        suggestion, self._suggestion = self._suggestion, None
        return Idle.DONE if suggestion is None else suggestion

    def observe(self, _: int, measurement: Measurement, /) -> Decision:
        self.say(measurement)
        return self._answers.get()

    def finish(self, _: int, outcome: Outcome, /) -> None:
        self.say(outcome)

    def say(self, message: Message) -> None:
        self._said.put(message)

    def answer(self) -> None:
        self._answers.put(self.decision)

    def messages(self) -> Iterator[Message | None]:
        """All that the trial says, its files before the word that they are there."""
        while True:
            try:
                message = self._said.get(timeout=_BEAT_SECONDS)
            except Empty:
                yield None
                continue
            if isinstance(message, Measurement) and self._outbox is not None and message.checkpoint is not None:
                yield from self._pieces()
                yield replace(message, checkpoint=self._as_the_driver_sees(message.checkpoint))
            elif isinstance(message, Outcome):
                yield from self._pieces()
                yield message
            else:
                yield message
            if isinstance(message, Measurement):
                self.answer()

    def _pieces(self) -> Iterator[Piece]:
        if self._outbox is None:
            return
        previous = None
        for piece in self._outbox.pieces():
            if previous is not None:
                yield Piece(previous, last=False)
            previous = piece
        if previous is not None:
            yield Piece(previous, last=True)

    def _as_the_driver_sees(self, checkpoint: str) -> str:
        path = Path(checkpoint)
        return str(self._directory / path.relative_to(self._here)) if path.is_relative_to(self._here) else checkpoint


# --- where things are on this node -----------------------------------------------------------------------------------


def _is_shared(kit: Kit) -> bool:
    if kit.shared is not None:
        return kit.shared
    return kit.landmark is None or kit.landmark.exists()


def _on_this_node(job: Job, scratch: Path) -> Suggestion:
    """With the trial's folder and its checkpoint where a node that does not see the study's folder has them."""
    suggestion = replace(job.suggestion, directory=scratch / "trial")
    suggestion.directory.mkdir()
    if suggestion.resume_from is None or not job.resume:
        return suggestion
    unpacked((ray.get(ref) for ref in job.resume), scratch)
    return replace(suggestion, resume_from=scratch / suggestion.resume_from.name)


def _unpickled(kit: Kit) -> Trainer:
    sys.path += [entry for entry in kit.sys_path if entry not in sys.path]
    try:
        trainer: Trainer = pickle.loads(kit.trainer)  # noqa: S301 - from our own driver
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise TrainerError(
            f"the trainer cannot be loaded on a node of the cluster: {what}; install it there, or ship it by "
            "`executor.runtime_env`"
        ) from error
    return _moved(trainer, kit.base)


def _moved(trainer: Trainer, base: Path | None) -> Trainer:
    """A trainer whose working folder is on the driver's machine runs in the one that Ray has shipped to this node."""
    if base is None or base.exists() or not is_dataclass(trainer) or isinstance(trainer, type):
        return trainer
    here = Path.cwd()
    moved = {
        f.name: here / value.relative_to(base)
        for f in fields(trainer)
        if f.init and isinstance(value := getattr(trainer, f.name), Path) and value.is_relative_to(base)
    }
    return replace(trainer, **moved)


def _surroundings(bundles: int) -> dict[str, str]:
    """The variables that trials inherit: none of Ray's, and those that keep a trial out of our cluster's session.

    Ray also looks for a cluster among the processes of this machine, and finds ours. On several nodes a trial puts
    together a cluster of its own, and has to find that one.
    """
    environ = {k: v for k, v in os.environ.items() if not k.startswith(RAYS_OWN)}
    return environ | ({"RAY_ADDRESS": "local"} if bundles == 1 else {_HOSTS_VARIABLE: ",".join(_hosts(bundles))})


def _hosts(bundles: int) -> list[str]:
    """The addresses of the nodes that this trial's bundles are on, in their order."""
    group = get_current_placement_group()
    assert group is not None
    address = ray.remote(num_cpus=0)(ray.util.get_node_ip_address)
    place = [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=i) for i in range(bundles)]
    hosts: list[str] = ray.get([address.options(scheduling_strategy=where).remote() for where in place])
    return hosts
