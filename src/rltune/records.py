"""The read model of a trial: the only file that knows the keys under which rltune keeps facts in an Optuna study."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rltune.space import SearchSpace
from rltune.types import Cause, Purpose

_PURPOSE = "purpose"
_SEED = "seed"
_RETRY_OF = "retry_of"
_REPLACES = "replaces"
_PARENT = "parent"
_PARENT_STEP = "parent_step"
_CAUSE = "cause"
_MESSAGE = "message"
_METRICS = "metrics"
_STOPPED_BY = "stopped_by"
_SHADOW_STOPS = "shadow_stops"
_FOLDING = "folding"
_ZEROS = "zeros"  # parameters that are 0 where their range in the study cannot be
_SOURCE = "source"
_PLAN = "plan"  # of the study, as the next; the others are of a trial
_WARM_START = "warm_start"
_COMMITS = "commits"

RACE = "race"
"""What has stopped a cross-validated trial that could no longer become the best."""

POPULATION = "population"
"""What has stopped a member of a population whose successor goes on from a better one."""

TURN = "population_turn"
"""What has stopped a member of a population until others have come as far; then a trial repeats it, or succeeds it."""


@dataclass(frozen=True)
class Origin:
    """How a trial of a population came to be that does not begin a lineage.

    Attributes:
        replaces: The member whose place it takes.
        parent: The trial from whose checkpoint and configuration it starts; None for one that begins anew.
        parent_step: The step of that checkpoint.
    """

    replaces: int
    parent: int | None = None
    parent_step: int | None = None


@dataclass(frozen=True)
class ShadowStop:
    """A guard in shadow mode would have ended the trial here.

    Attributes:
        guard: As the study file names it.
        step: Of the measurement that it judged.
        seconds: Wall time since the trial began, or its fold.
        cause: What the trial would have failed with.
        message: The evidence.
    """

    guard: str
    step: int
    seconds: float
    cause: Cause
    message: str


@dataclass(frozen=True)
class Commit:
    """The state of the code that a study was run from.

    Attributes:
        commit: Git's name of it, in full.
        modified: Whether files that Git tracks differed from it.
        from_trial: The first trial that a session began there could run.
    """

    commit: str
    modified: bool
    from_trial: int = 0


@dataclass(frozen=True)
class TrialRecord:
    """One trial as it stands.

    Attributes:
        params: The active parameters by dotted name, as the sampler chose them; derived values are not in it.
        seed: The trainer's seed; None for a trial that somebody else put into the study.
        values: One number an objective; None unless the trial is complete, or pruned with a value.
        metrics: The last value of every metric, those measured from outside among them.
        curve: The first objective by step.
        violations: By how much each constraint is missed, by its name; at most 0 where it holds.
        stopped_by: The rule that ended a trial before its time.
        shadow_stops: Where guards in shadow mode would have; each guard's first verdict, in each fold.
        folding: How its data was split into folds, in words that are equal for equal folds; None without any.
        retry_of: The trial that this one repeats.
        origin: What a successor in a population takes the place of, and starts from; None for any other trial.
        source: The number that a trial of an earlier study has there.
    """

    number: int
    state: TrialState
    purpose: Purpose
    params: Mapping[str, Any]
    seed: int | None = None
    values: tuple[float, ...] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    cause: Cause | None = None
    message: str = ""
    stopped_by: str | None = None
    shadow_stops: tuple[ShadowStop, ...] = ()
    folding: str | None = None
    retry_of: int | None = None
    origin: Origin | None = None
    source: int | None = None
    started: dt.datetime | None = None
    finished: dt.datetime | None = None

    @property
    def value(self) -> float | None:
        """The first objective."""
        return self.values[0] if self.values else None

    @property
    def feasible(self) -> bool:
        """Whether it is complete and misses no constraint."""
        return self.state is TrialState.COMPLETE and all(v <= 0 for v in self.violations.values())

    @property
    def has_result(self) -> bool:
        """Whether its value says what the configuration is worth: that of a whole run, or of some folds of a raced one.

        The last value of any other pruned trial belongs to another step.
        """
        usable = self.value is not None and math.isfinite(self.value)
        return usable and (self.state is TrialState.COMPLETE or self.stopped_by == RACE)

    @property
    def seconds(self) -> float | None:
        """Wall time, so far or in all."""
        if self.started is None:
            return None
        end = self.finished or dt.datetime.now()  # noqa: DTZ005 - Optuna's times are naive local ones
        return (end - self.started).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Strict JSON: a NaN or an infinity becomes text."""
        return {
            "number": self.number,
            "state": self.state.name.lower(),
            "purpose": self.purpose.value,
            "params": dict(self.params),
            "seed": self.seed,
            "values": None if self.values is None else [_number(v) for v in self.values],
            "metrics": {name: _number(v) for name, v in self.metrics.items()},
            "curve": {str(step): _number(v) for step, v in self.curve.items()},
            "violations": {name: _number(v) for name, v in self.violations.items()},
            "feasible": self.feasible,
            "cause": self.cause and self.cause.value,
            "message": self.message,
            "stopped_by": self.stopped_by,
            "shadow_stops": [_shadow_row(stop) for stop in self.shadow_stops],
            "folding": self.folding,
            "retry_of": self.retry_of,
            "replaces": self.origin and self.origin.replaces,
            "parent": self.origin and self.origin.parent,
            "parent_step": self.origin and self.origin.parent_step,
            "source": self.source,
            "started": self.started and self.started.isoformat(timespec="milliseconds"),
            "finished": self.finished and self.finished.isoformat(timespec="milliseconds"),
            "seconds": self.seconds,
        }


