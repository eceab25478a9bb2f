"""From a study's folder to a tracker: what has happened since it was last told.

What a tracker has got is written beside the study after each call, in `trackers/NAME.json`. So a later session goes on
where this one stopped, however it stopped; and a tracker that is added to a study that has run gets all of it.
"""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import optuna
from optuna.trial import TrialState

from rltune import records as rec
from rltune.folder import StudyDir, read_json, write_json
from rltune.records import TrialRecord
from rltune.trackers.tracked import Tracker
from rltune.types import Measurement, Purpose


@dataclass
class Got:
    """What a tracker has got so far.

    Attributes:
        id: What the tracker knows the study by.
        begun: How many measurements it has of each trial that has begun and not ended.
        ended: Trials that it has to their end.
    """

    id: str
    begun: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, file: Path, name: str) -> Got:
        """From its file; nothing yet, under a new id, where there is none."""
        row = read_json(file)
        if not isinstance(row, dict):
            return cls(f"{name}-{uuid.uuid4().hex[:8]}")
        return cls(row["id"], {int(number): n for number, n in row["begun"].items()}, set(row["ended"]))

    def write(self, file: Path) -> None:
        write_json(file, asdict(self) | {"ended": sorted(self.ended)})


class Mirror:
    """Tells a tracker what it does not know yet.

    Args:
        study: Read only.
        folder: The study's.
        file: Where to keep what the tracker has got.
        name: The study's.
        make: The tracker, for the id that it is to know the study by.
    """

    def __init__(
        self, study: optuna.Study, folder: StudyDir, file: Path, name: str, make: Callable[[str], Tracker]
    ) -> None:
        self._study, self._folder, self._file = study, folder, file
        # The last session's may still be at it, where its tuner was killed; the lock ends with its process.
        self._lock = file.with_suffix(".lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._got = Got.read(file, name)
        self._got.write(file)
        self._make = make
        self._made: Tracker | None = None
        self._open: set[int] = set()
        self._sizes: dict[int, int] = {}

    def update(self) -> None:
        """Brings the tracker up to the present."""
        for trial in self._study.get_trials(deepcopy=False):
            number = trial.number
            if number in self._got.ended or trial.state is TrialState.WAITING:
                continue
            if not trial.state.is_finished():
                # Its folder is made once all its parameters are in the journal; until then this may be half of them.
                if self._folder.trial(number).path.is_dir():
                    self._go_on(rec.read(self._study, number))
            elif (record := rec.from_trial(trial)).purpose is not Purpose.EARLIER:
                self._finish(record)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
        self._lock.close()

    @property
    def _tracker(self) -> Tracker:
        """Made when there is something to tell it: some take seconds to load."""
        if self._made is None:
            self._made = self._make(self._got.id)
        return self._made

    def _begin(self, record: TrialRecord) -> None:
        if record.number not in self._open:
            self._tracker.begin(record)
            self._open.add(record.number)
            self._got.begun.setdefault(record.number, 0)
            self._got.write(self._file)

    def _go_on(self, record: TrialRecord) -> None:
        self._begin(record)
        file = self._folder.trial(record.number).metrics
        size = file.stat().st_size if file.exists() else 0
        if size != self._sizes.get(record.number, 0):
            self._sizes[record.number] = size
            self._measure(record, self._folder.trial(record.number).read_metrics())

    def _finish(self, record: TrialRecord) -> None:
        self._begin(record)
        measured = self._folder.trial(record.number).read_metrics()
        known = {name for measurement in measured for name in measurement.metrics}
        others = {name: value for name, value in record.metrics.items() if name not in known}
        if others:  # returned at the end, or measured from outside
            last = measured[-1].step if measured else max(record.curve, default=0)
            measured.append(Measurement(last, others, record.seconds or 0.0))
        self._measure(record, measured)
        self._tracker.end(record)
        self._open.discard(record.number)
        self._sizes.pop(record.number, None)
        self._got.begun.pop(record.number, None)
        self._got.ended.add(record.number)
        self._got.write(self._file)

    def _measure(self, record: TrialRecord, measured: list[Measurement]) -> None:
        new = measured[self._got.begun[record.number] :]
        if new:
            self._tracker.measure(record, new)
            self._got.begun[record.number] = len(measured)
            self._got.write(self._file)
