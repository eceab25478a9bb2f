"""TensorBoard: a run for each trial, with its curves and, on the tab HParams, its parameters beside its results."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rltune.records import TrialRecord
from rltune.trackers.tracked import TrackedStudy
from rltune.types import Measurement


class TensorBoardTracker:
    """Writes event files by TensorBoard's own writer.

    Args:
        study: The study.
        logdir: The folder to show with `tensorboard --logdir`; the study's own `tensorboard` where it is not given.
            In one that is, each study has a folder of its own, so that several can be compared.
    """

    def __init__(self, study: TrackedStudy, *, logdir: str | None = None) -> None:
        self._folder = study.folder / "tensorboard" if logdir is None else Path(logdir) / study.id
        self._writers: dict[int, Any] = {}
        if not any(self._folder.glob("events.*")):
            self._write_experiment(study)

    def begin(self, trial: TrialRecord) -> None:
        from tensorboard.plugins.hparams import summary_v2 as hp  # `api` imports TensorFlow

        started = _unix(trial.started)
        shown = {name: _shown(value) for name, value in trial.params.items()}
        self._writers[trial.number] = writer = self._open(f"{trial.number:04d}")
        self._add(writer, hp.hparams_pb(shown, trial_id=f"{trial.number:04d}", start_time_secs=started), started)
        writer.flush()

    def measure(self, trial: TrialRecord, measurements: Sequence[Measurement]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        writer, started = self._writers[trial.number], _unix(trial.started)
        for each in measurements:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in each.metrics.items()]
            self._add(writer, Summary(value=values), started + each.seconds, each.step)
        writer.flush()

    def end(self, trial: TrialRecord) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        ended = _unix(trial.finished)
        status = api_pb2.STATUS_SUCCESS if trial.cause is None else api_pb2.STATUS_FAILURE
        info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
        data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
        described = metadata.create_summary_metadata(data)
        value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=described, tensor=metadata.NULL_TENSOR)
        writer = self._writers.pop(trial.number)
        self._add(writer, Summary(value=[value]), ended)
        writer.close()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _write_experiment(self, study: TrackedStudy) -> None:
        from tensorboard.plugins.hparams import summary_v2 as hp  # `api` imports TensorFlow

        metrics = [hp.Metric(o.metric) for o in study.objectives]
        writer = self._open(".")
        self._add(writer, hp.hparams_config_pb([hp.HParam(name) for name in study.parameters], metrics), time.time())
        writer.close()

    def _open(self, run: str) -> Any:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        return EventFileWriter(str(self._folder / run))

    def _add(self, writer: Any, summary: Any, at: float, step: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        writer.add_event(Event(summary=summary, wall_time=at, step=step))


def _shown(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _unix(at: dt.datetime | None) -> float:
    return time.time() if at is None else at.timestamp()
