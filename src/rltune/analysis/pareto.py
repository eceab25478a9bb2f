"""Several objectives: which trials no other dominates, which of them to pick, and how much the front covers.

A trial dominates another when it is as good in every objective and better in at least one (Deb et al. 2002, IEEE TEC
6). All values are of single runs: chance moves trials onto the front that would not stay there on another seed.

Loss: a value, negated where it is maximised. Scaled loss: 0 at the front's best in an objective, 1 at its worst; so
that seconds and bytes can be added. An objective in which the whole front is equal is 0 everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _fast_non_domination_rank, _is_pareto_front
from optuna.trial import TrialState

from rltune.errors import InputError, Problem
from rltune.objective import Objective
from rltune.records import TrialRecord, effective
from rltune.wording import did_you_mean, found, listed

Scalarisation: TypeAlias = Literal["sum", "chebyshev"]
Losses: TypeAlias = NDArray[np.float64]

MARGIN = 0.1
"""The default reference point lies beyond the worst trial by this share of the range, so that extremes count."""


@dataclass(frozen=True)
class Pareto:
    """What is known about the trade-off between the objectives; of single runs.

    Attributes:
        objectives: In the order of a trial's values.
        front: Feasible trials that no other dominates, best in the first objective first. Equal ones are all on it.
        least_violating: Where no trial is feasible, those that miss the constraints by the least in all; else empty.
        ranks: Each complete trial's front by its number, as `non_domination_ranks` gives them.
        knee: What to take without a preference, see `knee`; None where the front is empty.
        hypervolume: What the front covers up to `reference`, in the product of the objectives' units.
        reference: By metric; None where no trial is feasible and none was given.
        progress: The hypervolume after each complete trial, by number, up to the same reference.
    """

    objectives: tuple[Objective, ...]
    front: tuple[TrialRecord, ...]
    least_violating: tuple[TrialRecord, ...]
    ranks: Mapping[int, int]
    knee: TrialRecord | None
    hypervolume: float
    reference: Mapping[str, float] | None
    progress: Mapping[int, float]


def pareto(
    records: Iterable[TrialRecord], objectives: Sequence[Objective], reference: Mapping[str, float] | None = None
) -> Pareto:
    """Everything about the front at once. One objective has a front too: its best trial.

    Args:
        records: Every trial of a study.
        objectives: In the order of a trial's values.
        reference: By metric; `reference_point` where it is not given.

    Raises:
        InputError: The reference does not fit the objectives.
    """
    records = list(records)
    given = reference_point(records, objectives) if reference is None else reference
    progress = hypervolume_by_trial(records, objectives, given)
    return Pareto(
        objectives=tuple(objectives),
        front=tuple(front(records, objectives)),
        least_violating=tuple(least_violating(records, objectives)),
        ranks=non_domination_ranks(records, objectives),
        knee=knee(records, objectives),
        hypervolume=max(progress.values(), default=0.0),
        reference=given,
        progress=progress,
    )


# --- the front -------------------------------------------------------------------------------------------------------


def front(records: Iterable[TrialRecord], objectives: Sequence[Objective]) -> list[TrialRecord]:
    """Feasible trials that no other feasible one dominates, best in the first objective first.

    Trials with equal values do not dominate each other, and are all on it. Empty where no trial is feasible.
    """
    feasible = [r for r in _valued(records) if r.feasible]
    if not feasible:
        return []
    losses = _losses(feasible, objectives)
    kept = [i for i, on_front in enumerate(_is_pareto_front(losses, assume_unique_lexsorted=False)) if on_front]
    return [feasible[i] for i in sorted(kept, key=lambda i: (*losses[i], feasible[i].number))]


def least_violating(records: Iterable[TrialRecord], objectives: Sequence[Objective]) -> list[TrialRecord]:
    """Where no trial is feasible, those that miss the constraints by the least in all, by number; else none.

    What is missed is summed over the constraints, as where trials are ranked: in their own units.
    """
    complete = _valued(records)
    if not complete or any(r.feasible for r in complete):
        return []
    missed = [_missed(r, objectives) for r in complete]
    least = min(missed)
    return [r for r, each in zip(complete, missed, strict=True) if each == least]


def non_domination_ranks(records: Iterable[TrialRecord], objectives: Sequence[Objective]) -> dict[int, int]:
    """The front that each complete trial belongs to, by its number: 1 is the Pareto front, 2 what is left, and so on.

    Infeasible trials come behind every feasible one, by what they miss, whatever their values are: the constrained
    domination of Deb et al. 2002, section VI. Trials without a value have no rank.
    """
    complete = _valued(records)
    if not complete:
        return {}
    penalty = np.array([_missed(r, objectives) for r in complete])
    ranks = _fast_non_domination_rank(_losses(complete, objectives), penalty=penalty)
    return {r.number: int(rank) + 1 for r, rank in zip(complete, ranks, strict=True)}


# --- picking one -----------------------------------------------------------------------------------------------------


def knee(records: Iterable[TrialRecord], objectives: Sequence[Objective]) -> TrialRecord | None:
    """The trial of the front to take without a preference: to gain in one objective there, much is lost in another.

    It lies farthest from the plane through the front's extremes, on the side of the ideal point (Das 1999, Structural
    Optimization 18). In scaled losses that is the smallest sum: Chiu, Yen and Juan 2016 (IEEE TEVC 20, "minimum
    Manhattan distance"). A concave front has no such bulge, nor have two trials: all sums are 1 or more. There the
    most balanced trial stands in, with the smallest of the largest scaled losses. Of equals, the one that is better
    in the first objective. A value is one run, and so is the knee: it may lie elsewhere on another seed.

    Returns:
        None where the front is empty.
    """
    candidates = front(records, objectives)
    if not candidates:
        return None
    scaled = _scaled(candidates, objectives)
    sums, largest = scaled.sum(axis=1), scaled.max(axis=1)
    bulges = sums.min() < 1 - 1e-9  # rounding must not make a bulge of a straight line
    return _first_smallest(candidates, sums, largest) if bulges else _first_smallest(candidates, largest, sums)


def pick(
    records: Iterable[TrialRecord],
    objectives: Sequence[Objective],
    weights: Mapping[str, float],
    scalarisation: Scalarisation = "sum",
) -> TrialRecord | None:
    """The trial of the front that is best by weighted objectives, each scaled to its range on the front.

    Args:
        records: Every trial of a study; their values are single runs.
        objectives: In the order of a trial's values.
        weights: How much each objective matters, by metric; one that is not named does not count. Only the ratios
            matter.
        scalarisation: `sum` takes the smallest weighted sum, and can only reach trials on the convex hull of the
            front. `chebyshev` takes the smallest of the largest weighted loss and can reach each of them; of equals,
            the one with the smaller weighted sum (Steuer and Choo 1983, Mathematical Programming 26).

    Returns:
        None where the front is empty.

    Raises:
        InputError: A weight is of no objective, negative or not a number, or none is above 0: every problem.
    """
    weight = _checked_weights(weights, objectives)
    candidates = front(records, objectives)
    if not candidates:
        return None
    weighted = _scaled(candidates, objectives) * weight
    sums, largest = weighted.sum(axis=1), weighted.max(axis=1)
    return _first_smallest(candidates, *((sums, largest) if scalarisation == "sum" else (largest, sums)))


def _first_smallest(candidates: Sequence[TrialRecord], score: Losses, then: Losses) -> TrialRecord:
    """Rounded, so that what is equal but for the last bits is decided by `then`, and at last by the order."""
    order = np.lexsort((np.arange(len(candidates)), then.round(9), score.round(9)))
    return candidates[int(order[0])]


def _checked_weights(weights: Mapping[str, float], objectives: Sequence[Objective]) -> Losses:
    metrics = [o.metric for o in objectives]
    problems = []
    for name, weight in weights.items():
        if name not in metrics:
            problems.append(Problem(("weights", name), "is no objective of this study", did_you_mean(name, metrics)))
        elif not (math.isfinite(weight) and weight >= 0):
            problems.append(Problem(("weights", name), f"must be a number from 0 on, got {found(weight)}"))
    if not problems and not any(weights.values()):
        problems.append(Problem(("weights",), "at least one must be above 0", f"the objectives are {listed(metrics)}"))
    if problems:
        raise InputError(problems)
    largest = max(weights.values())
    return np.array([weights.get(metric, 0.0) / largest for metric in metrics])


# --- the hypervolume -------------------------------------------------------------------------------------------------


def reference_point(records: Iterable[TrialRecord], objectives: Sequence[Objective]) -> dict[str, float] | None:
    """The default reference, by metric: the worst of all feasible trials, and `MARGIN` of their range beyond it.

    The margin makes the extremes of the front count (Ishibuchi et al. 2018, Evolutionary Computation 26). Where all
    values are equal, it is `MARGIN` of the value itself, or `MARGIN` where that is 0. The point moves when a worse
    trial comes in, so that hypervolumes of two studies can only be compared up to one reference given for both.

    Returns:
        None where no trial is feasible.
    """
    feasible = [r for r in _valued(records) if r.feasible]
    if not feasible:
        return None
    losses = _losses(feasible, objectives)
    worst = losses.max(axis=0)
    spread = worst - losses.min(axis=0)
    size = np.where(worst == 0, 1.0, np.abs(worst))
    reference = worst + MARGIN * np.where(spread > 0, spread, size)
    return {o.metric: _sign(o) * float(each) for o, each in zip(objectives, reference, strict=True)}


def hypervolume(
    records: Iterable[TrialRecord], objectives: Sequence[Objective], reference: Mapping[str, float] | None = None
) -> float:
    """The volume that the front dominates, up to a reference point (Zitzler and Thiele 1999, IEEE TEC 3).

    In the product of the objectives' units; 0 where no feasible trial is better than the reference in every objective.
    Computed by Optuna, from four objectives on by WFG (While, Bradstreet and Barone 2012, IEEE TEC 16).

    Args:
        records: Every trial of a study.
        objectives: In the order of a trial's values.
        reference: By metric; `reference_point` where it is not given.

    Raises:
        InputError: The reference does not fit the objectives.
    """
    given = reference_point(records, objectives) if reference is None else reference
    if given is None:
        return 0.0
    point = _checked_reference(given, objectives)
    losses = _losses(front(records, objectives), objectives)
    return _covered(losses[(losses < point).all(axis=1)], point)  # Optuna refuses what lies beyond


def hypervolume_by_trial(
    records: Iterable[TrialRecord], objectives: Sequence[Objective], reference: Mapping[str, float] | None = None
) -> dict[int, float]:
    """The hypervolume after each complete trial, by number, up to one reference; see `hypervolume`. Never falls.

    Raises:
        InputError: The reference does not fit the objectives.
    """
    complete = sorted(_valued(records), key=lambda r: r.number)
    given = reference_point(complete, objectives) if reference is None else reference
    if given is None:
        return {r.number: 0.0 for r in complete}
    point = _checked_reference(given, objectives)
    volumes: dict[int, float] = {}
    kept, volume = np.empty((0, len(objectives))), 0.0
    for record, loss in zip(complete, _losses(complete, objectives), strict=True):
        if record.feasible and (loss < point).all() and not (kept <= loss).all(axis=1).any():
            # What a point adds is its box less what others already cover of it (While et al. 2012). On a front of a
            # thousand this is seventy times faster than its whole volume after every trial.
            volume += float(np.prod(point - loss)) - _covered(np.maximum(kept, loss), point)
            kept = np.vstack([kept[~(loss <= kept).all(axis=1)], loss])
        volumes[record.number] = volume
    return volumes


def _covered(losses: Losses, point: Losses) -> float:
    return float(compute_hypervolume(losses, point)) if len(losses) else 0.0


def _checked_reference(reference: Mapping[str, float], objectives: Sequence[Objective]) -> Losses:
    metrics = [o.metric for o in objectives]
    problems = [
        Problem(("reference", name), "is no objective of this study", did_you_mean(name, metrics))
        for name in reference
        if name not in metrics
    ]
    for metric in metrics:
        if metric not in reference:
            problems.append(Problem(("reference", metric), "is missing", "give a number for each objective"))
        elif not math.isfinite(reference[metric]):
            message = f"must be a finite number, got {found(reference[metric])}"
            problems.append(Problem(("reference", metric), message))
    if problems:
        raise InputError(problems)
    return np.array([_sign(o) * reference[o.metric] for o in objectives])


# --- numbers ---------------------------------------------------------------------------------------------------------


def _valued(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Complete trials, feasible or not, whose values are all finite: NaN and infinity have no place in a trade-off."""
    return [
        r
        for r in effective(records)
        if r.state is TrialState.COMPLETE and r.values and all(math.isfinite(v) for v in r.values)
    ]


def _sign(objective: Objective) -> float:
    return 1.0 if objective.direction == "minimize" else -1.0


def _losses(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> Losses:
    """Shape (trials, objectives); also of no trial."""
    values = np.array([r.values for r in records], dtype=float).reshape(len(records), len(objectives))
    return values * [_sign(o) for o in objectives]


def _scaled(candidates: Sequence[TrialRecord], objectives: Sequence[Objective]) -> Losses:
    """Scaled losses of a front, shape (trials, objectives)."""
    losses = _losses(candidates, objectives)
    best = losses.min(axis=0)
    spread = losses.max(axis=0) - best
    scaled: Losses = (losses - best) / np.where(spread > 0, spread, 1.0)
    return scaled


def _missed(record: TrialRecord, objectives: Sequence[Objective]) -> float:
    return objectives[0].standing(record.value, record.violations.values()).missed
