"""The brain: answers an executor's three questions, and is the only writer to the study.

    suggest()  what to run next: the protocol names it, the sampler fills it in
    observe()  a measurement has come: write it down, ask the guards, then the pruner
    finish()   a run has ended: the trial's value, or the cause why it has none, into the journal

A trial is one run, or one run a fold. The tuner starts no process and knows no trainer. One thread uses it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from rltune import records as rec
from rltune.analysis.selection import ranked
from rltune.errors import FolderError
from rltune.evaluation.folds import FoldEnd, Folding, deviations, fold_values, labelled, means
from rltune.evaluation.kept import keep, kept
from rltune.evaluation.race import hopeless, spreads_around
from rltune.folder import StudyDir, write_json
from rltune.guards import Mode, StudyGuard, Verdict
from rltune.objective import Objective
from rltune.protocol.blind import without_claims
from rltune.protocol.plan import Plan, Request
from rltune.pruners import on_plateau
from rltune.pruners.pareto import ParetoPruning
from rltune.records import ShadowStop, TrialRecord
from rltune.remains import CUT_SHORT, Remains, is_cut_short
from rltune.running import Run, RunningTrial
from rltune.space import SearchSpace
from rltune.types import Cause, Decision, Idle, Measurement, Outcome, Purpose, Suggestion, Usage
from rltune.wording import listed

MEASURED_METRICS = ("training_time", "memory_usage", "gpu_memory_usage")
"""Metrics that a trial has without reporting them: seconds, bytes, bytes."""

_TRAINED = (Cause.DIVERGED, Cause.COLLAPSED, Cause.NO_SIGNAL, Cause.REWARD_HACKING)
"""Failures of a training that works: they do not speak against the trainer."""


class Tidy(Protocol):
    """What removes from a trial's folder what was kept for another trial to go on from; may be called again."""

    def __call__(self, folder: Path, /, *, superseded: bool) -> None:
        """`superseded`: the trial was cut short, and the one that repeats it has ended; else it has ended itself."""


