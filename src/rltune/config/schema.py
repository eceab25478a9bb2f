"""The study file as a whole. A default stands on its field and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr

from rltune.config.dump import plain
from rltune.config.evaluation import EvaluationConfig
from rltune.config.executor import ExecutorConfig
from rltune.config.named import AlgorithmConfig, GuardConfig, PrunerConfig, TrackerConfig
from rltune.config.reader import Document
from rltune.config.section import Count, Positive, Section, Texts, Whole, wrong
from rltune.config.trainer import TrainerConfig
from rltune.errors import InputError, Problem, SpaceError, StudyFileError
from rltune.space.foreign import as_spec, is_foreign
from rltune.space.search_space import SearchSpace
from rltune.storage import storage_at
from rltune.trainers.config_text import flattened, yaml_text
from rltune.types import HORIZON
from rltune.wording import found


class ProtocolConfig(Section):
    """How far a winner is tested. None: as the protocol of that name says.

    Attributes:
        name: `simple` searches only, `full` runs the default first and the best again on fresh seeds, `auto` is `full`
            where the search space names defaults and there are trials enough.
        baseline_seeds: Runs of the default before the search.
        finalists: How many of the best are run again.
        final_runs: Of the finals in all, the default's among them; whoever is hardest to tell apart has most of them.
        claim_seeds: Untouched seeds for the winner and for the default, behind the gain that is printed.
        wished_gain: A gain worth having, in the metric's own unit; rltune says where the trials cannot show it.
    """

    name: Literal["auto", "simple", "full"] = "auto"
    baseline_seeds: Whole | None = None
    finalists: Whole | None = None
    final_runs: Count | None = None
    claim_seeds: Whole | None = None
    wished_gain: Positive | None = None

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        return {"name": given} if isinstance(given, str) else super().normalise(given)


def _name(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        allowed = "may hold letters, digits, `.`, `_` and `-`, begins with a letter or digit, and has at most 100"
        raise wrong(f"{allowed}; got {found(value)}", f"write {safe_name(value)}")
    return value


def safe_name(text: str) -> str:
    """A text as the name of a study: `My study (2)` becomes `My-study-2`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:100] or "study"


def _storage(value: Any) -> Any:
    if isinstance(value, str) and value != "journal" and not re.match(r"[a-z][a-z0-9+]*://", value):
        shown = re.sub(r"//[^/@]*@", "//...@", value)  # no password on the screen
        raise wrong(f"must be journal or a URL, got {found(shown)}", "as in sqlite:///study.db")
    return value


BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(FRE|GPU[-_ ]?hours?)", re.IGNORECASE)


def _budget(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or not BUDGET.fullmatch(value.strip())):
        raise wrong(
            f"must be a number of full runs or of GPU-hours, got {found(value)}", "as in 20 FRE, or 48 GPU-hours"
        )
    return value


def _as_mappings(space: Any) -> Any:
    """Parameters of other tools as a study file has them; one that has no counterpart is refused by the rules."""
    if not isinstance(space, Mapping):
        return space
    with suppress(SpaceError):
        return {name: as_spec(value) if is_foreign(value) else value for name, value in space.items()}
    return space


_NO_TRAINER = TrainerConfig.model_construct()
"""Stands in for a trainer that is missing, which the rules report in their own words."""


