"""What the runs of the suite `values` come to: figures per arm, cells per problem, and where an arm loses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from benchmarks.search import scores, values
from benchmarks.search.arms import BASELINE
from benchmarks.search.tables import Results, bracketed, markdown, number

Runs: TypeAlias = Mapping[int, Mapping[str, Any]]

LOSING = 0.15
"""An arm that is worse than the baseline by more than this on a problem loses there."""


def summarise(results: Results, n: int) -> dict[str, Any]:
    """Figures by arm and by problem; regret is capped at `scores.CAP` a run.

    Args:
        results: By problem, arm and seed.
        n: Evaluations of a run.
    """
    arms = list(dict.fromkeys(arm for by_arm in results.values() for arm in by_arm))
    cells = {
        case: {arm: _cell(seeds, by_arm.get(BASELINE, {}), n) for arm, seeds in by_arm.items()}
        for case, by_arm in results.items()
    }
    return {
        "n": n,
        "arms": {arm: _arm(results, arm, n) for arm in arms},
        "problems": cells,
        "losing": list(_losing(cells)),
    }


def _arm(results: Results, arm: str, n: int) -> dict[str, Any]:
    cases = [case for case, by_arm in results.items() if by_arm.get(arm)]
    curves = [np.array([_curve(each) for each in results[case][arm].values()]) for case in cases]
    if not curves:
        return {"runs": 0}
    ends = [each[:, -1] for each in curves]
    entry = {
        "runs": sum(map(len, ends)),
        "problems": len(cases),
        "regret": {
            str(budget): float(scores.mean([each[:, budget - 1] for each in curves])) for budget in values.budgets(n)
        },
        "over_seeds": scores.interval(scores.mean, ends),
        "over_problems": scores.interval(scores.mean, ends, problems=True),
        "iqm": float(scores.iqm(ends)),
        "iqm_over_seeds": scores.interval(scores.iqm, ends),
        "seconds": float(np.median([each["seconds"] for case in cases for each in results[case][arm].values()])),
    }
    shipped = [_shipped(results[case][arm].values(), n) for case in cases]
    if all(map(len, shipped)):
        entry["recommended"] = float(scores.mean(shipped))
        entry["recommended_over_seeds"] = scores.interval(scores.mean, shipped)
    return entry | _against_baseline(results, arm, n)


def _against_baseline(results: Results, arm: str, n: int) -> dict[str, Any]:
    """On the same problems and seeds."""
    own, base = [], []
    for by_arm in results.values():
        same = sorted(by_arm.get(arm, {}).keys() & by_arm.get(BASELINE, {}).keys())
        if same:
            own.append(np.array([_curve(by_arm[arm][seed]) for seed in same]))
            base.append(np.array([_curve(by_arm[BASELINE][seed]) for seed in same]))
    if not own:
        return {}
    pairs = [np.stack([a[:, -1], b[:, -1]], axis=0) for a, b in zip(own, base, strict=True)]
    end = float(scores.mean([each[1] for each in pairs]))
    curve = np.mean([each.mean(axis=0) for each in own], axis=0)
    per_problem = [
        scores.first_at_most(a.mean(axis=0), b[:, -1].mean()) or n + 1 for a, b in zip(own, base, strict=True)
    ]
    return {
        "baseline": end,
        "ratio": float(scores.ratio(pairs)),
        "ratio_over_seeds": scores.interval(scores.ratio, pairs),
        "ratio_over_problems": scores.interval(scores.ratio, pairs, problems=True),
        "evaluations": scores.first_at_most(curve, end),
        "evaluations_median_problem": float(np.median(per_problem)),
    }


def _curve(result: Mapping[str, Any]) -> scores.Array:
    return np.minimum(values.best_observed(result), scores.CAP)


def _shipped(runs: Any, n: int) -> scores.Array:
    chosen = [values.recommended(each, n) for each in runs]
    return np.array([min(each, scores.CAP) for each in chosen if each is not None])


def _cell(seeds: Runs, base: Runs, n: int) -> dict[str, Any]:
    """Means over seeds; the baseline's over those seeds that both have."""
    ends = [_curve(each)[-1] for each in seeds.values()]
    compared = [_curve(base[seed])[-1] for seed in seeds if seed in base]
    shipped = _shipped(seeds.values(), n)
    return {
        "runs": len(ends),
        "best_observed": float(np.mean(ends)) if ends else None,
        "recommended": float(shipped.mean()) if len(shipped) else None,
        "baseline": float(np.mean(compared)) if compared else None,
    }


