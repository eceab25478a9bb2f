"""The phases of a study, from its study file: how many trials each has, and why some fall away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from optuna.samplers import BaseSampler

from rltune.config.population import population_of
from rltune.config.schema import BUDGET, StudyConfig
from rltune.errors import InputError, Problem
from rltune.objective import Objective
from rltune.protocol.budget import Budget, FullRun
from rltune.protocol.decision import Finals
from rltune.protocol.finals import Rules, shares
from rltune.protocol.plan import Plan
from rltune.protocol.population import Population
from rltune.protocol.seeds import SeedLedger
from rltune.samplers.grid import GridSampler
from rltune.samplers.population import PopulationSampler
from rltune.space import SearchSpace
from rltune.wording import listed

_FEWEST = 10
"""Trials below which `auto` only searches: what is left for the search would be a handful."""


def plan_of(
    config: StudyConfig, space: SearchSpace, objectives: list[Objective], sampler: BaseSampler | None
) -> tuple[Plan, tuple[str, ...]]:
    """The plan, and what a user should know of it before the study starts.

    Raises:
        InputError: There are too few trials for its phases, or no default to compare with.
    """
    default = space.defaults()
    why = _why_search_only(config, space, default)
    plan = Plan(
        objectives,
        config.evaluation.ranges(),
        SeedLedger.of(config.seed),
        n_search=0,
        default=default,
        patience=config.study_patience,
        budget=budget_of(config),
        wished_gain=config.protocol.wished_gain,
    )
    if why is None:
        plan = _with_phases(plan, config)
    _refuse_small_budget(plan)
    n_search = config.n_trials - plan.n_trials
    if n_search < 1:
        phases = ", ".join(f"{n} of the {name}" for name, n in plan.phases.items() if n)
        message = f"{config.n_trials} trials are too few for {phases}"
        raise InputError([Problem(("n_trials",), message, f"give at least {plan.n_trials + 1}")])
    notes = [why] if why else []
    if isinstance(sampler, PopulationSampler):
        population = population_of(sampler, config, objectives[0])
        plan, notes = replace(plan, population=population), [*_population_notes(population)]
    if isinstance(sampler, GridSampler):
        points = len(sampler.grid)
        if points < n_search:
            notes.append(
                f"the grid has {points} points, so {n_search - points} of the {n_search} search trials fall away"
            )
        n_search = min(n_search, points)
    return replace(plan, n_search=n_search), tuple(notes)


def _why_search_only(config: StudyConfig, space: SearchSpace, default: Mapping[str, Any] | None) -> str | None:
    """Why there is neither baseline nor finals; empty where nobody wonders, None where there are both."""
    lacking = space.missing_defaults
    missing = f"{listed(lacking, 3)} {'has' if len(lacking) == 1 else 'have'} no `default`"
    if config.protocol.name == "simple" or config.algorithm.name == "population":
        return "protocol: simple — the best of single runs is printed, which luck makes look better than it is"
    if config.protocol.name == "full":
        if default is None:
            raise InputError([Problem(("protocol",), f"`full` needs the configuration that you have today; {missing}")])
        return None
    if default is None:
        return f"nothing to compare the winner with: {missing}"
    if config.n_trials < _FEWEST:
        return f"{config.n_trials} trials are too few to compare the winner with the default on fresh seeds"
    return "" if config.evaluation.secondary_metrics else None


def _with_phases(plan: Plan, config: StudyConfig) -> Plan:
    """What the study file says, and the usual shares of the trials for the rest."""
    runs = None if plan.budget is None else plan.budget.n_runs(())
    given, usual = config.protocol, shares(max(min(config.n_trials, runs or config.n_trials), _FEWEST))
    rules = Rules(claim_seeds=usual.claim // 2 if given.claim_seeds is None else given.claim_seeds)
    rules = replace(rules, most_claim_seeds=max(rules.claim_seeds, rules.most_claim_seeds if rules.claim_seeds else 0))
    if given.finalists is not None:
        rules = replace(rules, finalists=given.finalists)
    n_runs = usual.finals if given.final_runs is None else given.final_runs
    baseline = usual.baseline if given.baseline_seeds is None else given.baseline_seeds
    return replace(plan, baseline_seeds=baseline, finals=Finals(n_runs, rules) if rules.finalists else None)


def _refuse_small_budget(plan: Plan) -> None:
    runs = None if plan.budget is None else plan.budget.n_runs(())
    fewest = plan.n_trials + 1
    if runs is not None and runs < fewest:
        phases = ", ".join(f"{n} of the {name}" for name, n in plan.phases.items() if n)
        message = f"{plan.budget} is too little for {phases}" if phases else f"{plan.budget} is less than one run"
        raise InputError([Problem(("budget",), message, f"give at least {fewest} FRE")])


def full_run_of(config: StudyConfig) -> FullRun:
    """By steps, but for cross-validated trials, whose steps are folds."""
    horizon = None if config.evaluation.cross_validation else config.trainer.horizon
    return FullRun(horizon, config.executor.per_trial.get("GPU", 0.0) * config.executor.nodes)


def budget_of(config: StudyConfig) -> Budget | None:
    """What the study file says that the study may spend; None where it says nothing."""
    found = BUDGET.fullmatch(config.budget.strip()) if config.budget else None
    if found is None:
        return None
    full_run = full_run_of(config)
    if found[2].upper() == "FRE":
        return Budget(float(found[1]), "FRE", full_run)
    if not full_run.gpus:
        message, hint = (
            "counts GPU-hours, and a trial has no GPU",
            "say how many: executor.gpus_per_trial, or count FRE",
        )
        raise InputError([Problem(("budget",), message, hint)])
    return Budget(float(found[1]), "GPU-hours", full_run)


def _population_notes(population: Population) -> Iterator[str]:
    yield (
        "population: the result is a schedule of configurations, and its value that of a single run, which luck makes "
        "look better than it is; there are no baseline and no finals"
    )
    if population.workers < population.size:
        workers = "one worker" if population.workers == 1 else f"{population.workers} workers"
        yield (
            f"{population.size} members on {workers} take turns: each starts anew from its checkpoint after every "
            f"{population.interval} steps; with {population.size} workers it would run on"
        )
