"""How much each parameter matters, by two methods that answer two questions; both rest on all trials.

fANOVA (Hutter, Hoos and Leyton-Brown 2014, ICML): how much of the objective's variance over the whole search space
each parameter explains alone, in a random forest. One terrible region can fill it. It needs every parameter in every
trial, so conditional ones are left out. The numbers are Optuna's; see `fanova`.

PED-ANOVA (Watanabe, Bansal and Hutter 2023, IJCAI; Optuna's takes conditional parameters too): how far the best fifth
of the configurations lies from where the others do. It sees the order of the results only, and is blind to how bad
the bad ones are. It says little of a parameter on whose best value most trials agree already, and its shares rest on
few trials; fANOVA comes first where there are both.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import create_trial

from rltune.analysis import fanova
from rltune.analysis.foreseen import foreseen
from rltune.analysis.metric import searched
from rltune.objective import Direction, Objective
from rltune.records import TrialRecord
from rltune.space import SearchSpace
from rltune.space.parameters import Categorical, Parameter
from rltune.storage import unannounced
from rltune.wording import listed

if TYPE_CHECKING:
    from optuna.importance import BaseImportanceEvaluator
    from sklearn.ensemble import RandomForestRegressor

FEWEST_FANOVA = 10
FEWEST_PED_ANOVA = 20
"""Configurations below which the answer is luck: on a function of one parameter among four, of whose
variance a tenth is noise, each method puts that one first in about nine of ten studies from here on."""

LEAST_FIT = 0.1
"""Out-of-bag R² of a forest, below which its shares are not shown: on pure noise nine of ten forests stay below."""

BEST_SHARE = 0.2
"""What PED-ANOVA sets apart from the rest."""

_SEED = 0
_TREES = 64


@dataclass(frozen=True)
class Importance:
    """Shares by parameter, in declared order; of each method they add up to 1.

    Attributes:
        n_configurations: Distinct configurations with a value, on which both methods rest.
        n_foreseen: Of these, how many count by what their trials' beginnings foretell.
        fanova: None where it cannot be had; `notes` say why. A parameter with a single value has 0, one that is not
            in every trial is not in it.
        ped_anova: The same, with conditional parameters that are active in `FEWEST_PED_ANOVA` configurations.
        fit: The forest's R² on configurations that its trees have not seen (out of bag); None where none was fitted.
        notes: What a reader should know: why a method is missing, what it left out.
    """

    n_configurations: int
    n_foreseen: int
    fanova: Mapping[str, float] | None
    ped_anova: Mapping[str, float] | None
    fit: float | None
    notes: tuple[str, ...] = ()


class _Point(NamedTuple):
    """A configuration, and the mean of its runs, or what its one run was going to be."""

    params: Mapping[str, Any]
    value: float
    is_foreseen: bool = False


def importance(records: Sequence[TrialRecord], objective: Objective, space: SearchSpace) -> Importance:
    """Both methods, on all trials with a result but the finals; the same records always give the same answer.

    Infeasible trials count, since their value of the objective is a true one, and so do raced ones. Other pruned trials
    count as they were going to end, where that can be foreseen: those that ran to their end are the good ones, among
    which nothing may seem to matter. Failed ones do not count. Runs of one configuration on several seeds count once,
    by their mean. Values that are outside of today's search space are left out.

    Args:
        records: Every trial.
        objective: Whose value a record's first one is.
        space: What varied.
    """
    points = _points(records, space)
    n_foreseen = sum(point.is_foreseen for point in points)
    parameters = {name: p for name, p in space.parameters.items() if any(name in point.params for point in points)}
    varying = {name: p for name, p in parameters.items() if not p.distribution.single()}
    if not varying:
        why = "no parameter has more than one value" if points else "no trial has a value yet"
        return Importance(len(points), n_foreseen, None, None, None, (why,))
    if len({point.value for point in points}) < 2 and len(points) >= FEWEST_FANOVA:
        return Importance(len(points), n_foreseen, None, None, None, ("every configuration has the same value",))
    always = {name: p for name, p in varying.items() if all(name in point.params for point in points)}
    shares, fit, fanova_notes = _fanova(points, always)
    ped_anova, ped_notes = _ped_anova(points, varying, objective)
    left_out = [name for name in varying if name not in always]
    if shares is not None and left_out:
        fanova_notes += (f"fANOVA: leaves out {listed(left_out)}: not active in every trial",)
    return Importance(
        n_configurations=len(points),
        n_foreseen=n_foreseen,
        fanova=shares and _with_constants(shares, parameters),
        ped_anova=ped_anova and _with_constants(ped_anova, parameters),
        fit=fit,
        notes=(*fanova_notes, *ped_notes),
    )


def _points(records: Sequence[TrialRecord], space: SearchSpace) -> list[_Point]:
    runs: dict[frozenset[tuple[str, Any]], list[TrialRecord]] = {}
    cut: dict[frozenset[tuple[str, Any]], TrialRecord] = {}
    ends = foreseen(records)
    for record in searched(records):
        inside = all(space.parameters[n].contains(v) for n, v in record.params.items() if n in space.parameters)
        if record.has_result and inside:
            runs.setdefault(frozenset(record.params.items()), []).append(record)
        elif record.number in ends and inside:
            cut[frozenset(record.params.items())] = record

    def active(record: TrialRecord) -> dict[str, Any]:
        return {name: record.params[name] for name in space.parameters if name in record.params}

    whole = [_Point(active(group[0]), fmean(r.value for r in group if r.value is not None)) for group in runs.values()]
    return whole + [_Point(active(r), ends[r.number], is_foreseen=True) for key, r in cut.items() if key not in runs]


def _with_constants(shares: Mapping[str, float], parameters: Mapping[str, Parameter]) -> dict[str, float]:
    constant = {name for name, parameter in parameters.items() if parameter.distribution.single()}
    return {name: shares.get(name, 0.0) for name in parameters if name in shares or name in constant}


def _fanova(
    points: Sequence[_Point], parameters: Mapping[str, Parameter]
) -> tuple[dict[str, float] | None, float | None, tuple[str, ...]]:
    """Shares, the forest's fit, and notes. Numbers are taken to the unit interval: uniform there is the prior."""
    if len(points) < FEWEST_FANOVA:
        return None, None, (_too_few("fANOVA", FEWEST_FANOVA, len(points)),)
    if not parameters:
        return None, None, ("fANOVA: no parameter is active in every trial",)
    forest = _forest(points, parameters)
    fit = float(forest.oob_score_)
    if fit < LEAST_FIT:
        unseen = "the results of configurations that the forest has not seen"
        return None, fit, (f"fANOVA: the parameters do not predict {unseen} (R² {fit:.2f}), so its shares are noise",)
    widths = [len(p.choices) if isinstance(p, Categorical) else 1 for p in parameters.values()]
    ends = list(itertools.accumulate(widths))
    raw = fanova.shares(forest, [range(end - width, end) for end, width in zip(ends, widths, strict=True)])
    if not sum(raw) > 0:
        return None, fit, ("fANOVA: no parameter makes a difference",)
    return {name: share / sum(raw) for name, share in zip(parameters, raw, strict=True)}, fit, ()


