"""Ground floor: the plain data that crosses process borders, and the seams between the parts.

Standard library only, so that a trainer's environment needs neither Optuna nor our version of Ray.
Executors drive; the tuner answers three questions; a trainer knows neither::

    suggest() -> Suggestion | Idle        observe(job, Measurement) -> Decision        finish(job, Outcome)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias

Scalar: TypeAlias = bool | int | float | str | None
"""What a parameter may be."""

HORIZON = "trainer.horizon"
"""The key of the study file, and what expressions call the step at which a full run ends."""


class Purpose(StrEnum):
    """Why a trial ran."""

    BASELINE = "baseline"  # the user's own configuration, on several seeds
    SEARCH = "search"  # proposed by the sampler
    FINAL = "final"  # a finalist, or the baseline again, on fresh seeds
    CLAIM = "claim"  # the winner of the finals and the baseline, on the untouched seeds behind the headline
    EARLIER = "earlier"  # ran in an earlier study, from which this one knows it; counts against nothing


FRESH = (Purpose.FINAL, Purpose.CLAIM)
"""Runs of configurations that were chosen before: they say how good these are, and nothing about where to search."""


class Decision(Enum):
    """The answer to a measurement."""

    CONTINUE = "continue"
    STOP = "stop"


class Cause(StrEnum):
    """Why a trial has no usable value."""

    ERROR = "error"  # the trainer raised, or the command exited with a non-zero status
    OUT_OF_MEMORY = "out_of_memory"  # the machine, the GPU or the trial's own limit
    DIVERGED = "diverged"  # a NaN or infinite objective, or a guard that saw it coming
    COLLAPSED = "collapsed"  # a guard saw the policy go wrong before the objective showed it
    NO_SIGNAL = "no_signal"  # a guard saw rewards that teach nothing
    REWARD_HACKING = "reward_hacking"  # a guard saw the training reward rise while the objective got worse
    MISMATCH = "mismatch"  # generation and training disagree: the machinery's fault, not the configuration's
    TIMEOUT = "timeout"  # ran longer than a trial may
    STALLED = "stalled"  # said nothing for longer than a trial may
    NO_VALUE = "no_value"  # ended well, but never measured the objective
    LOST = "lost"  # the process vanished: killed from outside, or its machine died
    INTERRUPTED = "interrupted"  # the study was stopped while the trial ran
    IGNORED_KEY = "ignored_key"  # a tuned key did not reach the trainer


BY_CONFIGURATION = (
    Cause.DIVERGED,
    Cause.COLLAPSED,
    Cause.NO_SIGNAL,
    Cause.REWARD_HACKING,
    Cause.OUT_OF_MEMORY,
    Cause.TIMEOUT,
)
"""Failures that a configuration is to blame for; an error in the code or a lost machine says nothing about it."""


class Idle(Enum):
    """Why there is no suggestion at this moment."""

    WAIT = "wait"  # ask again when a running trial has ended
    DONE = "done"  # nothing more will come


@dataclass(frozen=True)
class Suggestion:
    """One trial to run.

    Attributes:
        number: The trial's number in the study.
        params: Every active and derived parameter by its dotted name, with its type.
        seed: What the trainer seeds its randomness with.
        directory: The trial's own folder; it exists.
        horizon: The step at which a full run ends, where the study file names one.
        resume_from: A checkpoint to start from.
        fold, n_folds: Which part of a cross-validated evaluation to run; None where there is none.
        repeat: How many times the data has been split into folds before; each time in another way.
        job: What the brain is to call this by in `observe` and `finish`: the trial's number, unless the trial is made
            of several such suggestions, one a fold.
    """

    number: int
    params: Mapping[str, Any]
    seed: int
    directory: Path
    horizon: int | None = None
    resume_from: Path | None = None
    fold: int | None = None
    n_folds: int | None = None
    repeat: int | None = None
    job: int = -1

    def __post_init__(self) -> None:
        if self.job < 0:
            object.__setattr__(self, "job", self.number)


@dataclass(frozen=True)
class Measurement:
    """What a running trial says about itself at one step.

    Attributes:
        step: The trainer's own count: optimizer steps, epochs or folds.
        metrics: Numbers by name; NaN and infinity are facts, not errors.
        seconds: Wall time since the trial began.
        checkpoint: Where the trainer saved its state at this step.
        memory_bytes: Peak resident memory so far, filled in by an executor that measures it.
    """

    step: int
    metrics: Mapping[str, float]
    seconds: float = 0.0
    checkpoint: str | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Usage:
    """What a trial cost, measured from outside over its whole process tree.

    Attributes:
        seconds: Wall time from start to end.
        memory_bytes: Peak resident memory, summed over the processes.
        gpu_memory_bytes: Peak GPU memory by NVML; None where there is no GPU.
    """

    seconds: float = 0.0
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """Of one after the other: times add up, peaks do not."""
        return Usage(
            self.seconds + other.seconds,
            _peak(self.memory_bytes, other.memory_bytes),
            _peak(self.gpu_memory_bytes, other.gpu_memory_bytes),
        )


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: no cause means that it ran to its end, or stopped when told to.

    Attributes:
        metrics: What the trainer returned at its end, beyond what it measured on the way.
        message: For a person: a traceback, an exit status, the last lines of a log.
        stopped: It was told to stop, and did.
        again: It ended through no doing of its own, such as with its machine; it may be asked again.
    """

    cause: Cause | None = None
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    usage: Usage = Usage()
    stopped: bool = False
    again: bool = False

    def to_json(self) -> dict[str, Any]:
        """As `outcome.json` has it; `from_json` reads it back."""
        return asdict(self) | {"cause": self.cause and self.cause.value, "metrics": dict(self.metrics)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_json`."""
        cause = None if row["cause"] is None else Cause(row["cause"])
        return cls(cause, row["message"], row["metrics"], Usage(**row["usage"]), row["stopped"], row["again"])


@dataclass(frozen=True)
class Resources:
    """What one trial may use.

    Attributes:
        gpus: GPUs per trial: whole numbers, or a fraction to share one GPU among several trials.
        memory_bytes: A trial whose process tree holds more is ended as `out_of_memory`.
        seconds: A trial that runs longer is ended as `timeout`.
        setup_seconds: A trial that has not reported by then is ended as `stalled`.
        stall_seconds: A trial that has reported, and is silent for longer, is ended as `stalled`; one that reports
            seldom has several times its usual interval.
        grace_seconds: How long a trial has between TERM and KILL.
        pause_seconds: How long a trial that can pause may take to save a checkpoint and end, once the study is stopped;
            only then is it sent TERM. See `rltune.folder.TrialDir.pausable`.
    """

    gpus: float = 0.0
    memory_bytes: int | None = None
    seconds: float | None = None
    grace_seconds: float = 10.0
    setup_seconds: float | None = None
    stall_seconds: float | None = None
    pause_seconds: float = 0.0


def _peak(a: int | None, b: int | None) -> int | None:
    return max((n for n in (a, b) if n is not None), default=None)


class TrialStopped(BaseException):
    """Raised inside a trainer by `report` once the trial has been told to stop.

    Not an `Exception`, so that a trainer's own `except Exception` cannot swallow it.
    """


Report: TypeAlias = Callable[[Measurement], None]
"""Hands a measurement to the tuner; raises `TrialStopped` when the answer is to stop."""


class Trainer(Protocol):
    """What runs. Called in the trial's own process; must survive pickling.

    Returns the metrics that belong to the whole run, or None when all were reported on the way. A trainer may have a
    method `load()` besides, which a warm executor calls once, before the first trial: what it imports is shared by all.
    """

    def __call__(self, suggestion: Suggestion, report: Report, /) -> Mapping[str, float] | None: ...


class Brain(Protocol):
    """The three questions that an executor asks; `rltune.tuner.Tuner` answers them."""

    def suggest(self) -> Suggestion | Idle:
        """What to run next, or why there is nothing now."""

    def observe(self, job: int, measurement: Measurement, /) -> Decision:
        """Takes what a running job says, and answers whether it goes on; STOP stays STOP."""

    def finish(self, job: int, outcome: Outcome, /) -> None:
        """Takes how a job ended; once for each that was suggested."""


class Executor(Protocol):
    """Where trials run. Returns when the brain is done, or when `should_stop` says so.

    Every trial that was suggested is finished before `run` returns; those cut short by `should_stop`
    end as `interrupted`.
    """

    def run(self, brain: Brain, trainer: Trainer, should_stop: Callable[[], bool] = ..., /) -> None: ...
