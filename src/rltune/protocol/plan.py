"""Which trial comes next: baseline, then search, then finals.

A pure function of the trials so far, so a study that was killed in any phase goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from rltune.analysis.selection import finalists, since_improved
from rltune.objective import Constraint, Objective
from rltune.protocol.population import CheckpointStep, Population
from rltune.protocol.seeds import SeedLedger
from rltune.records import Origin, TrialRecord, originals
from rltune.types import Idle, Purpose


@dataclass(frozen=True)
class Request:
    """A trial to run.

    Attributes:
        params: The configuration; None to ask the sampler.
        origin: What it takes the place of in a population, and starts from.
        retry_of: The trial that it repeats.
    """

    purpose: Purpose
    seed: int
    params: Mapping[str, Any] | None = None
    origin: Origin | None = None
    retry_of: int | None = None


@dataclass(frozen=True)
class Plan:
    """The trials of a study, in phases.

    Attributes:
        n_search: Trials that the sampler proposes; the default configuration, where there is one, is the first of them
            unless it is run as the baseline.
        default: The user's own configuration; None where the space names none.
        baseline_seeds: Runs of the default before the search.
        finalists: How many of the best are run again.
        final_seeds: Fresh seeds for each finalist and for the default.
        patience: The search is over once so many of its trials in a row have not improved on the best.
        population: Which trials of the search go on from which others; None where all are independent.
    """

    objectives: Sequence[Objective]
    constraints: Sequence[Constraint]
    seeds: SeedLedger
    n_search: int
    default: Mapping[str, Any] | None = None
    baseline_seeds: int = 0
    finalists: int = 0
    final_seeds: int = 0
    patience: int | None = None
    population: Population | None = None

    @property
    def n_finals(self) -> int:
        arms = self.finalists + (self.default is not None)
        return arms * self.final_seeds if self.finalists else 0

    @property
    def n_trials(self) -> int:
        return self.baseline_seeds + self.n_search + self.n_finals

    def to_json(self) -> dict[str, Any]:
        """For the journal, where `rltune status` and the report find it."""
        return {
            "default": None if self.default is None else dict(self.default),
            "n_trials": self.n_trials,
            "phases": {"baseline": self.baseline_seeds, "search": self.n_search, "final": self.n_finals},
            "finalists": self.finalists,
            "final_seeds": self.final_seeds,
            "patience": self.patience,
            "seeds": self.seeds.to_json(),
        }

    def next(
        self,
        records: Sequence[TrialRecord],
        *,
        search_is_over: bool = False,
        checkpoint: CheckpointStep = lambda _number, _step: None,
    ) -> Request | Idle:
        """What to run next.

        Args:
            records: Every trial so far, running ones included.
            search_is_over: Time for the search is up: whatever runs may end, then come the finals.
            checkpoint: What members of a population can go on from.
        """
        begun = Counter(r.purpose for r in originals(records))
        n_baseline, n_search = begun[Purpose.BASELINE], begun[Purpose.SEARCH]
        seed = self.seeds.search(n_baseline + n_search)
        if n_baseline < self.baseline_seeds:
            return Request(Purpose.BASELINE, seed, self.default)
        if self.population is not None and not search_is_over:
            return self._next_member(self.population, records, checkpoint, seed)
        if n_search < self.n_search and not search_is_over and not self.is_stale(records):
            first_is_default = n_search == 0 and not self.baseline_seeds
            return Request(Purpose.SEARCH, seed, self.default if first_is_default else None)
        if not self.finalists:
            return Idle.WAIT if _any_running(records) else Idle.DONE
        if _any_running(r for r in records if r.purpose is not Purpose.FINAL):
            return Idle.WAIT
        return self._next_final(records)

    def room(self, records: Sequence[TrialRecord]) -> int:
        """How many trials of the search may begin yet."""
        return self.n_search - sum(r.purpose is Purpose.SEARCH for r in originals(records))

    def is_stale(self, records: Sequence[TrialRecord]) -> bool:
        """Whether the last `patience` trials of the search have not improved on the best before them."""
        return self.patience is not None and since_improved(records, self.objectives) >= self.patience

    def _next_member(
        self, population: Population, records: Sequence[TrialRecord], checkpoint: CheckpointStep, seed: int
    ) -> Request | Idle:
        room = self.room(records)
        found = population.next(records, checkpoint, room=room > 0)
        if isinstance(found, TrialRecord):
            assert found.seed is not None
            return Request(Purpose.SEARCH, found.seed, found.params, found.origin, found.number)
        if isinstance(found, Idle):
            return found
        return Request(Purpose.SEARCH, seed, self.default if room == self.n_search else None, found)

    def _next_final(self, records: Sequence[TrialRecord]) -> Request | Idle:
        """Seed by seed rather than arm by arm: cut short, every arm has had as many runs."""
        searched = [r for r in records if r.purpose is not Purpose.FINAL]
        arms = [r.params for r in finalists(searched, self.objectives[0], self.finalists, exclude=self.default)]
        if self.default is not None and arms:
            arms.append(dict(self.default))
        finals = [r for r in originals(records) if r.purpose is Purpose.FINAL]
        run = {(_key(r.params), r.seed) for r in finals}
        # A value that the study cannot hold comes back as another one: what was asked for counts, not what it became.
        for index in range(self.final_seeds if len(finals) < len(arms) * self.final_seeds else 0):
            for params in arms:
                seed = self.seeds.select(index)
                if (_key(params), seed) not in run:
                    return Request(Purpose.FINAL, seed, params)
        return Idle.WAIT if _any_running(records) else Idle.DONE


def _any_running(records: Iterable[TrialRecord]) -> bool:
    return any(r.state is TrialState.RUNNING for r in records)


def _key(params: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset(params.items())