def attributes(
    purpose: Purpose, seed: int | None, retry_of: int | None = None, origin: Origin | None = None
) -> dict[str, Any]:
    """What a trial is created with."""
    attrs: dict[str, Any] = {_PURPOSE: purpose.value}
    if seed is not None:
        attrs[_SEED] = seed
    if retry_of is not None:
        attrs[_RETRY_OF] = retry_of
    if origin is not None:
        given = {_REPLACES: origin.replaces, _PARENT: origin.parent, _PARENT_STEP: origin.parent_step}
        attrs |= {key: value for key, value in given.items() if value is not None}
    return attrs


def again(record: TrialRecord) -> dict[str, Any]:
    """What a trial is created with that repeats another."""
    return attributes(record.purpose, record.seed, record.number, record.origin)


def write_start(trial: optuna.Trial, purpose: Purpose, seed: int) -> None:
    """Completes what is missing on a trial that somebody else put into the study."""
    for key, value in attributes(purpose, seed).items():
        if key not in trial.user_attrs:
            trial.set_user_attr(key, value)


def write_folding(trial: optuna.Trial, folding: str) -> None:
    """How the trial's data is split: values by fold can be compared only where that is the same."""
    trial.set_user_attr(_FOLDING, folding)


def write_zeros(trial: optuna.Trial, params: Mapping[str, Any]) -> None:
    """Notes which of a trial's parameters are 0, though another value stands for that in the study.

    Args:
        trial: It has been asked for all its parameters.
        params: The trial's configuration as the trainer gets it.
    """
    if zeros := _zeros(trial.params, params):
        trial.set_user_attr(_ZEROS, zeros)


