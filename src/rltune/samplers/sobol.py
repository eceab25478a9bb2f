"""Sobol points: random search that leaves no large holes.

Sobol 1967, scrambled after Owen 1998 in the form of Matoušek (SciPy's linear matrix scramble with a digital shift).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from rltune.records import ordinal
from rltune.samplers.base import SpaceSampler
from rltune.space import SearchSpace

BLOCK = 64  # points at a time; SciPy asks for a power of two
SCANNED = 2**16  # points that are tried in all; about a second


class SobolSampler(SpaceSampler):
    """The n-th trial gets the n-th feasible point of one scrambled sequence, which the study's seed chooses.

    Points that break a constraint are skipped, so the others stay evenly spread. Where fewer than one point in
    thousands is feasible, the sequence is given up for random draws.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self._found: list[dict[str, Any]] = []  # a function of space and seed, grown on demand
        self._points = islice(self._sequence(), SCANNED)

    def propose(self, study: Study, trial: FrozenTrial, keep: Mapping[str, Any]) -> dict[str, Any]:
        rng = self.generator(study, trial)
        point = self._point(ordinal(study, trial)) or self.space.sample(rng)
        return (self.space.nearest(point, rng, keep) or {**point, **keep}) if keep else point

    def _point(self, index: int) -> dict[str, Any] | None:
        while len(self._found) <= index:
            point = next(self._points, None)
            if point is None:
                return None
            if self.space.is_feasible(point):
                self._found.append(point)
        return self._found[index]

    def _sequence(self) -> Any:
        from scipy.stats import qmc  # 0.5 s

        scramble = np.random.default_rng(np.random.SeedSequence([self.seed, len(self.space.parameters)]))
        sequence = qmc.Sobol(len(self.space.parameters), scramble=True, seed=scramble)
        while True:
            for unit in sequence.random(BLOCK):
                yield self.space.from_unit(unit)
