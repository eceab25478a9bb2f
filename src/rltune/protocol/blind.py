"""The study without its claim, which is all that samplers and pruners get to see.

Whatever a claim measures, the next suggestion is the same: the seeds behind the headline stay untouched by the search
even where a study is extended after its end.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rltune.records import is_claim
from rltune.storage import study_on


def without_claims(study: Study) -> Study:
    """The same study, whose sampler and pruner are shown all trials but those of the claim. Writing goes through."""
    return study_on(study, _Storage(study._storage))


class _Storage:
    """Passes everything on but the trials of the claim."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._real.get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return [trial for trial in trials if not is_claim(trial)]
