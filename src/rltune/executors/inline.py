"""Trials one after another in this very process: for a debugger, for tests, for functions that cost nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from rltune.types import Brain, Cause, Decision, Idle, Measurement, Outcome, Trainer, TrialStopped, Usage
from rltune.worker import attempt


@dataclass(frozen=True)
class InlineExecutor:
    """Runs each trial to its end before the next is suggested.

    No isolation: what a trial breaks stays broken, and its memory is not measured.
    """

    def run(self, brain: Brain, trainer: Trainer, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Until the brain has nothing more, or `should_stop` says so, which ends the running trial at its next report.

        Raises:
            KeyboardInterrupt: Ctrl-C inside a trial, once that trial has been closed as interrupted.
        """
        load = getattr(trainer, "load", None)
        if load is not None:
            load()
        while not should_stop():
            suggestion = brain.suggest()
            if isinstance(suggestion, Idle):
                return
            job, begin = suggestion.job, time.monotonic()
            stopping = False

            def report(measurement: Measurement, job: int = job) -> None:
                nonlocal stopping
                stopping = should_stop()
                if brain.observe(job, measurement) is Decision.STOP or stopping:
                    raise TrialStopped

            outcome = attempt(trainer, suggestion, report)
            if stopping and outcome.stopped:
                outcome = Outcome(Cause.INTERRUPTED, "the study was stopped while the trial ran")
            brain.finish(job, replace(outcome, usage=Usage(time.monotonic() - begin)))
            if outcome.cause is Cause.INTERRUPTED and not should_stop():
                raise KeyboardInterrupt  # Ctrl-C inside the trainer, which shares this process, ends the study too
