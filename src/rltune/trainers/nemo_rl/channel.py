"""rltune's end of `hook.py`: exact metrics, with event files for what it does not tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rltune.folder import TrialDir
from rltune.trainers.context import Steps
from rltune.trainers.nemo_rl import isolation
from rltune.trainers.nemo_rl.hook import METRICS_VARIABLE, STOP_VARIABLE
from rltune.trainers.readers import Skipped
from rltune.trainers.readers.lines import GrowingFile, measurement_of, row_of
from rltune.trainers.readers.tensorboard import TensorBoard
from rltune.types import Measurement

_LAST_OF_A_STEP = "timing/train/total_step_time"
"""What every algorithm logs last of a step."""

_VALIDATION = "validation"
"""How the tags of validations begin; a step's checkpoint is saved, and its training metrics logged, only after it."""

_FILES_SECONDS = 1.0
"""How often event files are looked for; there may be thousands of other files beside them."""

_STEPS_KEPT = 100
"""Event files are a step behind the hook, not a hundred."""


@dataclass
class Channel:
    """What one trial measures.

    NeMo RL tells its event files and the hook the same. The hook's number counts where it has one: it comes at once,
    in 64 bits. What it does not tell, which is everything where it could not be attached, comes from the event files,
    a step late and in 32 bits. The tags of GPU monitors are left out: they count seconds, not steps.

    Attributes:
        directory: The trial's folder.
        attached: What the hook has attached, by its own account.
        exact: How many lines of metrics it has written.
    """

    directory: Path
    poll_seconds: float = 0.1
    attached: frozenset[str] = field(default_factory=frozenset)
    exact: int = 0

    @property
    def metrics(self) -> Path:
        """What the hook writes."""
        return self.directory / "hook.jsonl"

    @property
    def can_pause(self) -> bool:
        """Whether the hook heeds a request to pause."""
        return "pause" in self.attached

    def variables(self) -> dict[str, str]:
        """What the hook finds in its environment."""
        return {METRICS_VARIABLE: str(self.metrics), STOP_VARIABLE: str(TrialDir(self.directory).pause_request)}

    def open(self, _directory: Path, log: Path, /) -> ChannelReader:
        return ChannelReader(self, log)

    def note(self) -> str:
        """One line on where metrics came from, where that is not the hook."""
        if self.exact:
            return ""
        return "every metric was read from event files, a step late and rounded to 32 bits: the hook told nothing"


class ChannelReader:
    """Follows the hook's file and the event files of one run.

    What the hook tells of one step becomes one measurement, handed on when the step is over; a validation is not kept
    waiting for the rest of its step, since it decides whether the trial goes on.
    """

    def __init__(self, channel: Channel, log: Path) -> None:
        files = TensorBoard(isolation.LOGS, ignore=("ray/",)).open(channel.directory, log)
        self.name = f"{channel.metrics.name} and {files.name}"
        self.skipped = Skipped()
        self._channel = channel
        self._rows = GrowingFile(channel.metrics)
        self._steps = Steps()
        self._files = files
        self._files_due = 0.0
        self._step, self._metrics = 0, dict[str, float]()
        self._told: dict[int, set[str]] = {}

    def read(self, *, last: bool = False) -> list[Measurement]:
        """What is new."""
        filed = self._read_files(last=last)  # before the hook's: it has told by now what is complete in these
        exact = list(self._read_hook(last=last))
        return exact + [rest for measurement in filed if (rest := self._untold(measurement)).metrics]

    def _read_hook(self, *, last: bool) -> Iterator[Measurement]:
        for line in self._rows.lines(last=last):
            measurement = self._measurement(line)
            if measurement is None:
                continue
            if measurement.step != self._step:
                yield from self._complete()
            self._step = measurement.step
            self._metrics.update(measurement.metrics)
            if any(tag == _LAST_OF_A_STEP or tag.startswith(_VALIDATION) for tag in measurement.metrics):
                yield from self._complete()
        if last:
            yield from self._complete()

    def _complete(self) -> Iterator[Measurement]:
        if self._metrics:
            yield Measurement(self._step, self._metrics)
            self._metrics = {}

    def _measurement(self, line: bytes) -> Measurement | None:
        """A line of the hook's; None for one that measures nothing."""
        try:
            row = row_of(line)
            if "hook" in row:
                self._channel.attached |= {str(row["hook"])}
                return None
            measurement = measurement_of(row, self._steps, "step")
        except ValueError:
            self.skipped.add(line)
            return None
        if measurement is not None:
            self._channel.exact += 1
            self._told.setdefault(measurement.step, set()).update(measurement.metrics)
            if len(self._told) > _STEPS_KEPT:
                del self._told[next(iter(self._told))]
        return measurement

    def _read_files(self, *, last: bool) -> list[Measurement]:
        now = time.monotonic()
        if now < self._files_due and not last:
            return []
        self._files_due = now + _FILES_SECONDS
        found = self._files.read(last=last)
        self.skipped = self._files.skipped if self._files.skipped.count else self.skipped
        return found

    def _untold(self, measurement: Measurement) -> Measurement:
        """What the hook has not told of it."""
        told = self._told.get(measurement.step, set())
        return Measurement(measurement.step, {t: n for t, n in measurement.metrics.items() if t not in told})
