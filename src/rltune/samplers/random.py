"""Random search: independent draws from the prior (Bergstra and Bengio 2012, JMLR 13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from rltune.samplers.base import SpaceSampler


class RandomSampler(SpaceSampler):
    """Draws from the prior under the constraints: uniform, or log-uniform, for integers too.

    What the constraints leave keeps its proportions, which it would not if bad draws were moved to the nearest good
    one. It may repeat itself on a small space.
    """

    def propose(self, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        return self.space.sample(self.generator(study, trial), keep)