def _losing(cells: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Where an arm's mean is worse than the baseline's best observed."""
    for case, by_arm in cells.items():
        for arm, cell in by_arm.items():
            for what in ("best_observed", "recommended"):
                if cell["baseline"] is not None and cell[what] is not None and cell[what] - cell["baseline"] > LOSING:
                    losing = {"problem": case, "arm": arm, "what": what, "regret": cell[what]}
                    yield losing | {"baseline": cell["baseline"]}


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(summary: Mapping[str, Any]) -> Iterator[str]:
    """As Markdown: by arm, by problem, what loses."""
    n = summary["n"]
    yield from markdown(_by_arm(summary, n))
    yield ""
    yield from markdown(_by_problem(summary))
    yield ""
    yield f"Losing cells, more than {LOSING:g} worse than {BASELINE}'s best observed on the same problem and seeds:"
    yield ""
    lines = [
        f"- {each['arm']} on {each['problem']}, {each['what'].replace('_', ' ')}: {number(each['regret'])} against "
        f"{number(each['baseline'])} ({each['regret'] - each['baseline']:+.2f})"
        for each in summary["losing"]
    ]
    yield from lines or ["- none"]


def _by_arm(summary: Mapping[str, Any], n: int) -> Iterator[Sequence[str]]:
    yield (
        "arm",
        "runs",
        "regret after " + " / ".join(map(str, values.budgets(n))),
        f"at {n}: over seeds",
        "over problems too",
        "IQM",
        "recommended",
        f"{BASELINE} in the same runs",
        "ratio, over seeds",
        f"evaluations to {BASELINE}'s end (median problem)",
        "s a run",
    )
    for arm, each in summary["arms"].items():
        if not each["runs"]:
            yield (arm, "0", *[""] * 9)
            continue
        compared = "ratio" in each
        yield (
            arm,
            f"{each['runs']} ({each['problems']} problems)",
            " / ".join(number(value) for value in each["regret"].values()),
            bracketed(each["over_seeds"]),
            bracketed(each["over_problems"]),
            f"{number(each['iqm'])} {bracketed(each['iqm_over_seeds'])}",
            f"{number(each['recommended'])} {bracketed(each['recommended_over_seeds'])}"
            if "recommended" in each
            else "",
            number(each["baseline"]) if compared else "",
            f"{number(each['ratio'])} {bracketed(each['ratio_over_seeds'])}" if compared else "",
            f"{each['evaluations'] or f'> {n}'} ({_median(each['evaluations_median_problem'], n)})" if compared else "",
            f"{each['seconds']:.1f}",
        )


def _median(evaluations: float, n: int) -> str:
    return f"{evaluations:g}" if evaluations <= n else f"> {n}"


def _by_problem(summary: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Best observed; after a slash the recommended."""
    arms = list(summary["arms"])
    yield ("problem", *arms)
    for case, by_arm in summary["problems"].items():
        yield (case, *(_shown(by_arm.get(arm)) for arm in arms))


def _shown(cell: Mapping[str, Any] | None) -> str:
    if cell is None or cell["best_observed"] is None:
        return ""
    second = "" if cell["recommended"] is None else f" / {number(cell['recommended'])}"
    return number(cell["best_observed"]) + second
