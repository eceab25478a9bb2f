"""Which trial comes next: baseline, then search, then finals, then the claim.

A pure function of the trials so far, so a study that was killed in any phase goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rltune.analysis.selection import since_improved
from rltune.objective import Constraint, Objective
from rltune.protocol.budget import Budget
from rltune.protocol.decision import Finals, arms_of
from rltune.protocol.population import CheckpointStep, Population
from rltune.protocol.seeds import SeedLedger
from rltune.records import Origin, TrialRecord, originals
from rltune.types import FRESH, Idle, Purpose


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
        finals: How the best are run again beside the default, and the winner once more; None without a default, and
            where the best of single runs is enough.
        patience: The search is over once so many of its trials in a row have not improved on the best.
        budget: What all of it may cost; with `n_search`, whichever comes first.
        wished_gain: A gain worth having; rltune says where the noise hides it.
        population: Which trials of the search go on from which others; None where all are independent.
    """

    objectives: Sequence[Objective]
    constraints: Sequence[Constraint]
    seeds: SeedLedger
    n_search: int
    default: Mapping[str, Any] | None = None
    baseline_seeds: int = 0
    finals: Finals | None = None
    patience: int | None = None
    budget: Budget | None = None
    wished_gain: float | None = None
    population: Population | None = None

    @property
    def n_trials(self) -> int:
        return self.baseline_seeds + self.n_search + self.n_after

    @property
    def n_after(self) -> int:
        """Runs after the search: of the finals and of the claim."""
        return 0 if self.finals is None else self.finals.n_runs + self.finals.n_claims

    @property
    def phases(self) -> dict[str, int]:
        """How many trials each is to have. The claim takes over what the finals leave."""
        finals = (0, 0) if self.finals is None else (self.finals.n_runs, self.finals.n_claims)
        names = (Purpose.BASELINE, Purpose.SEARCH, *FRESH)
        return dict(zip(map(str, names), (self.baseline_seeds, self.n_search, *finals), strict=True))

    def to_json(self) -> dict[str, Any]:
        """For the journal, where `rltune status` and the report find it."""
        return {
            "default": None if self.default is None else dict(self.default),
            "n_trials": self.n_trials,
            "phases": self.phases,
            "finals": None if self.finals is None else self.finals.to_json(),
            "patience": self.patience,
            "budget": None if self.budget is None else str(self.budget),
            "wished_gain": self.wished_gain,
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
        search_is_over = search_is_over or self.is_stale(records) or not self.has_room(records)
        if n_search < self.n_search and not search_is_over:
            first_is_default = n_search == 0 and not self.baseline_seeds
            return Request(Purpose.SEARCH, seed, self.default if first_is_default else None)
        if self.finals is None:
            return Idle.WAIT if _any_running(records) else Idle.DONE
        if _any_running(r for r in records if r.purpose not in FRESH):
            return Idle.WAIT
        return self._next_final(self.within_budget(records).finals, records)

    def within_budget(self, records: Sequence[TrialRecord]) -> Plan:
        """With as many finals and claims as the budget has full runs for, once it is known what one costs."""
        runs = None if self.budget is None else self.budget.n_runs(records)
        return self if runs is None or self.finals is None else replace(self, finals=self.finals.at_most(runs))

    def has_room(self, records: Sequence[TrialRecord]) -> bool:
        """Whether the budget has room for another trial of the search."""
        return self.budget is None or self.budget.has_room(records, self.within_budget(records).n_after)

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

    def _next_final(self, finals: Finals | None, records: Sequence[TrialRecord]) -> Request | Idle:
        run = None if finals is None else finals.next(arms_of(records, self.objectives[0], self.default))
        if run is None:
            return Idle.WAIT if _any_running(records) else Idle.DONE
        pool = self.seeds.select if run.purpose is Purpose.FINAL else self.seeds.claim
        return Request(run.purpose, pool(run.index), run.params)


def _any_running(records: Iterable[TrialRecord]) -> bool:
    return any(not r.state.is_finished() for r in records)