def _ped_anova(
    points: Sequence[_Point], parameters: Mapping[str, Parameter], objective: Objective
) -> tuple[dict[str, float] | None, tuple[str, ...]]:
    if len(points) < FEWEST_PED_ANOVA:
        return None, (_too_few("PED-ANOVA", FEWEST_PED_ANOVA, len(points)),)
    n_active = {name: sum(name in point.params for point in points) for name in parameters}
    enough = {name: p for name, p in parameters.items() if n_active[name] >= FEWEST_PED_ANOVA}
    if not enough:
        return None, (f"PED-ANOVA: no parameter is active in {FEWEST_PED_ANOVA} configurations",)
    from optuna.importance import PedAnovaImportanceEvaluator  # 0.5 s: scikit-learn, pandas

    shown = [
        _Point({n: enough[n].to_journal(v) for n, v in params.items() if n in enough}, value)
        for params, value, _ in points
    ]
    study = _study(shown, {n: p.distribution for n, p in enough.items()}, objective.direction)
    shares, notes = _evaluate(PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE), study, list(enough))
    left_out = [name for name in parameters if name not in enough]
    if shares is not None and left_out:
        notes += (f"leaves out {listed(left_out)}: active in fewer than {FEWEST_PED_ANOVA} configurations",)
    return shares, tuple(f"PED-ANOVA: {note}" for note in notes)


def _too_few(method: str, fewest: int, n: int) -> str:
    return f"{method} needs {fewest} configurations with a value, and there {'is' if n == 1 else 'are'} {n}"


def _forest(points: Sequence[_Point], parameters: Mapping[str, Parameter]) -> RandomForestRegressor:
    """Like that of Optuna's fANOVA; its R² is out of bag (Breiman 2001, Machine Learning 45)."""
    from sklearn.ensemble import RandomForestRegressor

    rows = [[number for name in parameters for number in _encoded(parameters[name], p.params[name])] for p in points]
    forest = RandomForestRegressor(n_estimators=_TREES, max_depth=64, oob_score=True, random_state=_SEED)
    return forest.fit(rows, [point.value for point in points])


def _encoded(parameter: Parameter, value: Any) -> list[float]:
    """A number as a place in the unit interval, a choice as one column a choice."""
    if isinstance(parameter, Categorical):
        index = int(parameter.distribution.to_internal_repr(value))
        return [float(index == i) for i in range(len(parameter.choices))]
    return [parameter.to_unit(value)]


def _study(points: Sequence[_Point], scales: Mapping[str, BaseDistribution], direction: Direction) -> optuna.Study:
    """The points as a study of Optuna's in memory."""
    with unannounced():
        study = optuna.create_study(direction=direction)
    study.add_trials(
        [
            create_trial(params=dict(p.params), distributions={n: scales[n] for n in p.params}, value=p.value)
            for p in points
        ]
    )
    return study


def _evaluate(
    evaluator: BaseImportanceEvaluator, study: optuna.Study, parameters: list[str]
) -> tuple[dict[str, float] | None, tuple[str, ...]]:
    """Shares that add up to 1, and what Optuna warned of. None where everything is 0."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        raw = evaluator.evaluate(study, parameters)
    said = dict.fromkeys(str(w.message).splitlines()[0] for w in caught if w.category is UserWarning)
    total = sum(raw[name] for name in parameters)  # in one order, so that the last bit is always the same
    if not total > 0:
        return None, (*said, "no parameter makes a difference")
    return {name: float(raw[name] / total) for name in parameters}, tuple(said)
