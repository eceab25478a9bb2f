"""What Optuna and Ray Tune do in the same comparisons, and how long a Python takes to start.

Ray runs without its dashboard, its usage report and its progress output, which makes it faster and smaller.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import memory
from benchmarks.speed.workload import WORKERS, distance, idle_percent, steady

# --- a Python's start ------------------------------------------------------------------------------------------------


def start(folder: Path, *, arguments: Sequence[str]) -> dict[str, float]:
    """Start to end of `python ARGUMENTS`, less that of a Python that does nothing."""

    def seconds(*words: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin

    bare = seconds("-c", "pass")
    return {"seconds": seconds(*arguments) - bare, "bare": bare}


# --- Optuna ----------------------------------------------------------------------------------------------------------


def optuna_trials(folder: Path, *, n: int, storage: str) -> dict[str, float]:
    """No-op trials of `study.optimize`; the storage is open before the clock starts."""
    import optuna
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0.0, 1.0)
        trial.suggest_int("y", 1, 100)
        return 0.0

    opened = (
        RDBStorage(f"sqlite:///{folder / 'study.db'}")
        if storage == "sqlite"
        else JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    )
    study = optuna.create_study(storage=opened, sampler=optuna.samplers.RandomSampler(seed=0))
    begin = time.perf_counter()
    study.optimize(objective, n_trials=n)
    return {"per_second_in_call": n / (time.perf_counter() - begin)}


def optuna_suggest(folder: Path, *, n: int, repeat: int) -> dict[str, float]:
    """Time of `study.ask` and ten suggestions with TPE, once the journal holds `n` trials of random search."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))

    def ask() -> optuna.Trial:
        trial = study.ask()
        trial.suggest_float("lr", 1e-5, 1e-2, log=True)
        trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
        trial.suggest_float("clip", 0.1, 0.4)
        trial.suggest_float("gamma", 0.9, 0.999)
        trial.suggest_float("entropy", 0.0, 0.05)
        trial.suggest_int("layers", 1, 6)
        trial.suggest_int("width", 16, 1024, log=True)
        trial.suggest_int("epochs", 1, 20)
        trial.suggest_categorical("optimizer", ["adamw", "muon", "sgd"])
        trial.suggest_categorical("schedule", ["constant", "linear", "cosine"])
        return trial

    def tell(trial: optuna.Trial) -> None:
        study.tell(trial, distance(trial.params))

    for _ in range(n):
        tell(ask())
    study.sampler = optuna.samplers.TPESampler(seed=0)
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        trial = ask()
        times.append(time.perf_counter() - begin)
        tell(trial)
    return {"ms": 1e3 * statistics.median(times)}


def open_journal(journal: Path, repeat: int) -> dict[str, float]:
    """Time in which Optuna alone opens this journal and has all its trials."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(journal))))
        study.get_trials(deepcopy=False)
        times.append(time.perf_counter() - begin)
    return {"optuna_seconds": statistics.median(times)}


# --- Ray Tune --------------------------------------------------------------------------------------------------------


def ray_noop(config: Mapping[str, Any]) -> None:  # noqa: ARG001
    from ray import tune

    tune.report({"value": 0.0, "began": time.time()})


def ray_job(config: Mapping[str, Any]) -> None:
    from ray import tune

    began, begin = time.time(), time.perf_counter()
    time.sleep(config["seconds"])
    busy = time.perf_counter() - begin
    tune.report({"value": 0.0, "began": began, "ended": began + busy, "busy": busy})


def ray_trials(folder: Path, *, n: int, reuse_actors: bool) -> dict[str, float]:
    """No-op trials, from `import ray` to the last result; a process each unless actors are used again."""
    began, begin = time.time(), time.perf_counter()
    ended: list[float] = []
    rows = _ray(folder, ray_noop, {}, n, reuse_actors=reuse_actors, on_end=lambda: ended.append(time.perf_counter()))
    end = time.perf_counter()
    return {
        "per_second": n / (end - begin),
        "steady": steady(ended),
        "start": min(row["began"] for row in rows) - began,
    }


def ray_resident(folder: Path, *, n: int) -> dict[str, float]:
    """Memory of the driver and of Ray's own processes; its workers, which run the trials, are called `ray::…`."""

    def own() -> list[int]:
        return [pid for pid in memory.descendants(os.getpid()) if not memory.title(pid).startswith("ray::")]

    with memory.watched(own) as peaks:
        _ray(folder, ray_noop, {}, n)
    return peaks.to_json()


def ray_idle(folder: Path, *, n: int, seconds: float) -> dict[str, float]:
    return {"idle_percent": idle_percent(_ray(folder, ray_job, {"seconds": seconds}, n))}


def _ray(
    folder: Path,
    trainable: Callable[[Mapping[str, Any]], None],
    constants: Mapping[str, Any],
    n: int,
    *,
    reuse_actors: bool = False,
    on_end: Callable[[], None] = lambda: None,
) -> list[Mapping[str, Any]]:
    """Runs `n` trials, two at a time; their last results."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    import ray
    from ray import tune

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
            on_end()

    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=100 * 2**20,
        _temp_dir=str(folder / "r"),
    )
    try:
        results = tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(0.0, 1.0), "y": tune.randint(1, 101), **constants},
            tune_config=tune.TuneConfig(
                metric="value", mode="min", num_samples=n, max_concurrent_trials=WORKERS, reuse_actors=reuse_actors
            ),
            run_config=tune.RunConfig(storage_path=str(folder / "results"), verbose=0, callbacks=[Ends()]),
        ).fit()
        assert len(results) == n
        assert not results.num_errors
        return [result.metrics or {} for result in results]
    finally:
        ray.shutdown()
