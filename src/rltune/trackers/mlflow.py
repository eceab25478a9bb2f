"""MLflow: an experiment for the study, and a run in it for each trial."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rltune.records import TrialRecord
from rltune.trackers.tracked import TrackedStudy
from rltune.types import Cause, Measurement

_METRICS_AT_ONCE, _PARAMS_AT_ONCE = 1000, 100
"""In one request; MLflow's own limits."""

_CUT_SHORT = (Cause.LOST, Cause.INTERRUPTED)


class MLflowTracker:
    """Logs by MLflow's own client.

    Args:
        study: The study.
        tracking_uri: Where MLflow keeps its runs; where it is not given, what the variable MLFLOW_TRACKING_URI says,
            else the file `mlflow.db` in the study's folder.
        experiment: The experiment's name; the study's where it is not given.
    """

    def __init__(self, study: TrackedStudy, *, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient

        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{study.folder / 'mlflow.db'}"
        self._study = study
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment = self._find_experiment(experiment or study.name)
        self._runs: dict[int, str] = {}

    def begin(self, trial: TrialRecord) -> None:
        from mlflow.entities import Param

        tags = {"rltune.study": self._study.id, "rltune.trial": str(trial.number)}
        where = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        if found := self._client.search_runs([self._experiment], where, max_results=1):
            self._runs[trial.number] = found[0].info.run_id
            return
        about = {"purpose": trial.purpose.value, "seed": trial.seed, "retry_of": trial.retry_of}
        tags |= {f"rltune.{name}": str(value) for name, value in about.items() if value is not None}
        started = None if trial.started is None else round(trial.started.timestamp() * 1000)
        name = f"{self._study.name}/{trial.number:04d}"
        run = self._client.create_run(self._experiment, start_time=started, tags=tags, run_name=name)
        self._runs[trial.number] = run.info.run_id
        params = [Param(_key(name), str(value)) for name, value in trial.params.items()]
        for i in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(run.info.run_id, params=params[i : i + _PARAMS_AT_ONCE])

    def measure(self, trial: TrialRecord, measurements: Sequence[Measurement]) -> None:
        metrics = list(_metrics(trial, measurements))
        for i in range(0, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(self._runs[trial.number], metrics=metrics[i : i + _METRICS_AT_ONCE])

    def end(self, trial: TrialRecord) -> None:
        run = self._runs.pop(trial.number)
        about: Mapping[str, Any] = {
            "state": trial.state.name.lower(),
            "cause": trial.cause and trial.cause.value,
            "message": trial.message[:5000],
            "stopped_by": trial.stopped_by,
        }
        for name, value in about.items():
            if value:
                self._client.set_tag(run, f"rltune.{name}", value)
        status = "FINISHED" if trial.cause is None else "KILLED" if trial.cause in _CUT_SHORT else "FAILED"
        ended = None if trial.finished is None else round(trial.finished.timestamp() * 1000)
        self._client.set_terminated(run, status, end_time=ended)

    def close(self) -> None:
        """Every call was a request of its own; runs that go on in the next session stay open."""

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return self._client.create_experiment(name) if found is None else found.experiment_id


def _metrics(trial: TrialRecord, measurements: Iterable[Measurement]) -> Iterator[Any]:
    from mlflow.entities import Metric

    started = time.time() if trial.started is None else trial.started.timestamp()
    for each in measurements:
        at = round((started + each.seconds) * 1000)
        yield from (Metric(_key(name), value, at, each.step) for name, value in each.metrics.items())


def _key(name: str) -> str:
    """What MLflow takes as a name."""
    return re.sub(r"[^\w./: -]", "_", name)[:250]
