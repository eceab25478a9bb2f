"""Pruning with several objectives: any pruner, given for each trial how many of the others dominate it.

Optuna's pruners compare single numbers, and Optuna refuses to prune in a study with several objectives. Here the number
is a trial's *dominated share* at a step: of all trials that were measured at that step, the share that is at least as
good in every objective and better in one. A trial that nothing dominates has share 0 and is never worse than another,
so what may be on the Pareto front is kept; no objective needs a weight or a scale. Successive halving by non-dominated
order is the idea of Schmucker et al., "Multi-objective Asynchronous Successive Halving", arXiv 2106.12639.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from rltune.objective import Objective
from rltune.storage import StorageView, study_on


class ParetoPruning:
    """What the trials of one study have measured, and what a pruner says to it.

    Args:
        objectives: Two or more.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = tuple(objectives)
        self._steps: dict[int, _Step] = {}
        self._shares: dict[int, dict[int, float]] = {}  # as they were when the step was measured, by trial and step

    def note(self, number: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Takes a trial's measurement at a step; says whether it has all objectives, without which nothing is noted."""
        values = [metrics.get(o.metric) for o in self._objectives]
        if any(value is None for value in values):
            return False
        losses = [o.standing(value).loss for o, value in zip(self._objectives, values, strict=True)]
        at_step = self._steps.setdefault(step, _Step(len(losses)))
        at_step.add(number, losses)
        self._shares.setdefault(number, {})[step] = at_step.share(number)
        return True

    def should_prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """What the study's pruner says to the trial's measurements so far.

        Args:
            study: Any number of objectives.
            trial: Its last measurement has been noted.
        """
        if trial.number not in self._shares:
            return False
        step = max(self._shares[trial.number])
        seen = _Seen(self._shares, step, self._steps[step])
        return study.pruner.prune(study_on(study, _OneObjective(study._storage, seen)), seen.of(trial))


class _Step:
    """All trials that were measured at one step, and by how many others each is dominated. Adding one costs O(n)."""

    def __init__(self, n_objectives: int) -> None:
        self._place: dict[int, int] = {}
        self._losses = np.empty((8, n_objectives))  # rows beyond the last trial's are not in use
        self._dominated_by = np.zeros(8, dtype=int)

    def add(self, number: int, losses: Sequence[float]) -> None:
        """Losses are infinite where a value is no number. A trial that measures a step again keeps its first values."""
        if number in self._place:
            return
        n = len(self._place)
        if n == len(self._losses):
            self._losses = np.concatenate([self._losses, np.empty_like(self._losses)])
            self._dominated_by = np.concatenate([self._dominated_by, np.zeros_like(self._dominated_by)])
        new, others = np.asarray(losses, dtype=float), self._losses[:n]
        self._dominated_by[:n] += (new <= others).all(axis=1) & (new < others).any(axis=1)
        self._dominated_by[n] = np.sum((others <= new).all(axis=1) & (others < new).any(axis=1))
        self._losses[n] = new
        self._place[number] = n

    def share(self, number: int) -> float:
        """Of the other trials, those that dominate this one; 0 where there is no other."""
        return float(self._dominated_by[self._place[number]]) / max(1, len(self._place) - 1)

    def __contains__(self, number: int) -> bool:
        return number in self._place


@dataclass(frozen=True)
class _Seen:
    """How trials look to a pruner at one step.

    Attributes:
        shares: By trial and step, as they were when the step was measured.
        step: At which a trial is judged.
        now: That step, with all trials that have come there since.
    """

    shares: Mapping[int, Mapping[int, float]]
    step: int
    now: _Step

    def of(self, trial: FrozenTrial) -> FrozenTrial:
        """The trial with its shares as its intermediate values."""
        own = dict(self.shares.get(trial.number, {}))
        if trial.number in self.now:
            own[self.step] = self.now.share(trial.number)
        shown = copy.copy(trial)
        shown.intermediate_values = own
        return shown


class _OneObjective(StorageView):
    """A storage whose study has one objective, to be minimised: the dominated share."""

    def __init__(self, real: Any, seen: _Seen) -> None:
        super().__init__(real)
        self._seen = seen

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:  # noqa: ARG002
        return [StudyDirection.MINIMIZE]

    def shown(self, trial: FrozenTrial) -> FrozenTrial:
        return self._seen.of(trial)
