"""Tune's three questions, passed on to the tuner; they are the same ones.

    Searcher.suggest              → suggest
    TrialScheduler.on_trial_result → observe
    Searcher.on_trial_complete    → finish

None of Tune's own searchers and schedulers decides anything. All of this runs in the driver, in one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import ray
from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from rltune.executors.ray.files import Inbox, packed
from rltune.executors.ray.messages import JOB, MESSAGE, Job, Piece, Unable
from rltune.types import Brain, Cause, Decision, Idle, Measurement, Outcome, Suggestion

_INTERRUPTED = Outcome(Cause.INTERRUPTED, "the study was stopped while the trial ran")


class _Running:
    """A trial of ours in one of Tune's."""

    def __init__(self, suggestion: Suggestion) -> None:
        self.suggestion = suggestion
        self.inbox = Inbox(suggestion.directory)
        self.trial: Trial | None = None
        self.told_to_end = False
        self.error: Exception | None = None

    @property
    def actor(self) -> Any:
        """Of its trial, once that has one."""
        return None if self.trial is None else self.trial.temporary_state.ray_actor


class Bridge:
    """Between one brain and one call of Tune.

    Args:
        brain: Decides.
        should_stop: Asked several times a second; what runs is then interrupted.
        workers: How many trials there may be at once.
        must_ship: Whether a checkpoint to start from has to be sent along to the nodes.

    Attributes:
        failure: What ended the study before its time: the brain raised it, or no trial could run.
    """

    def __init__(
        self, brain: Brain, should_stop: Callable[[], bool], *, workers: int, must_ship: Callable[[], bool]
    ) -> None:
        self._brain = brain
        self._should_stop = should_stop
        self._workers = workers
        self._must_ship = must_ship
        self._running: dict[str, _Running] = {}
        self._stopping = False
        self.failure: Exception | None = None

    def __deepcopy__(self, _: object) -> Bridge:
        """Tune copies what it is given; there is one study."""
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Tune writes down what it is given, to restore it one day; a study goes on from its journal."""
        return type(None), ()

    # --- the three questions -----------------------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> Any:
        """A configuration for Tune; None where there is none now, and `Searcher.FINISHED` after the last."""
        if self._stopping:
            return Searcher.FINISHED
        if len(self._running) >= self._workers:
            return None
        with self._guarded():
            suggestion = self._brain.suggest()
            if not isinstance(suggestion, Idle):
                self._running[trial_id] = _Running(suggestion)
                return {JOB: Job(suggestion, self._shipped(suggestion))}
            if self._running:
                return None
            if suggestion is Idle.WAIT:
                raise AssertionError("the brain waits for trials to end, and none is running")
        return Searcher.FINISHED

    def hear(self, trial: Trial, message: object) -> None:
        """What a trial says; its actor is told where it is to stop."""
        running = self._running.get(trial.trial_id)
        if running is None:
            return
        if isinstance(message, Piece):
            with self._guarded():
                running.inbox.take(message.content, last=message.last)
        elif isinstance(message, Measurement):
            decision = Decision.STOP
            with self._guarded():
                decision = self._brain.observe(running.suggestion.job, message)
            if decision is Decision.STOP:
                running.actor.hear.remote()

    def finish(self, trial_id: str, message: object) -> None:
        """The end of one of Tune's trials: as the actor tells it, else the actor is gone."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        running.inbox.close()
        if isinstance(message, Outcome):
            outcome = message
        elif isinstance(message, Unable):
            self._fail(message.error)
            outcome = Outcome(Cause.INTERRUPTED, f"no trial can run on {message.node}: {message.error}", again=True)
        else:
            outcome = _INTERRUPTED if self._stopping else _lost(running.error)
        with self._guarded():
            self._brain.finish(running.suggestion.job, outcome)

    # --- and the study's end -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Called between any two things that Tune does."""
        self._stopping = self._stopping or self._should_stop()
        if not self._stopping:
            return
        for running in self._running.values():
            if running.actor is not None and not running.told_to_end:
                running.told_to_end = True
                running.actor.hear.remote(interrupt=True)

    def is_over(self) -> bool:
        """Whether Tune may drop what is left: the study is being stopped, and what is left has not begun."""
        return self._stopping and all(running.actor is None for running in self._running.values())

    def close(self) -> None:
        """Finishes what Tune has dropped."""
        self._stopping = True
        for trial_id in list(self._running):
            self.finish(trial_id, None)

    def started(self, trial: Trial) -> None:
        if trial.trial_id in self._running:
            self._running[trial.trial_id].trial = trial

    def failed(self, trial: Trial) -> None:
        """Its actor has died; the reason is told before the end is."""
        if trial.trial_id in self._running:
            self._running[trial.trial_id].error = _error_of(trial)

    def _shipped(self, suggestion: Suggestion) -> tuple[Any, ...]:
        if suggestion.resume_from is None or not self._must_ship():
            return ()
        return tuple(ray.put(piece) for piece in packed(suggestion.resume_from))

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self._stopping = True

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Keeps what the brain raises until Tune has ended: it would be wrapped, or only logged."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # raised again by the executor
            self._fail(error)


def _error_of(trial: Trial) -> Exception | None:
    """What Ray raised in the place of one of its actors' answers."""
    file = trial.pickled_error_file
    if file is None or not Path(file).exists():
        return None
    error: Exception = cloudpickle.loads(Path(file).read_bytes())
    return error


def _lost(error: Exception | None) -> Outcome:
    """What the death of an actor means."""
    reason = str(error).strip().splitlines()[0] if error is not None and str(error).strip() else ""
    if isinstance(error, OutOfMemoryError):
        return Outcome(Cause.OUT_OF_MEMORY, f"Ray ended it, since its node ran out of memory: {reason}")
    return Outcome(Cause.LOST, f"its node or its Ray actor died{': ' if reason else ''}{reason}", again=True)


# --- Tune's interfaces -----------------------------------------------------------------------------------------------


class Search(Searcher):
    """Which trial comes next, and how it ended."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def suggest(self, trial_id: str) -> Any:
        return self._bridge.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._bridge.finish(trial_id, None if error or result is None else result.get(MESSAGE))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the record."""


class Schedule(FIFOScheduler):
    """Whether a trial goes on."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Tune is always told to go on: a trial ends by itself, so that it can clean up and say what it has used."""
        self._bridge.hear(trial, result.get(MESSAGE))
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._bridge.failed(trial)


class Watch(tune.Callback):
    """The time between two events."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._bridge.step()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._bridge.started(trial)


class Stop(tune.Stopper):
    """When Tune itself is to end."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._bridge.is_over()
