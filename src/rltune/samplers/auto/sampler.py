"""Optuna's side of the search: inside a study file, and in a plain `optuna.create_study(sampler=AutoSampler())`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import InputError, Problem
from rltune.records import from_trial, ordinal
from rltune.samplers.auto.encode import Columns
from rltune.samplers.auto.kernel import Array
from rltune.samplers.auto.observed import Reader
from rltune.samplers.auto.prior import drawn_to_priors, log_prior
from rltune.samplers.auto.recommend import Recommendation, recommend
from rltune.samplers.auto.search import EARLY, Search, refitted_at
from rltune.samplers.auto.structure import Structure, structure
from rltune.samplers.base import SpaceSampler
from rltune.samplers.sobol import SobolSampler
from rltune.space import NO_DEFAULT, SearchSpace

FEWEST = 3  # values before a model says anything


def auto(space: SearchSpace, seed: int, *, n_startup_trials: int | None = None) -> SpaceAutoSampler:
    """The search of a study file: `algorithm: auto`, or `bayesian`.

    Args:
        space: What may vary and what must hold. Around its defaults the best is expected, with some doubt.
        seed: The study's.
        n_startup_trials: Trials before the model is asked; None for one more than there are parameters, from 4 to 10.

    Raises:
        InputError: `n_startup_trials` is below 1.
    """
    return SpaceAutoSampler(space, seed, n_startup_trials, lambda trial: from_trial(trial).params)


class SpaceAutoSampler(SpaceSampler):
    """A Gaussian process with learned noise over a search space.

    The first trial is the space's defaults, where it has them; evenly spread ones follow, and the model decides from
    then on. The best of those first trials is run once more, unless one was already: it tells whether equal
    configurations give equal values.

    Args:
        space, seed, n_startup_trials: As for `auto`.
        params_of: What a trial stands for in the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        n_startup_trials: int | None,
        params_of: Callable[[FrozenTrial], Mapping[str, Any]],
    ) -> None:
        super().__init__(space, seed)
        _check_startup(n_startup_trials)
        self.columns = Columns(space)
        self.n_startup_trials = min(max(4, len(self.columns) + 1), 10) if n_startup_trials is None else n_startup_trials
        self._sobol = SobolSampler(space, seed)
        self._reader = Reader(self.columns, params_of)
        self._search = Search(self.columns, log_prior(self.columns))

    def propose(self, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        if not len(self.columns):
            return self.space.sample(self.generator(study, trial), keep)
        seen = self._reader.read(study, trial)
        n_begun = len(np.unique(seen.begun, axis=0)) if len(seen.y) < EARLY else EARLY
        if not n_begun and not keep and (default := self.space.defaults()) is not None:
            return default
        nothing_measured = not (seen.doubt == 0).any()  # all were cut short, or still run
        if n_begun < self.n_startup_trials or len(seen.y) < FEWEST or nothing_measured:
            return self._start(study, trial, keep)
        kept = {
            j: each.write(keep[name]) for j, (name, each) in enumerate(self.columns.columns.items()) if name in keep
        }

        def allowed(row: Array) -> bool:
            return not self.space.constraints or self.space.is_feasible({**self.columns.read(row), **keep})

        rng = self.generator(study, trial)
        row = self._search.next(seen, rng, kept, allowed)
        if row is None:  # everything was tried, or nothing goes with what is kept
            return self._sobol.propose(study, trial, keep)
        return {**self.columns.read(row), **keep}

    def _start(self, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        """Evenly spread; every second one as the priors say, so that a wrong one costs half of the start at most."""
        point = self._sobol.propose(study, trial, keep)
        believed = any(p.prior is not NO_DEFAULT for p in self.space.parameters.values())
        if keep or not believed or ordinal(study, trial) % 2 == 0:
            return point
        drawn = self.space.from_unit(drawn_to_priors(self.space, self.space.to_unit(point)))
        return drawn if self.space.is_feasible(drawn) else point


class AutoSampler(BaseSampler):
    """The same search in a study of Optuna's own, whose objective asks for its parameters as it runs.

    ::

        study = optuna.create_study(sampler=rltune.AutoSampler(seed=0))
        study.optimize(objective, n_trials=50)

    What the objective may ask for is read off the finished trials, conditions included; a parameter whose range moves,
    or that comes and goes for no reason that can be seen, is left to Optuna's TPE. No PyTorch is needed.

    Args:
        seed: The same seed and the same trials give the same suggestion; None for another one each time.
        n_startup_trials: Trials before the model is asked; None for one more than there are parameters, from 4 to 10.

    Raises:
        InputError: A `seed` below 0, or `n_startup_trials` below 1.
    """

    def __init__(self, seed: int | None = None, *, n_startup_trials: int | None = None) -> None:
        _check_startup(n_startup_trials)
        if seed is not None and seed < 0:
            raise InputError([Problem(("seed",), f"must be 0 or more, got {seed}")])
        self._n_startup_trials = n_startup_trials
        self._given_seed = seed
        self.reseed_rng()
        self._found: tuple[object, Structure] | None = None  # both are functions of the trials
        self._known: tuple[Structure, SpaceAutoSampler] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For Ray Tune and others that save a sampler with `pickle`: without what is computed again from the trials."""
        return {**self.__dict__, "_found": None, "_known": None}

    def reseed_rng(self) -> None:
        """Another seed, unless one was given: for processes that were forked."""
        self._seed = (
            int(np.random.SeedSequence().generate_state(1)[0]) if self._given_seed is None else self._given_seed
        )

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Every parameter of which is known when it is asked for.

        Args:
            study: With all trials before this one.
            trial: The one to propose for.
        """
        return dict(self._structure(study).distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every known parameter but those whose condition does not hold.

        Args:
            study: With all trials before this one.
            trial: The one to propose for.
            search_space: What `infer_relative_search_space` has given.
        """
        if not search_space:
            return {}
        found = self._structure(study)
        keep = found.write(trial.system_attrs.get("fixed_params", {}))
        return found.read(self._sampler(found).propose(study, trial, keep))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value from Optuna's TPE: for what no model knows yet.

        Args:
            study: With all trials before this one.
            trial: The one to propose for.
            param_name: What is asked for.
            param_distribution: Its range.
        """
        seed = np.random.SeedSequence([self._seed, trial.number, zlib.crc32(param_name.encode())]).generate_state(1)[0]
        return TPESampler(multivariate=False, seed=int(seed)).sample_independent(
            study, trial, param_name, param_distribution
        )

    def recommend(self, study: Study) -> Recommendation:
        """What to keep of a study with one objective: the best posterior mean, which is less a matter of luck.

        Returns:
            Its `index` counts the complete trials, as `study.get_trials(states=[TrialState.COMPLETE])` gives them.

        Raises:
            InputError: No complete trial keeps the constraints, or there are several objectives.
        """
        complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        usable = [i for i, trial in enumerate(complete) if from_trial(trial).feasible and from_trial(trial).has_result]
        if not usable or len(study.directions) > 1:
            message = f"{len(usable)} trials are complete and feasible, with {len(study.directions)} objectives"
            raise InputError([Problem((), message, "one is recommended for one objective, from one trial on")])
        found = structure([complete[i] for i in usable])
        params = [found.write(complete[i].params) for i in usable]
        values = [float(complete[i].values[0]) for i in usable]
        direction: Literal["minimize", "maximize"]
        direction = "maximize" if study.direction is StudyDirection.MAXIMIZE else "minimize"
        kept = recommend(found.space, params, values, direction)
        return replace(kept, index=usable[kept.index])

    def _sampler(self, found: Structure) -> SpaceAutoSampler:
        if self._known is None or self._known[0] != found:
            space, startup = found.space, self._n_startup_trials
            self._known = found, SpaceAutoSampler(space, self._seed, startup, lambda t: found.write(t.params))
        return self._known[1]

    def _structure(self, study: Study) -> Structure:
        """Of the first complete trials, whose number grows in steps of a tenth: it hardly changes after a few."""
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        first = complete[: refitted_at(len(complete))]
        key = (study.study_name, tuple(trial.number for trial in first))
        if self._found is None or self._found[0] != key:
            self._found = key, structure(first)
        return self._found[1]


def _check_startup(n_startup_trials: int | None) -> None:
    if n_startup_trials is not None and n_startup_trials < 1:
        raise InputError([Problem(("n_startup_trials",), f"must be 1 or more, got {n_startup_trials}")])
