"""The study as a sampler sees it: its notes are kept back until a draw is accepted, and failures are seen."""

from __future__ import annotations

import copy
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rltune.records import from_trial, trial_id
from rltune.storage import StorageView, study_on
from rltune.types import BY_CONFIGURATION

_CONSTRAINT = "constraints"  # what `set_constraint` notes at a trial's end
_UNREPAIRED = ":relative_params:"  # Optuna's TPE and GP note the whole draw, for others that ask at the same moment


class StudyView:
    """A study that looks like the real one, but for two things.

    Trials that failed by their configuration look pruned before their first value: Optuna's samplers pass over failed
    trials, and so would never learn where training diverges; TPE counts such pruned ones among the worst.

    Notes about the current trial do not reach the storage yet. A sampler may draw several times for one trial; only
    what it noted last is written, and never the draw itself, which may be infeasible: the parameters follow at once,
    so that nobody misses it.

    Attributes:
        study: What the sampler is given.
    """

    def __init__(self, study: Study, trial: FrozenTrial) -> None:
        self._storage = _Storage(study._storage, trial._trial_id)
        self.study = study_on(study, self._storage)

    def commit(self) -> None:
        """Write what was noted last."""
        for key, value in self._storage.notes.items():
            if _UNREPAIRED not in key:
                self._storage.real.set_trial_system_attr(self._storage.trial_id, key, value)


def inherit_notes(study: Study, trial: FrozenTrial) -> None:
    """Let a retry stand for the trial that it repeats: in its generation of CMA-ES or NSGA-II, for one.

    Its parameters are given, so that the sampler is not asked for them and notes nothing itself.
    """
    origin = from_trial(trial).retry_of
    if origin is None:
        return
    original = study._storage.get_trial(trial_id(study, origin))
    for key, value in original.system_attrs.items():
        if key not in trial.system_attrs and not key.startswith(_CONSTRAINT):
            study._storage.set_trial_system_attr(trial._trial_id, key, value)


class _Storage(StorageView):
    """Passes everything on, except for the attributes of one trial, and for trials that failed."""

    def __init__(self, real: Any, trial_id: int) -> None:
        super().__init__(real)
        self.trial_id = trial_id
        self.notes: dict[str, Any] = {}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id == self.trial_id:
            self.notes[key] = value
        else:
            self.real.set_trial_system_attr(trial_id, key, value)

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        noted = self.notes if trial_id == self.trial_id else {}
        return {**self.real.get_trial_system_attrs(trial_id), **noted}

    def shown(self, trial: FrozenTrial) -> FrozenTrial:
        if trial.state is not TrialState.FAIL or from_trial(trial).cause not in BY_CONFIGURATION:
            return trial
        shown = copy.copy(trial)
        shown.state = TrialState.PRUNED
        shown.intermediate_values = {}
        return shown
