"""Two studies, or two trials, side by side: what differs in what they are, in what they cost, and in what came out.

Values are set against each other only where they mean the same; else the reasons say why not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import TrialState

from rltune import config as cfg
from rltune.analysis.changes import Change, changes
from rltune.analysis.efficiency import efficiency
from rltune.analysis.noise import Noise, noise
from rltune.analysis.selection import Runs
from rltune.analysis.statistics import Estimate, difference, pooled_spread
from rltune.config.changes import Difference
from rltune.config.plan import full_run_of
from rltune.records import TrialRecord, effective, own
from rltune.reporting.files import verdict_json
from rltune.session import Result
from rltune.space import Parameter
from rltune.space.reading import spec_of
from rltune.types import Purpose
from rltune.wording import listed

_METRIC = ("evaluation.metric", "evaluation.direction")
_PER_TRIAL = (
    "trainer.horizon",
    "evaluation.early_stopping",
    "evaluation.patience",
    "evaluation.value",
    "executor.timeout_minutes",
)
_FOLDS = ("evaluation.cross_validation", "evaluation.n_folds")
_FEASIBLE = "evaluation.constraints"
_NO_SETTING = ("name", "out", "storage", "warm_start", "search_space", "trackers")
"""Keys that say where a study is, and those that are compared in a better way."""


@dataclass(frozen=True)
class SpaceChange:
    """One parameter that is not the same in both search spaces; None where a space lacks it."""

    parameter: str
    a: Parameter | None
    b: Parameter | None

    def to_json(self) -> dict[str, Any]:
        return {"parameter": self.parameter, "a": self.a and spec_of(self.a), "b": self.b and spec_of(self.b)}


@dataclass(frozen=True)
class Spent:
    """What a study has cost so far; what it knows from an earlier one is not counted.

    Attributes:
        trials: How many there are by state, re-runs left out.
        full_runs: Full-run equivalents.
        trial_seconds: Training time of all trials together.
        wall_seconds: Wall time while any trial ran.
        gpu_hours: None where trials have no GPU.
    """

    trials: Mapping[str, int]
    full_runs: float
    trial_seconds: float
    wall_seconds: float
    gpu_hours: float | None


@dataclass(frozen=True)
class StudyComparison:
    """Two studies.

    Attributes:
        reasons: Why their values cannot be compared; empty where they can.
        space: Parameters that differ, those of `a` first.
        settings: Other keys of the study file that differ.
        spent: Of each.
        runs: Of what each recommends, on seeds that its search has not seen; None where it has not come so far.
        gain: Of `b` over `a` by those runs, positive where better; None where there are too few, or reasons.
        noise: Of the default's runs in each.
        winners: What each recommends, parameter by parameter; `default` is that of `a`. Empty without both.
    """

    a: Result
    b: Result
    reasons: tuple[str, ...]
    space: tuple[SpaceChange, ...]
    settings: tuple[Difference, ...]
    spent: tuple[Spent, Spent]
    runs: tuple[Runs | None, Runs | None]
    gain: Estimate | None
    noise: tuple[Noise | None, Noise | None]
    winners: tuple[Change, ...]

    def to_json(self) -> dict[str, Any]:
        """Strict JSON."""
        sides = [_study_json(*each) for each in zip((self.a, self.b), self.spent, self.runs, self.noise, strict=True)]
        return {
            "kind": "studies",
            "a": sides[0],
            "b": sides[1],
            "comparable": not self.reasons,
            "reasons": list(self.reasons),
            "search_space": [change.to_json() for change in self.space],
            "settings": [{"key": d.key, "a": d.old, "b": d.new} for d in self.settings],
            "gain": _estimate_json(self.gain),
            "winners": [_change_json(change) for change in self.winners],
        }


@dataclass(frozen=True)
class Trial:
    """A trial and the study that it belongs to."""

    result: Result
    record: TrialRecord

    @property
    def name(self) -> str:
        """As `rltune compare` takes it: `study#12`."""
        return f"{self.result.config.name}#{self.record.number}"

    @property
    def curve(self) -> Mapping[int, float]:
        """The first objective by step; from the trial's own file where the journal has none."""
        if self.record.curve:
            return self.record.curve
        metric = self.result.objectives[0].metric
        try:
            measured = self.result.folder.trial(self.record.number).read_metrics()
        except (OSError, KeyError, TypeError, AttributeError):  # a file that something else wrote in
            return {}
        return {m.step: m.metrics[metric] for m in measured if metric in m.metrics}