def _zeros(in_study: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    return [name for name, value in in_study.items() if value != params.get(name, value) == 0.0]


def write_end(
    trial: optuna.Trial,
    metrics: Mapping[str, float],
    cause: Cause | None = None,
    message: str = "",
    stopped_by: str | None = None,
) -> None:
    """Everything about a trial's end that Optuna has no field for; call it before the trial is told."""
    if metrics:
        trial.set_user_attr(_METRICS, dict(metrics))
    if cause is not None:
        trial.set_user_attr(_CAUSE, cause.value)
        trial.set_user_attr(_MESSAGE, message)
    if stopped_by is not None:
        trial.set_user_attr(_STOPPED_BY, stopped_by)


def write_shadow_stops(trial: optuna.Trial, stops: Iterable[ShadowStop]) -> None:
    """All of a trial's so far, at once: a tuner that is killed has told what its guards saw."""
    trial.set_user_attr(_SHADOW_STOPS, [_shadow_row(stop) for stop in stops])


def _shadow_row(stop: ShadowStop) -> dict[str, Any]:
    return asdict(stop) | {"cause": stop.cause.value}


def from_trial(trial: FrozenTrial) -> TrialRecord:
    attrs = trial.user_attrs
    return TrialRecord(
        number=trial.number,
        state=trial.state,
        purpose=Purpose(attrs.get(_PURPOSE, Purpose.SEARCH.value)),
        params={**trial.params, **dict.fromkeys(attrs.get(_ZEROS, ()), 0.0)},
        seed=attrs.get(_SEED),
        values=None if trial.values is None else tuple(trial.values),
        metrics=attrs.get(_METRICS, {}),
        curve=dict(trial.intermediate_values),
        violations=dict(trial.constraints),
        cause=Cause(attrs[_CAUSE]) if _CAUSE in attrs else None,
        message=attrs.get(_MESSAGE, ""),
        stopped_by=attrs.get(_STOPPED_BY),
        shadow_stops=tuple(ShadowStop(**{**row, "cause": Cause(row["cause"])}) for row in attrs.get(_SHADOW_STOPS, ())),
        folding=attrs.get(_FOLDING),
        retry_of=attrs.get(_RETRY_OF),
        origin=_origin(attrs),
        source=attrs.get(_SOURCE),
        started=trial.datetime_start,
        finished=trial.datetime_complete,
    )


def _origin(attrs: Mapping[str, Any]) -> Origin | None:
    if _REPLACES not in attrs:
        return None
    return Origin(attrs[_REPLACES], attrs.get(_PARENT), attrs.get(_PARENT_STEP))


def write_plan(study: optuna.Study, plan: Mapping[str, Any]) -> None:
    """What the study is going to do, its default configuration and its seeds, before the first trial."""
    study.set_user_attr(_PLAN, dict(plan))


def read_plan(study: optuna.Study) -> dict[str, Any]:
    """What `write_plan` wrote; empty for a study that rltune did not make."""
    return dict(study.user_attrs.get(_PLAN, {}))


def add_commit(study: optuna.Study, commit: str, *, modified: bool) -> None:
    """What the code is at when a session begins; nothing is written where the session before had the same."""
    known = read_commits(study)
    if known and (known[-1].commit, known[-1].modified) == (commit, modified):
        return
    now = Commit(commit, modified, len(study.get_trials(deepcopy=False)))
    study.set_user_attr(_COMMITS, [asdict(each) for each in (*known, now)])


def read_commits(study: optuna.Study) -> tuple[Commit, ...]:
    """In the order of the sessions; empty for a study that was not in a repository of Git."""
    return tuple(Commit(**row) for row in study.user_attrs.get(_COMMITS, ()))


def add_earlier(
    study: optuna.Study,
    trials: Iterable[TrialRecord],
    space: SearchSpace,
    told: Mapping[str, Any],
) -> None:
    """Puts trials of an earlier study into this one, before its first trial; once, however often this is called.

    Each trial is one entry of the journal and carries its old number, and the last entry says that all are there. So
    where a tuner is killed between two of them, the next one adds those that are missing.

    Args:
        study: To add to.
        trials: As `records.load` gave them there, complete or pruned.
        space: This study's, which has every parameter of the trials.
        told: What to keep about where they come from.
    """
    if _WARM_START in study.user_attrs:
        return
    there = {trial.user_attrs.get(_SOURCE) for trial in study.get_trials(deepcopy=False)}
    for record in trials:
        if record.number not in there:
            study.add_trial(_as_earlier(record, space))
    study.set_user_attr(_WARM_START, dict(told))


def _as_earlier(record: TrialRecord, space: SearchSpace) -> FrozenTrial:
    params = space.to_journal(record.params)
    attrs = attributes(Purpose.EARLIER, record.seed) | {_SOURCE: record.number, _METRICS: dict(record.metrics)}
    if record.stopped_by is not None:
        attrs[_STOPPED_BY] = record.stopped_by
    if record.folding is not None:
        attrs[_FOLDING] = record.folding
    if zeros := _zeros(params, record.params):
        attrs[_ZEROS] = zeros
    trial = optuna.trial.create_trial(
        state=record.state,
        values=record.values,
        params=params,
        distributions={name: space.distributions[name] for name in params},
        user_attrs=attrs,
        intermediate_values=dict(record.curve),
        constraints=dict(record.violations),
    )
    trial.datetime_start, trial.datetime_complete = record.started, record.finished
    return trial


def read_warm_start(study: optuna.Study) -> dict[str, Any]:
    """What `add_earlier` was told; empty for a study that began without an earlier one."""
    return dict(study.user_attrs.get(_WARM_START, {}))


def trial_id(study: optuna.Study, number: int) -> int:
    """Optuna's storages count trials over all studies; a study counts its own."""
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)


