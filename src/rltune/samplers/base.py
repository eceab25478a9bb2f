"""What all samplers of ours share: each proposes whole, feasible configurations, and keeps no state of its own.

Optuna asks a sampler for parameters together (relative) or one by one (independent). Ours answer everything in one
go, since a constraint can only be judged on a whole configuration. What they draw is a function of the study's seed
and of the trial's ordinal, so that a study that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from numpy.random import Generator, SeedSequence
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from rltune.errors import SpaceError
from rltune.records import n_earlier, ordinal
from rltune.space import Parameter, SearchSpace


class SpaceSampler(BaseSampler, ABC):
    """Proposes configurations of one search space.

    Args:
        space: What may vary and what must hold.
        seed: The study's, from 0 on.

    Raises:
        ValueError: A seed below 0.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"a seed is 0 or more, got {seed}")
        self.space = space
        self.seed = seed

    @abstractmethod
    def propose(self, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        """A feasible value for every active parameter.

        Args:
            study: With all trials before this one.
            trial: The one to propose for.
            keep: Parameters whose values are decided, because somebody enqueued the trial; they stay as they are,
                also where that breaks a constraint.
        """

    def generator(self, study: Study, trial: FrozenTrial, stream: int = 0) -> Generator:
        """Randomness for one trial; another `stream` is independent of it."""
        return np.random.default_rng(self.entropy(study, trial, stream))

    def entropy(self, study: Study, trial: FrozenTrial, stream: int = 0) -> SeedSequence:
        """What `generator` starts from; in a study that knows an earlier one of the same seed, something else."""
        earlier = n_earlier(study)
        return SeedSequence([self.seed, ordinal(study, trial), stream, *([earlier] if earlier else [])])

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Every parameter that is no constant, active or not."""
        return {name: each for name, each in self.space.distributions.items() if not each.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The proposal, without constants and inactive parameters."""
        proposal = self.space.to_journal(self.propose(study, trial, self._decided(trial)))
        return {name: value for name, value in proposal.items() if name in search_space}

    def _decided(self, trial: FrozenTrial) -> dict[str, Any]:
        enqueued = trial.system_attrs.get("fixed_params", {})  # the key of `study.enqueue_trial`
        parameters = self.space.parameters
        return {name: _as_it_is(parameters[name], value) for name, value in enqueued.items() if name in parameters}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A draw from the prior, for what is asked beside the proposal: an inactive parameter, one of no space."""
        seed = self.entropy(study, trial, zlib.crc32(param_name.encode())).generate_state(1)[0]
        return optuna.samplers.RandomSampler(int(seed)).sample_independent(study, trial, param_name, param_distribution)


def _as_it_is(parameter: Parameter, value: Any) -> Any:
    """What an enqueued value stands for; one that the space does not have stays what it is."""
    try:
        return parameter.cast(value)
    except SpaceError:
        return value
