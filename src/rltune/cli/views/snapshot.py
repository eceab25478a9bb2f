"""A study as it stands, as the numbers that `run` and `status` show."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import stdev
from typing import Any, NamedTuple

from optuna.trial import TrialState

from rltune.analysis.metric import by_metric
from rltune.analysis.pareto import front
from rltune.analysis.selection import Runs, ranked
from rltune.config.plan import budget_of, full_run_of
from rltune.folder import StudyDir
from rltune.objective import Objective
from rltune.protocol.audit import Audit, audit
from rltune.protocol.budget import Budget, FullRun
from rltune.protocol.decision import Finals
from rltune.protocol.finals import claim_seeds
from rltune.records import TrialRecord, busy_seconds, effective, own
from rltune.reporting.build import ONE_TRIAL
from rltune.session import Result
from rltune.types import Cause, Purpose

STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
"""Optuna's states, as the command line calls them."""


INTERRUPTED = "interrupted"
"""What a trial is called that was stopped with its study; its configuration is asked again."""

_ORDER = (Purpose.BASELINE, Purpose.SEARCH, Purpose.FINAL, Purpose.CLAIM)


class Phase(NamedTuple):
    """One phase of the plan.

    Attributes:
        done: Trials that have ended and will not be run again.
        planned: How many there are to be.
    """

    purpose: Purpose
    done: int
    planned: int


