"""Everything that a report says, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rltune.analysis.advice import Advice
from rltune.analysis.changes import Change
from rltune.analysis.early import EarlyRanks
from rltune.analysis.effects import Effect
from rltune.analysis.efficiency import Efficiency
from rltune.analysis.failures import Failure, Miss, Shadow, Stop
from rltune.analysis.history import History
from rltune.analysis.importance import Importance
from rltune.analysis.noise import Noise
from rltune.analysis.rows import Row
from rltune.analysis.seed_use import SeedPool
from rltune.analysis.surface import Surface
from rltune.objective import Objective
from rltune.protocol.decision import Verdict
from rltune.records import TrialRecord
from rltune.reporting.files import verdict_json
from rltune.reporting.provenance import Provenance
from rltune.types import Scalar


@dataclass(frozen=True)
class Axis:
    """One parameter's range, as figures draw it.

    Attributes:
        low, high: Of a number; None of choices.
        log: Whether it was searched on a logarithmic scale.
        choices: In declared order; empty for a number.
    """

    parameter: str
    low: float | None
    high: float | None
    log: bool
    choices: tuple[Scalar, ...]


@dataclass(frozen=True)
class Spending:
    """What a study has cost, of trials that have ended.

    Attributes:
        planned: The budget as the study file says it; None where it says none.
        phases: Trials that each phase was to have.
        full_runs: Full-run equivalents: 1 is a trial that has trained to its end.
        gpu_hours: None where a trial has no GPU.
        full_runs_by_step: Full-run equivalents so far after each step of the history.
    """

    planned: str | None
    phases: Mapping[str, int]
    full_runs: float
    gpu_hours: float | None
    full_runs_by_step: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """A study's performance analysis; of a running study, that of the trials that have ended.

    Attributes:
        name: The study's.
        objectives: All of them; the verdict is about the first.
        objective: The one that history, noise, importance and effects are about.
        started, ended: When its first trial began and the last of those that have ended did, local time in ISO format.
        n_planned: Trials that the study is to have; None where nobody has said so.
        trials: How many there are by how they stand, those left out that were run again.
        n_earlier: Trials that the study knows from an earlier one; only importance and effects count them.
        n_values: Runs with a value, finals included.
        recommended: The trial to ship; see `rltune.analysis.selection.recommended`.
        verdict: The finalists against the default on fresh seeds; None before the finals.
        front: With several objectives, the feasible trials that no other dominates; else empty.
        noise: How much the default varies over seeds; None without a baseline.
        history: How the best value so far grew.
        importance: How much each parameter matters.
        effects: What each parameter did.
        early: How well early values rank the end; None where too few trials ran to it.
        efficiency: How well the workers were used.
        failures: Failed trials by cause.
        stops: Trials that were stopped early, by rule.
        shadows: Trials that guards in shadow mode would have ended, by guard.
        misses: Constraints that complete trials missed.
        advice: What to change before the next study.
        axes: The parameters' ranges, in declared order.
        rows: Every trial of this study.
        changes: The recommended configuration against the default, parameter by parameter; empty without either.
        surface: The objective over the two most important numbers; None where too little is known.
        seeds: The ledger's pools and what ran on them.
        spending: What all this has cost.
        provenance: What it takes to run it again; None where nobody has said where the study is.
    """

    name: str
    objectives: tuple[Objective, ...]
    objective: Objective
    started: str | None
    ended: str | None
    n_planned: int | None
    trials: Mapping[str, int]
    n_earlier: int
    n_values: int
    recommended: TrialRecord | None
    verdict: Verdict | None
    front: tuple[int, ...]
    noise: Noise | None
    history: History
    importance: Importance
    effects: tuple[Effect, ...]
    early: EarlyRanks | None
    efficiency: Efficiency
    failures: tuple[Failure, ...]
    stops: tuple[Stop, ...]
    shadows: tuple[Shadow, ...]
    misses: tuple[Miss, ...]
    advice: tuple[Advice, ...]
    axes: tuple[Axis, ...]
    rows: tuple[Row, ...]
    changes: tuple[Change, ...]
    surface: Surface | None
    seeds: tuple[SeedPool, ...]
    spending: Spending
    provenance: Provenance | None

    def to_json(self) -> dict[str, Any]:
        """Strict JSON; a number that is not finite becomes null. Numbers only of trials that have ended."""
        rows = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        best = self.history.best
        return rows | {
            "recommended": self.recommended and self.recommended.to_json(),
            "verdict": self.verdict and verdict_json(self.verdict, self.objectives[0]),
            "history": {
                "best": _plain(best),
                "n_since_best": self.history.n_since_best,
                "improvements": [step.number for step in self.history.improvements],
                "steps": _plain(self.history.steps),
            },
            "efficiency": _plain(self.efficiency) | {"lost_seconds": self.efficiency.lost_seconds},
        }


def _plain(value: Any) -> Any:
    """A result as mappings, lists and scalars."""
    if value is None or isinstance(value, str | int):  # most are; what is below takes ten times as long
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