@dataclass
class Tuner:
    """Decides which trials run, which stop, and what they are worth.

    Attributes:
        study: The record of truth. Its sampler proposes, its pruner prunes.
        space: What may vary.
        plan: Which trials make up the study, in phases.
        folder: Where trials have their folders.
        guards: Each is asked, at every measurement, whether the trial has gone wrong; one in shadow mode ends nothing.
        folding: How a trial is spread over folds; None where it is one run.
        patience: A run ends once its own curve has not improved for so many measurements; unlike a pruned trial it
            has a value. None: it runs on.
        value: Which value of a run's curve is the run's: the last or the best.
        horizon: The step at which a full run ends.
        stops_at_horizon: Whether a run that has come there is told to stop; else it ends by itself.
        step_metric: The metric whose value is the step of a measurement; None where a measurement's step is its own.
        timeout_seconds: Time for the whole study, pauses between sessions not counted.
        max_failures: So many failures in a row end the study; trainings that diverged are not counted.
        first_failures: So do so many where no trial has ever succeeded.
        on_change: Called with a trial's record when it starts and when it ends.
        on_fold: Called with a running trial's record when a fold of it has ended.
        tidy: Called with the folder of a trial that nobody goes on from any more; see `Tidy`.
        clock: Seconds; only differences matter.
        halted: Why no further trial starts, where that is not the plan's own end.
        finished: The plan has nothing more to run.
    """

    study: optuna.Study
    space: SearchSpace
    plan: Plan
    folder: StudyDir
    guards: Sequence[StudyGuard] = ()
    folding: Folding | None = None
    patience: int | None = None
    value: Literal["last", "best"] = "last"
    horizon: int | None = None
    stops_at_horizon: bool = False
    step_metric: str | None = None
    timeout_seconds: float | None = None
    max_failures: int = 10
    first_failures: int = 5
    on_change: Callable[[TrialRecord], None] = lambda _: None
    on_fold: Callable[[TrialRecord, FoldEnd], None] = lambda _record, _end: None
    tidy: Tidy = lambda _folder, *, superseded: None  # noqa: ARG005
    clock: Callable[[], float] = time.monotonic
    halted: str | None = field(default=None, init=False)
    finished: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._running: dict[int, RunningTrial] = {}
        self._remains = Remains(self.folder, self.folding)
        self._blind = without_claims(self.study)  # for whatever proposes or prunes
        self._records = {r.number: r for r in rec.load(self.study)}
        self._failures = self._failures_in_a_row = 0  # of this session: the user may have mended the cause
        self._earlier_seconds = rec.busy_seconds(self._records.values())
        self._started = self.clock()
        self._refuse_other_kinds()
        taken = frozenset(r.seed for r in self.records if r.purpose is Purpose.EARLIER and r.seed is not None)
        self.plan = replace(self.plan, seeds=replace(self.plan.seeds, taken=taken))
        self._pareto = self._remembered_points()
        self._write_plan()
        for record in self.records:
            if record.state is TrialState.RUNNING:
                self._close_orphan(record)
        for record in self.records:
            self._tidy_behind(record)

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
        """The next run to start, of a trial that has begun or of a new one; or why there is none now."""
        if (fold := self._next_fold()) is not None:
            return fold
        while self.halted is None:
            if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                request = self._request()
                if isinstance(request, Idle):
                    self.finished = request is Idle.DONE
                    return request
                attrs = rec.attributes(request.purpose, request.seed, request.retry_of, request.origin)
                self.study.enqueue_trial(self.space.to_journal(request.params or {}), user_attrs=attrs)
            if (suggestion := self._start()) is not None:
                return suggestion
        return self._wait_or_done()

    def observe(self, job: int, measurement: Measurement) -> Decision:
        """Writes down one measurement of a run and decides whether it goes on."""
        trial, run = self._find(job)
        measurement = self._with_step(run, measurement)
        tells_step = self.step_metric in (None, *measurement.metrics)
        if run.resumed_at is not None and measurement.step <= run.resumed_at and tells_step:
            self._refuse_beginning(trial, measurement)
            run.begin_anew()
            trial.usage = Usage()
        measurement = self._with_measured(measurement)
        run.history.append(measurement)
        run.folder.append_measurement(measurement)
        if run.fold is None:
            self._note(trial, measurement)
        if trial.decision(run) is Decision.CONTINUE:
            self._judge(trial, run, measurement)
        if trial.decision(run) is Decision.CONTINUE and self._takes_turns(trial, measurement):
            trial.prune(rec.TURN)
        return trial.decision(run)

    def finish(self, job: int, outcome: Outcome) -> None:
        """Takes the end of a run, and closes its trial with the last: complete, pruned, or failed with a cause."""
        trial, run = self._find(job)
        del trial.runs[job]
        trial.usage += outcome.usage
        metrics = run.last_metrics() | dict(outcome.metrics)
        self._judge_end(trial, run, outcome, metrics)
        if run.fold is None:
            metrics |= _measured(trial.usage)
            self._close(trial, metrics, self._values(run, metrics))
            # In a folder where none has run, nothing is the trial's.
            if run.history and trial.cause not in CUT_SHORT and not self._keeps_checkpoints:
                self.tidy(run.folder.path, superseded=False)
            return
        if not trial.over:
            self._take_fold(trial, run, run.fold, self._of_ended(run, metrics, outcome.usage))
        if not trial.runs and (trial.over or not trial.queue):
            self._close_folded(trial)

    def close(self) -> None:
        """At a session's end: closes the trials that wait for their next fold, and says whether the plan is done."""
        for trial in [t for t in self._running.values() if not t.runs]:
            trial.fail(Cause.INTERRUPTED, "the study was stopped between two folds of the trial", again=True)
            self._close_folded(trial)
        if self.finished:
            self._write_plan()
            self._tidy_population()

    def _write_plan(self) -> None:
        folds = None if self.folding is None else self.folding.n
        rec.write_plan(
            self.study, {**self.plan.within_budget(self.records).to_json(), "folds": folds, "finished": self.finished}
        )

    # --- suggest -----------------------------------------------------------------------------------------------------

    def _request(self) -> Request | Idle:
        if self.plan.population is not None:
            is_over = self._time_is_up()
            return self.plan.next(
                rec.load(self.study), search_is_over=is_over, checkpoint=self._remains.checkpoint_step
            )
        if self.timeout_seconds is None:
            return self.plan.next(self.records)
        if self.elapsed_seconds >= self.timeout_seconds:
            return self._wait_or_done()
        # The finals and the claim need their share of the time, as they have of the trials.
        for_search = self.timeout_seconds * (1 - self.plan.n_after / max(1, self.plan.n_trials))
        return self.plan.next(self.records, search_is_over=self.elapsed_seconds >= for_search)

    def _time_is_up(self) -> bool:
        return self.timeout_seconds is not None and self.elapsed_seconds >= self.timeout_seconds

    def _wait_or_done(self) -> Idle:
        return Idle.WAIT if self._running else Idle.DONE

    def _next_fold(self) -> Suggestion | None:
        """Trials that have begun come first."""
        if self.folding is None:
            return None
        for trial in self._running.values():
            if (fold := trial.next_fold(self.folding)) is not None:
                return self._start_fold(trial, fold, self.folding)
        return None

    def _start(self) -> Suggestion | None:
        """Begins a trial; None where it is over at once, since all its folds are known already."""
        optuna_trial = self._blind.ask()
        record = self._refresh(optuna_trial.number)
        number = record.number
        # Known before its parameters are drawn: a sampler may fail, and the trial must not be left running.
        trial = RunningTrial(optuna_trial, record, {}, may_be_pruned=record.purpose is Purpose.SEARCH)
        self._running[number] = trial
        trial.params = self.space.suggest(optuna_trial)
        rec.write_zeros(optuna_trial, trial.params)
        record = self._refresh(number)
        if record.seed is None:  # put into the study by somebody else: a dashboard, `study.enqueue_trial`
            rec.write_start(optuna_trial, Purpose.SEARCH, self.plan.seeds.search(len(rec.originals(self.records)) - 1))
            record = self._refresh(number)
        assert record.seed is not None
        trial.record = record
        folder = self.folder.trial(number)
        folder.path.mkdir(parents=True, exist_ok=True)
        self.on_change(record)
        if self.folding is None:
            run = trial.runs[number] = Run(number, folder)
            resume_from = self._go_on(trial, run)
            if resume_from is None and record.origin is not None and record.origin.parent is not None:
                trial.fail(Cause.LOST, f"the checkpoint of trial {record.origin.parent} to start from is gone")
                self._close(trial, {}, ())
                return None
            # Absolute, since a trainer names its checkpoints by it, and the study may go on from elsewhere.
            directory = folder.path.absolute()
            return Suggestion(number, trial.params, record.seed, directory, self.horizon, resume_from)
        rec.write_folding(optuna_trial, self.folding.split)
        trial.queue = self.folding.order(record.seed)
        self._take_known_folds(trial)
        fold = trial.next_fold(self.folding)
        if fold is None:
            self._close_folded(trial)
            return None
        return self._start_fold(trial, fold, self.folding)

    def _start_fold(self, trial: RunningTrial, fold: int, folding: Folding) -> Suggestion:
        folder = self.folder.trial(trial.number).fold(fold)
        folder.path.mkdir(parents=True, exist_ok=True)
        job = trial.number * folding.n + fold
        trial.runs[job] = Run(job, folder, fold)
        part = folding.part(fold)
        seed = trial.record.seed
        assert seed is not None
        return Suggestion(
            trial.number,
            trial.params,
            seed,
            folder.path,
            self.horizon,
            fold=part.fold,
            n_folds=folding.n_folds,
            repeat=part.repeat,
            job=job,
        )

    def _find(self, job: int) -> tuple[RunningTrial, Run]:
        trial = self._running[job if self.folding is None else job // self.folding.n]
        return trial, trial.runs[job]

    # --- observe -----------------------------------------------------------------------------------------------------

    def _with_step(self, run: Run, measurement: Measurement) -> Measurement:
        """With the step that its metric says, in whole steps; without that metric, it is of the step before."""
        if self.step_metric is None:
            return measurement
        value = measurement.metrics.get(self.step_metric, math.nan)
        last = run.history[-1].step if run.history else 0
        return replace(measurement, step=int(value) if 0 <= value < math.inf else last)

    def _without_step(self, metric: str, measurement: Measurement) -> str:
        message = f"`{self._objectives[0].metric}` was reported without `{metric}`, which the pruner takes for the step"
        return f"{message}; reported were {listed(measurement.metrics)}"

    def _with_measured(self, measurement: Measurement) -> Measurement:
        """With what was measured from outside, where it is an objective and so belongs to the curve."""
        wanted = {o.metric for o in self._objectives} & set(MEASURED_METRICS) - set(measurement.metrics)
        so_far = _measured(Usage(measurement.seconds, measurement.memory_bytes))
        known = {name: value for name, value in so_far.items() if name in wanted}
        return replace(measurement, metrics={**measurement.metrics, **known}) if known else measurement

    def _note(self, trial: RunningTrial, measurement: Measurement) -> None:
        """For the pruner, and with one objective for the journal, which it reads without the claim."""
        if self._pareto is not None and trial.record.purpose is Purpose.CLAIM:
            return
        if self._pareto is not None:
            self._pareto.note(trial.number, measurement.step, measurement.metrics)
        elif len(self._objectives) == 1:
            value = measurement.metrics.get(self._objectives[0].metric)
            if value is not None and math.isfinite(value) and measurement.step not in trial.noted:
                trial.noted.add(measurement.step)
                trial.trial.report(value, measurement.step)

    def _judge(self, trial: RunningTrial, run: Run, measurement: Measurement) -> None:
        """Guards first: they see every metric, and a pruner never stops a trial whose value is NaN."""
        if verdict := self._ask_guards(trial, run):
            trial.fail(verdict.cause, self._of_fold(run, verdict.message))  # at once: other folds need not go on
            return
        objective = self._objectives[0]
        if objective.metric not in measurement.metrics:
            return
        if self.step_metric is not None and self.step_metric not in measurement.metrics:
            trial.fail(Cause.ERROR, self._of_fold(run, self._without_step(self.step_metric, measurement)))
            return
        if self.horizon is not None and measurement.step >= self.horizon:
            run.enough = self.stops_at_horizon
            return
        if self._on_plateau(run):
            run.enough = True
            if run.fold is None:
                trial.stopped_by = "early_stopping"
        elif run.fold is None and self._makes_way(trial, run):
            trial.prune(rec.POPULATION)
        elif run.fold is None and self._should_prune(trial):
            trial.prune("pruner")

    def _makes_way(self, trial: RunningTrial, run: Run) -> bool:
        """Whether a member of a population is to be replaced; no member that could not be is stopped."""
        population = self.plan.population
        if population is None or not trial.may_be_pruned or run.history[-1].step < population.warmup:
            return False
        if obstacle := population.obstacle(run.history):
            self._halt(trial, obstacle)
        if self.halted is not None or self._time_is_up():
            return False
        records = rec.load(self.study)
        can_be_replaced = self.plan.room(records) > population.n_due(records)
        return can_be_replaced and population.makes_way(trial.number, records, self._remains.checkpoint_step)

    def _takes_turns(self, trial: RunningTrial, measurement: Measurement) -> bool:
        """Whether a member of a population that has saved a checkpoint makes room for those that are behind it."""
        population, horizon = self.plan.population, math.inf if self.horizon is None else self.horizon
        if population is None or measurement.checkpoint is None or not trial.may_be_pruned:
            return False
        if self.halted is not None or self._time_is_up() or measurement.step >= horizon:
            return False
        records = rec.load(self.study)
        return population.takes_turns(trial.number, records, room=self.plan.room(records) > 0)

    def _refuse_beginning(self, trial: RunningTrial, measurement: Measurement) -> None:
        """A member of a population that begins at the beginning instead of where it was told makes it pointless."""
        origin = trial.record.origin
        if origin is None or origin.parent_step is None or measurement.step > origin.parent_step:
            return
        self._halt(
            trial,
            f"it was to go on from the checkpoint of trial {origin.parent} at step {origin.parent_step}, and reported "
            f"step {measurement.step}; the trainer must load `trial.resume_from` and begin with the step after it",
        )

    def _halt(self, trial: RunningTrial, why: str) -> None:
        """A fault of the trainer's that every other trial would have too."""
        trial.fail(Cause.ERROR, why)
        self.halted = f"trial {trial.number}: {why}"

    def _ask_guards(self, trial: RunningTrial, run: Run) -> Verdict | None:
        """The verdict that ends the run; those of shadow mode are written down, the first of each guard."""
        for guard in self.guards:
            if guard in run.in_shadow or (verdict := guard(run.history)) is None:
                continue
            if guard.mode is Mode.KILL:
                return verdict
            run.in_shadow.append(guard)
            newest = run.history[-1]
            message = self._of_fold(run, verdict.message)
            trial.shadow_stops.append(ShadowStop(guard.name, newest.step, newest.seconds, verdict.cause, message))
            rec.write_shadow_stops(trial.trial, trial.shadow_stops)
        return None

    def _on_plateau(self, run: Run) -> bool:
        objective = self._objectives[0]
        maximize = objective.direction == "maximize"
        return self.patience is not None and on_plateau(run.curve(objective.metric), self.patience, maximize=maximize)

    def _should_prune(self, trial: RunningTrial) -> bool:
        if not trial.may_be_pruned:
            return False
        if self._pareto is not None:
            return self._pareto.should_prune(self._blind, self.study._storage.get_trial(trial.trial._trial_id))
        return len(self._objectives) == 1 and trial.trial.should_prune()

    # --- finish ------------------------------------------------------------------------------------------------------

    def _values(self, run: Run, metrics: Mapping[str, float]) -> list[float | None]:
        """One number an objective; None where it was never measured."""
        values = [metrics.get(o.metric) for o in self._objectives]
        if self.value == "best":
            for i, objective in enumerate(self._objectives):
                curve = run.curve(objective.metric) if objective.metric not in MEASURED_METRICS else {}
                if curve:
                    values[i] = objective.best(curve.values())
        return values

    def _judge_end(self, trial: RunningTrial, run: Run, outcome: Outcome, metrics: Mapping[str, float]) -> None:
        """Whether the trial has failed with this run. A run that we stopped is not to blame for how it went down."""
        if trial.cause is not None or trial.pruned:
            return
        if outcome.cause is not None and not run.enough:
            cause, message = outcome.cause, outcome.message
        else:
            found = self._unusable(self._values(run, {**metrics, **_measured(outcome.usage)}), metrics)
            if found is None:
                return
            cause, message = found
        message = self._of_fold(run, message)
        trial.fail(cause, message, again=cause is Cause.INTERRUPTED or (cause is Cause.LOST and outcome.again))

    def _of_fold(self, run: Run, message: str) -> str:
        """Says in which fold it was, where there are any."""
        if run.fold is None or self.folding is None:
            return message
        return f"{self.folding.name(run.fold)}: {message}"

    def _unusable(self, values: Sequence[float | None], metrics: Mapping[str, float]) -> tuple[Cause, str] | None:
        for objective, value in zip(self._objectives, values, strict=True):
            if value is None:
                reported = ", ".join(f"`{name}`" for name in metrics if name not in MEASURED_METRICS)
                return (
                    Cause.NO_VALUE,
                    f"the trial ended without a value for `{objective.metric}`; it reported {reported or 'nothing'}",
                )
            if not math.isfinite(value):
                return Cause.DIVERGED, f"`{objective.metric}` is {value}"
        return None

    def _close(self, trial: RunningTrial, metrics: Mapping[str, float], values: Sequence[float | None]) -> None:
        number = trial.number
        del self._running[number]
        again = trial.again and (
            trial.cause is Cause.INTERRUPTED or self._remains.is_blameless(self._records[number], self._records)
        )
        if again:
            self._ask_again(number)
        rec.write_end(trial.trial, metrics, trial.cause, trial.message, trial.stopped_by)
        if trial.cause is not None:
            self._blind.tell(trial.trial, state=TrialState.FAIL)
        elif trial.pruned:
            self._blind.tell(trial.trial, state=TrialState.PRUNED)
        else:
            self._set_constraints(trial.trial, metrics)
            self._blind.tell(trial.trial, [v for v in values if v is not None])
        record = self._refresh(number)
        write_json(self.folder.trial(number).result, record.to_json())
        if not again:
            self._count_failure(record)
        self._tidy_behind(record)
        self.on_change(record)

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
        self._failures_in_a_row += record.cause not in _TRAINED
        if self._failures_in_a_row >= self.max_failures:
            self.halted = f"{self._failures_in_a_row} trials in a row failed"
        if self._failures >= self.first_failures and not any(r.values for r in rec.own(self.records)):
            self.halted = f"all of the first {self._failures} trials failed"

    # --- folds -------------------------------------------------------------------------------------------------------

    def _take_fold(self, trial: RunningTrial, run: Run, fold: int, own: Mapping[str, float]) -> None:
        """A fold has ended well: it joins the others, and the trial may be over before the rest."""
        keep(run.folder, own, self._split)
        self._add_fold(trial, fold, own)
        if trial.queue and self._is_hopeless(trial):
            trial.prune(rec.RACE)
        elif trial.queue and self._should_prune(trial):
            trial.prune("pruner")

    def _of_ended(self, run: Run, metrics: Mapping[str, float], usage: Usage) -> dict[str, float]:
        """A fold's metrics, with that value of each objective that counts, and with what it cost."""
        values = {o.metric: v for o, v in zip(self._objectives, self._values(run, metrics), strict=True)}
        return dict(metrics) | {name: v for name, v in values.items() if v is not None} | _measured(usage)

    def _add_fold(self, trial: RunningTrial, fold: int, metrics: Mapping[str, float]) -> None:
        """The means over the folds so far are the trial's measurement, with their number as its step."""
        trial.folds[fold] = metrics
        so_far = means(trial.folds) | _measured(self._for_all_folds(trial))
        measurement = Measurement(len(trial.folds), so_far | labelled(fold, metrics), trial.usage.seconds)
        self.folder.trial(trial.number).append_measurement(measurement)
        self._note(trial, measurement)
        self.on_fold(trial.record, FoldEnd(fold, metrics, so_far, len(trial.folds)))

    def _for_all_folds(self, trial: RunningTrial) -> Usage:
        """What all folds will have cost, going by those so far: a part of the time is no good time."""
        assert self.folding is not None
        seconds = sum(row[MEASURED_METRICS[0]] for row in trial.folds.values())
        return replace(trial.usage, seconds=seconds / len(trial.folds) * self.folding.n)

    def _close_folded(self, trial: RunningTrial) -> None:
        total = means(trial.folds) | _measured(trial.usage)
        each = {name: value for fold, row in trial.folds.items() for name, value in labelled(fold, row).items()}
        spread = {name: value for name, value in deviations(trial.folds).items() if math.isfinite(value)}
        self._close(trial, total | spread | each, [total.get(o.metric) for o in self._objectives])

    def _is_hopeless(self, trial: RunningTrial) -> bool:
        """Whether the folds so far say that the configuration will not be the best; of one objective only."""
        folding, objective = self.folding, self._objectives[0]
        if folding is None or not folding.race or not trial.may_be_pruned or len(self._objectives) > 1:
            return False
        known = [r for r in self.records if r.purpose is not Purpose.CLAIM]  # which the search must not know
        comparable = [r for r in ranked(known, objective) if r.feasible and r.folding == folding.split]
        if not comparable:
            return False
        own = {fold: metrics[objective.metric] for fold, metrics in trial.folds.items()}
        best, *others = (fold_values(r.metrics, objective.metric, folding.n) for r in comparable)
        return hopeless(own, best, folding.n, objective.direction, spreads_around(best, others))

    def _take_known_folds(self, trial: RunningTrial) -> None:
        """A trial that repeats one that was cut short begins with the folds that had ended there."""
        origin = self._cut_short(trial)
        if origin is None:
            return
        for fold in list(trial.queue):
            metrics = kept(self.folder.trial(origin).fold(fold), self._split)
            if metrics is None:
                continue
            trial.queue.remove(fold)
            trial.usage += _usage(metrics)
            copied = self.folder.trial(trial.number).fold(fold)
            copied.path.mkdir(parents=True, exist_ok=True)
            keep(copied, metrics, self._split)
            self._add_fold(trial, fold, metrics)

    @property
    def _split(self) -> str:
        return "" if self.folding is None else self.folding.split

    # --- recovery ----------------------------------------------------------------------------------------------------

    def _close_orphan(self, record: TrialRecord) -> None:
        """A trial that ran when the tuner died: take its result where the worker left one, else ask again."""
        trial = optuna.Trial(self._blind, rec.trial_id(self.study, record.number))
        directory = self.folder.trial(record.number)
        directory.path.mkdir(parents=True, exist_ok=True)  # the tuner may have ended before it made one
        outcome = directory.read_outcome()
        history = directory.read_metrics()
        self._keep_ended_folds(record.number)
        asked_again = any(r.retry_of == record.number for r in self._records.values())
        if outcome is None or outcome.stopped or asked_again:
            ran = Usage(history[-1].seconds if history else 0.0)  # as far as anybody knows
            outcome = Outcome(Cause.LOST, "the tuner ended while this trial ran", usage=ran, again=True)
        closing = RunningTrial(trial, record, record.params, may_be_pruned=False)
        job = record.number if self.folding is None else record.number * self.folding.n
        closing.runs[job] = Run(job, directory, history=history)
        self._running[record.number] = closing
        self.finish(job, outcome)

    def _cut_short(self, trial: RunningTrial) -> int | None:
        """The trial that this one repeats, where that ended through no doing of its own."""
        return self._origin(trial.record)

    def _origin(self, record: TrialRecord) -> int | None:
        origin = record.retry_of
        return None if origin is None or not is_cut_short(self._records[origin]) else origin

    @property
    def _keeps_checkpoints(self) -> bool:
        """Any trial of a population may be what another is to start from, up to the end of the search."""
        return self.plan.population is not None and not self.finished

    def _tidy_population(self) -> None:
        for record in rec.effective(self.records) if self.plan.population is not None else ():
            folder = self.folder.trial(record.number)
            if record.cause not in CUT_SHORT and folder.metrics.exists():
                self.tidy(folder.path, superseded=False)
            self._tidy_behind(record)

    def _tidy_behind(self, record: TrialRecord) -> None:
        """What was left for a trial to go on from is of no use once that has ended, unless it was cut short as well."""
        if self._keeps_checkpoints or not record.state.is_finished() or record.cause in CUT_SHORT:
            return
        while (origin := self._origin(record)) is not None:
            self.tidy(self.folder.trial(origin).path, superseded=True)
            record = self._records[origin]

    def _go_on(self, trial: RunningTrial, run: Run) -> Path | None:
        """Where a trial that repeats one that was cut short goes on from: the last checkpoint that it had told of.

        What was measured up to there is the new trial's too, and so is its time. A successor in a population has what
        its parent measured up to the checkpoint that it starts from, but not its time, which the parent has spent.
        """
        origin = self._cut_short(trial)
        saved = None if origin is None else self._remains.last_checkpoint(origin)
        member = trial.record.origin
        if saved is None and member is not None and member.parent is not None:
            origin, saved = member.parent, self._remains.last_checkpoint(member.parent, member.parent_step)
            saved = saved if saved is not None and saved.step == member.parent_step else None
        if origin is None or saved is None:
            return None
        run.resumed_at = saved.step
        for measurement in self._remains.measured_up_to(origin, saved.step):
            run.history.append(measurement)
            run.folder.append_measurement(measurement)
            self._note(trial, measurement)
            trial.usage = Usage(measurement.seconds if origin == trial.record.retry_of else 0.0)
        assert saved.checkpoint is not None
        return Path(saved.checkpoint)

    def _keep_ended_folds(self, number: int) -> None:
        """Folds whose worker has left a result, while the tuner that was to take it was dead."""
        for fold in range(0 if self.folding is None else self.folding.n):
            folder = self.folder.trial(number).fold(fold)
            outcome = folder.read_outcome()
            if outcome is None or outcome.cause is not None or kept(folder, self._split) is not None:
                continue
            run = Run(0, folder, fold, history=folder.read_metrics())
            metrics = run.last_metrics() | dict(outcome.metrics)
            usage = replace(outcome.usage, seconds=run.history[-1].seconds if run.history else 0.0)
            own = self._of_ended(run, metrics, usage)
            whole = not outcome.stopped or self._on_plateau(run)
            if whole and self._unusable([own.get(o.metric) for o in self._objectives], metrics) is None:
                keep(folder, own, self._split)

    def _ask_again(self, number: int) -> None:
        """Puts a trial's configuration back into the queue with its seed; once, however often this is called."""
        records = rec.load(self.study)
        record = records[number]
        if any(r.retry_of == number for r in records):
            return
        self.study.enqueue_trial(self.space.to_journal(record.params), user_attrs=rec.again(record))

    def _remembered_points(self) -> ParetoPruning | None:
        """What a pruner needs in a study with several objectives, which Optuna keeps no curves of."""
        if len(self._objectives) == 1 or isinstance(self.study.pruner, NopPruner):
            return None
        pareto = ParetoPruning(self._objectives)
        for record in (r for r in self.records if r.purpose is not Purpose.CLAIM):
            for measurement in self.folder.trial(record.number).read_metrics():
                pareto.note(record.number, measurement.step, measurement.metrics)
        return pareto

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


def _measured(usage: Usage) -> dict[str, float]:
    values = (usage.seconds, usage.memory_bytes, usage.gpu_memory_bytes)
    return {name: float(v) for name, v in zip(MEASURED_METRICS, values, strict=True) if v is not None}


def _usage(metrics: Mapping[str, float]) -> Usage:
    """The inverse of `_measured`."""
    seconds, *memory = (metrics.get(name) for name in MEASURED_METRICS)
    return Usage(seconds or 0.0, *(None if bytes_ is None else int(bytes_) for bytes_ in memory))
