"""The running trial as user code sees it: `Trial`, and `report` for code that holds no `Trial`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from rltune.errors import TrainerError
from rltune.types import Measurement, Report, Suggestion
from rltune.worker import as_metrics, as_number

METRICS_VARIABLE = "RLTUNE_METRICS"
"""Names the file to which an external command appends one line of JSON per measurement."""


class Trial:
    """The trial that is running.

    Attributes:
        number: Its number in the study.
        params: Its parameters by their dotted names.
        seed: What to seed randomness with.
        directory: Its own folder: a place for checkpoints and logs.
        horizon: The step at which a full run ends, where the study file names one.
        resume_from: A checkpoint to start from.
        fold, n_folds: Which part of a cross-validated evaluation this is; None where there is none.
        repeat: How many times the data has been split before, each time in another way.
    """

    def __init__(self, suggestion: Suggestion, report: Report) -> None:
        self.number = suggestion.number
        self.params = dict(suggestion.params)
        self.seed = suggestion.seed
        self.directory: Path = suggestion.directory
        self.horizon = suggestion.horizon
        self.resume_from = suggestion.resume_from
        self.fold = suggestion.fold
        self.n_folds = suggestion.n_folds
        self.repeat = suggestion.repeat
        self._reporter = _Reporter(report)

    def report(
        self,
        step: int | Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        /,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        **named: Any,
    ) -> None:
        """Say what was measured at one step, and stop here if the trial is to end.

        ``report(step, loss=0.3)``, ``report(step, {"val/loss": 0.3})``, ``report({"loss": 0.3}, step=step)`` and
        ``report(loss=0.3)`` mean the same; without a step, each report is one step later than the one before.

        Raises:
            TrialStopped: The trial is to end now. Let it pass, or save what is needed and raise it again.
            TrainerError: A metric that is not a number, a step that is not a whole number, or nothing to report.
        """
        self._reporter(step, metrics, checkpoint, named)


def report(
    step: int | Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    /,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    **named: Any,
) -> None:
    """Say what was measured at one step, like `Trial.report`, from anywhere below the training function.

    In an external command started by rltune it appends to the file that ``RLTUNE_METRICS`` names; with several
    processes per trial, call it in one of them. Outside a trial it does nothing, so that a training script runs
    by itself as well.

    Raises:
        TrialStopped: The trial is to end now.
        TrainerError: As `Trial.report`.
    """
    trial = current_trial()
    reporter = trial._reporter if trial is not None else _file_reporter()
    if reporter is not None:
        reporter(step, metrics, checkpoint, named)


def current_trial() -> Trial | None:
    """The trial that is running here, or None; also found from threads that the training function started."""
    trial = _current.get()
    if trial is None and len(_running) == 1:
        (trial,) = _running
    return trial


@contextmanager
def running(trial: Trial) -> Iterator[Trial]:
    """Make `trial` the current one."""
    token = _current.set(trial)
    _running.append(trial)
    try:
        yield trial
    finally:
        _running.remove(trial)
        _current.reset(token)


def split_row(row: Mapping[str, Any], step_key: str = "step") -> tuple[Any, str | None, dict[str, Any]]:
    """A row of metrics, as (step, checkpoint, the other entries); None for what it does not hold."""
    rest = dict(row)
    step, checkpoint = rest.pop(step_key, None), rest.pop("checkpoint", None)
    return step, None if checkpoint is None else str(checkpoint), rest


class Steps:
    """Numbers measurements that come without a step: one more than the last."""

    def __init__(self) -> None:
        self._last = 0

    def take(self, step: object) -> int:
        """The step that was given, or the next one for None.

        Raises:
            TrainerError: Not a whole number, or below 0.
        """
        number = self._last + 1.0 if step is None else as_number("step", step)
        if not number.is_integer() or number < 0:
            raise TrainerError(f"a step must be a whole number from 0 on, got {step!r}")
        self._last = int(number)
        return self._last


class _Reporter:
    def __init__(self, send: Callable[[Measurement], None]) -> None:
        self._send = send
        self._steps = Steps()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def __call__(
        self,
        first: int | Mapping[str, Any] | None,
        second: Mapping[str, Any] | None,
        checkpoint: str | os.PathLike[str] | None,
        named: Mapping[str, Any],
    ) -> None:
        if os.getpid() != self._process:
            raise TrainerError("report must be called in the trial's own process, not in one that it forked")
        rows = [row for row in (first, second, named) if isinstance(row, Mapping)]
        step, inner_checkpoint, metrics = split_row({key: value for row in rows for key, value in row.items()})
        if first is not None and not isinstance(first, Mapping):
            if step is not None:
                raise TrainerError(f"report was given two steps: {first!r} and {step!r}")
            step = first
        if second is not None and not isinstance(second, Mapping):
            raise TrainerError(f"report takes a mapping of metrics after the step, got {second!r:.60}")
        where = os.fspath(checkpoint) if checkpoint is not None else inner_checkpoint
        if not metrics and where is None:
            raise TrainerError("report was given no metric")
        numbers = as_metrics(metrics)
        with self._lock:
            self._send(Measurement(self._steps.take(step), numbers, checkpoint=where))


def _file_reporter() -> _Reporter | None:
    """Appends to the file of the surrounding command trial; None outside of one."""
    path = os.environ.get(METRICS_VARIABLE)
    if not path:
        return None
    if path not in _files or _files[path]._process != os.getpid():
        _files[path] = _Reporter(lambda measurement: _append(Path(path), measurement))
    return _files[path]


def _append(path: Path, measurement: Measurement) -> None:
    row: dict[str, Any] = {"step": measurement.step, **measurement.metrics}
    if measurement.checkpoint is not None:
        row["checkpoint"] = measurement.checkpoint
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


_current: ContextVar[Trial | None] = ContextVar("rltune_trial", default=None)
_running: list[Trial] = []
_files: dict[str, _Reporter] = {}
