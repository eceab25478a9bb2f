from __future__ import annotations

import errno
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rltune.errors import TrainerError
from rltune.types import Cause, Measurement, Outcome, Report, Suggestion, TrialStopped
from rltune.worker import (
    MESSAGE_LIMIT,
    Interrupted,
    TrialFailed,
    as_metrics,
    as_number,
    attempt,
    out_of_memory_text,
    shorten,
)

SUGGESTION = Suggestion(0, {}, 0, Path("trial"))


def raising(error: BaseException) -> Outcome:
    def trainer(_suggestion: Suggestion, _report: Report) -> None:
        raise error

    return attempt(trainer, SUGGESTION, lambda m: None)


def reporting(metrics: dict[str, Any]) -> tuple[Outcome, list[Measurement]]:
    seen: list[Measurement] = []

    def trainer(_suggestion: Suggestion, report: Report) -> None:
        report(Measurement(1, metrics))

    return attempt(trainer, SUGGESTION, seen.append), seen


def test_metrics_that_are_returned_belong_to_the_outcome() -> None:
    outcome = attempt(lambda s, r: {"loss": np.float32(0.5), "ok": True}, SUGGESTION, lambda m: None)
    assert outcome == Outcome(metrics={"loss": 0.5, "ok": 1.0})
    assert attempt(lambda s, r: None, SUGGESTION, lambda m: None) == Outcome()


def test_measurements_get_floats_and_seconds() -> None:
    outcome, seen = reporting({"loss": 1, "nan": math.nan})
    assert outcome == Outcome()
    assert type(seen[0].metrics["loss"]) is float
    assert math.isnan(seen[0].metrics["nan"])
    assert seen[0].seconds > 0


def test_seconds_of_the_trainer_stay() -> None:
    seen: list[Measurement] = []
    attempt(lambda s, report: report(Measurement(1, {"a": 1}, seconds=99)), SUGGESTION, seen.append)
    assert seen[0].seconds == 99


def test_returned_nan_is_a_fact() -> None:
    outcome = attempt(lambda s, r: {"loss": math.nan}, SUGGESTION, lambda m: None)
    assert outcome.cause is None
    assert math.isnan(outcome.metrics["loss"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1.0),
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.array(2), 2.0),
        (np.array([2.5]), 2.5),
        (np.bool_(True), 1.0),
        (Decimal("0.25"), 0.25),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (-math.inf, -math.inf),
    ],
)
def test_what_counts_as_a_number(value: object, expected: float) -> None:
    number = as_number("loss", value)
    assert (type(number), number) == (float, expected)


def test_torch_numbers() -> None:
    torch = pytest.importorskip("torch")
    assert as_number("loss", torch.tensor(0.5, requires_grad=True)) == 0.5
    with pytest.raises(TrainerError, match=r"metric `loss` must be a number, got a torch.Tensor of shape \(2,\)"):
        as_number("loss", torch.zeros(2))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("0.5", "a str '0.5'"),
        (None, "None"),
        (np.zeros(3), r"a numpy.ndarray of shape \(3,\)"),
        (np.str_("1"), "a numpy.str_"),
        ([1.0], r"a list \[1.0\]"),
        (1j, "a complex 1j"),
        (b"1", "a bytes b'1'"),
    ],
)
def test_what_is_no_number(value: object, kind: str) -> None:
    with pytest.raises(TrainerError, match=f"metric `loss` must be a number, got {kind}"):
        as_number("loss", value)
    outcome, seen = reporting({"loss": value})
    assert (outcome.cause, seen) == (Cause.ERROR, [])
    assert outcome.message.startswith("metric `loss` must be a number, got")
    assert attempt(lambda s, r: {"loss": value}, SUGGESTION, lambda m: None).cause is Cause.ERROR


@pytest.mark.parametrize("returned", [0.0, np.zeros(2), "done", []])
def test_a_trainer_returns_a_mapping_or_none(returned: Any) -> None:
    outcome = attempt(lambda s, r: returned, SUGGESTION, lambda m: None)
    assert outcome.message.startswith("metrics must be a mapping of names to numbers, got a ")


def test_metrics_are_a_mapping_of_texts() -> None:
    with pytest.raises(TrainerError, match="must be a mapping of names to numbers, got a float"):
        as_metrics(0.5)  # type: ignore[arg-type]
    with pytest.raises(TrainerError, match="name must be text, got a int 1"):
        as_metrics({1: 0.5})  # type: ignore[dict-item]


