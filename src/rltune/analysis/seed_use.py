"""Which seeds ran: the ledger's pools, and what each was used for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rltune.records import TrialRecord, own


@dataclass(frozen=True)
class SeedRuns:
    """The trials that ran with one seed, by number; a retry runs with the seed of what it repeats."""

    seed: int
    trials: tuple[int, ...]


@dataclass(frozen=True)
class SeedPool:
    """One pool of the ledger.

    Attributes:
        name: `search`, `select` or `claim`.
        first, stride: It holds every `stride`-th integer from `first` on.
        purposes: Trials by what they ran for; anything but a claim in the pool `claim` would spoil the headline.
        seeds: Those that were used, ascending.
    """

    name: str
    first: int
    stride: int
    purposes: Mapping[str, int]
    seeds: tuple[SeedRuns, ...]


def seed_use(records: Sequence[TrialRecord], ledger: Mapping[str, Mapping[str, int]]) -> tuple[SeedPool, ...]:
    """Sorts trials by the pool that their seed lies in, whatever they were meant for.

    Args:
        records: Every trial; those of an earlier study used seeds of another ledger.
        ledger: Start and stride of each pool, as the journal has them.
    """
    ran = [r for r in own(records) if r.seed is not None]
    return tuple(_pool(name, pool["first"], pool["stride"], ran) for name, pool in ledger.items())


def _pool(name: str, first: int, stride: int, ran: Sequence[TrialRecord]) -> SeedPool:
    inside = [r for r in ran if r.seed is not None and r.seed >= first and (r.seed - first) % stride == 0]
    by_seed: dict[int, list[int]] = {}
    for record in inside:
        assert record.seed is not None
        by_seed.setdefault(record.seed, []).append(record.number)
    purposes = Counter(r.purpose.value for r in inside)
    runs = tuple(SeedRuns(seed, tuple(trials)) for seed, trials in sorted(by_seed.items()))
    return SeedPool(name, first, stride, dict(purposes), runs)
