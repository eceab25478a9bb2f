"""From a study's records to its report. Reads nothing else, so that it works on a running, dead or copied study."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rltune.analysis.advice import after
from rltune.analysis.changes import changes
from rltune.analysis.early import early_ranks
from rltune.analysis.effects import effects
from rltune.analysis.efficiency import efficiency
from rltune.analysis.failures import failures, misses, shadows, stops
from rltune.analysis.history import Step, history
from rltune.analysis.importance import importance
from rltune.analysis.metric import by_metric
from rltune.analysis.noise import noise
from rltune.analysis.pareto import front
from rltune.analysis.rows import rows, standing
from rltune.analysis.seed_use import seed_use
from rltune.analysis.surface import surface
from rltune.objective import Objective
from rltune.protocol.budget import FullRun
from rltune.protocol.decision import Verdict
from rltune.records import TrialRecord, effective, own
from rltune.reporting.model import Axis, Report, Spending
from rltune.reporting.provenance import Provenance
from rltune.space import Categorical, Parameter, SearchSpace

ONE_TRIAL = FullRun()


def build_report(
    name: str,
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    space: SearchSpace,
    *,
    workers: int,
    n_planned: int | None = None,
    recommended: TrialRecord | None = None,
    verdict: Verdict | None = None,
    metric: str | None = None,
    plan: Mapping[str, Any] = MappingProxyType({}),
    full_run: FullRun = ONE_TRIAL,
    origin: Provenance | None = None,
) -> Report:
    """Analyses a study.

    Args:
        name: The study's.
        records: Every trial.
        objectives: In the order of a trial's values.
        space: What varied.
        workers: How many trials run at once.
        n_planned: Trials that there are to be.
        recommended: The trial to ship.
        verdict: Why it is shipped.
        metric: The objective to look at; None for the first.
        plan: What the study was going to do, as its journal has it.
        full_run: The unit of what was spent.
        origin: What it takes to run the study again.

    Raises:
        InputError: No objective has that metric.
    """
    seen, objective = by_metric(records, objectives, metric)
    ours = own(records)
    shares, past = importance(seen, objective, space), history(seen, objective)
    early = early_ranks(seen)
    default = plan.get("default")
    return Report(
        name=name,
        objectives=tuple(objectives),
        objective=objective,
        started=_moment(min((r.started for r in ours if r.started), default=None)),
        ended=_moment(max((r.finished for r in ours if r.finished), default=None)),
        n_planned=n_planned,
        trials=_trials(ours),
        n_earlier=len(records) - len(ours),
        n_values=sum(r.value is not None for r in records),
        recommended=recommended,
        verdict=verdict,
        front=tuple(r.number for r in front(records, objectives)) if len(objectives) > 1 else (),
        noise=noise(seen),
        history=past,
        importance=shares,
        effects=effects(seen, objective, space),
        early=early,
        efficiency=efficiency(ours, workers),
        failures=failures(ours),
        stops=stops(ours),
        shadows=shadows(own(seen), objective),
        misses=misses(ours),
        advice=tuple(after(space, seen, objective, shares.fanova, early)),
        axes=tuple(_axis(name, parameter) for name, parameter in space.parameters.items()),
        rows=rows(records),
        changes=changes(default, recommended.params) if default and recommended else (),
        surface=surface(seen, space, shares.fanova or shares.ped_anova or {}),
        seeds=seed_use(records, plan.get("seeds", {})),
        spending=_spending(records, past.steps, plan, full_run),
        provenance=origin,
    )


_ORDER = ("complete", "infeasible", "pruned", "failed", "interrupted", "running", "waiting")


def _moment(at: dt.datetime | None) -> str | None:
    return None if at is None else at.isoformat(sep=" ", timespec="minutes")


def _trials(records: Sequence[TrialRecord]) -> dict[str, int]:
    counts = Counter(standing(r) for r in effective(records))
    return {word: counts[word] for word in _ORDER if counts[word]}


def _axis(name: str, parameter: Parameter) -> Axis:
    if isinstance(parameter, Categorical):
        return Axis(name, None, None, log=False, choices=tuple(parameter.choices))
    return Axis(name, parameter.low, parameter.high, log=parameter.log, choices=())


def _spending(
    records: Sequence[TrialRecord], steps: Sequence[Step], plan: Mapping[str, Any], full_run: FullRun
) -> Spending:
    ended = [r for r in own(records) if r.state.is_finished()]
    shares = full_run.shares(ended)
    after = itertools.accumulate(shares.get(step.number, 0.0) for step in steps)
    hours = sum(map(full_run.gpu_hours, ended)) if full_run.gpus else None
    return Spending(plan.get("budget"), plan.get("phases", {}), sum(shares.values()), hours, tuple(after))
