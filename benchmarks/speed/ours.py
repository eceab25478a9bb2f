"""What rltune does in each comparison, through its public doors and no other."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.speed import memory, peers
from benchmarks.speed.workload import WORKERS, distance, idle_percent, steady

SPACE = {"x": ("float", 0.0, 1.0), "y": ("int", 1, 100)}

LOCAL = {"name": "local", "workers": WORKERS}


def noop(config: Mapping[str, Any]) -> dict[str, float]:  # noqa: ARG001
    return {"value": 0.0, "began": time.time()}


def job(config: Mapping[str, Any]) -> dict[str, float]:
    """Keeps its worker busy for so many seconds, and says when exactly."""
    began, begin = time.time(), time.perf_counter()
    time.sleep(config["seconds"])
    busy = time.perf_counter() - begin
    return {"value": 0.0, "began": began, "ended": began + busy, "busy": busy}


def trials(folder: Path, *, n: int, executor: Any) -> dict[str, float]:
    """No-op trials, from `import rltune` to the files that say what came out."""
    began, begin = time.time(), time.perf_counter()
    import rltune

    tune = rltune.tune
    imported = time.perf_counter()
    result = tune(noop, SPACE, metric="value", n_trials=n, algorithm="random", executor=executor, out=folder / "study")
    end = time.perf_counter()
    ended = [_seconds(record.finished) for record in result.records]
    assert len(result.records) == n
    assert all(record.values for record in result.records)
    return {
        "per_second": n / (end - begin),
        "per_second_in_call": n / (end - imported),
        "steady": steady(ended),
        "start": min(record.metrics["began"] for record in result.records) - began,
    }


def _seconds(when: datetime | None) -> float:
    assert when is not None
    return when.timestamp()


def resident(folder: Path, *, n: int) -> dict[str, float]:
    """Memory of the tuner and of its fork server, which is its only child; the server's children are the trials."""
    import rltune

    with memory.watched(lambda: memory.children(os.getpid())) as peaks:
        rltune.tune(noop, SPACE, metric="value", n_trials=n, algorithm="random", executor=LOCAL, out=folder / "study")
    return peaks.to_json()


def idle(folder: Path, *, n: int, seconds: float) -> dict[str, float]:
    import rltune

    space = SPACE | {"seconds": ("categorical", [seconds])}
    result = rltune.tune(
        job, space, metric="value", n_trials=n, algorithm="random", executor=LOCAL, out=folder / "study"
    )
    return {"idle_percent": idle_percent([record.metrics for record in result.records])}


# --- for information -------------------------------------------------------------------------------------------------


def starts(folder: Path, *, n: int) -> dict[str, float]:
    """From the tuner's decision to the first line of the user's code, one trial at a time."""
    import rltune
    from rltune import config, session

    executor = {"name": "local", "workers": 1}
    script = folder / "train.py"
    script.write_text(
        "import json, os, time\n"
        "row = {'step': 1, 'value': 0.0, 'began': time.time()}\n"
        "open(os.environ['RLTUNE_METRICS'], 'a').write(json.dumps(row) + '\\n')\n"
    )
    common: dict[str, Any] = {"metric": "value", "n_trials": n, "algorithm": "random"}
    warm = rltune.tune(noop, SPACE, **common, executor=executor, out=folder / "warm")
    cold = rltune.tune(noop, SPACE, **common, executor=executor | {"warm": False}, out=folder / "cold")
    command = session.run(
        config.from_mapping(
            {
                "search_space": SPACE,
                "evaluation": {"metric": "value", "direction": "minimize"},
                "trainer": {"command": [sys.executable, str(script), "{config}"]},
                "executor": executor,
                "n_trials": n,
                "algorithm": "random",
            }
        ),
        out=folder / "command",
    )
    return {
        name: statistics.median(1e3 * (r.metrics["began"] - _seconds(r.started)) for r in result.records)
        for name, result in (("warm_ms", warm), ("cold_ms", cold), ("command_ms", command))
    }


def suggest(folder: Path, *, n: int, repeat: int) -> dict[str, float]:
    """Time of `Tuner.suggest` with TPE, once the journal holds `n` trials of random search."""
    from rltune import session

    times: list[float] = []

    def time_suggest(tuner: Any, _parts: object) -> None:
        answer = tuner.suggest

        def timed() -> Any:
            begin = time.perf_counter()
            suggestion = answer()
            times.append(time.perf_counter() - begin)
            return suggestion

        tuner.suggest = timed

    session.run(_mixed(n, "random"), out=folder)
    session.run(_mixed(n + repeat, "tpe"), out=folder, on_open=time_suggest)
    return {"ms": 1e3 * statistics.median(times[:repeat])}


def resume(folder: Path, *, n: int, repeat: int) -> dict[str, float]:
    """From the call that goes on with a study of `n` trials to the start of its next trial."""
    from rltune import session

    session.run(_mixed(n, "random"), out=folder)
    times = []
    for i in range(repeat):
        started: list[float] = []
        begin = time.perf_counter()
        session.run(_mixed(n + 1 + i, "random"), out=folder, on_change=partial(_note_time, started))
        times.append(started[0] - begin)
    return {"seconds": statistics.median(times), **peers.open_journal(folder / "journal.log", repeat)}


def _note_time(times: list[float], _record: object) -> None:
    times.append(time.perf_counter())


MIXED = {
    "lr": ("float", 1e-5, 1e-2, {"log": True}),
    "weight_decay": ("float", 1e-6, 1e-1, {"log": True}),
    "clip": ("float", 0.1, 0.4),
    "gamma": ("float", 0.9, 0.999),
    "entropy": ("float", 0.0, 0.05),
    "layers": ("int", 1, 6),
    "width": ("int", 16, 1024, {"log": True}),
    "epochs": ("int", 1, 20),
    "optimizer": ("categorical", ["adamw", "muon", "sgd"]),
    "schedule": ("categorical", ["constant", "linear", "cosine"]),
}
"""Ten parameters of every kind; `peers.optuna_suggest` asks for the same."""


def _mixed(n: int, algorithm: str) -> Any:
    from rltune import config

    return config.from_mapping(
        {
            "search_space": MIXED,
            "evaluation": {"metric": "value", "direction": "minimize"},
            "n_trials": n,
            "algorithm": algorithm,
            "executor": "inline",
        },
        trainer=distance,
    )
