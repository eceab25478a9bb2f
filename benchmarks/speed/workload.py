"""What every contestant is given to do, and how a rate and an idle share are taken from what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WORKERS = 2


def steady(ended: Sequence[float]) -> float:
    """Trials a second once the first of each worker has ended."""
    ended = sorted(ended)
    return (len(ended) - WORKERS) / (ended[-1] - ended[WORKERS - 1])


def idle_percent(jobs: Sequence[Mapping[str, float]]) -> float:
    """The share of the workers' time, from the first job's start to the last one's end, in which no job ran."""
    span = max(job["ended"] for job in jobs) - min(job["began"] for job in jobs)
    return 100 * (1 - sum(job["busy"] for job in jobs) / (WORKERS * span))


def distance(params: Mapping[str, float]) -> float:
    """A value that a sampler can learn something from."""
    return abs(params["gamma"] - 0.99) + abs(params["clip"] - 0.2) + params["entropy"]
