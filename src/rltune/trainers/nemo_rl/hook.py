"""A launcher that runs in the trainer's own Python: `python hook.py SCRIPT [ARGUMENT ...]` runs SCRIPT as itself.

Before that it attaches to NeMo RL in two places, without a change to its files:

- the logger gets one more backend, which appends every call of `log_metrics` to the file named by
  ``RLTUNE_HOOK_METRICS``, a line each: `{"step": 3, "train/lr": 5e-07}`, in 64 bits where event files have 32;
- the check for the time limit also says yes once the file named by ``RLTUNE_HOOK_STOP`` exists: the run finishes its
  step, saves a checkpoint and ends with exit status 0.

The first lines say what is attached: `{"hook": "metrics"}` and `{"hook": "pause"}`. What cannot be attached is said
once, on stderr, and the run goes on without it: nothing that goes wrong here may hurt the run.

This file imports the standard library only, nothing of rltune, and is written for Python 3.10 on.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRICS_VARIABLE = "RLTUNE_HOOK_METRICS"
STOP_VARIABLE = "RLTUNE_HOOK_STOP"

_ANOTHER_PROCESS = "single_controller"
"""In the name of NeMo RL's script whose training loop, with its logger, runs in a Ray actor, out of reach from here."""


class Backend:
    """One more of the logger's backends: metrics as lines of JSON.

    Whatever else backends are told, such as hyperparameters, histograms and plots, is passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._broken = False

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Append one line. After a line that could not be written there are no more: the rest is in event files."""
        if self._broken:
            return
        try:
            row = as_row(*args, **kwargs)
            if row is not None:
                append(self._path, row)
        except Exception as error:  # noqa: BLE001  # it must not reach the run
            self._broken = True
            note(f"metrics are no longer written to {self._path}: {described(error)}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _nothing


def as_row(metrics: Mapping[str, Any], step: Any, prefix: str | None = "", *_: Any, **__: Any) -> dict[str, Any] | None:
    """The numbers of one call of `log_metrics`, by the names that event files have; None for a call without any.

    GPU monitors (`ray/...`) count seconds instead of steps, and are left out.
    """
    tags = {f"{prefix}/{name}" if prefix else str(name): value for name, value in metrics.items()}
    numbers = {
        tag: n for tag, value in tags.items() if not tag.startswith("ray/") and (n := as_number(value)) is not None
    }
    return {"step": int(step), **numbers} if numbers else None


def as_number(value: Any) -> float | None:
    """One number of Python's, NumPy's or PyTorch's, of any type, as a float; None for anything else."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # a list, or a tensor of several
        return None


def append(path: Path, row: Mapping[str, Any]) -> None:
    """One line in one write, so that a run killed at any moment cuts the last line at most. NaN is written as NaN."""
    line = json.dumps(row).encode() + b"\n"
    with path.open("ab", buffering=0) as file:
        if file.write(line) != len(line):
            raise OSError("the disk is full")


def attach(metrics: Path, stop: Path | None, script: str) -> None:
    """Attach what can be, and say what cannot."""
    if _ANOTHER_PROCESS in Path(script).name:
        note(f"{script} trains in another process, where no hook reaches; metrics come from event files alone")
        return
    attempt("metrics come from event files alone", attach_logger, metrics)
    if stop is not None:
        attempt("the run cannot be paused", attach_timer, metrics, stop)


def attach_logger(path: Path) -> None:
    """Every logger made from now on has one more backend.

    Raises:
        LookupError, ImportError: NeMo RL's logger is not what it used to be, or not there.
        OSError: The file cannot be written.
    """
    logger = found("nemo_rl.utils.logger", "Logger", "log_metrics")
    append(path, {"hook": "metrics"})
    original = logger.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        attempt("metrics come from event files alone", lambda: self.loggers.append(Backend(path)))

    logger.__init__ = init


def attach_timer(path: Path, stop: Path) -> None:
    """Every check of the time limit says yes from when `stop` exists.

    Raises:
        LookupError, ImportError: NeMo RL's timer is not what it used to be, or not there.
        OSError: The file of the metrics, which is to say that a pause is possible, cannot be written.
    """
    checker = found("nemo_rl.utils.timer", "TimeoutChecker", "check_save")
    append(path, {"hook": "pause"})
    original = checker.check_save

    @functools.wraps(original)
    def check_save(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs) or os.path.exists(stop)  # noqa: PTH110  # never raises

    checker.check_save = check_save


def found(module: str, name: str, method: str) -> Any:
    """A class of the trainer's that has `method`.

    Raises:
        LookupError: There is no such class, or it has no such method.
        ImportError: There is no such module.
    """
    kind = getattr(importlib.import_module(module), name, None)
    if not isinstance(kind, type) or not callable(getattr(kind, method, None)):
        raise LookupError(f"{module} has no {name}.{method}")  # noqa: TRY004  # it is missing, whatever stands there
    return kind


def attempt(otherwise: str, do: Any, *args: Any) -> None:
    """Do something of the hook's own; where it fails, one line says so, and what follows from it."""
    try:
        do(*args)
    except Exception as error:  # noqa: BLE001  # NeMo RL's modules raise what they like; the script will meet it too
        note(f"not attached, so {otherwise}: {described(error)}")


def described(error: BaseException) -> str:
    """An exception on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def note(text: str) -> None:
    """One line in the run's log."""
    try:
        print(f"rltune hook: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # stderr is closed
        pass


def run(script: str, arguments: list[str]) -> None:
    """Run `script` as `python SCRIPT ARGUMENT ...` would, in this process."""
    sys.argv = [script, *arguments]
    if sys.path and sys.path[0] == str(Path(__file__).resolve().parent):  # else Python runs without it (-P)
        sys.path[0] = str(Path(script).resolve().parent)
    metrics, stop = os.environ.get(METRICS_VARIABLE), os.environ.get(STOP_VARIABLE)
    if metrics:
        attach(Path(metrics), Path(stop) if stop else None, script)
    else:
        note(f"not attached: {METRICS_VARIABLE} is not set here; a launcher that starts a container must pass it on")
    runpy.run_path(script, run_name="__main__")


def _nothing(*_: Any, **__: Any) -> None:
    pass


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} SCRIPT [ARGUMENT ...]")
    run(sys.argv[1], sys.argv[2:])
