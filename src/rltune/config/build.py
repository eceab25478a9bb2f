"""From the study file's words to objects: the only place where a kind's name becomes an instance.

Nothing here runs a trial or touches the study folder, so `rltune check` builds as `rltune run` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from rltune.config.reader import read
from rltune.config.schema import ProtocolConfig, StudyConfig
from rltune.errors import InputError, Key, Problem, SpaceError, StudyFileError
from rltune.evaluation.folds import CrossValidated
from rltune.executors import make_executor
from rltune.folder import StudyDir
from rltune.guards import Guard, make_guard
from rltune.objective import Objective
from rltune.protocol.plan import Plan
from rltune.protocol.seeds import SeedLedger
from rltune.pruners import make_pruner
from rltune.samplers import make_sampler
from rltune.samplers.grid import GridSampler
from rltune.space import SearchSpace
from rltune.storage import open_study
from rltune.trainers.command import CommandTrainer
from rltune.trainers.config_text import flattened
from rltune.trainers.function import FunctionTrainer
from rltune.trainers.readers import Source
from rltune.trainers.readers.jsonl import JsonLines
from rltune.trainers.readers.stdout import Stdout
from rltune.trainers.readers.tensorboard import TensorBoard
from rltune.tuner import Tuner
from rltune.types import Executor, Resources, Trainer

T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """A study as objects, nothing started.

    Attributes:
        base_config: What the trainer's parameters are put into, read from its file.
        trainer: What runs, one fold or one whole trial a call.
        per_trial: The same, all folds a call; what the executor is given.
        notes: What a user should know before the study starts.
    """

    config: StudyConfig
    base_config: Mapping[str, Any]
    space: SearchSpace
    trainer: FunctionTrainer | CommandTrainer
    per_trial: Trainer
    executor: Executor
    sampler: BaseSampler
    pruner: BasePruner
    guards: tuple[Guard, ...]
    plan: Plan
    notes: tuple[str, ...]

    def open_tuner(self, folder: StudyDir) -> Tuner:
        """The tuner on this folder's journal; closes what an earlier one left running.

        Raises:
            FolderError: The storage cannot be used.
        """
        config, evaluation = self.config, self.config.evaluation
        study = open_study(
            config.storage,
            folder,
            config.name,
            [o.direction for o in self.plan.objectives],
            sampler=self.sampler,
            pruner=self.pruner,
            repair=True,
        )
        return Tuner(
            study=study,
            space=self.space,
            plan=self.plan,
            folder=folder,
            guards=self.guards,
            patience=evaluation.patience if evaluation.early_stopping else None,
            value=evaluation.value,
            horizon=config.trainer.horizon,
            timeout_seconds=config.timeout_hours and config.timeout_hours * 3600,
            max_failures=config.max_failures_in_a_row,
        )


def build(config: StudyConfig, base: Path, folder: StudyDir) -> Parts:
    """Makes every part of a study.

    Args:
        config: The study file.
        base: What its relative paths are relative to: the file's own folder.
        folder: Where the study will live; only its paths are used.

    Raises:
        InputError: With every problem found, keyed as in the study file.
    """
    base_config = _base_config(config, base)
    known = flattened(base_config)
    space = SearchSpace.from_mapping(config.search_space, config.constraints, config.derived, constants=known)
    space = space.with_defaults(known)
    evaluation, objectives = config.evaluation, config.evaluation.objectives()
    trainer = _trainer(config, base, base_config, space)
    problems = trainer.check(list(space.parameters), needs_folds=evaluation.cross_validation)

    def made(key: Key, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except InputError as error:
            inside = not isinstance(error, SpaceError)  # the space's problems know their place already
            problems.extend(problem.under(*key) if inside else problem for problem in error.problems)
            return None

    algorithm, pruner = config.algorithm, config.pruner
    sampler = made(
        ("algorithm",),
        lambda: make_sampler(
            algorithm.name, algorithm.options, space=space, seed=config.seed, n_objectives=len(objectives)
        ),
    )
    pruning = made(("pruner",), lambda: make_pruner(pruner.name, pruner.options))
    guards = [
        made(("guards", i), partial(make_guard, guard.name, guard.options, objective=evaluation.metric))
        for i, guard in enumerate(config.guards)
    ]
    executor = made(("executor",), lambda: make_executor(config.executor.name, _executor_options(config, folder)))
    planned = made((), lambda: _plan(config, space, objectives, sampler))
    if problems or sampler is None or pruning is None or executor is None or planned is None:
        raise InputError(problems)
    return Parts(
        config=config,
        base_config=base_config,
        space=space,
        trainer=trainer,
        per_trial=CrossValidated(trainer, evaluation.n_folds) if evaluation.cross_validation else trainer,
        executor=executor,
        sampler=sampler,
        pruner=pruning,
        guards=tuple(guard for guard in guards if guard is not None),
        plan=planned[0],
        notes=planned[1],
    )


# --- the trainer -----------------------------------------------------------------------------------------------------


def _base_config(config: StudyConfig, base: Path) -> dict[str, Any]:
    """The trainer's own configuration; empty where the study names none."""
    given = config.trainer.config
    if not isinstance(given, str):
        return dict(given or {})
    try:
        return read(base / given, root=None).data
    except StudyFileError as error:
        problems = [p.under("trainer", "config") for p in error.problems]
        raise InputError([replace(p, message=f"{base / given}: {p.message}", line=None) for p in problems]) from error


