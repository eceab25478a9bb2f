"""Grid search: every configuration of the grid once, in an order that the seed shuffles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import SpaceError
from rltune.samplers.base import SpaceSampler
from rltune.space import SearchSpace


class GridSampler(SpaceSampler):
    """Proposes each configuration of `space.grid()` once; after the last one it starts over.

    What was tried is read from the study: trials that are running, waiting, finished or failed count alike, and so
    do those that another sampler or a person put there. The shuffle makes a study that ends early a fair sample.

    Raises:
        SpaceError: The space has no finite grid, or too large a one.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self.grid = space.grid()

    @cached_property
    def _turns(self) -> list[int]:
        """The numbers of the configurations in the order of their turn."""
        turns: list[int] = np.random.default_rng(self.seed).permutation(len(self.grid)).tolist()
        return turns

    def remaining(self, study: Study) -> int:
        """How many configurations were never tried."""
        return len(self.grid) - len(self._tries(study, None))

    def propose(self, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        tries = self._tries(study, trial)
        turns = [n for n in self._turns if _agrees(self.grid[n], keep)] if keep else self._turns
        if not turns:
            return self.space.sample(self.generator(study, trial), keep)
        untried = next((n for n in turns if n not in tries), None)
        return self.grid[min(turns, key=lambda n: tries[n]) if untried is None else untried]

    def _tries(self, study: Study, current: FrozenTrial | None) -> Counter[int]:
        """How often each configuration was tried, by its number."""
        tries: Counter[int] = Counter()
        for trial in study._storage.get_all_trials(study._study_id, deepcopy=False):
            if current is not None and trial.number == current.number:
                continue
            waiting = trial.state is TrialState.WAITING
            params = trial.system_attrs.get("fixed_params", {}) if waiting else trial.params
            number = self._number(params)
            if number is not None:
                tries[number] += 1
        return tries

    def _number(self, params: Mapping[str, Any]) -> int | None:
        parameters = self.space.parameters
        active = [name for name in self.space.active(params) if name in params]
        try:
            return self.grid.number({name: parameters[name].cast(params[name]) for name in active})
        except SpaceError:  # a choice that the space no longer has
            return None


def _agrees(values: Mapping[str, Any], keep: Mapping[str, Any]) -> bool:
    return all(keep.get(name, value) == value for name, value in values.items())
