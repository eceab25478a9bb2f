"""Trains the configurations of the table, one process for each core, and keeps every run as a line of a file.

The seeds of a configuration follow each other, so what is there at any time is whole rows; what is in the file is not
trained again. A run takes about six seconds of one core.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.grpo.space import DEFAULT, crossings, overrides, spread
from benchmarks.grpo.table import METRICS, OBJECTIVE

EXAMPLE = Path(__file__).parents[2] / "examples" / "grpo_digits"

Run = dict[str, Any]
"""A line of the file: `configuration` (its number), `seed`, `params`, `seconds` of one core, `steps`, and `curves`."""


@dataclass
class _Curves:
    """What the example's training reports to."""

    seed: int
    directory: Path = Path()
    resume_from: Path | None = None
    steps: list[int] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: Path | None = None) -> None:  # noqa: ARG002
        self.steps.append(step)
        for name in METRICS:
            self.metrics.setdefault(name, []).append(metrics[name])


def train(number: int, params: Mapping[str, Any], seed: int) -> Run:
    """One training, in this process."""
    sys.path[:0] = [str(EXAMPLE)]
    import train as example
    from ruamel.yaml import YAML

    base = example.flatten(YAML(typ="safe", pure=True).load(EXAMPLE / "config.yaml"))
    curves = _Curves(seed)
    start = time.process_time()
    example.train(base | overrides(params), curves)
    seconds = round(time.process_time() - start, 3)
    about = {"configuration": number, "seed": seed, "params": params, "seconds": seconds}
    return {**about, "steps": curves.steps, "curves": curves.metrics}


def read(path: Path) -> list[Run]:
    """The runs of a file, without a last line that was cut short."""
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines]


def _drop_cut_line(path: Path) -> None:
    """What a process left that was ended as it wrote, so that the next line begins at its beginning."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")


def measure(path: Path, n_configurations: int, n_seeds: int, workers: int) -> Iterator[Run]:
    """Trains what the file lacks, and adds it there; yields each run as it ends.

    The second half waits for the whole first half, of whose best it is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_cut_line(path)
    half = n_configurations // 2
    points = [dict(DEFAULT), *spread(half - 1)]
    yield from _train(path, dict(enumerate(points)), n_seeds, workers)
    of = {number: [run for run in read(path) if run["configuration"] == number] for number in range(half)}
    scores = np.array([np.mean([_score(run) for run in of[number]]) for number in range(half)])
    children = islice(crossings(points, scores), n_configurations - half)
    yield from _train(path, dict(enumerate(children, start=half)), n_seeds, workers)


def _score(run: Run) -> float:
    value = run["curves"][OBJECTIVE][-1]
    return value if math.isfinite(value) else 0.0


def _train(path: Path, points: Mapping[int, Mapping[str, Any]], n_seeds: int, workers: int) -> Iterator[Run]:
    done = {(run["configuration"], run["seed"]) for run in read(path)}
    jobs = [
        (number, params, seed)
        for number, params in points.items()
        for seed in range(n_seeds)
        if (number, seed) not in done
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        path.open("a", encoding="utf-8") as file,
    ):
        pending: set[Future[Run]] = set()
        waiting = iter(jobs)
        while True:
            pending |= {pool.submit(train, *job) for job in islice(waiting, 2 * workers - len(pending))}
            if not pending:
                return
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ended:
                run = future.result()
                file.write(json.dumps(run) + "\n")
                file.flush()
                yield run
