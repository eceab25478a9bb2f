"""From the study file's words to objects: the only place where a kind's name becomes an instance.

Nothing here runs a trial or touches the study folder, so `rltune check` builds as `rltune run` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from rltune import records as rec
from rltune.config.earlier import Earlier, earlier_of
from rltune.config.plan import plan_of
from rltune.config.population import population_problems
from rltune.config.reader import read
from rltune.config.schema import StudyConfig
from rltune.errors import InputError, Key, Problem, SpaceError, StudyFileError
from rltune.evaluation.splits import Splits
from rltune.executors import make_executor
from rltune.folder import StudyDir
from rltune.guards import StudyGuard, make_guard
from rltune.protocol.plan import Plan
from rltune.pruners import AshaPruner, make_pruner
from rltune.samplers import make_sampler
from rltune.samplers.population import PopulationSampler
from rltune.space import SearchSpace
from rltune.storage import open_study
from rltune.trackers import require
from rltune.trainers.command import CommandTrainer
from rltune.trainers.config_text import overrides
from rltune.trainers.function import FunctionTrainer, put_first
from rltune.trainers.readers import Source
from rltune.trainers.readers.jsonl import JsonLines
from rltune.trainers.readers.stdout import Stdout
from rltune.trainers.readers.tensorboard import TensorBoard
from rltune.trainers.registry import NamedTrainer, StudyTrainer, command_line
from rltune.tuner import MEASURED_METRICS, Tuner
from rltune.types import Executor, Resources

T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """A study as objects, nothing started.

    Attributes:
        base_config: What the trainer's parameters are put into, read from its file.
        trainer: What runs, one fold or one whole trial a call.
        earlier: What is known from an earlier study; None where the study file names none.
        notes: What a user should know before the study starts.
    """

    config: StudyConfig
    base_config: Mapping[str, Any]
    space: SearchSpace
    trainer: StudyTrainer
    executor: Executor
    sampler: BaseSampler
    pruner: BasePruner
    guards: tuple[StudyGuard, ...]
    plan: Plan
    earlier: Earlier | None
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
        if self.earlier is not None:
            rec.add_earlier(study, self.earlier.trials, self.space, self.earlier.to_json())
        return Tuner(
            study=study,
            space=self.space,
            plan=self.plan,
            folder=folder,
            guards=self.guards,
            folding=evaluation.folding(config.seed, one_order=config.pruner.name != "none"),
            patience=evaluation.patience if evaluation.early_stopping else None,
            value=evaluation.value,
            horizon=config.trainer.horizon,
            stops_at_horizon=isinstance(self.pruner, AshaPruner) and self.pruner.max_t is not None,
            step_metric=_step_metric(self.pruner, config),
            timeout_seconds=config.timeout_hours and config.timeout_hours * 3600,
            max_failures=config.max_failures_in_a_row,
            tidy=getattr(self.trainer, "tidy", Tuner.tidy),
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
    put_first(base)  # where `module:Class` of any part may stand
    if config.trainer.nemo_rl is not None:
        from rltune.config import nemo_rl  # another study is spared the time that this takes
    recipe = None if config.trainer.nemo_rl is None else nemo_rl.recipe_of(config, base)
    config, rules = (config, ()) if recipe is None else nemo_rl.with_rules(config, recipe)
    base_config = _base_config(config, base) if recipe is None else dict(recipe.values)
    known = config.constants(base_config)
    if recipe is not None:
        known |= nemo_rl.named_values(recipe, config.search_space)
    space = SearchSpace.from_mapping(config.search_space, config.constraints, config.derived, constants=known)
    space = space.with_defaults(known)
    evaluation, objectives = config.evaluation, config.evaluation.objectives()
    if recipe is None:
        trainer = _trainer(config, base, base_config, space)
    else:
        trainer = nemo_rl.nemo_rl_trainer(config, recipe, space)
    problems = [
        *trainer.check(list(space.parameters), needs_folds=bool(evaluation.cross_validation)),
        *_unused_data(config),
        *_unmeasured(config),
        *([] if recipe is None else nemo_rl.shared_gpus(config)),
        *([] if recipe is None else nemo_rl.study_problems(config, recipe, space)),
        *([] if recipe is None else nemo_rl.pauseless(config, recipe)),
    ]

    def made(key: Key, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except InputError as error:
            inside = not isinstance(error, SpaceError)  # the space's problems know their place already
            problems.extend(problem.under(*key) if inside else problem for problem in error.problems)
            return None

    algorithm, pruner, goal = config.algorithm, config.pruner, objectives[0]
    sampler = made(
        ("algorithm",),
        lambda: make_sampler(
            algorithm.name, algorithm.options, space=space, seed=config.seed, n_objectives=len(objectives)
        ),
    )
    if isinstance(sampler, PopulationSampler):
        problems += population_problems(config, base_config, list(space.parameters), sampler)
    pruning = made(("pruner",), lambda: make_pruner(pruner.name, pruner.options))
    guards = [
        made(
            ("guards", i),
            partial(make_guard, given.name, given.options, objective=goal.metric, direction=goal.direction),
        )
        for i, given in enumerate(config.guards)
    ]
    for i, given in enumerate(config.trackers):
        made(("trackers", i), partial(require, given.name, given.options))
    executor = made(("executor",), lambda: make_executor(config.executor.name, _executor_options(config, base, folder)))
    planned = made((), lambda: plan_of(config, space, objectives, sampler))
    earlier = made(("warm_start",), lambda: earlier_of(config, base, folder, space))
    if problems or sampler is None or pruning is None or executor is None or planned is None:
        raise InputError(problems)
    return Parts(
        config=config,
        base_config=base_config,
        space=space,
        trainer=trainer,
        executor=executor,
        sampler=sampler,
        pruner=pruning,
        guards=tuple(guard for guard in guards if guard is not None),
        plan=planned[0],
        earlier=earlier,
        notes=(*planned[1], *rules, *([] if earlier is None else [str(earlier)])),
    )


def command_line_in(config: StudyConfig, params: Mapping[str, Any]) -> Sequence[str]:
    """A configuration as the script of a study's trainer takes it, as far as the study file in its folder tells.

    Raises:
        InputError: A parameter does not fit NeMo RL's recipe.
        TrainerError: A value cannot be written on a command line.
    """
    if config.trainer.nemo_rl is None or not isinstance(config.trainer.config, Mapping):
        return overrides(params)
    from rltune.config import nemo_rl

    return command_line(nemo_rl.kept_trainer(config, config.trainer.config), params)


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


def _trainer(config: StudyConfig, base: Path, base_config: Mapping[str, Any], space: SearchSpace) -> StudyTrainer:
    given = config.trainer
    if given.name is not None:
        return NamedTrainer(given.name, given.options, base_config, search_path=base)
    if given.function is not None:
        metrics = [o.metric for o in config.evaluation.objectives()]
        data, split = _splits(config)
        return FunctionTrainer(
            given.function,
            base_config,
            metric_names=metrics,
            search_path=base,
            data=data,
            split=split,
            repeats=_repeats(config),
        )
    return CommandTrainer(
        given.command or (),
        base_config=base_config,
        metrics=tuple(_sources(config)),
        env=given.env,
        cwd=_cwd(given.cwd, base),
        parameters=[*space.parameters, *space.derived],
        computed={name: formula.names for name, formula in space.derived.items()},
        grace_seconds=config.executor.grace_seconds,
    )


def _splits(config: StudyConfig) -> tuple[Any, Callable[[Any, int, int], tuple[Any, Any]] | None]:
    """The data, as the study file names it, and what splits it."""
    given = config.evaluation.cross_validation
    if not given or given.data is None:
        return None, None
    seed = config.seed if given.seed is None else given.seed
    return given.data, Splits(given.kind, config.evaluation.n_folds, given.repeats, seed).indices


def _unmeasured(config: StudyConfig) -> Iterator[Problem]:
    """Memory is measured from outside, which one process cannot do for a part of itself."""
    executor = config.executor
    if executor.name != "inline" and executor.isolate:
        return
    evaluation, hint = config.evaluation, "use the executor local" if executor.name == "inline" else "isolate: true"
    for objective in evaluation.objectives():
        if objective.metric in MEASURED_METRICS[1:]:
            yield Problem(("evaluation",), f"{executor.name} does not measure `{objective.metric}`", hint)
    for metric in evaluation.constraints:
        if metric in MEASURED_METRICS[1:]:
            yield Problem(("evaluation", "constraints", metric), f"{executor.name} does not measure it", hint)


def _repeats(config: StudyConfig) -> int:
    given = config.evaluation.cross_validation
    return given.repeats if given else 1


def _unused_data(config: StudyConfig) -> Iterator[Problem]:
    """Only a function can be handed indices."""
    data = config.evaluation.cross_validation and config.evaluation.cross_validation.data
    if data is not None and data is not False and config.trainer.function is None:
        key, hint = ("evaluation", "cross_validation", "data"), "it splits by itself, by the fold that it is told"
        yield Problem(key, "does nothing: only a function takes `train_idx` and `val_idx`", hint)


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


def _step_metric(pruner: BasePruner, config: StudyConfig) -> str | None:
    """The metric that the pruner takes for the step; None where the trainer's reader does so already."""
    named = pruner.step_metric if isinstance(pruner, AshaPruner) else None
    return None if named == config.trainer.metrics.step else named