class Best(NamedTuple):
    """The best trial by one objective, and how much chance moves a value like its own.

    Attributes:
        sd: Of the default from seed to seed; None where it is not known.
    """

    objective: Objective
    record: TrialRecord
    value: float
    sd: float | None


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment.

    Attributes:
        plan: As `Plan.to_json` has it; empty for a study that rltune did not make.
        records: Every trial.
        elapsed_seconds: Wall time of all sessions.
        timeout_seconds: What it may be at most.
        budget: What else it may spend.
        full_run: What a trial is that trains to its end.
        workers: How many trials run at once; None for as many as a cluster holds.
    """

    name: str
    folder: StudyDir
    objectives: Sequence[Objective]
    plan: Mapping[str, Any]
    records: Sequence[TrialRecord]
    elapsed_seconds: float
    timeout_seconds: float | None = None
    budget: Budget | None = None
    full_run: FullRun = ONE_TRIAL
    workers: int | None = 1

    @classmethod
    def of(cls, result: Result, *, running: bool = False) -> Snapshot:
        """A study as its folder has it.

        Args:
            result: What was read.
            running: A process is at work on it, so that time goes on.
        """
        config = result.config
        now = dt.datetime.now()  # noqa: DTZ005 - Optuna's times are naive local ones
        records = [replace(r, finished=now) if running and r.finished is None else r for r in result.records]
        return cls(
            name=config.name,
            folder=result.folder,
            objectives=result.objectives,
            plan=result.plan,
            records=result.records,
            elapsed_seconds=busy_seconds(records),
            timeout_seconds=config.timeout_hours and config.timeout_hours * 3600,
            budget=budget_of(config),
            full_run=full_run_of(config),
            workers=None if config.executor.fills_a_cluster else config.executor.n_workers,
        )

    @property
    def objective(self) -> Objective:
        return self.objectives[0]

    @cached_property
    def phases(self) -> list[Phase]:
        """Those of the plan, and any other that has trials; one that is over has no more than was run."""
        ours = [r for r in effective(self.records) if r.purpose in _ORDER]
        begun = Counter(r.purpose for r in ours)
        done = Counter(r.purpose for r in ours if r.state.is_finished() and not _cut_short(r))
        last = max((_ORDER.index(purpose) for purpose in begun), default=0)
        is_over = len(_ORDER) if self.plan.get("finished") else last
        planned = {p: self.plan.get("phases", {}).get(p.value, 0) for p in _ORDER}
        planned |= {purpose: begun[purpose] for purpose in _ORDER[:is_over]}
        if begun[Purpose.CLAIM] and not self.plan.get("finished"):
            planned[Purpose.CLAIM] = self._claims(begun[Purpose.FINAL])
        phases = [Phase(p, done[p], max(planned[p], done[p])) for p in _ORDER]
        return [phase for phase in phases if phase.planned]

    def _claims(self, n_finals: int) -> int:
        """How many there are to be: it takes over what the finals have left."""
        finals = self._finals
        if finals is None:
            return 0
        return 2 * claim_seeds(finals.n_runs + finals.n_claims - n_finals, finals.rules)

    @property
    def n_done(self) -> int:
        return sum(phase.done for phase in self.phases)

    @property
    def n_planned(self) -> int:
        return sum(phase.planned for phase in self.phases)

    @property
    def phase(self) -> str:
        """Which phase it is in: the last that has begun, or what comes after it; empty where all is done."""
        begun = {r.purpose for r in self.records if r.state is not TrialState.WAITING}
        names = [phase.purpose for phase in self.phases]
        last = max((i for i, name in enumerate(names) if name in begun), default=0)
        order = (*self.phases[last:], *self.phases[:last])
        return next((phase.purpose.value for phase in order if phase.done < phase.planned), "")

    def in_state(self, state: TrialState) -> list[TrialRecord]:
        return [r for r in self.records if r.state is state]

    @property
    def running(self) -> list[TrialRecord]:
        return self.in_state(TrialState.RUNNING)

    @property
    def counts(self) -> dict[str, int]:
        """This study's trials by state, those that were run again left out; `interrupted` is no failure."""
        counts = Counter(INTERRUPTED if _cut_short(r) else STATES[r.state] for r in effective(own(self.records)))
        return {name: counts[name] for name in (*STATES.values(), INTERRUPTED) if counts[name]}

    @property
    def failures(self) -> dict[str, int]:
        """Failed trials by cause, those that were run again left out."""
        failed = [r for r in effective(self.records) if r.state is TrialState.FAIL and not _cut_short(r)]
        return dict(Counter((r.cause or Cause.LOST).value for r in failed))

    @cached_property
    def best(self) -> TrialRecord | None:
        """The best feasible trial of this study, by one run; of several objectives by the first."""
        return self.bests[0].record if self.bests else None

    @cached_property
    def bests(self) -> list[Best]:
        """By each objective; empty while no trial is feasible."""
        found = []
        for objective in self.objectives:
            records = by_metric(own(self.records), self.objectives, objective.metric).records
            best = next((r for r in ranked(records, objective) if r.feasible), None)
            if best is not None and best.value is not None:
                record = next(r for r in self.records if r.number == best.number)
                found.append(Best(objective, record, best.value, self._noise(records, objective)))
        return found

    def _noise(self, records: Sequence[TrialRecord], objective: Objective) -> float | None:
        """From seed to seed: as the noise audit has it where there is one."""
        if objective is self.objective and self.audit is not None:
            return self.audit.spread.sd
        values = [r.value for r in effective(records) if r.purpose is Purpose.BASELINE and r.feasible]
        known = [v for v in values if v is not None]
        return stdev(known) if len(known) > 1 else None

    @cached_property
    def n_front(self) -> int:
        """Of several objectives: how many feasible trials no other dominates."""
        return len(front(own(self.records), self.objectives))

    @property
    def earlier(self) -> list[TrialRecord]:
        """What is known from an earlier study."""
        return [r for r in self.records if r.purpose is Purpose.EARLIER]

    @property
    def baseline(self) -> Runs | None:
        """The first runs of the default, by the first objective."""
        return self.baselines[0] if self.baselines else None

    @property
    def baselines(self) -> list[Runs]:
        """The same by each objective; empty before one has a value."""
        runs = [r for r in effective(self.records) if r.purpose is Purpose.BASELINE and r.state.is_finished()]
        valued = [r.values for r in runs if r.feasible and r.values]
        columns = zip(*valued, strict=True)
        return [Runs(runs[0].params, column, len(runs) - len(valued)) for column in columns]

    @cached_property
    def audit(self) -> Audit | None:
        """How large a gain the noise leaves to be seen; None before the baseline has ended."""
        return audit(self.records, self.objective, self.plan.get("default"), self._finals, self.plan.get("wished_gain"))

    @property
    def _finals(self) -> Finals | None:
        row = self.plan.get("finals")
        return Finals.from_json(row) if isinstance(row, Mapping) else None

    @property
    def n_folds(self) -> int | None:
        """Of a cross-validated trial, over all repeats; its measurements are then folds."""
        folds: int | None = self.plan.get("folds")
        return folds


def _cut_short(record: TrialRecord) -> bool:
    return record.cause is Cause.INTERRUPTED
