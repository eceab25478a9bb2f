"""What happens inside a trial's own process: run the trainer once and say how it ended.

The one place that classifies exceptions, so that no executor needs rules of its own. The first line of a
message says what happened; the lines below it say where.
"""

from __future__ import annotations

import errno
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rltune.errors import RltuneError, TrainerError
from rltune.types import Cause, Measurement, Outcome, Report, Suggestion, Trainer, TrialStopped

MESSAGE_LIMIT = 8_000
"""Characters kept of a message: its beginning and, mostly, its end."""

_PACKAGE = Path(__file__).resolve().parent

_OUT_OF_MEMORY = re.compile(
    r"(?i:\bOutOfMemoryError\b)"
    r"|\b(?i:(CUDA|HIP|MPS|XPU|NPU|HPU|ROCm)\b.{0,60}\bout of memory)"  # PyTorch and the drivers below it
    r"|\b(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS|ROCBLAS)_STATUS_ALLOC_FAILED\b|\bCUDA_ERROR_OUT_OF_MEMORY\b"
    r"|RESOURCE_EXHAUSTED: .{0,80}\b(?i:memory|allocat)"  # JAX; gRPC says it of messages that are too long
    r"|DefaultCPUAllocator: (?:can't allocate|not enough) memory|std::bad_alloc"
    r"|^(?:\w+\.)*_?(?:Array)?MemoryError\b|Unable to allocate [\d.]+ [KMGTP]?i?B for an array"
    r"|No available memory for the cache blocks|Free memory on device .{0,120} is less than desired"  # vLLM
    r"|\bCannot allocate memory\b|\b(?i:oom-kill(?:er|ed)?)\b|\bOut of memory: Killed process\b",
    re.MULTILINE,
)


class TrialFailed(Exception):  # noqa: N818  # it is the trial that failed, not the code that says so
    """Raised by a trainer that knows why a trial has no usable value.

    Attributes:
        cause: What the trial ends as.
        again: It ended through no doing of its own, such as with its machine. A `lost` trial is then asked again.
    """

    def __init__(self, cause: Cause, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.cause = cause
        self.again = again

    def __reduce__(self) -> tuple[type[TrialFailed], tuple[Cause, str], dict[str, Any]]:
        return type(self), (self.cause, str(self)), self.__dict__


class Interrupted(BaseException):
    """Raised in the trial's process, by an executor's signal handler, when the study stops."""


def attempt(trainer: Trainer, suggestion: Suggestion, report: Report) -> Outcome:
    """Run `trainer` once; every way it may end becomes an `Outcome`.

    Metrics are turned into floats on their way to `report`, and `seconds` is filled in where the trainer left it at
    0. A trial that was told to stop ends as stopped, whatever its trainer does with `TrialStopped` or while ending.
    """
    begin = time.monotonic()
    stopped = False

    def checked(measurement: Measurement) -> None:
        nonlocal stopped
        if stopped:  # the trainer swallowed the first one
            raise TrialStopped
        seconds = measurement.seconds or time.monotonic() - begin
        try:
            report(replace(measurement, metrics=as_metrics(measurement.metrics), seconds=seconds))
        except TrialStopped:
            stopped = True
            raise

    try:
        returned = trainer(suggestion, checked)
        outcome = Outcome(metrics={} if returned is None else as_metrics(returned))
    except TrialStopped:
        stopped, outcome = True, Outcome()
    except (KeyboardInterrupt, Interrupted):
        outcome = Outcome(Cause.INTERRUPTED, "the study was stopped while the trial ran")
    except SystemExit as error:
        failed = error.code not in (None, 0)
        outcome = Outcome(Cause.ERROR, f"the trainer called sys.exit({error.code!r})") if failed else Outcome()
    except Exception as error:  # noqa: BLE001  # any failure of the user's code is an outcome
        outcome = Outcome(*classify(error), again=isinstance(error, TrialFailed) and error.again)
    return Outcome(message=outcome.message, stopped=True) if stopped else outcome


def classify(error: BaseException) -> tuple[Cause, str]:
    """Why a trial ended that raised `error`, and what to tell its owner."""
    if isinstance(error, TrialFailed):
        return error.cause, shorten(str(error))
    chain = list(_with_causes(error))
    if any(_is_out_of_memory(e) for e in chain):
        return Cause.OUT_OF_MEMORY, shorten(_described(error))
    full = next((e for e in chain if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT)), None)
    if full is not None:
        where = f" at {full.filename}" if full.filename else ""
        return Cause.ERROR, shorten(f"the disk is full{where}: {_described(error)}")
    return Cause.ERROR, shorten(_described(error))