# --- the executor ----------------------------------------------------------------------------------------------------


def _executor_options(config: StudyConfig, base: Path, folder: StudyDir) -> dict[str, Any]:
    given = config.executor
    if given.name == "inline":
        return {}
    resources = Resources(
        gpus=given.gpus_per_trial,
        memory_bytes=given.memory_limit,
        seconds=given.timeout_minutes and given.timeout_minutes * 60,
        setup_seconds=given.setup_minutes and given.setup_minutes * 60,
        stall_seconds=given.stall_minutes and given.stall_minutes * 60,
        grace_seconds=given.grace_seconds,
        pause_seconds=config.pause_seconds,
    )
    if given.name == "ray":
        per_trial = given.per_trial
        return {
            "workers": given.workers,
            "resources": replace(resources, gpus=per_trial.get("GPU", 0.0)),
            "address": given.address,
            "per_trial": per_trial,
            "nodes": given.nodes,
            "isolate": given.isolate,
            "warm": given.warm,
            "runtime_env": given.runtime_env and _shipped(given.runtime_env, base),
            "shared": given.shared_storage,
            "autoscaling": given.autoscaling,
            "base": base.absolute(),
            "folder": folder.path.absolute(),
            "log": folder.worker_log.absolute(),
            "ray_log": folder.ray_log.absolute(),
        }
    options = {"workers": given.n_workers, "resources": resources, **given.options}
    if given.name == "local":
        gpus = None if given.gpus is None else [str(gpu) for gpu in given.gpus]
        options |= {"gpus": gpus, "warm": given.warm, "log": folder.worker_log}
    return options


def _shipped(runtime_env: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Folders that Ray is to ship are relative to the study file, as all paths in it."""

    def absolute(given: Any) -> Any:
        return str((base / given).resolve()) if isinstance(given, str) and (base / given).exists() else given

    env = dict(runtime_env)
    if "working_dir" in env:
        env["working_dir"] = absolute(env["working_dir"])
    if isinstance(env.get("py_modules"), list):
        env["py_modules"] = [absolute(module) for module in env["py_modules"]]
    return env
