"""The seed ledger: three pools of trainer seeds that cannot meet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice

import numpy as np

_POOLS = ("search", "select", "claim")


@dataclass(frozen=True)
class SeedLedger:
    """Seeds for the trials of one study.

    A pool is every third integer from a start that follows from the study's seed, so the pools are disjoint however
    many seeds are drawn, and the ledger is the same after a restart.

    Attributes:
        first: The first seed of the first pool; below 2^30, so that seeds stay 32-bit integers.
        taken: Seeds of an earlier study whose trials this one knows: none of them would be fresh.
    """

    first: int
    taken: frozenset[int] = frozenset()

    @classmethod
    def of(cls, study_seed: int) -> SeedLedger:
        return cls(int(np.random.SeedSequence(study_seed).generate_state(1)[0] % 2**30))

    def search(self, index: int) -> int:
        """For the baseline and the trials that a sampler proposes."""
        return self._seed(0, index)

    def select(self, index: int) -> int:
        """For the finals: fresh to every configuration, common to all finalists, so that they are compared in pairs."""
        return self._seed(1, index)

    def claim(self, index: int) -> int:
        """For the numbers of the headline."""
        return self._seed(2, index)

    def to_json(self) -> dict[str, dict[str, int]]:
        """Start and stride of each pool, for the journal."""
        return {name: {"first": self.first + pool, "stride": len(_POOLS)} for pool, name in enumerate(_POOLS)}

    def _seed(self, pool: int, index: int) -> int:
        fresh = (seed for seed in count(self.first + pool, len(_POOLS)) if seed not in self.taken)
        return next(islice(fresh, index, None))
