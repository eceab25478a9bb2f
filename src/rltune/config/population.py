"""Population-based training in a study file: what it cannot do without, and what stands in its way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rltune.config.schema import StudyConfig
from rltune.errors import Problem
from rltune.objective import Objective
from rltune.protocol.population import Population
from rltune.samplers.population import PopulationSampler
from rltune.trainers.config_text import flattened

_INTERVALS = 10  # in a horizon, where the study file gives none

_RESTORED = re.compile(r"\.(optimizer|scheduler)(\.|$)")
"""NeMo RL's own keys that a checkpoint of it brings back."""


def population_of(sampler: PopulationSampler, config: StudyConfig, objective: Objective) -> Population:
    """The population that a sampler's options describe."""
    interval, warmup = _steps(sampler, config.trainer.horizon or 1)
    workers = 1 if config.executor.name == "inline" else config.executor.n_workers
    return Population(objective, sampler.size, interval, warmup, sampler.quantile, sampler.seed, workers)


def _steps(sampler: PopulationSampler, horizon: int) -> tuple[int, int]:
    """The interval, and the step of the first comparison."""
    interval = sampler.interval or max(1, horizon // _INTERVALS)
    return interval, sampler.warmup or interval


def population_problems(
    config: StudyConfig, base_config: Mapping[str, Any], parameters: Sequence[str], sampler: PopulationSampler
) -> Iterator[Problem]:
    """What of a study does not go with a population.

    Args:
        config: The study.
        base_config: The trainer's own.
        parameters: What varies.
        sampler: Whose population it is.
    """
    yield from _out_of_place(config)
    yield from _too_short(config, sampler)
    yield from _restored(config, base_config, parameters)


def _out_of_place(config: StudyConfig) -> Iterator[Problem]:
    evaluation, with_it = config.evaluation, "does not go with `algorithm: population`"
    if evaluation.cross_validation:
        yield Problem(("evaluation", "cross_validation"), f"{with_it}: a fold has no checkpoint to go on from")
    if evaluation.early_stopping:
        key = ("evaluation", "early_stopping")
        yield Problem(key, f"{with_it}, which ends members that are behind by itself", "remove it")
    elif evaluation.value != "last":
        message = f"{evaluation.value} {with_it}: a successor goes on from where its parent is, not from its best"
        yield Problem(("evaluation", "value"), message, "remove it, or write last")
    if config.pruner.name != "none":
        message = f"`{config.pruner.name}` {with_it}, which ends members that are behind by itself"
        yield Problem(("pruner",), message, "remove it")
    if config.budget is not None:
        yield Problem(("budget",), f"{with_it}, whose members all run to the horizon", "give n_trials or timeout_hours")
    if config.study_patience is not None:
        yield Problem(("study_patience",), f"{with_it}, whose search ends when all members are at the horizon")
    if config.protocol.name == "full":
        message = f"full {with_it}: its result is a schedule, and running the last configuration alone is not the same"
        yield Problem(("protocol",), message, "write simple, or remove it")


def _too_short(config: StudyConfig, sampler: PopulationSampler) -> Iterator[Problem]:
    horizon = config.trainer.horizon
    if config.n_trials < sampler.size:
        message = f"{config.n_trials} trials are too few for a population of {sampler.size}"
        yield Problem(
            ("n_trials",), message, "each member is one, and so is each successor: give several times as many"
        )
    if horizon is None:
        message = "is missing: a population trains to a step that all members share"
        yield Problem(("trainer", "horizon"), message, "as in trainer: {horizon: 1000}")
        return
    _, first = _steps(sampler, horizon)
    if first >= horizon:
        message = f"no member would be compared with others before the horizon, {horizon}: the first time is at {first}"
        yield Problem(("algorithm", "interval" if sampler.warmup is None else "warmup"), message, "give less steps")


def _restored(config: StudyConfig, base_config: Mapping[str, Any], parameters: Sequence[str]) -> Iterator[Problem]:
    given = config.trainer.nemo_rl
    if given is None or {**flattened(base_config), **given.overrides}.get("checkpointing.save_optimizer") is False:
        return
    for name in parameters:
        if _RESTORED.search(name):
            message = "would keep its parent's value in a successor: NeMo RL restores it with the optimizer's state"
            hint = "write trainer: {nemo_rl: {overrides: {checkpointing.save_optimizer: false}}}, or do not tune it"
            yield Problem(("search_space", name), message, hint)
