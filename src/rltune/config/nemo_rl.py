"""A study of NeMo RL: what of it is made from the recipe, in place of what the study file says for other trainers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rltune.config.schema import StudyConfig
from rltune.errors import InputError, Problem
from rltune.trainers.nemo_rl.constraints import space_rules
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


def nemo_rl_trainer(config: StudyConfig, recipe: Recipe) -> StudyTrainer:
    given = config.trainer.nemo_rl
    assert given is not None
    return NemoRlTrainer(
        recipe,
        overrides=given.overrides,
        script=given.script or "",
        launch=given.launch,
        env=given.env,
        horizon=config.trainer.horizon,
        gpus_per_trial=0.0 if config.executor.name == "inline" else config.executor.gpus_per_trial,
        hook=given.hook,
        warm_up=given.warm_up,
        keep_checkpoints=given.keep_checkpoints,
        grace_seconds=config.executor.grace_seconds,
    )


def with_rules(config: StudyConfig, recipe: Recipe) -> tuple[StudyConfig, tuple[str, ...]]:
    """The study with the rules of NeMo RL that its parameters could break, and what a user should know of them."""
    given = config.trainer.nemo_rl
    assert given is not None
    tuned = [name for name in (*config.search_space, *config.derived) if isinstance(name, str)]
    length = {steps_key(recipe): config.trainer.horizon} if config.trainer.horizon else {}
    as_run = recipe.with_overrides({key if recipe.has(key) else f"++{key}": steps for key, steps in length.items()})
    rules = space_rules(as_run, tuned, os.environ | given.env)
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


def shared_gpus(config: StudyConfig) -> Iterator[Problem]:
    """NeMo RL takes every GPU that it sees, and does not wait for one that is taken."""
    executor = config.executor
    unmanaged = config.trainer.nemo_rl is not None and executor.name == "local" and not executor.gpus_per_trial
    if unmanaged and executor.workers > 1:
        message = f"is 0, so {executor.workers} trials at once would each take every GPU"
        yield Problem(("executor", "gpus_per_trial"), message, "give the number of GPUs that the recipe needs")
