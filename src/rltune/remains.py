"""What a trial has left behind for another one to go on from: checkpoints, and folds that have ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rltune import records as rec
from rltune.evaluation.folds import Folding
from rltune.evaluation.kept import kept
from rltune.folder import StudyDir, TrialDir
from rltune.records import TrialRecord
from rltune.types import Cause, Measurement

CUT_SHORT = (Cause.LOST, Cause.INTERRUPTED)
"""Ends of no doing of the trial's own: one that repeats it goes on from its last checkpoint."""

_MAX_RETRIES = 2
"""A configuration that was running each time the tuner died may be what killed it."""


def is_cut_short(record: TrialRecord) -> bool:
    """Whether one that repeats it goes on where it ended."""
    return record.cause in CUT_SHORT or record.stopped_by == rec.TURN


@dataclass(frozen=True)
class Remains:
    """The folders of a study's trials, read for what is left there.

    Attributes:
        folder: Where trials have their folders.
        folding: How a trial is spread over folds; None where it is one run.
    """

    folder: StudyDir
    folding: Folding | None = None

    def last_checkpoint(self, number: int, up_to: int | None = None) -> Measurement | None:
        """The step and the place of the last checkpoint of a trial that is still there, or of the last up to a step."""
        folder, later = self.folder.trial(number), set[str]()
        for measurement in reversed(folder.read_metrics()):
            if measurement.checkpoint is None or measurement.checkpoint in later:  # overwritten since
                continue
            if up_to is not None and measurement.step > up_to:
                later.add(measurement.checkpoint)
            elif (path := folder.path / measurement.checkpoint).exists():
                return Measurement(measurement.step, {}, measurement.seconds, str(path.absolute()))
        return None

    def checkpoint_step(self, number: int, up_to: int) -> int | None:
        """The step of the last checkpoint up to a step; None where there is none."""
        saved = self.last_checkpoint(number, up_to)
        return None if saved is None else saved.step

    def measured_up_to(self, number: int, step: int) -> Iterator[Measurement]:
        """What a trial measured up to a step, with the places of its checkpoints as another trial finds them."""
        folder = self.folder.trial(number)
        return (_placed(each, folder) for each in folder.read_metrics() if each.step <= step)

    def is_blameless(self, record: TrialRecord, records: Mapping[int, TrialRecord]) -> bool:
        """Whether a configuration has not been lost so often that it may be what kills its surroundings.

        A loss before which a fold had ended well, or a checkpoint had been saved, is none of its doing.

        Args:
            record: The latest of the trials that repeat each other.
            records: All of the study, by number.
        """
        losses = 0
        while record.retry_of is not None:
            record = records[record.retry_of]
            progressed = self._progress(record.number) > self._progress(record.retry_of)
            losses += record.cause is Cause.LOST and not progressed  # a stop that was asked for does not count
        return losses < _MAX_RETRIES

    def _progress(self, number: int | None) -> tuple[int, int]:
        """How far a trial has come, in a way that another one can go on from: folds, and the step of a checkpoint."""
        if number is None:
            return 0, 0
        saved = self.last_checkpoint(number)
        return self._n_kept(number), 0 if saved is None else saved.step

    def _n_kept(self, number: int) -> int:
        """How many folds of a trial have ended well."""
        if self.folding is None:
            return 0
        folder = self.folder.trial(number)
        return sum(kept(folder.fold(fold), self.folding.split) is not None for fold in range(self.folding.n))


def _placed(measurement: Measurement, folder: TrialDir) -> Measurement:
    """With the place of its checkpoint as it is found from another trial's folder."""
    if measurement.checkpoint is None:
        return measurement
    return replace(measurement, checkpoint=str((folder.path / measurement.checkpoint).absolute()))
