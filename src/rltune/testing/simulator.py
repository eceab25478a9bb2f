"""An executor whose trials take no time: a virtual clock, any number of asynchronous workers, hours in milliseconds.

A simulated training is a generator of measurements, each with the seconds since its trial began:

    def train(suggestion):
        for step in range(1, 11):
            yield Measurement(step, {"loss": loss(suggestion.params, step)}, seconds=60.0 * step)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from rltune.types import Brain, Cause, Decision, Idle, Measurement, Outcome, Suggestion, Usage
from rltune.worker import classify

Simulation: TypeAlias = Generator[Measurement, None, Mapping[str, float] | None]
"""Yields measurements; may return the metrics of the whole run; may raise, as a training may."""


@dataclass(order=True)
class _Event:
    """The next thing that a running trial will say."""

    at: float
    order: int
    suggestion: Suggestion = field(compare=False)
    began: float = field(compare=False)
    simulation: Simulation = field(compare=False)
    says: Measurement | Outcome = field(compare=False)


@dataclass
class SimulatedExecutor:
    """Plays trials in the order of their virtual times; ties go to whoever was started first.

    Attributes:
        workers: How many trials run at once.
        now: Virtual seconds since the first call of `run`.
    """

    workers: int = 1
    now: float = 0.0
    _order: int = field(default=0, init=False, repr=False)

    def clock(self) -> float:
        """For the tuner, so that its timeouts run on the same clock."""
        return self.now

    def run(
        self,
        brain: Brain,
        train: Callable[[Suggestion], Simulation],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        events: list[_Event] = []
        while True:
            while len(events) < self.workers and not should_stop():
                suggestion = brain.suggest()
                if isinstance(suggestion, Idle):
                    break
                heapq.heappush(events, self._next(suggestion, self.now, train(suggestion)))
            if should_stop():
                for event in events:
                    event.simulation.close()
                    brain.finish(event.suggestion.job, Outcome(Cause.INTERRUPTED, "the study was stopped"))
                return
            if not events:
                return
            event = heapq.heappop(events)
            self.now = event.at
            self._play(brain, event, events)

    def _play(self, brain: Brain, event: _Event, events: list[_Event]) -> None:
        job = event.suggestion.job
        if isinstance(event.says, Outcome):
            brain.finish(job, event.says)
        elif brain.observe(job, event.says) is Decision.STOP:
            event.simulation.close()
            brain.finish(job, Outcome(usage=Usage(event.at - event.began), stopped=True))
        else:
            heapq.heappush(events, self._next(event.suggestion, event.began, event.simulation))

    def _next(self, suggestion: Suggestion, began: float, simulation: Simulation) -> _Event:
        says: Measurement | Outcome
        at = self.now
        try:
            says = next(simulation)
            at = max(at, began + says.seconds)
        except StopIteration as end:
            says = Outcome(metrics=end.value or {}, usage=Usage(at - began))
        except Exception as error:  # noqa: BLE001 - a training may fail in any way
            cause, message = classify(error)
            says = Outcome(cause, message, usage=Usage(at - began))
        self._order += 1
        return _Event(at, self._order, suggestion, began, simulation, says)
