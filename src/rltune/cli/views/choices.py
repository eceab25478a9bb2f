"""What `algorithm: auto` has chosen, and why."""

from __future__ import annotations

from rltune.config.build import Parts
from rltune.pruners import ForecastPruner
from rltune.reporting import wording as w
from rltune.samplers.auto.sampler import SpaceAutoSampler
from rltune.samplers.auto.search import LARGEST


def why(parts: Parts) -> dict[str, str]:
    """How it searches and which trials it ends early, in words by `algorithm` and `pruner`; empty for any other."""
    sampler, evaluation = parts.sampler, parts.config.evaluation
    if not isinstance(sampler, SpaceAutoSampler):
        return {}
    search = (
        f"a Gaussian process that learns the noise, after {w.count(sampler.n_startup_trials, 'evenly spread trial')}"
    )
    n_objectives = len(parts.plan.objectives)
    if n_objectives > 1:
        search += f"; the weights of the {n_objectives} objectives change from trial to trial"
    if parts.plan.n_search > LARGEST:
        search += f"; of more than {LARGEST} trials it looks at the best and the latest"
    lines = {"algorithm": search}
    if isinstance(parts.pruner, ForecastPruner):
        whole = w.count(parts.pruner.n_startup_trials, "whole trial")
        lines["pruner"] = f"after {whole}, ends one whose forecast says that its compute is better spent on another"
    elif parts.config.pruner.name == "none" and n_objectives > 1:
        lines["pruner"] = "a curve of one objective does not tell what a trial is worth"
    elif parts.config.pruner.name == "none" and evaluation.cross_validation:
        lines["pruner"] = "over folds there is no curve of a trial"
    return lines
