"""What is searched: losses whose truth is known, so that a search is judged by what it found and not by its luck.

Others' tables of real trainings stay outside of this project. A folder of them has `problems.py` with `A` and `C`,
mappings from names to functions that give a problem; `space.py`, and `data/` with `random_ref.json`. A problem there
has `space.params` (each with name, kind, low, high, log, choices, cond), `observe(cfg, rng)`, `true(cfg)`, `best`, and
with training curves `T` and `curve(cfg, rng)`. Everything is minimised.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rltune.space import SearchSpace

Params: TypeAlias = Mapping[str, Any]
Array: TypeAlias = NDArray[np.float64]

N_REFERENCE = 100
"""Regret 1 is what random search finds with so many evaluations, by the median."""


@dataclass(frozen=True)
class Problem:
    """Something to minimise.

    Attributes:
        kind: For the tables: what it is made of.
        version: Changes whenever the figures would.
        observe: One evaluation, with its noise; NaN where the training diverged.
        true: What a configuration is worth, without noise; for scoring only.
        best: The least `true` that is known.
        reference: Median over many random searches of the least `true` among `N_REFERENCE` configurations.
        median: Median of `true` over configurations drawn from the space.
        n_steps: Of a training; 0 without curves.
        curve: What a training reports, shape (n_steps,); its last value is a noisy `true`.
        optimum: The configuration with the least `true`, where it is known.
    """

    name: str
    kind: str
    version: str
    space: SearchSpace
    observe: Callable[[Params, Generator], float]
    true: Callable[[Params], float]
    best: float
    reference: float
    median: float
    n_steps: int = 0
    curve: Callable[[Params, Generator], Array] | None = None
    optimum: Params | None = None

    def regret(self, params: Params) -> float:
        """0 for the best that is known, 1 for what random search finds with 100 evaluations."""
        return (self.true(params) - self.best) / (self.reference - self.best)

    def final_regret(self, params: Params) -> float:
        """0 for the best that is known, 1 for the median configuration: the scale of the curves."""
        return (self.true(params) - self.best) / (self.median - self.best)


OWN, MEASURED, OTHERS = "our own problems", "real GRPO", "others' tables"
"""Where problems come from. Figures of different origin are never mixed."""


def groups(data: Path | None, *, curves: bool = False) -> dict[str, list[str]]:
    """The names of all problems, by their origin; those of others only with a folder of tables."""
    from benchmarks.search import measured, synthetic

    found = {OWN: list(synthetic.CURVES if curves else synthetic.VALUES), MEASURED: list(measured.NAMES)}
    if data is not None:
        module = _module(str(data.resolve()))
        found[OTHERS] = list(module.C if curves else {**module.A, **module.C})
    return found


def names(data: Path | None, *, curves: bool = False) -> list[str]:
    """Ours first, then those of the folder."""
    return [name for members in groups(data, curves=curves).values() for name in members]


@functools.cache
def load(name: str, data: Path | None) -> Problem:
    """A problem by its name.

    Raises:
        KeyError: There is none of that name.
    """
    from benchmarks.search import measured, synthetic

    if name in synthetic.VALUES or name in synthetic.CURVES:
        return synthetic.load(name)
    if name in measured.NAMES:
        return measured.load(name)
    if data is None:
        raise KeyError(f"there is no problem {name!r} of our own; give --data for those of a folder")
    return _from_folder(name, data.resolve())


def references(space: SearchSpace, true: Callable[[Params], float], n: int = 4000) -> tuple[float, float]:
    """Medians of `true`: over 400 times the best of `N_REFERENCE` draws from the space, and over all draws."""
    rng = np.random.default_rng(0)
    losses = np.array([true(space.sample(rng)) for _ in range(n)])
    best = losses[rng.integers(n, size=(400, N_REFERENCE))].min(axis=1)
    return float(np.median(best)), float(np.median(losses))


# --- the folder of others' tables ------------------------------------------------------------------------------------


@functools.cache
def _module(folder: str) -> Any:
    """Its `problems.py`, which imports `space` by that name; another folder may have had modules of these names."""
    sys.modules.pop("problems", None)
    sys.modules.pop("space", None)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("problems")
    except ModuleNotFoundError as error:
        raise SystemExit(f"--data {folder}: {error}; the folder needs problems.py and space.py") from error
    finally:
        sys.path.remove(folder)


@functools.cache
def _folder_version(folder: Path) -> str:
    """Of its code and of what is known of the best; the data themselves count by their sizes."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.*")):
        if path.suffix in (".py", ".json"):
            digest.update(path.read_bytes())
        elif path.parent.name == "data":
            digest.update(f"{path.name} {path.stat().st_size}".encode())
    return digest.hexdigest()[:12]


def _from_folder(name: str, folder: Path) -> Problem:
    module = _module(str(folder))
    theirs = {**module.A, **module.C}[name]()
    space = SearchSpace.from_mapping({each.name: _spec(each) for each in theirs.space.params})
    known = json.loads((folder / "data" / "random_ref.json").read_text()).get(name, {})
    if {str(N_REFERENCE), "median"} <= known.keys():
        reference, median = known[str(N_REFERENCE)], known["median"]
    else:
        reference, median = references(space, theirs.true)
    best = theirs.best if math.isfinite(theirs.best) else known["best"]
    n_steps = getattr(theirs, "T", 0) if hasattr(theirs, "curve") else 0
    return Problem(
        name=name,
        kind=theirs.kind,
        version=_folder_version(folder),
        space=space,
        observe=theirs.observe,
        true=theirs.true,
        best=best,
        reference=reference,
        median=median,
        n_steps=n_steps,
        curve=theirs.curve if n_steps else None,
    )


def _spec(parameter: Any) -> dict[str, Any]:
    """As a study file would say it."""
    spec: dict[str, Any]
    if parameter.kind == "cat":
        spec = {"type": "categorical", "choices": list(parameter.choices)}
    else:
        spec = {"type": parameter.kind, "min": parameter.low, "max": parameter.high, "log": parameter.log}
    if parameter.cond is not None:
        parent, values = parameter.cond
        spec["when"] = f"`{parent}` in {list(values)!r}"
    return spec