def _trainer(
    config: StudyConfig, base: Path, base_config: Mapping[str, Any], space: SearchSpace
) -> FunctionTrainer | CommandTrainer:
    given = config.trainer
    if given.function is not None:
        metrics = [o.metric for o in config.evaluation.objectives()]
        return FunctionTrainer(given.function, base_config, metric_names=metrics, search_path=base)
    return CommandTrainer(
        given.command or (),
        base_config=base_config,
        metrics=tuple(_sources(config)),
        env=given.env,
        cwd=_cwd(given.cwd, base),
        parameters=[*space.parameters, *space.derived],
        grace_seconds=config.executor.grace_seconds,
    )


def _cwd(given: str | None, base: Path) -> Path:
    """A path that begins with a placeholder, such as `{trial_dir}`, is absolute once that is filled in."""
    if given is None:
        return base
    return Path(given) if given.startswith("{") else base / given


def _sources(config: StudyConfig) -> Iterator[Source]:
    """Beside the file that `RLTUNE_METRICS` names, which is always read."""
    given = config.trainer.metrics
    step = given.step or "step"
    match given.source:
        case "jsonl" if given.where is not None:
            yield JsonLines(given.where, step)
        case "stdout":
            yield Stdout(None if given.where == "json" else given.where, step)
        case "tensorboard":
            assert given.where is not None
            yield TensorBoard(given.where)


# --- the executor ----------------------------------------------------------------------------------------------------


def _executor_options(config: StudyConfig, folder: StudyDir) -> dict[str, Any]:
    given = config.executor
    if given.name == "inline":
        return {}
    resources = Resources(
        gpus=given.gpus_per_trial,
        memory_bytes=given.memory_limit,
        seconds=given.timeout_minutes and given.timeout_minutes * 60,
        grace_seconds=given.grace_seconds,
    )
    options = {"workers": given.workers, "resources": resources, **given.options}
    if given.name == "local":
        gpus = None if given.gpus is None else [str(gpu) for gpu in given.gpus]
        options |= {"gpus": gpus, "warm": given.warm, "log": folder.worker_log}
    return options


# --- the plan --------------------------------------------------------------------------------------------------------


def _plan(
    config: StudyConfig, space: SearchSpace, objectives: list[Objective], sampler: BaseSampler | None
) -> tuple[Plan, tuple[str, ...]]:
    default = space.defaults()
    phases, why = _phases(config, space, default)
    baseline, finalists, seeds = phases
    plan = Plan(
        objectives, config.evaluation.ranges(), SeedLedger.of(config.seed), 0, default, baseline, finalists, seeds
    )
    n_search = config.n_trials - baseline - plan.n_finals
    if n_search < 1:
        message = f"{config.n_trials} trials are too few for {baseline} of the baseline and {plan.n_finals} finals"
        raise InputError([Problem(("n_trials",), message, f"give at least {baseline + plan.n_finals + 1}")])
    notes = [why] if why else []
    if isinstance(sampler, GridSampler):
        points = len(sampler.grid)
        if points < n_search:
            notes.append(
                f"the grid has {points} points, so {n_search - points} of the {n_search} search trials fall away"
            )
        n_search = min(n_search, points)
    return replace(plan, n_search=n_search), tuple(notes)


def _phases(
    config: StudyConfig, space: SearchSpace, default: Mapping[str, Any] | None
) -> tuple[tuple[int, int, int], str]:
    """Baseline runs, finalists, seeds for each finalist; and why there are none, where that may surprise."""
    protocol = config.protocol
    missing = ", ".join(f"`{name}`" for name in space.missing_defaults)
    if protocol.name == "simple":
        return (
            0,
            0,
            0,
        ), "protocol: simple — the best of single runs is printed, which luck makes look better than it is"
    if protocol.name == "auto":
        if default is None:
            return (0, 0, 0), f"nothing to compare the winner with: {missing} has no `default`"
        if config.n_trials < 10:
            return (
                0,
                0,
                0,
            ), f"{config.n_trials} trials are too few to compare the winner with the default on fresh seeds"
        if config.evaluation.secondary_metrics:
            return (0, 0, 0), ""
    elif default is None:
        raise InputError(
            [Problem(("protocol",), f"`full` needs the configuration that you have today; {missing} has no `default`")]
        )
    usual = _usual_phases(config.n_trials)
    return _given_or(protocol, usual), ""


def _usual_phases(n_trials: int) -> tuple[int, int, int]:
    """About a tenth of the trials for the baseline, and a quarter for the finals."""
    if n_trials < 20:
        return 2, 2, 1
    if n_trials < 60:
        return 3, 3, 2
    if n_trials < 300:
        return 5, 5, 3
    return 8, 8, 4


def _given_or(protocol: ProtocolConfig, usual: tuple[int, int, int]) -> tuple[int, int, int]:
    given = (protocol.baseline_seeds, protocol.finalists, protocol.final_seeds)
    baseline, finalists, seeds = (u if g is None else g for g, u in zip(given, usual, strict=True))
    return baseline, finalists, seeds
