"""How much a result varies where nothing but the seed does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from rltune.records import TrialRecord, effective
from rltune.types import Purpose


@dataclass(frozen=True)
class Noise:
    """The default's runs on several seeds.

    Attributes:
        n: Runs with a feasible value.
        sd: Sample standard deviation; None below two runs.
    """

    n: int
    mean: float
    sd: float | None


def noise(records: Iterable[TrialRecord]) -> Noise | None:
    """From the runs of the baseline; None where it has none with a value."""
    runs = [r for r in effective(records) if r.purpose is Purpose.BASELINE and r.feasible]
    values = [r.value for r in runs if r.value is not None]
    if not values:
        return None
    return Noise(len(values), fmean(values), stdev(values) if len(values) > 1 else None)