class StudyConfig(Section):
    """A whole study file.

    Attributes:
        name: The study's name, and its folder's; the file's own where it has none.
        algorithm: The sampler.
        n_trials: In all, over every session.
        budget: What the whole study may cost: `20 FRE`, where a trial that trains to its end is 1, or `48 GPU-hours`.
        timeout_hours: Time for the whole study.
        study_patience: The search ends once so many trials in a row have not improved on the best; the finals follow.
        seed: From which every random number of the study follows.
        search_space: What may vary, as `rltune.space.SearchSpace.from_mapping` takes it.
        constraints: Expressions over parameters that every configuration fulfils.
        derived: Values that follow from parameters, as expressions by name.
        max_failures_in_a_row: So many end the study.
        storage: `journal` for a file in the study's folder, or a database's URL.
        trackers: Other tools that the trials are mirrored to.
        out: The folder that study folders are made in.
        warm_start: The folder of an earlier study, relative to the study file; what it tried inside this search space
            is known from the start. Needs the same metrics and directions.
    """

    name: Annotated[str, BeforeValidator(_name)] = "study"
    algorithm: AlgorithmConfig = AlgorithmConfig(name="auto")
    n_trials: Count = 100
    budget: Annotated[str, BeforeValidator(_budget)] | None = None
    timeout_hours: Positive | None = None
    study_patience: Count | None = None
    seed: Whole = 0
    trainer: TrainerConfig = _NO_TRAINER
    search_space: Annotated[dict[Any, Any], BeforeValidator(_as_mappings)] = Field(
        examples=["{learning_rate: {type: float, min: 1e-5, max: 1e-3, log: true}}"]
    )
    constraints: Texts = ()
    derived: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationConfig = Field(examples=["{metric: validation_loss, direction: minimize}"])
    pruner: PrunerConfig = PrunerConfig(name="none")
    guards: Annotated[tuple[GuardConfig, ...], Field(strict=False)] = (GuardConfig(name="divergence"),)
    executor: ExecutorConfig = ExecutorConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    max_failures_in_a_row: Count = 10
    trackers: Annotated[tuple[TrackerConfig, ...], Field(strict=False)] = ()
    storage: Annotated[str, BeforeValidator(_storage)] = "journal"
    out: str = "runs"
    warm_start: str | None = None

    _document: Document = PrivateAttr(default_factory=lambda: Document({}))

    @property
    def base(self) -> Path:
        """The folder that relative paths in the study are relative to: that of its file, else the working directory."""
        file = self._document.file
        return Path.cwd() if file is None else file.absolute().parent

    @property
    def pause_seconds(self) -> float:
        """How long a trial may take to pause once the study is stopped; 0 where none can be asked to."""
        given, executor = self.trainer.nemo_rl, self.executor
        if given is None or given.hook == "off" or executor.name == "inline" or not executor.isolate:
            return 0.0
        return given.pause_seconds

    def constants(self, base_config: Mapping[str, Any]) -> dict[str, Any]:
        """What expressions may read besides parameters, by dotted name.

        The trainer's own config, and `trainer.horizon`, which is null where the file gives none.
        """
        return flattened(base_config) | {HORIZON: self.trainer.horizon}

    def with_base_config(self, base_config: Mapping[str, Any]) -> Self:
        """The same study with the trainer's own config in it: instead of its file's name, or beside its recipe's."""
        if self.trainer.config is None and self.trainer.nemo_rl is None:
            return self
        return self.model_copy(update={"trainer": self.trainer.model_copy(update={"config": dict(base_config)})})

    def with_storage_in_place(self) -> Self:
        """The same study with the file of its database where it is, whatever folder is read from."""
        return self.model_copy(update={"storage": storage_at(self.storage, self.base)})

    def to_mapping(self) -> dict[str, Any]:
        """The study with every default spelled out, as plain data that `from_mapping` reads back to an equal study.

        A trainer given as a Python function becomes its `module:name`.
        """
        mapping: dict[str, Any] = plain(self.model_dump(exclude_none=True))
        return mapping

    def to_yaml(self) -> str:
        """The same as the text of a study file."""
        return yaml_text(self.to_mapping())

    def error(self, problems: Iterable[Problem]) -> StudyFileError:
        """Problems that were found later, with the lines of the file that this was read from."""
        return StudyFileError(self._document.file, (self._document.locate(problem) for problem in problems))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StudyConfig) and self.to_mapping() == other.to_mapping()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if "trainer" not in given:
            hint = 'use --trainer pkg.module:train, or write trainer: {function: "pkg.module:train"}'
            yield Problem(("trainer",), "is missing: nothing says what runs", hint)
        yield from _space_problems(given)
        yield from _one_curve(given)
        yield from _asha(given)
        yield from _trackers_named_twice(given)

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        """The `max_t` of `asha` is where a full run ends: the horizon, by another name."""
        fields = super().normalise(given)
        end, trainer = _options_of_asha(fields).get("max_t"), fields.get("trainer")
        trainer = {"function": trainer} if callable(trainer) else trainer
        if isinstance(end, int) and isinstance(trainer, Mapping) and trainer.get("horizon") is None:
            fields["trainer"] = {**trainer, "horizon": end}
        if "pruner" not in fields and _takes_forecast(fields):
            fields["pruner"] = "forecast"
        return fields


def _takes_forecast(given: Mapping[str, Any]) -> bool:
    """Whether `auto` also ends trials that promise little: with one objective, and one curve a trial."""
    algorithm, evaluation = given.get("algorithm", "auto"), given.get("evaluation")
    name = algorithm.get("name") if isinstance(algorithm, Mapping) else algorithm
    if name not in ("auto", "bayesian") or not isinstance(evaluation, Mapping):
        return False
    return not evaluation.get("secondary_metrics") and evaluation.get("cross_validation", False) is False


def _space_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    space, constraints, derived = given.get("search_space"), given.get("constraints", ()), given.get("derived", {})
    if not (isinstance(space, Mapping) and isinstance(constraints, list | tuple) and isinstance(derived, Mapping)):
        return
    constants = _base_values(given.get("trainer"))
    if constants is None or not all(isinstance(name, str) for name in derived):
        constraints, derived = (), {}
    try:
        SearchSpace.from_mapping(space, constraints, derived, constants)
    except InputError as error:
        yield from error.problems


