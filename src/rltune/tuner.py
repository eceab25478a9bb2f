"""The brain: answers an executor's three questions, and is the only writer to the study.

    suggest()  what to run next: the protocol names it, the sampler fills it in
    observe()  a measurement has come: write it down, ask the guards, then the pruner
    finish()   a trial has ended: its value, or the cause why it has none, into the journal

The tuner starts no process and knows no trainer. One thread uses it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.trial import TrialState

from rltune import records as rec
from rltune.errors import FolderError
from rltune.folder import StudyDir, write_json
from rltune.guards import Guard
from rltune.objective import Objective
from rltune.protocol.plan import Plan, Request
from rltune.pruners import on_plateau
from rltune.records import TrialRecord
from rltune.space import SearchSpace
from rltune.types import Cause, Decision, Idle, Measurement, Outcome, Purpose, Suggestion, Usage

MEASURED_METRICS = ("training_time", "memory_usage", "gpu_memory_usage")
"""Metrics that a trial has without reporting them: seconds, bytes, bytes."""

_MAX_RETRIES = 2
"""A configuration that was running each time the tuner died may be what killed it."""


@dataclass
class _Running:
    """A trial that has been suggested and not finished."""

    trial: optuna.Trial
    may_be_pruned: bool
    history: list[Measurement] = field(default_factory=list)
    cause: Cause | None = None
    message: str = ""
    stopped_by: str | None = None
    pruned: bool = False

    @property
    def decision(self) -> Decision:
        going_on = self.cause is None and self.stopped_by is None
        return Decision.CONTINUE if going_on else Decision.STOP


@dataclass
class Tuner:
    """Decides which trials run, which stop, and what they are worth.

    Attributes:
        study: The record of truth. Its sampler proposes, its pruner prunes.
        space: What may vary.
        plan: Which trials make up the study, in phases.
        folder: Where trials have their folders.
        guards: Each is asked, at every measurement, whether the trial has gone wrong.
        patience: A trial ends once its own curve has not improved for so many measurements; unlike a pruned trial it
            has a value. None: it runs on.
        value: Which value of a trial's curve is the trial's: the last or the best.
        horizon: The step at which a full run ends.
        timeout_seconds: Time for the whole study, pauses between sessions not counted.
        max_failures: So many failures in a row end the study; trainings that diverged are not counted.
        first_failures: So do so many where no trial has ever succeeded.
        on_change: Called with a trial's record when it starts and when it ends.
        clock: Seconds; only differences matter.
        halted: Why no further trial starts, where that is not the plan's own end.
    """

    study: optuna.Study
    space: SearchSpace
    plan: Plan
    folder: StudyDir
    guards: Sequence[Guard] = ()
    patience: int | None = None
    value: Literal["last", "best"] = "last"
    horizon: int | None = None
    timeout_seconds: float | None = None
    max_failures: int = 10
    first_failures: int = 5
    on_change: Callable[[TrialRecord], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    halted: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._records = {r.number: r for r in rec.load(self.study)}
        self._failures = self._failures_in_a_row = 0  # of this session: the user may have mended the cause
        self._earlier_seconds = rec.busy_seconds(self._records.values())
        self._started = self.clock()
        self._refuse_other_kinds()
        rec.write_plan(self.study, self.plan.to_json())
        for record in self.records:
            if record.state is TrialState.RUNNING:
                self._close_orphan(record)

    @property
    def records(self) -> list[TrialRecord]:
        """Every trial so far, by number."""
        return list(self._records.values())

    @property
    def elapsed_seconds(self) -> float:
        """Wall time of all sessions, while at least one trial ran."""
        return self._earlier_seconds + self.clock() - self._started

    # --- the three questions -----------------------------------------------------------------------------------------

    def suggest(self) -> Suggestion | Idle:
        """The next trial to run, or why there is none now."""
        if self.halted is not None:
            return self._wait_or_done()
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            request = self._request()
            if isinstance(request, Idle):
                return request
            attrs = rec.attributes(request.purpose, request.seed)
            self.study.enqueue_trial(dict(request.params or {}), user_attrs=attrs)
        return self._start()

    def observe(self, number: int, measurement: Measurement) -> Decision:
        """Writes down one measurement of a running trial and decides whether the trial goes on."""
        running = self._running[number]
        running.history.append(measurement)
        self.folder.trial(number).append_measurement(measurement)
        value = measurement.metrics.get(self._objectives[0].metric)
        if value is not None and math.isfinite(value) and len(self._objectives) == 1:
            running.trial.report(value, measurement.step)
        if running.decision is Decision.CONTINUE:
            self._judge(running, measurement)
        return running.decision

    def finish(self, number: int, outcome: Outcome) -> None:
        """Closes a trial: complete with its value, pruned, or failed with a cause."""
        running = self._running.pop(number)
        metrics = _last_metrics(running.history) | dict(outcome.metrics) | _measured(outcome.usage)
        values = self._values(running, metrics)
        cause, message = self._cause(running, outcome, values, metrics)
        again = cause is Cause.INTERRUPTED or (cause is Cause.LOST and outcome.again and self._is_blameless(number))
        if again:
            self._ask_again(number)
        rec.write_end(running.trial, metrics, cause, message, running.stopped_by)
        if cause is not None:
            self.study.tell(running.trial, state=TrialState.FAIL)
        elif running.pruned:
            self.study.tell(running.trial, state=TrialState.PRUNED)
        else:
            self._set_constraints(running.trial, metrics)
            self.study.tell(running.trial, [v for v in values if v is not None])
        record = self._refresh(number)
        write_json(self.folder.trial(number).result, record.to_json())
        if not again:
            self._count_failure(record)
        self.on_change(record)

    # --- suggest -----------------------------------------------------------------------------------------------------

    def _request(self) -> Request | Idle:
        if self.timeout_seconds is None:
            return self.plan.next(self.records)
        if self.elapsed_seconds >= self.timeout_seconds:
            return self._wait_or_done()
        # The finals need their share of the time, as they have of the trials.
        for_search = self.timeout_seconds * (1 - self.plan.n_finals / max(1, self.plan.n_trials))
        return self.plan.next(self.records, search_is_over=self.elapsed_seconds >= for_search)

    def _wait_or_done(self) -> Idle:
        return Idle.WAIT if self._running else Idle.DONE

    def _start(self) -> Suggestion:
        trial = self.study.ask()
        record = self._refresh(trial.number)
        # What the winner is compared with, and the winner itself, are worth their cost to the end.
        self._running[trial.number] = _Running(trial, may_be_pruned=record.purpose is Purpose.SEARCH)
        params = self.space.suggest(trial)
        record = self._refresh(trial.number)
        if record.seed is None:  # put into the study by somebody else: a dashboard, `study.enqueue_trial`
            rec.write_start(trial, Purpose.SEARCH, self.plan.seeds.search(len(rec.originals(self.records)) - 1))
            record = self._refresh(trial.number)
        assert record.seed is not None
        directory = self.folder.trial(trial.number).path
        directory.mkdir(parents=True, exist_ok=True)
        self.on_change(record)
        return Suggestion(trial.number, params, record.seed, directory, self.horizon)

    # --- observe -----------------------------------------------------------------------------------------------------

    def _judge(self, running: _Running, measurement: Measurement) -> None:
        """Guards first: they see every metric, and a pruner never stops a trial whose value is NaN."""
        for guard in self.guards:
            if verdict := guard(running.history):
                running.cause, running.message = verdict.cause, verdict.message
                return
        objective = self._objectives[0]
        if objective.metric not in measurement.metrics:
            return
        if self.horizon is not None and measurement.step >= self.horizon:
            return
        if self.patience is not None and on_plateau(
            _curve(running.history, objective.metric), self.patience, maximize=objective.direction == "maximize"
        ):
            running.stopped_by = "early_stopping"
        elif running.may_be_pruned and len(self._objectives) == 1 and running.trial.should_prune():
            running.stopped_by, running.pruned = "pruner", True

    # --- finish ------------------------------------------------------------------------------------------------------

    def _values(self, running: _Running, metrics: Mapping[str, float]) -> list[float | None]:
        """One number an objective; None where it was never measured."""
        values = [metrics.get(o.metric) for o in self._objectives]
        if self.value == "best":
            for i, objective in enumerate(self._objectives):
                curve = _curve(running.history, objective.metric)
                if curve:
                    values[i] = objective.best(curve.values())
        return values

    def _cause(
        self, running: _Running, outcome: Outcome, values: Sequence[float | None], metrics: Mapping[str, float]
    ) -> tuple[Cause | None, str]:
        """Why the trial has no usable value. A trial that we stopped is not to blame for how it went down."""
        if running.cause is not None:
            return running.cause, running.message
        if running.pruned:
            return None, ""
        if outcome.cause is not None and running.stopped_by is None:
            return outcome.cause, outcome.message
        for objective, value in zip(self._objectives, values, strict=True):
            if value is None:
                reported = ", ".join(f"`{name}`" for name in metrics if name not in MEASURED_METRICS)
                return (
                    Cause.NO_VALUE,
                    f"the trial ended without a value for `{objective.metric}`; it reported {reported or 'nothing'}",
                )
            if not math.isfinite(value):
                return Cause.DIVERGED, f"`{objective.metric}` is {value}"
        return None, ""

    def _set_constraints(self, trial: optuna.Trial, metrics: Mapping[str, float]) -> None:
        """A metric that a constraint needs and the trial lacks counts as missed, or it would pass unseen."""
        for constraint in self.plan.constraints:
            value = metrics.get(constraint.metric)
            trial.set_constraint(constraint.metric, math.inf if value is None else constraint.violation(value))

    def _count_failure(self, record: TrialRecord) -> None:
        """A training that diverges works, so it does not speak against the trainer; unless none ever ended well."""
        if record.cause is None:
            self._failures_in_a_row = 0
            return
        self._failures += 1
        self._failures_in_a_row += record.cause not in (Cause.DIVERGED, Cause.COLLAPSED)
        if self._failures_in_a_row >= self.max_failures:
            self.halted = f"{self._failures_in_a_row} trials in a row failed"
        if self._failures >= self.first_failures and not any(r.values for r in self._records.values()):
            self.halted = f"all of the first {self._failures} trials failed"

    # --- recovery ----------------------------------------------------------------------------------------------------

    def _close_orphan(self, record: TrialRecord) -> None:
        """A trial that ran when the tuner died: take its result where the worker left one, else ask again."""
        trial = optuna.Trial(self.study, rec.trial_id(self.study, record.number))
        directory = self.folder.trial(record.number)
        directory.path.mkdir(parents=True, exist_ok=True)  # the tuner may have ended before it made one
        outcome = directory.read_outcome()
        history = directory.read_metrics()
        asked_again = any(r.retry_of == record.number for r in self._records.values())
        if outcome is None or outcome.stopped or asked_again:
            ran = Usage(history[-1].seconds if history else 0.0)  # as far as anybody knows
            outcome = Outcome(Cause.LOST, "the tuner ended while this trial ran", usage=ran, again=True)
        self._running[record.number] = _Running(trial, may_be_pruned=False, history=history)
        self.finish(record.number, outcome)

    def _is_blameless(self, number: int) -> bool:
        """Whether the configuration has not been lost so often that it may be what kills its surroundings."""
        return _n_losses(self._records, self._records[number]) < _MAX_RETRIES

    def _ask_again(self, number: int) -> None:
        """Puts a trial's configuration back into the queue with its seed; once, however often this is called."""
        records = rec.load(self.study)
        record = records[number]
        if any(r.retry_of == number for r in records):
            return
        attrs = rec.attributes(record.purpose, record.seed, retry_of=number)
        self.study.enqueue_trial(dict(record.params), user_attrs=attrs)

    def _refuse_other_kinds(self) -> None:
        """Before the first trial: Optuna keeps a parameter as a number or as a choice, and lets its choices not change.

        Raises:
            FolderError: A parameter has become what earlier trials cannot have.
        """
        earlier = {name: d for t in self.study.get_trials(deepcopy=False) for name, d in t.distributions.items()}
        for name in earlier.keys() & self.space.distributions.keys():
            old, new = earlier[name], self.space.distributions[name]
            try:
                check_distribution_compatibility(old, new)
            except ValueError as error:
                raise FolderError(
                    f"study folder {self.folder.path}: `{name}` was {old} in earlier trials, and cannot become {new} "
                    "in the same study; choose another folder with `--out`, or take the change back"
                ) from error

    # --- small things ------------------------------------------------------------------------------------------------

    @property
    def _objectives(self) -> Sequence[Objective]:
        return self.plan.objectives

    def _refresh(self, number: int) -> TrialRecord:
        record = self._records[number] = rec.read(self.study, number)
        return record


def _last_metrics(history: Sequence[Measurement]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for measurement in history:
        metrics.update(measurement.metrics)
    return metrics


def _curve(history: Sequence[Measurement], metric: str) -> dict[int, float]:
    return {m.step: m.metrics[metric] for m in history if metric in m.metrics}


def _measured(usage: Usage) -> dict[str, float]:
    values = (usage.seconds, usage.memory_bytes, usage.gpu_memory_bytes)
    return {name: float(v) for name, v in zip(MEASURED_METRICS, values, strict=True) if v is not None}


def _n_losses(records: Mapping[int, TrialRecord], record: TrialRecord) -> int:
    """How often the configuration has been lost before; a stop that was asked for does not count."""
    n = 0
    while record.retry_of is not None:
        record = records[record.retry_of]
        n += record.cause is Cause.LOST
    return n
