"""How well early values rank the end, and what is advised on it."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.trial import TrialState
from scipy.stats import kendalltau

from analysis.study_records import trial
from rltune.analysis.advice import after
from rltune.analysis.early import early_ranks
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.space import SearchSpace

LOSS = Objective("loss", "minimize")
SPACE = SearchSpace.from_mapping({"x": {"type": "float", "min": 0.0, "max": 100.0}})


def curves(finals: np.ndarray, share_kept: float, rng: np.random.Generator) -> list[TrialRecord]:
    """Trainings of nine steps whose values tell of the end up to noise that goes as the end nears."""
    steps = np.arange(1, 10)
    noise = rng.standard_normal((len(finals), 9)) * (1 - steps / 9) * (1 - share_kept)
    told = share_kept * finals[:, None] + (1 - share_kept) * finals[:, None] * steps / 9 + 3 * noise
    return [
        trial(i, float(final), curve=dict(zip(steps.tolist(), (*row[:-1].tolist(), float(final)), strict=True)))
        for i, (final, row) in enumerate(zip(finals, told, strict=True))
    ]


def stopped(number: int) -> TrialRecord:
    return trial(number, 1.0, curve={1: 1.0}, state=TrialState.PRUNED, stopped_by="pruner")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class TestEarlyRanks:
    def test_kendalls_tau_of_the_value_at_each_share(self, rng):
        records = curves(rng.permutation(20.0 * np.arange(20) // 30), 0.5, rng)  # with ties
        found = early_ranks(records)
        assert found.n == 20
        final = [r.value for r in records]
        for tau, step in zip(found.taus, (1, 3, 6), strict=True):
            means = [np.mean([r.curve[s] for s in _since(step)]) for r in records]
            assert tau == pytest.approx(kendalltau(means, final).statistic)

    def test_only_what_ran_to_its_end_counts(self, rng):
        records = curves(np.arange(10.0), 1.0, rng)
        ended_early = trial(11, 0.0, curve={1: 9.0, 2: 0.0}, stopped_by="early_stopping")
        assert early_ranks([*records, stopped(10), ended_early]) == early_ranks(records)

    def test_nothing_is_said_of_a_few(self, rng):
        assert early_ranks(curves(np.arange(7.0), 1.0, rng)) is None
        assert early_ranks([trial(i, float(i)) for i in range(20)]) is None

    def test_early_values_that_are_all_equal_say_nothing(self):
        records = [trial(i, float(i), curve={**dict.fromkeys(range(1, 9), 5.0), 9: float(i)}) for i in range(10)]
        assert early_ranks(records).taus == (None, None, None)


class TestAdvice:
    def test_where_early_values_mislead_and_trials_were_stopped(self, rng):
        records = [*curves(np.arange(12.0), 0.0, rng), stopped(12), stopped(13)]
        (advice,) = self.of_kind(records)
        assert "and 2 were stopped early" in advice.message
        assert "`pruner: none`" in advice.hint

    def test_where_nothing_is_stopped_though_early_values_tell(self, rng):
        records = curves(np.arange(20.0), 1.0, rng)
        (advice,) = self.of_kind(records)
        assert "ended ahead in 100% of pairs, and none was stopped early" in advice.message
        assert self.of_kind([*records, stopped(20)]) == []

    def of_kind(self, records: list[TrialRecord]):
        return [a for a in after(SPACE, records, LOSS, {}, early_ranks(records)) if a.kind == "early_values"]


def _since(step: int) -> range:
    """The steps of nine that are averaged for a ninth, a third, two thirds: those since the fraction before."""
    return {1: range(1, 2), 3: range(3, 4), 6: range(6, 7)}[step]