def _base_values(trainer: Any) -> dict[str, Any] | None:
    """The values of the trainer's own config by dotted name, which expressions may read; None where they are in a file.

    The file is read where the trainer is made: a study in a folder that was moved must still load without it.
    """
    config = trainer.get("config") if isinstance(trainer, Mapping) else None
    if config is None and isinstance(trainer, Mapping) and trainer.get("nemo_rl") is not None:
        return None
    if config is not None and not isinstance(config, Mapping):
        return None
    return dict(_dotted(config)) | {HORIZON: trainer.get("horizon") if isinstance(trainer, Mapping) else None}


def _dotted(value: Any, *key: str) -> Iterator[tuple[str, Any]]:
    for name, item in value.items() if isinstance(value, Mapping) else ():
        yield from _dotted(item, *key, str(name))
    if key and not isinstance(value, Mapping):
        yield ".".join(key), value


def _one_curve(given: Mapping[str, Any]) -> Iterator[Problem]:
    """Pruners that watch one curve need one: several objectives have several, and over folds there is none."""
    evaluation, pruner = given.get("evaluation"), given.get("pruner")
    name = pruner.get("name") if isinstance(pruner, Mapping) else pruner
    if name not in ("plateau", "patient", "asha") or not isinstance(evaluation, Mapping):
        return
    secondary, others = evaluation.get("secondary_metrics"), "median, percentile, halving or hyperband"
    if isinstance(secondary, list | tuple | Mapping) and secondary and name != "asha":
        message = f"`{name}` watches one curve, and this study has {len(secondary) + 1} objectives"
        hint = "use evaluation.early_stopping, which goes by the primary metric, or a pruner that compares trials: "
        yield Problem(("pruner",), message, hint + others)
    elif evaluation.get("cross_validation", False) is not False:
        message = f"`{name}` watches one curve, and over folds there is none"
        yield Problem(("pruner",), message, f"use evaluation.early_stopping, for the curve of each fold, or {others}")


def _options_of_asha(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the pruner, where it is `asha`."""
    pruner = given.get("pruner")
    return pruner if isinstance(pruner, Mapping) and pruner.get("name") == "asha" else {}


def _asha(given: Mapping[str, Any]) -> Iterator[Problem]:
    """What `asha` says again, as Ray Tune's scheduler does, must be what the study says."""
    options, evaluation, trainer = _options_of_asha(given), given.get("evaluation"), given.get("trainer")
    if isinstance(evaluation, Mapping):
        metric = evaluation.get("metric", evaluation.get("primary_metric"))
        if options.get("metric") not in (None, metric):
            message = f"is {found(options['metric'])}, and the study's metric is {found(metric)}"
            yield Problem(("pruner", "metric"), message, "remove it here: the pruner goes by the study's")
        direction = {"min": "minimize", "max": "maximize"}.get(str(options.get("mode")))
        if direction not in (None, evaluation.get("direction")):
            message = f"is {options['mode']}, and evaluation.direction is {found(evaluation.get('direction'))}"
            yield Problem(("pruner", "mode"), message, "remove it here: the pruner goes by the study's")
    horizon = trainer.get("horizon") if isinstance(trainer, Mapping) else None
    if options.get("max_t") is not None and horizon not in (None, options["max_t"]):
        message = f"is {found(options['max_t'])}, and trainer.horizon is {found(horizon)}"
        yield Problem(("pruner", "max_t"), message, "both are the step at which a full run ends: keep one of them")


def _trackers_named_twice(given: Mapping[str, Any]) -> Iterator[Problem]:
    """What a tracker has got is kept under its name."""
    trackers = given.get("trackers")
    names = [_tracker_name(each) for each in trackers] if isinstance(trackers, list | tuple) else []
    for i, name in enumerate(names):
        if name is not None and name in names[:i]:
            yield Problem(("trackers", i), f"`{name}` is there twice", "keep one of them")


def _tracker_name(given: Any) -> Any:
    try:
        name = TrackerConfig.normalise(given).get("name")
    except InputError:
        return None
    return name if isinstance(name, str) else None


_PARTS: dict[str, type[Section]] = {
    "trainer": TrainerConfig,
    "evaluation": EvaluationConfig,
    "executor": ExecutorConfig,
    "protocol": ProtocolConfig,
}
Section.homes |= {key: f"under {name}" for name, part in _PARTS.items() for key in part.keys()}  # noqa: SIM118
Section.homes |= dict.fromkeys(StudyConfig.keys(), "at the top level")
