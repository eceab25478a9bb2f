"""Cross-validation: one configuration trained once per fold, measured as the mean over the folds so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt

from rltune.types import Measurement, Report, Suggestion, Trainer
from rltune.worker import TrialFailed, as_metrics


@dataclass(frozen=True)
class CrossValidated:
    """Runs a trainer for the folds 0 to `n_folds` - 1, each in a folder of its own below the trial's.

    A fold's value of a metric is the last one reported or returned in it. After each fold, the means over the folds
    so far are reported with the number of folds as the step, and the fold's own values as `fold_2/loss`; so a hopeless
    configuration is stopped between folds. Steps within a fold are not passed on, and no fold starts from the trial's
    checkpoint, which has seen other folds' data.
    """

    trainer: Trainer
    n_folds: int

    def __call__(self, suggestion: Suggestion, report: Report, /) -> Mapping[str, float]:
        """The mean of every metric that all folds measured, and `loss/fold_sd`, its standard deviation over folds.

        Raises:
            TrialFailed: A fold failed; the message says which.
            TrialStopped: As `report`.
        """
        folds: list[dict[str, float]] = []
        for fold in range(self.n_folds):
            values = self._run(suggestion, fold)
            folds.append(values)
            own = {f"fold_{fold}/{name}": value for name, value in values.items()}
            report(Measurement(fold + 1, _means(folds) | own))
        return _means(folds) | {f"{name}/fold_sd": _sd([f[name] for f in folds]) for name in _means(folds)}

    def load(self) -> None:
        """Load what the trainer runs, where it has something to load: once, for all trials that fork from here."""
        load = getattr(self.trainer, "load", None)
        if load is not None:
            load()

    def _run(self, suggestion: Suggestion, fold: int) -> dict[str, float]:
        directory = suggestion.directory / f"fold_{fold}"
        directory.mkdir(exist_ok=True)
        values: dict[str, float] = {}
        one = replace(suggestion.with_fold(fold, self.n_folds), directory=directory, resume_from=None)
        try:
            returned = self.trainer(one, lambda measurement: values.update(as_metrics(measurement.metrics)))
            return values if returned is None else values | as_metrics(returned)
        except TrialFailed as error:
            raise TrialFailed(error.cause, f"fold {fold} of {self.n_folds}: {error}") from error
        except Exception as error:
            error.add_note(f"in fold {fold} of {self.n_folds}")
            raise


def _means(folds: list[dict[str, float]]) -> dict[str, float]:
    common = [name for name in folds[0] if all(name in fold for fold in folds)]
    return {name: _mean([fold[name] for fold in folds]) for name in common}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _sd(values: list[float]) -> float:
    """With n - 1; NaN for a single fold."""
    if len(values) < 2:
        return float("nan")
    mean = _mean(values)
    return sqrt(sum((value - mean) * (value - mean) for value in values) / (len(values) - 1))