@dataclass(frozen=True)
class TrialComparison:
    """Two trials, of one study or of two.

    Attributes:
        reasons: Why their values cannot be compared; empty where they can.
        noise: Of the default's runs, in the study of either: how far single runs of one configuration lie apart.
        params: What each was given, parameter by parameter; `default` is that of `a`.
        steps: Those that both have a value at, ascending.
    """

    a: Trial
    b: Trial
    reasons: tuple[str, ...]
    noise: Noise | None
    params: tuple[Change, ...]
    steps: tuple[int, ...]

    @property
    def n_better(self) -> int:
        """At how many of the common steps `b` is better than `a`."""
        objective, a, b = self.a.result.objectives[0], self.a.curve, self.b.curve
        return sum(objective.better(b[step], a[step]) for step in self.steps)

    @property
    def metrics(self) -> dict[str, tuple[float | None, float | None]]:
        """The last value of each, single folds left out."""
        a, b = self.a.record.metrics, self.b.record.metrics
        return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if not name.startswith("fold_")}

    def to_json(self) -> dict[str, Any]:
        """Strict JSON."""
        a, b = self.a.curve, self.b.curve
        return {
            "kind": "trials",
            "a": self.a.record.to_json() | {"name": self.a.name},
            "b": self.b.record.to_json() | {"name": self.b.name},
            "comparable": not self.reasons,
            "reasons": list(self.reasons),
            "noise": self.noise and asdict(self.noise),
            "params": [_change_json(change) for change in self.params],
            "curve": [{"step": step, "a": _number(a[step]), "b": _number(b[step])} for step in self.steps],
            "b_better_at": self.n_better,
        }


# --- studies ---------------------------------------------------------------------------------------------------------


def compare_studies(a: Result, b: Result) -> StudyComparison:
    """Two studies as they stand.

    Raises:
        StudyFileError: The study file in a folder has been changed by hand.
    """
    found = cfg.compare(a.config, b.config)
    reasons = tuple(_reasons(a, b, found))
    runs = _shipped_runs(a), _shipped_runs(b)
    winners = () if a.best is None or b.best is None else changes(a.best.params, b.best.params)
    return StudyComparison(
        a,
        b,
        reasons,
        tuple(_space_changes(a, b)),
        tuple(d for d in found if not _is_no_setting(d.key)),
        (_spent(a), _spent(b)),
        runs,
        None if reasons else _gain(a, b, *runs),
        (noise(a.records), noise(b.records)),
        winners,
    )


def _is_no_setting(key: str) -> bool:
    return key.partition(".")[0] in _NO_SETTING


def _reasons(a: Result, b: Result, found: list[Difference]) -> Iterator[str]:
    """Why values of the one mean something else than values of the other."""
    tuned = {*a.config.search_space, *b.config.search_space}
    runs = [d for d in found if d.key.startswith("trainer.") and d.key != "trainer.horizon" and not d.free]
    for d in found:
        if d.key in _METRIC:
            yield f"another objective: {d}"
        elif d.key in _PER_TRIAL:
            yield f"another budget for each trial: {d}"
        elif d.key.startswith(_FOLDS):
            yield f"other folds, so other data: {d}"
        elif d.key.startswith(_FEASIBLE):
            yield f"feasible is something else: {d}"
    if other := [d.key for d in runs if d.key.removeprefix("trainer.config.") not in tuned]:
        yield f"what runs, or its data, is another: {listed(other)}"
    if a.config.evaluation.cross_validation and b.config.evaluation.cross_validation:
        splits = [r.config.evaluation.cross_validation.seed for r in (a, b)]
        if splits == [None, None] and a.config.seed != b.config.seed:
            yield f"the data is split by the seed: {a.config.seed} -> {b.config.seed}"


def _space_changes(a: Result, b: Result) -> Iterator[SpaceChange]:
    before, after = a.space.parameters, b.space.parameters
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield SpaceChange(name, before.get(name), after.get(name))


