"""The study without its claim, which is all that samplers and pruners get to see.

Whatever a claim measures, the next suggestion is the same: the seeds behind the headline stay untouched by the search
even where a study is extended after its end.
"""

from __future__ import annotations

from optuna.study import Study
from optuna.trial import FrozenTrial

from rltune.records import is_claim
from rltune.storage import StorageView, study_on


def without_claims(study: Study) -> Study:
    """The same study, whose sampler and pruner are shown all trials but those of the claim. Writing goes through."""
    return study_on(study, _WithoutClaims(study._storage))


class _WithoutClaims(StorageView):
    def shown(self, trial: FrozenTrial) -> FrozenTrial | None:
        return None if is_claim(trial) else trial
