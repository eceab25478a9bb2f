"""What the runs of the suites `curves`, `prior` and `speed` come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.search import curves, prior, scores, speed, values
from benchmarks.search.arms import BASELINE
from benchmarks.search.tables import Results, bracketed, markdown, number

HARM = 0.02
"""A stopper harms a problem where the regret at the end is worse by more than this than without one."""


# --- curves ----------------------------------------------------------------------------------------------------------


def summarise_curves(results: Results, n: int) -> dict[str, Any]:
    """Figures by arm, and for those with a stopper the difference to the same search without."""
    budgets = [str(budget) for budget in curves.BUDGETS if budget <= n]
    arms = list(dict.fromkeys(arm for by_arm in results.values() for arm in by_arm))
    return {
        "n": n,
        "arms": {arm: _curves_arm(results, arm, budgets) for arm in arms},
        "problems": {
            case: {
                arm: {budget: float(np.mean(_regrets(runs, budget))) for budget in budgets}
                for arm, runs in by_arm.items()
                if runs
            }
            for case, by_arm in results.items()
        },
    }


def _curves_arm(results: Results, arm: str, budgets: Sequence[str]) -> dict[str, Any]:
    runs = {case: by_arm[arm] for case, by_arm in results.items() if by_arm.get(arm)}
    if not runs:
        return {"runs": 0}
    last = [_regrets(each, budgets[-1]) for each in runs.values()]
    every = [result for each in runs.values() for result in each.values()]
    entry = {
        "runs": len(every),
        "problems": len(runs),
        "regret": {b: float(scores.mean([_regrets(each, b) for each in runs.values()])) for b in budgets},
        "over_seeds": scores.interval(scores.mean, last),
        "over_problems": scores.interval(scores.mean, last, problems=True),
        "started": float(np.mean([each["started"] for each in every])),
        "stopped": float(np.mean([each["stopped"] for each in every])),
        "seconds": float(np.median([each["seconds"] for each in every])),
    }
    unstopped = f"{arm.partition('/')[0]}/none"
    if arm != unstopped:
        entry["against_none"] = {case: _difference(results[case], arm, unstopped, budgets) for case in runs}
    return entry


def _difference(by_arm: Mapping[str, Any], arm: str, unstopped: str, budgets: Sequence[str]) -> dict[str, float]:
    """Over the seeds that both have; below 0 the stopper helps."""
    same = sorted(by_arm[arm].keys() & by_arm.get(unstopped, {}).keys())
    return {
        b: float(np.mean([by_arm[arm][s]["regret"][b] - by_arm[unstopped][s]["regret"][b] for s in same]))
        for b in budgets
        if same
    }


def _regrets(runs: Mapping[int, Mapping[str, Any]], budget: str) -> scores.Array:
    return np.array([min(each["regret"][budget], scores.CAP) for each in runs.values()])


def tables_curves(summary: Mapping[str, Any]) -> Iterator[str]:
    """As Markdown: by arm, by problem."""
    yield from markdown(_by_arm(summary))
    yield ""
    yield from markdown(_by_problem(summary))


def _by_arm(summary: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    budgets = [str(budget) for budget in curves.BUDGETS if budget <= summary["n"]]
    last = budgets[-1]
    yield (
        "sampler/stopper",
        "runs",
        "regret after " + " / ".join(budgets) + " trainings",
        f"at {last}: over seeds",
        "over problems too",
        f"difference to no stopper, after {' / '.join(budgets)}",
        f"harmed by more than {HARM:g} at {last}",
        "started",
        "stopped",
        "s a run",
    )
    for arm, each in summary["arms"].items():
        if not each["runs"]:
            yield (arm, "0", *[""] * 8)
            continue
        apart = [d for d in each.get("against_none", {}).values() if d]
        harmed = [case for case, d in each.get("against_none", {}).items() if d and d[last] > HARM]
        yield (
            arm,
            f"{each['runs']} ({each['problems']} problems)",
            " / ".join(f"{value:.3f}" for value in each["regret"].values()),
            bracketed(each["over_seeds"]),
            bracketed(each["over_problems"]),
            " / ".join(f"{np.mean([d[b] for d in apart]):+.3f}" for b in budgets) if apart else "",
            f"{len(harmed)} of {len(apart)}: {', '.join(harmed)}".rstrip(": ") if apart else "",
            f"{each['started']:.0f}",
            f"{each['stopped']:.0f}",
            f"{each['seconds']:.1f}",
        )


def _by_problem(summary: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    arms = list(summary["arms"])
    yield ("problem: regret at the end", *arms)
    for case, by_arm in summary["problems"].items():
        yield (case, *(f"{list(by_arm[arm].values())[-1]:.3f}" if arm in by_arm else "" for arm in arms))


# --- prior -----------------------------------------------------------------------------------------------------------


def summarise_prior(results: Results, n: int) -> dict[str, Any]:
    """By problem, arm and kind of prior: evaluations needed to reach what the arm has without one.

    Three levels are looked for: what the mean run without a prior has after a quarter, half and all of `n`. A level
    that is not reached counts as n + 1 evaluations.
    """
    rows = []
    for case in dict.fromkeys(name.partition("/")[0] for name in results):
        for arm in results[f"{case}/none"]:
            curve = {
                kind: np.mean([_curve(each) for each in results[f"{case}/{kind}"][arm].values()], axis=0)
                for kind in prior.DISTANCES
                if results[f"{case}/{kind}"].get(arm)
            }
            if "none" not in curve:
                continue
            levels = [curve["none"][budget - 1] for budget in values.budgets(n)]
            rows.append(
                {
                    "problem": case,
                    "arm": arm,
                    "runs": len(results[f"{case}/none"][arm]),
                    "levels": [float(level) for level in levels],
                    "evaluations": {
                        kind: [scores.first_at_most(each, level) or n + 1 for level in levels]
                        for kind, each in curve.items()
                    },
                }
            )
    return {"n": n, "rows": rows}


def _curve(result: Mapping[str, Any]) -> scores.Array:
    return np.minimum(values.best_observed(result), scores.CAP)


def tables_prior(summary: Mapping[str, Any]) -> Iterator[str]:
    """As Markdown: by arm and problem, then the geometric mean of the ratios by arm."""
    kinds = [kind for kind in prior.DISTANCES if kind != "none"]
    rows: list[Sequence[str]] = [("arm", "problem", "runs", "regret to reach", "without a prior", *kinds)]
    ratios: dict[tuple[str, str], list[float]] = {}
    for row in summary["rows"]:
        needed = row["evaluations"]
        for kind in kinds:
            pairs = zip(needed.get(kind, []), needed["none"], strict=False)
            ratios.setdefault((row["arm"], kind), []).extend(have / without for have, without in pairs)
        rows.append(
            (
                row["arm"],
                row["problem"],
                str(row["runs"]),
                " / ".join(map(number, row["levels"])),
                *(_needed(needed.get(kind), summary["n"]) for kind in ("none", *kinds)),
            )
        )
    yield from markdown(rows)
    yield ""
    yield "Evaluations with a prior over those without, geometric mean over problems and levels:"
    yield ""
    for (arm, kind), each in ratios.items():
        if each:
            yield f"- {arm}, {kind} prior: {np.exp(np.mean(np.log(each))):.2f}"


def _needed(evaluations: Sequence[int] | None, n: int) -> str:
    return " / ".join(str(e) if e <= n else f"> {n}" for e in evaluations or [])


# --- speed -----------------------------------------------------------------------------------------------------------


def summarise_speed(results: Results, n: int) -> dict[str, Any]:  # noqa: ARG001 - as the others
    """By arm and size: medians over the runs, in seconds."""
    rows: dict[str, Any] = {}
    for size, by_arm in results.items():
        for arm, runs in by_arm.items():
            if runs:
                figures = {
                    f: float(np.median([each[f] for each in runs.values()])) for f in ("stays", "fresh", "first")
                }
                rows.setdefault(arm, {})[size] = figures | {"runs": len(runs)}
    return {"arms": rows}


def tables_speed(summary: Mapping[str, Any]) -> Iterator[str]:
    """As Markdown: by arm, milliseconds and the ratio to the baseline."""
    sizes = list(map(str, speed.SIZES))
    heads = [f"n = {size}: {what}" for what in ("one sampler", "a fresh one each time") for size in sizes]
    rows: list[Sequence[str]] = [("ms a suggestion (times the baseline's)", *heads)]
    for arm, by_size in summary["arms"].items():
        cells = []
        for what in ("stays", "fresh"):
            for size in sizes:
                own, base = (summary["arms"].get(a, {}).get(size, {}).get(what) for a in (arm, BASELINE))
                ratio = f" ({own / base:.2f}x)" if own and base else ""
                cells.append(f"{1000 * own:.1f}{ratio}" if own and size in by_size else "")
        rows.append((arm, *cells))
    yield from markdown(rows)
