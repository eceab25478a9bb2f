"""Several pruners at once."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial


class AnyPruner(BasePruner):
    """Prunes a trial when any of several pruners would.

    Every one of them is asked at every step, since some keep account of what they were asked. Samplers that look for
    Hyperband's brackets do not find them in here: give Hyperband to the study itself.
    """

    def __init__(self, pruners: Iterable[BasePruner]) -> None:
        self._pruners = tuple(pruners)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return bool(self.who(study, trial))

    def who(self, study: Study, trial: FrozenTrial) -> tuple[BasePruner, ...]:
        """The pruners that would end the trial now."""
        return tuple(pruner for pruner in self._pruners if pruner.prune(study, trial))
