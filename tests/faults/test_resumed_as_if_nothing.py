"""With one worker, a study that was stopped or killed on its way suggests what it would have suggested anyway."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fault_harness import Case, assert_sound

from rltune import records as rec

pytestmark = pytest.mark.slow

SPACE: dict[str, Any] = {
    "x": {"type": "float", "min": 0.0, "max": 1.0},
    "rate": {"type": "float", "min": 1e-5, "max": 1e-2, "log": True},
    "layers": {"type": "int", "min": 1, "max": 8},
    "optimizer": {"type": "categorical", "choices": ["adamw", "muon"]},
    "momentum": {"type": "float", "min": 0.8, "max": 0.99, "when": "optimizer == 'muon'"},
}
GRID: dict[str, Any] = {
    "x": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.25},
    "layers": {"type": "int", "min": 1, "max": 4},
}
ALGORITHMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tpe": ("tpe", SPACE),
    "random": ("random", SPACE),
    "sobol": ("sobol", SPACE),
    "grid": ("grid", GRID),
    "cmaes": ({"name": "cmaes", "popsize": 4}, SPACE),
    "nsga2": ({"name": "nsga2", "population_size": 4}, SPACE),
}
N_TRIALS = 16


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_suggestions(tmp_path: Path, name: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        straight = pool.submit(_suggestions, Case(tmp_path / "straight"), name, [])
        stopped = pool.submit(_suggestions, Case(tmp_path / "stopped"), name, [(signal.SIGTERM, 5), (signal.SIGINT, 6)])
        killed = pool.submit(_suggestions, Case(tmp_path / "killed"), name, [(signal.SIGKILL, 4), (signal.SIGKILL, 7)])
    assert len(straight.result()) == N_TRIALS
    assert stopped.result() == straight.result()
    assert killed.result() == straight.result()


def _suggestions(case: Case, name: str, ends: list[tuple[signal.Signals, int]]) -> list[Mapping[str, Any]]:
    """What each trial was given, runs again left out; the study is ended by signals, after so many trials more."""
    algorithm, space = ALGORITHMS[name]
    case.write(n_trials=N_TRIALS, steps=2, seconds=0.03, algorithm=algorithm, search_space=space)
    try:
        for number, n in ends:
            session = case.start()
            case.wait_for_trials(n)
            session.send(number)
            assert session.end().code in (75, 130, -9)
            case.assert_nothing_lives()
        assert case.run().code == 0
    finally:
        case.close()
    assert_sound(case)
    assert len(case.complete()) == N_TRIALS
    records = case.records()
    assert sum(r.retry_of is not None for r in records) in range(len(ends) + 1)
    return [r.params for r in rec.originals(records)]