class TestStopping:
    @staticmethod
    def stop(_measurement: Measurement) -> None:
        raise TrialStopped

    def run(self, trainer: Callable[[Suggestion, Report], Any]) -> Outcome:
        return attempt(trainer, SUGGESTION, self.stop)

    def test_is_no_failure(self) -> None:
        assert self.run(lambda s, report: report(Measurement(1, {"a": 1}))) == Outcome(stopped=True)

    def test_holds_when_the_trainer_swallows_it(self) -> None:
        def stubborn(_suggestion: Suggestion, report: Report) -> dict[str, float]:
            for step in range(3):
                try:
                    report(Measurement(step, {"a": 1}))
                except BaseException:  # noqa: BLE001
                    continue
            return {"a": 99.0}

        asked: list[Measurement] = []

        def stop(measurement: Measurement) -> None:
            asked.append(measurement)
            raise TrialStopped

        assert attempt(stubborn, SUGGESTION, stop) == Outcome(stopped=True)
        assert len(asked) == 1, "a stopped trial is not asked about again"

    def test_holds_when_ending_fails(self) -> None:
        def breaks(_suggestion: Suggestion, report: Report) -> None:
            try:
                report(Measurement(1, {"a": 1}))
            finally:
                raise RuntimeError("the writer is closed")

        outcome = self.run(breaks)
        assert (outcome.cause, outcome.stopped) == (None, True)
        assert outcome.message.startswith("RuntimeError: the writer is closed")

    def test_holds_when_a_signal_follows(self) -> None:
        def interrupted(_suggestion: Suggestion, report: Report) -> None:
            try:
                report(Measurement(1, {"a": 1}))
            finally:
                raise Interrupted

        outcome = self.run(interrupted)
        assert (outcome.cause, outcome.stopped) == (None, True)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (KeyboardInterrupt(), Cause.INTERRUPTED),
        (Interrupted(), Cause.INTERRUPTED),
        (SystemExit(0), None),
        (SystemExit(), None),
        (SystemExit(3), Cause.ERROR),
        (SystemExit("no data"), Cause.ERROR),
        (ValueError("bad"), Cause.ERROR),
        (TrialFailed(Cause.DIVERGED, "the loss is 1e30"), Cause.DIVERGED),
        (MemoryError(), Cause.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Cause.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), Cause.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), Cause.OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), Cause.OUT_OF_MEMORY),
        (RuntimeError("memory of past episodes is empty"), Cause.ERROR),
        (ExceptionGroup("ranks", [ValueError("x"), MemoryError()]), Cause.OUT_OF_MEMORY),
    ],
    ids=repr,
)
def test_every_end_has_its_cause(error: BaseException, cause: Cause | None) -> None:
    assert raising(error).cause is cause


def test_pytorch_is_known_by_the_name_of_its_exception() -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    class WrappedError(OutOfMemoryError):
        pass

    assert raising(WrappedError("tried to allocate 2 GiB")).cause is Cause.OUT_OF_MEMORY


def test_memory_that_ran_out_below_another_exception() -> None:
    def trainer(_suggestion: Suggestion, _report: Report) -> None:
        try:
            bytearray(1 << 60)
        except MemoryError as error:
            raise RuntimeError("training failed") from error

    assert attempt(trainer, SUGGESTION, lambda m: None).cause is Cause.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("text", "is_memory"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("ray.exceptions.RayTaskError(OutOfMemoryError): ...", True),
        ("HIP out of memory. Tried to allocate", True),
        ("RuntimeError: MPS backend out of memory (MPS allocated: 18 GB)", True),
        ("jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying", True),
        ("RESOURCE_EXHAUSTED: Failed to allocate request for 2.0GiB", True),
        ("grpc: RESOURCE_EXHAUSTED: Received message larger than max (5 vs. 4)", False),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 3.2 TiB for an array with shape", True),
        ("MemoryError", True),
        ("terminate called after throwing an instance of 'std::bad_alloc'", True),
        ("fork: Cannot allocate memory", True),
        ("replay memory out of range", False),
        ("class MemoryErrorHandler registered", False),
        ("CUDA is available; nothing is out of place in memory", False),
    ],
)
def test_texts_of_memory_that_ran_out(text: str, is_memory: bool) -> None:
    found = out_of_memory_text(f"step 1\n{text}\nend")
    assert found == (text if is_memory else None)


def test_a_full_disk_is_said_plainly() -> None:
    outcome = raising(OSError(errno.ENOSPC, "No space left on device", "/data/step_10/model.pt"))
    assert outcome.cause is Cause.ERROR
    assert outcome.message.startswith("the disk is full at /data/step_10/model.pt: OSError")


def test_a_message_begins_with_the_error_and_shows_the_users_frames_only() -> None:
    outcome = raising(ValueError("two lines\nof text"))
    first, *rest = outcome.message.splitlines()
    assert first == "ValueError: two lines"
    assert "in trainer" in outcome.message
    assert "worker.py" not in outcome.message.replace("test_worker.py", "")
    assert rest[-1] == "of text"


def test_a_mistake_in_reporting_shows_the_line_that_reported() -> None:
    message = reporting({"loss": "x"})[0].message
    assert message.splitlines()[0] == "metric `loss` must be a number, got a str 'x'"
    assert "report(Measurement(1, metrics))" in message
    assert "as_number" not in message


def test_messages_have_a_limit() -> None:
    message = raising(ValueError("x" * 1_000_000)).message
    assert len(message) < MESSAGE_LIMIT + 100
    assert message.startswith("ValueError: xxx")
    assert "characters left out" in message
    assert shorten("abc", 3) == "abc"


def test_endless_recursion_is_an_error() -> None:
    def trainer(suggestion: Suggestion, report: Report) -> None:
        trainer(suggestion, report)

    outcome = attempt(trainer, SUGGESTION, lambda m: None)
    assert outcome.cause is Cause.ERROR
    assert outcome.message.startswith("RecursionError")
    assert len(outcome.message) < MESSAGE_LIMIT


def test_exceptions_with_a_cause_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(TrialFailed(Cause.COLLAPSED, "entropy 0")))
    assert (error.cause, str(error)) == (Cause.COLLAPSED, "entropy 0")


def test_what_the_fork_server_imports_is_light() -> None:
    code = (
        "import sys, rltune.worker, rltune.trainers.function; "
        "print([m for m in ('optuna', 'torch', 'ruamel', 'numpy', 'pydantic') if m in sys.modules])"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    shown = subprocess.run([sys.executable, "-c", code], env=path, check=True, capture_output=True, text=True)
    assert shown.stdout == "[]\n"
