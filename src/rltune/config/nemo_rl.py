"""A study of NeMo RL: what of it is made from the recipe, in place of what the study file says for other trainers.

And what is wrong with it that only the whole study shows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rltune.config.schema import StudyConfig
from rltune.errors import InputError, Problem
from rltune.space import SearchSpace
from rltune.space.reading import parse_parameter
from rltune.trainers.nemo_rl.constraints import space_rules
from rltune.trainers.nemo_rl.kept import kept_recipe
from rltune.trainers.nemo_rl.limits import unfit_derived, unfit_values
from rltune.trainers.nemo_rl.metrics import is_validated, never_validated
from rltune.trainers.nemo_rl.names import NAMES, value_of
from rltune.trainers.nemo_rl.recipe import Recipe, load_recipe
from rltune.trainers.nemo_rl.resume import steps_key
from rltune.trainers.nemo_rl.trainer import NemoRlTrainer
from rltune.trainers.registry import StudyTrainer


def recipe_of(config: StudyConfig, base: Path) -> Recipe | None:
    """The recipe that NeMo RL is to run, with what every trial gets set in it; None for any other trainer.

    Raises:
        InputError: It cannot be read; the places are in the study file.
        TrainerError: What reads it is not installed.
    """
    given = config.trainer.nemo_rl
    if given is None:
        return None
    root = None if given.root is None else base / given.root
    if root is not None and not root.is_dir():
        raise InputError([Problem(("trainer", "nemo_rl", "root"), f"there is no folder {root}")])
    path = Path(given.recipe)
    if root is None or not (root / path).is_file():
        path = base / path
    try:
        return load_recipe(path, root, given.overrides)
    except InputError as error:
        raise InputError(problem.under("trainer", "nemo_rl") for problem in error.problems) from error


def nemo_rl_trainer(config: StudyConfig, recipe: Recipe, space: SearchSpace) -> StudyTrainer:
    """NeMo RL's trainer as the study file asks for it."""
    given = config.trainer.nemo_rl
    assert given is not None
    return NemoRlTrainer(
        recipe,
        overrides=given.overrides,
        script=given.script or "",
        launch=given.launch,
        env=given.env,
        horizon=config.trainer.horizon,
        derived=dict(space.derived),
        gpus_per_trial=0.0 if config.executor.name == "inline" else config.executor.gpus_per_trial,
        hook=given.hook,
        warm_up=given.warm_up,
        keep_checkpoints=given.keep_checkpoints,
        grace_seconds=config.executor.grace_seconds,
    )


def kept_trainer(config: StudyConfig, recipe: Mapping[str, Any]) -> StudyTrainer:
    """NeMo RL's trainer as a study's folder tells of it: to be asked, not to run.

    Args:
        config: The folder's study file.
        recipe: The resolved recipe that is kept in it.
    """
    given = config.trainer.nemo_rl
    assert given is not None
    return NemoRlTrainer(kept_recipe(given.recipe, recipe), overrides=given.overrides, horizon=config.trainer.horizon)


def with_rules(config: StudyConfig, recipe: Recipe) -> tuple[StudyConfig, tuple[str, ...]]:
    """The study with the rules of NeMo RL that its parameters could break, and what a user should know of them.

    Raises:
        InputError: A parameter has values that NeMo RL cannot train with, and so no rule can be computed for.
    """
    given = config.trainer.nemo_rl
    assert given is not None
    parameters = {name: parse_parameter(name, spec) for name, spec in config.search_space.items()}
    if unfit := list(unfit_values(recipe, parameters)):
        raise InputError(unfit)
    tuned = [name for name in (*config.search_space, *config.derived) if isinstance(name, str)]
    rules = space_rules(_as_run(config, recipe), tuned, os.environ | given.env)
    constraints = [*config.constraints, *(rule for rule in rules.constraints if rule not in config.constraints)]
    derived = {**rules.derived, **config.derived}
    added = [f"constraint of NeMo RL: {rule}" for rule in constraints[len(config.constraints) :]]
    return config.model_copy(update={"constraints": tuple(constraints), "derived": derived}), (*added, *rules.notes)


def named_values(recipe: Recipe, space: Mapping[Any, Any]) -> dict[str, Any]:
    """What the recipe has today for the names in the search space, which are defaults where the file gives none."""
    found: dict[str, Any] = {}
    for name in space:
        with suppress(InputError):  # a name without a place, which the trainer reports
            found |= {name: value_of(recipe, name)} if name in NAMES else {}
    return found


def _as_run(config: StudyConfig, recipe: Recipe) -> Recipe:
    """The recipe with the length of a full run in it, where the study file gives one."""
    key, horizon = steps_key(recipe), config.trainer.horizon
    return recipe if horizon is None else recipe.with_overrides({key if recipe.has(key) else f"++{key}": horizon})


def study_problems(config: StudyConfig, recipe: Recipe, space: SearchSpace) -> Iterator[Problem]:
    """What neither names nor rules of NeMo RL tell: unfit derived values, and an objective that is never measured."""
    yield from unfit_derived(recipe, space)
    validated = [each.metric for each in config.evaluation.objectives() if is_validated(each.metric)]
    if not validated:
        return
    run, key = _as_run(config, recipe), steps_key(recipe)
    steps = min((each[key] for each in space.some() if key in each), default=run.get(key))
    problem = never_validated(run, steps, [*space.parameters, *space.derived])
    if problem is not None:
        message = f"`{validated[0]}` would never be measured: {'.'.join(map(str, problem.key))} {problem.message}"
        yield Problem(("evaluation", "metric"), message, problem.hint)


def pauseless(config: StudyConfig, recipe: Recipe) -> Iterator[Problem]:
    """A wish for pauses where no trial could be asked for one, or none would leave a checkpoint."""
    given, executor = config.trainer.nemo_rl, config.executor
    if given is None or not given.pause_seconds or "pause_seconds" not in given.model_fields_set:
        return
    if given.hook == "off":
        why, hint = "it takes the hook to pause a trial, and hook is off", "set hook: auto"
    elif config.pause_seconds == 0:
        needed = "isolate: true" if executor.name == "ray" else "the executor local"
        why, hint = f"{executor.name} has no process of its own for each trial", f"use {needed}"
    elif not recipe.get("checkpointing.enabled"):
        why, hint = "no checkpoint is saved", "set checkpointing.enabled: true among the overrides"
    else:
        return
    yield Problem(("trainer", "nemo_rl", "pause_seconds"), f"does nothing: {why}", f"{hint}, or remove it")


def shared_gpus(config: StudyConfig) -> Iterator[Problem]:
    """NeMo RL takes every GPU that it sees, and does not wait for one that is taken."""
    executor = config.executor
    unmanaged = config.trainer.nemo_rl is not None and executor.name == "local" and not executor.gpus_per_trial
    if unmanaged and executor.n_workers > 1:
        message = f"is 0, so {executor.n_workers} trials at once would each take every GPU"
        yield Problem(("executor", "gpus_per_trial"), message, "give the number of GPUs that the recipe needs")