def out_of_memory_text(text: str) -> str | None:
    """The line of a log that says that memory ran out, or None."""
    found = _OUT_OF_MEMORY.search(text)
    if found is None:
        return None
    begin, end = text.rfind("\n", 0, found.end()) + 1, text.find("\n", found.end())
    return text[begin : end if end >= 0 else len(text)].strip()[:500]


def as_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as plain floats; NaN and infinity pass.

    Raises:
        TrainerError: A metric that is not one number, or a name that is not text.
    """
    if not isinstance(metrics, Mapping):
        raise TrainerError(f"metrics must be a mapping of names to numbers, got {_kind(metrics)}")
    return {_name(name): as_number(name, value) for name, value in metrics.items()}


def as_number(name: str, value: object) -> float:
    """One metric as a float: Python's, NumPy's and PyTorch's numbers and bools, and arrays of size one.

    Raises:
        TrainerError: `value` is not one number.
    """
    item = getattr(value, "item", None)
    try:
        number: Any = item() if callable(item) else value
    except (TypeError, ValueError, RuntimeError):  # more than one element
        number = None
    if isinstance(number, (str, bytes)) or not hasattr(number, "__float__"):
        raise TrainerError(f"metric `{name}` must be a number, got {_kind(value)}")
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
    except (TypeError, ValueError) as error:
        raise TrainerError(f"metric `{name}` must be a number, got {_kind(value)}") from error


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """`text`, with its middle left out where it is longer than `limit`."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 4], text[-(limit - limit // 4) :]
    return f"{head}\n... {len(text) - limit} characters left out ...\n{tail}"


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TrainerError(f"a metric's name must be text, got {_kind(name)}")
    return name


def _kind(value: object) -> str:
    """How to name something that is no number: its type, its shape or its beginning."""
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    detail = f" of shape {tuple(shape)}" if isinstance(shape, tuple) else f" {value!r:.60}"
    return f"a {type(value).__module__}.{type(value).__qualname__}{detail}".replace("a builtins.", "a ")


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, what it was raised from or while handling, and the members of groups."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, None if one.__suppress_context__ else one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):  # PyTorch, Ray, CuPy
        return True
    return out_of_memory_text(str(error)) is not None


def _described(error: BaseException) -> str:
    """What was raised, then the traceback without the frames that lie around the user's code."""
    summary = _summary(error)
    frames = list(traceback.extract_tb(error.__traceback__))
    theirs = [i for i, f in enumerate(frames) if not _is_own(f.filename)]
    if not theirs:  # nothing of the user's ran: our own sentence says it all, a bug of ours needs its place
        return summary if isinstance(error, RltuneError) else f"{summary}\n{_traceback(error, frames)}"
    last = theirs[-1] + 1 if isinstance(error, RltuneError) else len(frames)
    return f"{summary}\n{_traceback(error, frames[theirs[0] : last])}"


def _summary(error: BaseException) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    if isinstance(error, RltuneError):
        return text
    return f"{type(error).__name__}: {first}"[:500] if first else type(error).__name__


def _traceback(error: BaseException, frames: list[traceback.FrameSummary]) -> str:
    shown = traceback.TracebackException.from_exception(error, max_group_width=5)
    shown.stack = traceback.StackSummary.from_list(frames)
    return "".join(shown.format()).rstrip()


def _is_own(filename: str) -> bool:
    """Whether a frame is rltune's own code; the examples shipped inside the package are the user's."""
    path = Path(filename)
    return path.is_relative_to(_PACKAGE) and "_examples" not in path.parts
