"""From a study's records to its report. Reads nothing else, so that it works on a running, dead or copied study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from optuna.trial import TrialState

from rltune.analysis.advice import after
from rltune.analysis.effects import effects
from rltune.analysis.efficiency import efficiency
from rltune.analysis.failures import failures, misses, shadows, stops
from rltune.analysis.history import history
from rltune.analysis.importance import importance
from rltune.analysis.metric import by_metric
from rltune.analysis.noise import noise
from rltune.analysis.pareto import front
from rltune.analysis.selection import Verdict
from rltune.objective import Objective
from rltune.records import TrialRecord, effective, own
from rltune.reporting.model import Report
from rltune.space import SearchSpace
from rltune.types import Cause


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

    Raises:
        InputError: No objective has that metric.
    """
    seen, objective = by_metric(records, objectives, metric)
    ours = own(records)
    shares = importance(seen, objective, space)
    return Report(
        name=name,
        objectives=tuple(objectives),
        objective=objective,
        n_planned=n_planned,
        trials=_trials(ours),
        n_earlier=len(records) - len(ours),
        n_values=sum(r.value is not None for r in records),
        recommended=recommended,
        verdict=verdict,
        front=tuple(r.number for r in front(records, objectives)) if len(objectives) > 1 else (),
        noise=noise(seen),
        history=history(seen, objective),
        importance=shares,
        effects=effects(seen, objective, space),
        efficiency=efficiency(ours, workers),
        failures=failures(ours),
        stops=stops(ours),
        shadows=shadows(own(seen), objective),
        misses=misses(ours),
        advice=tuple(after(space, seen, objective, shares.fanova)),
    )


_ORDER = ("complete", "infeasible", "pruned", "failed", "interrupted", "running", "waiting")


def _trials(records: Sequence[TrialRecord]) -> dict[str, int]:
    counts = Counter(_standing(r) for r in effective(records))
    return {word: counts[word] for word in _ORDER if counts[word]}


def _standing(record: TrialRecord) -> str:
    if record.state is TrialState.COMPLETE:
        return "complete" if record.feasible else "infeasible"
    if record.state is TrialState.FAIL:
        return "interrupted" if record.cause is Cause.INTERRUPTED else "failed"
    return record.state.name.lower()
