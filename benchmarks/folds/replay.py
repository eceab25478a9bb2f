"""Searches in a table, with a rule that ends configurations between folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.folds.rules import Race, Rule
from benchmarks.folds.tables import Array, Table

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Searches:
    """Random searches of a whole table, one row each; a column per configuration in the order in which they ran.

    Attributes:
        spent: Folds that it ran, shape (n, n_configurations).
        ahead: By how much its mean over all folds is better than the best complete one's at that time.
        noise: Standard error of that difference.
        incumbent: The best complete configuration after it.
    """

    spent: Indices
    ahead: Array
    noise: Array
    incumbent: Indices
    n_folds: int

    @property
    def stopped(self) -> NDArray[np.bool_]:
        return self.spent < self.n_folds

    def incumbents(self, budget: int) -> Indices:
        """The best after so many folds; a configuration that the budget does not cover does not count."""
        return self.incumbent[np.arange(len(self.spent)), self.tried(budget) - 1]

    def tried(self, budget: int) -> Indices:
        """How many configurations so many folds pay for."""
        return (self.spent.cumsum(axis=1) <= budget).sum(axis=1)


def random_searches(table: Table, rule: Rule, n: int, seed: int = 0) -> Searches:
    """Without replacement; every configuration has its folds in an order of its own, the same for all rules."""
    losses = table.sign * table.values
    n_configurations, n_folds = losses.shape
    generator = np.random.default_rng(seed)
    order = generator.permuted(np.tile(np.arange(n_configurations), (n, 1)), axis=1)
    folds = generator.permuted(np.tile(np.arange(n_folds), (n, n_configurations, 1)), axis=2)
    means, spreads = losses.mean(axis=1), _spreads(losses)
    rows = np.arange(n)
    best = order[:, 0].copy()
    complete = np.zeros((n, n_configurations), dtype=bool)
    complete[rows, best] = True
    spent, incumbent = np.full(order.shape, n_folds), np.tile(best[:, None], n_configurations)
    ahead, noise = np.zeros(order.shape), np.zeros(order.shape)
    for i in range(1, n_configurations):
        new = order[:, i]
        known = np.where(complete, spreads[best], np.nan)
        known[rows, best] = np.nan
        spent[:, i] = _run(losses, new, best, folds[:, i], rule, known)
        ahead[:, i] = means[best] - means[new]
        noise[:, i] = spreads[best, new] / np.sqrt(n_folds)
        done = spent[:, i] == n_folds
        complete[rows[done], new[done]] = True
        best = np.where(done & (means[new] < means[best]), new, best)
        incumbent[:, i] = best
    return Searches(spent, ahead, noise, incumbent, n_folds)


def _run(losses: Array, new: Indices, best: Indices, folds: Indices, rule: Rule, spreads: Array) -> Indices:
    """Folds that each race takes."""
    n_folds = losses.shape[1]
    spent = np.full(len(new), n_folds)
    racing = np.arange(len(new))
    for n in range(2, n_folds):
        seen = folds[racing, :n]
        on_best = losses[best[racing]]
        race = Race(
            losses[new[racing, None], seen],
            np.take_along_axis(on_best, seen, axis=1),
            on_best.mean(axis=1),
            n_folds,
            spreads[racing],
        )
        stop = rule(race)
        spent[racing[stop]] = n
        racing = racing[~stop]
        if not len(racing):
            break
    return spent


def _spreads(losses: Array) -> Array:
    """Standard deviation over folds of the difference between any two configurations."""
    covariance = np.cov(losses)
    variance = np.diag(covariance)
    return np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * covariance, 0.0))


def tpe_search(table: Table, rule: Rule, budgets: Sequence[int], seed: int) -> list[int]:
    """The best complete configuration after each budget of folds, under Optuna's TPE.

    What TPE proposes stands for the nearest configuration of the table that has not run. A stopped configuration is
    told as Optuna's pruners have it told: pruned, with its running means as intermediate values.
    """
    import optuna

    losses = table.sign * table.values
    n_configurations, n_folds = losses.shape
    folds = np.random.default_rng(seed).permuted(np.tile(np.arange(n_folds), (n_configurations, 1)), axis=1)
    means, spreads = losses.mean(axis=1), _spreads(losses)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    space = {f"x{i}": optuna.distributions.FloatDistribution(0, 1) for i in range(table.points.shape[1])}
    untried, complete = np.ones(n_configurations, dtype=bool), np.zeros(n_configurations, dtype=bool)
    spent, best, after = 0, -1, dict.fromkeys(budgets, -1)
    while untried.any():
        trial = study.ask(space)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)  # TPE passes over it
        distances = ((table.points - [trial.params[name] for name in space]) ** 2).sum(axis=1)
        new = int(np.where(untried, distances, np.inf).argmin())
        n = n_folds
        if best >= 0:
            known = np.where(complete, spreads[best], np.nan)
            known[best] = np.nan
            n = int(_run(losses, np.array([new]), np.array([best]), folds[[new]], rule, known[None])[0])
        spent += n
        if spent > max(budgets):
            break
        study.add_trial(_told(table.points[new], losses[new, folds[new, :n]], n_folds, space))
        untried[new], complete[new] = False, n == n_folds
        if complete[new] and (best < 0 or means[new] < means[best]):
            best = new
        after |= {budget: best for budget in budgets if spent <= budget}
    return [after[budget] for budget in budgets]


def _told(point: Array, losses: Array, n_folds: int, space: Mapping[str, BaseDistribution]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    running = losses.cumsum() / np.arange(1, len(losses) + 1)
    done = len(losses) == n_folds
    return create_trial(
        state=TrialState.COMPLETE if done else TrialState.PRUNED,
        value=float(running[-1]) if done else None,
        params=dict(zip(space, point.tolist(), strict=True)),
        distributions=dict(space),
        intermediate_values=dict(enumerate(running.tolist(), 1)),
    )
