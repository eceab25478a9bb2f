"""One run of a suite: which there are, and how one is computed or found in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.search import arms, curves, prior, problems, speed, values
from benchmarks.search.cache import Cache

SUITES = ("values", "curves", "prior", "speed")

DEFAULT_ARMS = {
    "values": ("auto+rltune", "tpe", "tpe+rltune", "tpe-univariate", "gp@1", "cmaes", "qmc", "random"),
    "curves": (
        *(f"auto/{stopper}" for stopper in ("rltune.forecast", "none", "asha", "rltune.asha", "hyperband", "median")),
        *(f"tpe/{stopper}" for stopper in ("none", "asha", "rltune.asha", "hyperband", "median")),
        *("random/none", "random/asha"),
    ),
    "prior": ("rltune.auto", "tpe"),
    "speed": ("auto", "tpe", "tpe-univariate", "gp", "cmaes", "qmc", "random"),
}

N = {"values": 100, "curves": 50, "prior": 100, "speed": 0}
"""Evaluations, or whole trainings, of one run; in the suite `speed` it is the case that says it."""

GP_LIMIT = 1_000
"""Optuna's Gaussian process is not asked in larger studies: it takes minutes and gigabytes."""


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        case: The problem; in the suite `prior` with the kind of prior after a slash, in `speed` how many trials.
    """

    suite: str
    case: str
    arm: str
    seed: int
    n: int


def plan(
    suite: str, names: Sequence[str], arm_names: Sequence[str], n_seeds: int, n: int, data: Path | None
) -> Iterator[Run]:
    """Every run of a suite: seed by seed, so that an interrupted benchmark has something of everything.

    Args:
        arm_names: `NAME@K` has K seeds at most. Where an arm has a stopper, the same without one is added.
    """
    seeds = dict(_seeds(name, n_seeds) for name in arm_names)
    if suite == "curves":
        seeds = {name if "/" in name else f"{name}/none": k for name, k in seeds.items()}
        seeds = {f"{name.partition('/')[0]}/none": k for name, k in seeds.items()} | seeds
    else:
        seeds = {name.partition("/")[0]: k for name, k in seeds.items()}
    cases = list(_cases(suite, names, data))
    for seed in range(max(seeds.values())):
        for case in cases:
            for arm, k in seeds.items():
                if seed < k and not (arm == "gp" and suite == "speed" and int(case) > GP_LIMIT):
                    yield Run(suite, case, arm, seed, n)


def _seeds(name: str, n_seeds: int) -> tuple[str, int]:
    arm, _, at_most = name.partition("@")
    return arm, min(n_seeds, int(at_most)) if at_most else n_seeds


def _cases(suite: str, names: Sequence[str], data: Path | None) -> Iterator[str]:
    known = problems.names(data, curves=suite == "curves")
    chosen = [name for name in known if not names or name in names]
    if suite == "speed":
        yield from map(str, speed.SIZES)
    elif suite == "prior":
        for name in problems.names(None):
            if name in chosen and prior.takes_part(problems.load(name, data)):
                yield from (f"{name}/{kind}" for kind in prior.DISTANCES)
    else:
        yield from chosen


def execute(run: Run, data: Path | None, cache: Cache) -> dict[str, Any]:
    """The result of a run; `failed` with a sentence where the arm or the problem gave up, which is not kept.

    Nor are times: ours and a peer's are compared only where both were taken now, on this machine.
    """
    try:
        problem = problems.load(speed.PROBLEM if run.suite == "speed" else run.case.partition("/")[0], data)
        arm = arms.get(run.arm)
        key = {
            **asdict(run),
            "protocol": {"values": values, "curves": curves, "prior": prior, "speed": speed}[run.suite].PROTOCOL,
            "problem": problem.version,
            "version": arm.version,
        }
        if run.suite == "speed":
            return _compute(run, problem, arm)
        return cache.get(key, lambda: _compute(run, problem, arm))
    except Exception as error:  # noqa: BLE001 - an arm may fail in any way, and the others go on
        return {"failed": f"{type(error).__name__}: {error}"}


def _compute(run: Run, problem: problems.Problem, arm: arms.Arm) -> dict[str, Any]:
    match run.suite:
        case "values":
            return values.run(problem, arm, run.seed, run.n)
        case "curves":
            return curves.run(problem, arm, run.seed, run.n)
        case "prior":
            return prior.run(problem, arm, run.seed, run.n, run.case.partition("/")[2])
        case _:
            return speed.run(problem, arm, run.seed, int(run.case))
