"""Any Optuna sampler, made to respect a search space.

Optuna has no constraints between parameters: its samplers propose `hidden_size` 512 with 12 heads and learn, if at
all, from the failure. Here such a draw never reaches the journal. It is drawn again, and if the sampler insists, the
nearest feasible configuration takes its place, in which only what the broken constraints tie together has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rltune.samplers.base import SpaceSampler
from rltune.samplers.view import StudyView, inherit_notes
from rltune.space import SearchSpace

REDRAWS = 4  # where a third of the draws is feasible, 1 proposal in 8 is a repaired one

_MODEL, _REPAIR = 0, 1  # streams of randomness


class FeasibleSampler(SpaceSampler):
    """Draws whole configurations from another sampler and lets only feasible ones through.

    A fresh inner sampler is made for each trial, seeded by the study's seed and the trial's ordinal. So the same
    study gives the same suggestion whichever process asks, which no sampler with a generator of its own can promise.

    Args:
        space: What may vary and what must hold.
        seed: The study's.
        make: Gives the inner sampler for a seed below 2**32. One that ignores the seed and returns the same object
            each time works, but what it draws then depends on what it drew before: not reproducible over a resume.
        redraws: How often an infeasible draw is repeated before it is repaired.
    """

    def __init__(
        self, space: SearchSpace, seed: int, make: Callable[[int], BaseSampler], redraws: int = REDRAWS
    ) -> None:
        super().__init__(space, seed)
        self._make = make
        self._redraws = redraws
        self._current: tuple[int, BaseSampler | None] = (-1, None)  # of the trial that is being started

    def __str__(self) -> str:
        return f"{type(self).__name__}({self._make(0)})"

    def propose(self, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        inner = self._inner(study, trial)
        view = StudyView(study, trial)
        values: dict[str, Any] = {}
        for _ in range(1 + self._redraws):
            values = self._draw(inner, view.study, trial, keep)
            if self.space.is_feasible(values):
                break
        else:
            values = self.space.nearest(values, self.generator(study, trial, _REPAIR), keep) or values
        view.commit()
        return values

    def _fresh(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        return self._make(int(self.entropy(study, trial, _MODEL).generate_state(1)[0]))

    def _inner(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        started, inner = self._current
        return inner if inner is not None and started == trial._trial_id else self._fresh(study, trial)

    def _draw(self, inner: BaseSampler, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        """One configuration, feasible or not: what the inner sampler draws together, then what it draws alone."""
        parameters = self.space.parameters
        known = inner.infer_relative_search_space(study, trial)
        relative = inner.sample_relative(study, trial, {name: d for name, d in known.items() if name in parameters})

        def choose(name: str) -> Any:
            distribution = parameters[name].distribution
            if name in keep:
                return keep[name]
            if distribution.single():
                return parameters[name].value_at(0)
            if name in relative and parameters[name].contains(parameters[name].cast(relative[name])):
                return relative[name]
            return inner.sample_independent(study, trial, name, distribution)

        return self.space.fill(choose)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        inner = self._fresh(study, trial)
        self._current = (trial._trial_id, inner)
        inner.before_trial(study, trial)
        inherit_notes(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._fresh(study, trial).after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Nothing: the seed follows from the study."""
