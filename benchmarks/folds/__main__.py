"""Compares rules that stop configurations between folds, prints one table, and writes benchmarks/results/folds.json.

`python -m benchmarks.folds [--searches 200] [--tpe 60] [--quick]`
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.folds import rules
from benchmarks.folds.replay import random_searches, tpe_search
from benchmarks.folds.rules import Rule
from benchmarks.folds.tables import Array, Table, tables
from benchmarks.speed import machine

FILE = Path(__file__).parents[1] / "results" / "folds.json"

WINDOW = 60
"""Folds spent and false stops are counted over so many configurations: later ones race against a near-perfect best."""

BUDGETS = (10, 20, 40)
"""In whole evaluations; those of TPE end at `TPE_BUDGET`."""

TPE_BUDGET = 20

RULES: Mapping[str, Rule] = {
    "no rule": rules.never,
    "running mean worse than the best's mean": rules.running_mean,
    "mean worse on the same folds": rules.paired_mean,
    "Wilcoxon, p < 0.1 (Optuna)": rules.wilcoxon,
    "paired t, p < 0.3": rules.paired_t(0.3),
    "paired t, p < 0.2": rules.paired_t(0.2),
    "paired t, p < 0.1": rules.paired_t(0.1),
    "paired t, p < 0.05": rules.paired_t(0.05),
    "predictive t, P < 0.2": rules.predictive_t(0.2),
    "predictive t, P < 0.1": rules.predictive_t(0.1),
    "predictive t, P < 0.05": rules.predictive_t(0.05),
    "moderated predictive t, P < 0.2": rules.moderated(0.2, 4),
    "rltune: the same, P < 0.1": rules.ours,
    "the same, P < 0.05": rules.moderated(0.05, 4),
    "the same, P < 0.1, prior 2": rules.moderated(0.1, 2),
    "the same, P < 0.1, earlier spreads only": rules.moderated(0.1, math.inf),
}

TPE_RULES = (
    "no rule",
    "mean worse on the same folds",
    "Wilcoxon, p < 0.1 (Optuna)",
    "paired t, p < 0.1",
    "predictive t, P < 0.1",
    "moderated predictive t, P < 0.2",
    "rltune: the same, P < 0.1",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="When to stop a configuration between cross-validation folds.")
    parser.add_argument("--searches", type=int, default=200, help="random searches of each table (default: 200)")
    parser.add_argument(
        "--tpe", type=int, default=60, help="searches by TPE of each measured table (default: 60; may be 0)"
    )
    parser.add_argument("--quick", action="store_true", help="does it work? The figures mean nothing; nothing is kept")
    options = parser.parse_args()
    n_random, n_tpe = (5, 1) if options.quick else (options.searches, options.tpe)
    start = time.process_time()
    rows = list(_rows(n_random, n_tpe))
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": {library: version(library) for library in ("numpy", "scipy", "optuna", "scikit-learn")},
        "searches": {"random": n_random, "tpe": n_tpe},
        "cpu_seconds": round(time.process_time() - start),
        "rows": rows,
    }
    if not options.quick:
        FILE.write_text(_json(report))
    print("\n".join(_by_rule(rows)))
    print()
    print("\n".join(_by_table(rows)))


# --- measuring -------------------------------------------------------------------------------------------------------


def _rows(n_random: int, n_tpe: int) -> Iterator[dict[str, Any]]:
    for table in tables():
        n_folds = table.values.shape[1]
        print(f"{table.name}, {n_folds} folds", file=sys.stderr, flush=True)
        for name, rule in RULES.items():
            row = {"table": table.name, "direction": table.direction, "folds": n_folds, "rule": name}
            row |= _random(table, rule, n_random)
            if n_tpe and name in TPE_RULES and table.measured:
                row |= _tpe(table, rule, n_tpe)
            yield row


def _random(table: Table, rule: Rule, n: int) -> dict[str, Any]:
    n_folds = table.values.shape[1]
    searches = random_searches(table, rule, n)
    window = slice(1, WINDOW)  # the first configuration has nothing to race against
    stopped, ahead = searches.stopped[:, window], searches.ahead[:, window]
    better, clearly = ahead > 0, ahead > searches.noise[:, window]
    found = {budget: searches.incumbents(budget * n_folds) for budget in BUDGETS}
    return {
        "spent_percent": _percent(searches.spent[:, window].sum(), stopped.size * n_folds),
        "false_stops_percent": _percent((stopped & better).sum(), better.sum()),
        "clear_false_stops_percent": _percent((stopped & clearly).sum(), clearly.sum()),
        "tried": {budget: _rounded(searches.tried(budget * n_folds).mean()) for budget in BUDGETS},
        "regret": {budget: _rounded(_regret(_worth(table))[found[budget]].mean()) for budget in BUDGETS},
        "true_regret": {
            budget: _rounded(_regret(table.sign * table.truth)[found[budget]].mean()) for budget in BUDGETS
        },
    }


def _tpe(table: Table, rule: Rule, n: int) -> dict[str, Any]:
    budgets = [budget for budget in BUDGETS if budget <= TPE_BUDGET]
    in_folds = [budget * table.values.shape[1] for budget in budgets]
    found = np.array([tpe_search(table, rule, in_folds, seed) for seed in range(n)])
    regrets = _regret(_worth(table))[found].mean(axis=0)
    return {"tpe_regret": dict(zip(budgets, map(_rounded, regrets), strict=True))}


def _worth(table: Table) -> Array:
    return (table.sign * table.values).mean(axis=1)


def _regret(losses: Array) -> Array:
    """In percent of the way from the best configuration of the table to the median one."""
    return 100 * (losses - losses.min()) / (np.median(losses) - losses.min())


def _percent(part: float, whole: float) -> float:
    return _rounded(100 * part / whole) if whole else 0.0


def _rounded(figure: float) -> float:
    return round(float(figure), 2)


def _json(report: Mapping[str, Any]) -> str:
    """With a line for each row."""
    head = json.dumps({name: value for name, value in report.items() if name != "rows"}, indent=1)
    rows = ",\n".join("  " + json.dumps(row) for row in report["rows"])
    return f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n'


# --- the tables ------------------------------------------------------------------------------------------------------


def _by_rule(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Means over all tables."""
    yield (
        "| rule | folds spent, 5 / 10 / 5x3 | false stops | clear ones "
        "| regret after 10 / 20 / 40 | true regret | TPE: regret after 10 / 20 |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name in RULES:
        mine = [row for row in rows if row["rule"] == name]
        spent = [_mean(row["spent_percent"] for row in mine if row["folds"] == n) for n in (5, 10, 15)]
        with_tpe = [row for row in mine if "tpe_regret" in row]
        cells = [
            name,
            " / ".join(f"{share:.0f}" for share in spent) + " %",
            f"{_mean(row['false_stops_percent'] for row in mine):.1f} %",
            f"{_mean(row['clear_false_stops_percent'] for row in mine):.1f} %",
            _regrets(mine, "regret"),
            _regrets(mine, "true_regret"),
            _regrets(with_tpe, "tpe_regret") if with_tpe else "",
        ]
        yield "| " + " | ".join(cells) + " |"


def _by_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Three rules on each table."""
    shown = ("no rule", "Wilcoxon, p < 0.1 (Optuna)", "rltune: the same, P < 0.1")
    yield "| table | folds | spent: Wilcoxon / rltune | false stops | regret after 20: none / Wilcoxon / rltune |"
    yield "|---|---|---|---|---|"
    for first in (row for row in rows if row["rule"] == shown[0]):
        same = {row["rule"]: row for row in rows if (row["table"], row["folds"]) == (first["table"], first["folds"])}
        none, peer, ours = (same[name] for name in shown)
        cells = [
            f"{first['table']} ({first['direction']})",
            "5x3" if first["folds"] == 15 else str(first["folds"]),
            f"{peer['spent_percent']:.0f} / {ours['spent_percent']:.0f} %",
            f"{peer['false_stops_percent']:.1f} / {ours['false_stops_percent']:.1f} %",
            " / ".join(f"{row['regret'][20]:.1f}" for row in (none, peer, ours)),
        ]
        yield "| " + " | ".join(cells) + " |"


def _regrets(rows: list[dict[str, Any]], kind: str) -> str:
    return " / ".join(f"{_mean(row[kind][budget] for row in rows):.1f}" for budget in rows[0][kind])


def _mean(values: Iterator[float]) -> float:
    return statistics.fmean(values)


if __name__ == "__main__":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    main()