def _spent(result: Result) -> Spent:
    records = own(result.records)
    used, full_run = efficiency(records, result.config.executor.n_workers or 1), full_run_of(result.config)
    trials: dict[str, int] = {}
    for record in effective(records):
        state = "failed" if record.state is TrialState.FAIL else record.state.name.lower()
        trials[state] = trials.get(state, 0) + 1
    return Spent(
        trials,
        sum(full_run.shares(records).values()),
        used.cost_seconds,
        used.wall_seconds,
        sum(map(full_run.gpu_hours, records)) if full_run.gpus else None,
    )


def _shipped_runs(result: Result) -> Runs | None:
    """Of the configuration that is recommended, on fresh seeds."""
    found = result.verdict
    if found is None or result.best is None:
        return None
    arms = [runs for runs in (found.winner, found.default) if runs is not None and runs.values]
    return next((runs for runs in arms if dict(runs.params) == dict(result.best.params)), None)


def _gain(a: Result, b: Result, of_a: Runs | None, of_b: Runs | None) -> Estimate | None:
    """Student's, with the spread within every configuration that either study has run on fresh seeds."""
    if of_a is None or of_b is None:
        return None
    sign = -1.0 if a.objectives[0].direction == "minimize" else 1.0
    arms = [r.verdict.default for r in (a, b) if r.verdict is not None and r.verdict.default is not None]
    groups = [runs.values for runs in arms if runs not in (of_a, of_b)]
    earlier = pooled_spread([*groups, _baseline(a), _baseline(b)])
    found = difference([sign * v for v in of_b.values], [sign * v for v in of_a.values], earlier)
    return found if found.freedom else None


def _baseline(result: Result) -> list[float]:
    """Runs of the default on seeds of their own."""
    runs = [r for r in effective(result.records) if r.purpose is Purpose.BASELINE and r.feasible]
    return [r.value for r in runs if r.value is not None]


# --- trials ----------------------------------------------------------------------------------------------------------


def compare_trials(a: Trial, b: Trial) -> TrialComparison:
    """Two trials as they stand."""
    common = sorted({*a.curve} & {*b.curve})
    return TrialComparison(
        a,
        b,
        tuple(_trial_reasons(a, b)),
        noise(a.result.records) or noise(b.result.records),
        changes(a.record.params, b.record.params),
        tuple(common),
    )


def _trial_reasons(a: Trial, b: Trial) -> Iterator[str]:
    if a.result.folder != b.result.folder:
        yield from _reasons(a.result, b.result, cfg.compare(a.result.config, b.result.config))
    if a.record.folding != b.record.folding:
        yield "their data was split into folds in different ways"
    for trial in (a, b):
        if trial.record.values is None:
            failed = trial.record.state is TrialState.FAIL
            yield f"{trial.name} has no value: it {'has failed' if failed else f'is {trial.record.state.name.lower()}'}"
        elif not trial.record.has_result:
            last = max(trial.curve, default=None)
            yield f"{trial.name} was pruned" + ("" if last is None else f" at step {last}, where its value belongs")


# --- as JSON ---------------------------------------------------------------------------------------------------------


def _study_json(result: Result, spent: Spent, runs: Runs | None, baseline: Noise | None) -> dict[str, Any]:
    return {
        "name": result.config.name,
        "folder": str(result.folder.path),
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in result.objectives],
        "spent": asdict(spent),
        "best": result.best and result.best.to_json(),
        "runs": runs and {"values": list(runs.values), "failed": runs.failed},
        "verdict": result.verdict and verdict_json(result.verdict, result.objectives[0]),
        "noise": baseline and asdict(baseline),
    }


def _estimate_json(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "gain": estimate.gain,
        "interval": [_number(estimate.low), _number(estimate.high)],
        "standard_error": _number(estimate.error),
        "p_better": _number(estimate.p_better),
    }


def _change_json(change: Change) -> dict[str, Any]:
    sides: dict[str, Any] = {"parameter": change.parameter, "changed": change.changed}
    if change.in_default:
        sides["a"] = change.default
    if change.in_shipped:
        sides["b"] = change.shipped
    return sides


def _number(value: float) -> float | str:
    return value if abs(value) < float("inf") else str(value)