def read(study: optuna.Study, number: int) -> TrialRecord:
    """One trial as it stands."""
    return from_trial(study._storage.get_trial(trial_id(study, number)))


def load(study: optuna.Study) -> list[TrialRecord]:
    """Every trial of the study, by number."""
    return [from_trial(trial) for trial in study.get_trials(deepcopy=False)]


def ordinal(study: optuna.Study, trial: FrozenTrial) -> int:
    """How many trials of this study came before this one, retries not counted; a retry has that of what it repeats.

    It is what samplers are seeded by: a study that was killed and resumed proposes what it would have proposed.
    """
    root = trial
    while (origin := root.user_attrs.get(_RETRY_OF)) is not None:
        root = study._storage.get_trial(trial_id(study, origin))  # which the storage of a sampler may not list
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    earlier = (t for t in trials if t.number < root.number)
    return sum(_RETRY_OF not in t.user_attrs and _SOURCE not in t.user_attrs for t in earlier)


def n_earlier(study: optuna.Study) -> int:
    """How many trials an earlier study has given."""
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    return sum(t.user_attrs.get(_PURPOSE) == Purpose.EARLIER.value for t in trials)


def is_claim(trial: FrozenTrial) -> bool:
    """Whether it ran, or runs, on the untouched seeds behind the headline; one that waits to has no value yet."""
    return trial.user_attrs.get(_PURPOSE) == Purpose.CLAIM.value and trial.state is not TrialState.WAITING


def originals(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials that count against the budget: all of this study's but the retries."""
    return [r for r in own(records) if r.retry_of is None]


def own(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials that this study has run, or will; not those that it knows from an earlier one."""
    return [r for r in records if r.purpose is not Purpose.EARLIER]


def effective(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials that say something about a configuration: all but those that a retry replaces."""
    records = list(records)
    replaced = {r.retry_of for r in records}
    return [r for r in records if r.number not in replaced]


@dataclass(frozen=True)
class Segment:
    """A part of a schedule: one trial's configuration, from the step after `begin` to `end`."""

    record: TrialRecord
    begin: int
    end: int | None


def schedule(records: Iterable[TrialRecord], record: TrialRecord) -> list[Segment]:
    """How a trial came to its last value: its ancestors' configurations and its own, in the order of their steps.

    One segment for a trial that started from no other. The last has no end where nothing was measured.
    """
    known = {r.number: r for r in records}
    segments: list[Segment] = []
    end = max(record.curve, default=None)
    while True:
        origin = record.origin
        begin = 0 if origin is None or origin.parent_step is None else origin.parent_step
        if not segments or begin < (end or 0):  # a parent may have saved nothing of its own
            segments.insert(0, Segment(record, begin, end))
        if origin is None or origin.parent is None or origin.parent not in known:
            return segments
        end, record = begin, known[origin.parent]


def busy_seconds(records: Iterable[TrialRecord]) -> float:
    """Wall time during which at least one of this study's finished trials ran.

    A trial ends here when its own time was up, not when it was closed: one that was lost is closed by the next session.
    """
    total, end = 0.0, None
    for start, finish in sorted(_span(r) for r in own(records) if r.started and r.finished):
        if end is None or start > end:
            total += (finish - start).total_seconds()
            end = finish
        elif finish > end:
            total += (finish - end).total_seconds()
            end = finish
    return total


def _span(record: TrialRecord) -> tuple[dt.datetime, dt.datetime]:
    assert record.started is not None
    assert record.finished is not None
    ran = record.metrics.get("training_time", math.inf)
    return record.started, record.started + min(record.finished - record.started, dt.timedelta(seconds=min(ran, 1e9)))


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
