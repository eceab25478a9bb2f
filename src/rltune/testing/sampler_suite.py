"""The contract of a sampler, as tests: inherit `SamplerSuite` and say how to make one.

::

    class TestMine(SamplerSuite):
        def make_sampler(self, space, seed, n_objectives=1):
            return rltune.samplers.make_sampler(
                "my_package:MySampler", space=space, seed=seed, n_objectives=n_objectives
            )

Every parameter of its search spaces has a finite grid, so that a sampler that needs one passes too.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from rltune.errors import InputError
from rltune.space import SearchSpace

ALL_KINDS: Mapping[str, Any] = {
    "real": {"type": "float", "min": -1.0, "max": 2.0, "n_points": 3},
    "real_log": {"type": "float", "min": 1e-6, "max": 1e-2, "log": True, "n_points": 3},
    "real_or_zero": {"type": "float", "min": 1e-4, "max": 0.1, "log": True, "zero": 0.3, "n_points": 2},
    "real_steps": {"type": "float", "min": 0.1, "max": 0.9, "step": 0.2},
    "whole": {"type": "int", "min": 1, "max": 4},
    "whole_log": {"type": "int", "min": 1, "max": 1000, "log": True, "n_points": 3},
    "whole_steps": {"type": "int", "min": 8, "max": 32, "step": 8},
    "choice": {"type": "categorical", "choices": ["adamw", True, None, 8, 0.5]},
    "constant": {"type": "int", "min": 7, "max": 7},
    "policy.lr-scale/x": {"type": "categorical", "choices": [1, 2]},
}

CONDITIONAL: Mapping[str, Any] = {  # declared before what they depend on, on purpose
    "nesterov": {"type": "categorical", "choices": [True, False], "when": "momentum > 0.85"},
    "momentum": {"type": "float", "min": 0.8, "max": 0.99, "n_points": 3, "when": "optimizer == 'muon'"},
    "beta2": {"type": "float", "min": 0.9, "max": 0.999, "n_points": 3, "when": "optimizer == 'adamw'"},
    "optimizer": {"type": "categorical", "choices": ["adamw", "muon", "sgd"]},
    "lr": {"type": "float", "min": 1e-5, "max": 1e-2, "log": True, "n_points": 3},
    "layers": {"type": "int", "min": 1, "max": 4},
}

CONSTRAINED: Mapping[str, Any] = {  # the example of the guide, with 12 of its 16 pairs allowed
    "hidden_size": {"type": "categorical", "choices": [512, 768, 1024, 1536]},
    "num_attention_heads": {"type": "categorical", "choices": [8, 12, 16, 24]},
    "num_layers": {"type": "int", "min": 6, "max": 12},
    "lr": {"type": "float", "min": 1e-5, "max": 1e-3, "log": True, "n_points": 3},
    "prompts": {"type": "int", "min": 1, "max": 32, "log": True},
    "generations": {"type": "int", "min": 1, "max": 16, "log": True},
}
CONSTRAINTS = (
    "hidden_size % num_attention_heads == 0",
    "16 <= batch <= 256",
)
DERIVED: Mapping[str, Any] = {"batch": "prompts * generations"}


class SamplerSuite:
    """What every sampler must do.

    Attributes:
        n_asks: How many suggestions the longest tests ask for; fewer for a sampler that thinks long.
    """

    n_asks: ClassVar[int] = 200

    def make_sampler(self, space: SearchSpace, seed: int, n_objectives: int = 1) -> BaseSampler:
        """The sampler under test; `InputError` where it cannot do with so many objectives."""
        raise NotImplementedError

    def test_values_lie_in_their_ranges_and_have_their_types(self) -> None:
        space = SearchSpace.from_mapping(ALL_KINDS)
        study = self._study(space)
        for _ in range(min(self.n_asks, 60)):
            trial, params = _ask(study, space)
            assert list(params) == list(space.parameters)
            for name, value in params.items():
                assert space.parameters[name].contains(value), (name, value)
                assert type(value) in _types(space, name), (name, value)
                assert space.parameters[name].cast(trial.params[name]) == value
            assert params["whole_steps"] % 8 == 0
            assert params["real_steps"] in {0.1, 0.3, 0.5, 0.7, 0.9}  # exactly: no 0.30000000000000004
            study.tell(trial, _loss(params))

    def test_only_active_parameters_are_proposed(self) -> None:
        space = SearchSpace.from_mapping(CONDITIONAL)
        study = self._study(space)
        seen = set()
        for _ in range(min(self.n_asks, 60)):
            trial, params = _ask(study, space)
            seen.add(params["optimizer"])
            assert ("momentum" in params) == (params["optimizer"] == "muon")
            assert ("beta2" in params) == (params["optimizer"] == "adamw")
            assert ("nesterov" in params) == (params.get("momentum", 0.0) > 0.85)
            assert trial.params == params  # nothing else in the journal
            study.tell(trial, _loss(params))
        assert len(seen) > 1

    def test_constraints_are_never_violated(self) -> None:
        space = _constrained()
        study = self._study(space)
        for _ in range(self.n_asks):
            trial, params = _ask(study, space)
            assert space.violations(params) == []
            assert params["hidden_size"] % params["num_attention_heads"] == 0
            assert params["batch"] == params["prompts"] * params["generations"]
            study.tell(trial, _loss(params))

    def test_failed_pruned_and_infeasible_trials_do_no_harm(self) -> None:
        space = _constrained()
        study = self._study(space)
        for index in range(min(self.n_asks, 40)):
            trial, params = _ask(study, space)
            assert space.violations(params) == []
            ending = index % 4
            if ending == 0:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # Optuna's, that NaN is a failure
                    study.tell(trial, math.nan)
            elif ending == 1:
                trial.report(_loss(params), 1)
                _tell_quietly(study, trial, None, TrialState.PRUNED)
            elif ending == 2:
                study.tell(trial, state=TrialState.FAIL)
            else:
                trial.set_constraint("memory_usage", 1.0 if index % 8 == 3 else -1.0)
                _tell_quietly(study, trial, _loss(params))

    def test_several_trials_may_run_at_once(self) -> None:
        space = _constrained()
        study = self._study(space)
        for _ in range(4 if self.n_asks >= 40 else 2):
            running = [_ask(study, space) for _ in range(min(6, self.n_asks // 2))]
            assert all(space.violations(params) == [] for _, params in running)
            assert len({tuple(params.items()) for _, params in running}) > 1
            for trial, params in reversed(running):
                study.tell(trial, _loss(params))

    @pytest.mark.parametrize("constrained", [True, False], ids=["constrained", "conditional"])
    def test_the_same_journal_gives_the_same_suggestions(self, constrained: bool) -> None:
        space = _constrained() if constrained else SearchSpace.from_mapping(CONDITIONAL)
        journal = _Journal()
        study = self._study(space, journal)
        for index in range(min(self.n_asks, 16)):
            trial, params = _ask(study, space)
            if index not in (3, 7):  # one that stays running, one that fails
                study.tell(trial, _loss(params))
            elif index == 7:
                study.tell(trial, state=TrialState.FAIL)
        resumed = self._study(space, _Journal(journal.lines))
        assert [self._next(study, space) for _ in range(3)] == [self._next(resumed, space) for _ in range(3)]

    def test_the_seed_matters(self) -> None:
        space = _constrained()
        draws = [[self._next(self._study(space, seed=seed), space) for _ in range(1)] for seed in range(6)]
        assert any(draw != draws[0] for draw in draws)

    def test_two_objectives(self) -> None:
        space = _constrained()
        try:
            sampler = self.make_sampler(space, 0, n_objectives=2)
        except InputError:
            pytest.skip("takes one objective")
        study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
        for _ in range(min(self.n_asks, 30)):
            trial, params = _ask(study, space)
            assert space.violations(params) == []
            study.tell(trial, [_loss(params), float(params["num_layers"])])

    def test_what_is_enqueued_is_kept(self) -> None:
        space = _constrained()
        study = self._study(space)
        whole = {"hidden_size": 768, "num_attention_heads": 12, "num_layers": 8, "lr": 1e-4, "prompts": 8}
        for enqueued in ({"hidden_size": 512}, {"num_attention_heads": 24}, {"prompts": 1}, whole):
            study.enqueue_trial(enqueued)
        for enqueued in ({"hidden_size": 512}, {"num_attention_heads": 24}, {"prompts": 1}, whole):
            trial, params = _ask(study, space)
            assert params.items() >= enqueued.items()
            assert space.violations(params) == []
            study.tell(trial, _loss(params))

    def _study(self, space: SearchSpace, journal: BaseJournalBackend | None = None, seed: int = 0) -> optuna.Study:
        storage = JournalStorage(journal) if journal is not None else None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sampler = self.make_sampler(space, seed)
        return optuna.create_study(
            study_name="suite", storage=storage, sampler=sampler, pruner=optuna.pruners.NopPruner(), load_if_exists=True
        )

    def _next(self, study: optuna.Study, space: SearchSpace) -> dict[str, Any]:
        trial, params = _ask(study, space)
        study.tell(trial, _loss(params))
        return params


class _Journal(BaseJournalBackend):
    """A journal that is a list of lines, so that a test can copy it."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = list(lines)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return (json.loads(line) for line in self.lines[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.lines += map(json.dumps, logs)


def _constrained() -> SearchSpace:
    return SearchSpace.from_mapping(CONSTRAINED, CONSTRAINTS, DERIVED)


def _ask(study: optuna.Study, space: SearchSpace) -> tuple[optuna.Trial, dict[str, Any]]:
    """One suggestion; a warning would reach the user once for every trial, so it is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trial = study.ask()
        return trial, space.suggest(trial)


def _tell_quietly(
    study: optuna.Study, trial: optuna.Trial, value: float | None, state: TrialState | None = None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.tell(trial, value, state=state)


def _types(space: SearchSpace, name: str) -> set[type]:
    distribution = space.distributions[name]
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return {type(choice) for choice in distribution.choices}
    return {float if isinstance(distribution, optuna.distributions.FloatDistribution) else int}


def _loss(params: Mapping[str, Any]) -> float:
    """Some smooth, deterministic number."""
    numbers = [float(value) for value in params.values() if isinstance(value, int | float)]
    return sum(math.log1p(abs(number)) for number in numbers) + 0.1 * sum(map(len, map(str, params.values())))
