"""A study as it stands, as the numbers that `run` and `status` show."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from optuna.trial import TrialState

from rltune.analysis.selection import Runs, ranked
from rltune.folder import StudyDir
from rltune.objective import Objective
from rltune.protocol.audit import Audit, audit
from rltune.protocol.decision import Finals
from rltune.records import TrialRecord, busy_seconds, effective, own
from rltune.session import Result
from rltune.types import Cause, Purpose

_TAIL_BYTES = 4096

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


class Phase(NamedTuple):
    """One phase of the plan.

    Attributes:
        done: Trials that have ended and will not be run again.
        planned: How many there are to be.
    """

    purpose: Purpose
    done: int
    planned: int


class Latest(NamedTuple):
    """The last measurement of a running trial that has the objective in it."""

    step: int
    value: float


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment.

    Attributes:
        plan: As `Plan.to_json` has it; empty for a study that rltune did not make.
        records: Every trial.
        elapsed_seconds: Wall time of all sessions.
        timeout_seconds: What it may be at most.
    """

    name: str
    folder: StudyDir
    objectives: Sequence[Objective]
    plan: Mapping[str, Any]
    records: Sequence[TrialRecord]
    elapsed_seconds: float
    timeout_seconds: float | None = None

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
        )

    @property
    def objective(self) -> Objective:
        return self.objectives[0]

    @property
    def phases(self) -> list[Phase]:
        """Those of the plan, and any other that has trials; a plan that ended early has no more than was run."""
        done = Counter(r.purpose for r in effective(self.records) if r.state.is_finished() and not _cut_short(r))
        planned = {} if self.plan.get("finished") else self.plan.get("phases", {})
        phases = [Phase(p, done[p], max(planned.get(p.value, 0), done[p])) for p in Purpose if p is not Purpose.EARLIER]
        return [phase for phase in phases if phase.planned]

    @property
    def n_done(self) -> int:
        return sum(phase.done for phase in self.phases)

    @property
    def n_planned(self) -> int:
        return sum(phase.planned for phase in self.phases)

    @property
    def phase(self) -> str:
        """Which phase it is in; empty where all is done."""
        return next((phase.purpose.value for phase in self.phases if phase.done < phase.planned), "")

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

    @property
    def best(self) -> TrialRecord | None:
        """The best feasible trial of this study, by one run."""
        return next((r for r in ranked(own(self.records), self.objective) if r.feasible), None)

    @property
    def earlier(self) -> list[TrialRecord]:
        """What is known from an earlier study."""
        return [r for r in self.records if r.purpose is Purpose.EARLIER]

    @property
    def baseline(self) -> Runs | None:
        """The first runs of the default."""
        runs = [r for r in effective(self.records) if r.purpose is Purpose.BASELINE and r.state.is_finished()]
        values = tuple(r.value for r in runs if r.feasible and r.value is not None)
        return Runs(runs[0].params, values, len(runs) - len(values)) if values else None

    @property
    def audit(self) -> Audit | None:
        """How large a gain the noise leaves to be seen; None before the baseline has ended."""
        row = self.plan.get("finals")
        finals = Finals.from_json(row) if isinstance(row, Mapping) else None
        return audit(self.records, self.objective, self.plan.get("default"), finals, self.plan.get("wished_gain"))

    @property
    def remaining_seconds(self) -> float | None:
        """How long the rest will take, if trials go on as they went; None before two have ended."""
        if self.n_done < 2 or self.n_done >= self.n_planned:
            return None
        left = self.elapsed_seconds / self.n_done * (self.n_planned - self.n_done)
        return (
            left if self.timeout_seconds is None else max(0.0, min(left, self.timeout_seconds - self.elapsed_seconds))
        )

    def latest(self, record: TrialRecord) -> Latest | None:
        """What a running trial measured last; reads only the end of its file."""
        return last_measurement(self.folder, record.number, self.objective.metric)


def _cut_short(record: TrialRecord) -> bool:
    return record.cause is Cause.INTERRUPTED


def last_measurement(folder: StudyDir, number: int, metric: str) -> Latest | None:
    """From the end of a trial's metrics; None where there is nothing to read."""
    try:
        with folder.trial(number).metrics.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            row = json.loads(line)
            return Latest(int(row["step"]), float(row[metric]))
        except (ValueError, KeyError, TypeError):
            continue  # cut short, or about other metrics
    return None
