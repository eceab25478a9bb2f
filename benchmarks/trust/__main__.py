"""Plays thousands of studies whose truth is known, and writes benchmarks/results/trust.json.

`python -m benchmarks.trust [--studies 4000] [--seed 1] [--data FILE] [--ablation] [--figure] [--quick]`
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.speed import machine
from benchmarks.trust import ablation, figure, landscapes
from benchmarks.trust.play import by_rltune, naively
from rltune.protocol.finals import Rules, shares

FILE = Path(__file__).parents[1] / "results" / "trust.json"

ORDINARY, NEAR = "ordinary", "near-optimal"


def main() -> None:
    parser = argparse.ArgumentParser(description="Does what is shipped beat the default, and is the printed gain true?")
    parser.add_argument("--studies", type=int, default=4000, help="of each kind (default: 4000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=int, default=30, help="full runs of a study, everything counted (default: 30)")
    parser.add_argument("--data", type=Path, help="real runs as JSON lines with `i` and `final`: see landscapes.py")
    parser.add_argument("--ablation", action="store_true", help="also compare shares, thresholds and finals rules")
    parser.add_argument("--figure", action="store_true", help="draw docs/trust.svg anew")
    parser.add_argument("--quick", action="store_true", help="does it work? The figures mean nothing; nothing is kept")
    options = parser.parse_args()
    n = 60 if options.quick else options.studies
    start = time.process_time()
    cells = list(_cells(n, options.seed, options.budget, options.data))
    compared = list(ablation.rows(n, options.seed + 1, options.budget)) if options.ablation else []
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": {library: version(library) for library in ("numpy", "scipy")},
        "studies": n,
        "seed": options.seed,
        "budget": options.budget,
        "shares": vars(shares(options.budget)),
        "cpu_seconds": round(time.process_time() - start),
        "cells": cells,
        "ablation": compared or _kept("ablation"),
    }
    if not options.quick:
        FILE.write_text(_json(report))
        if options.figure:
            figure.write(cells)
    for noise in dict.fromkeys(cell["noise"] for cell in cells):
        print("\n".join(["", *_table(cells, noise)]))
    print("\n".join(["", *_everywhere(cells)]))
    if compared:
        print("\n".join(["", *ablation.table(compared)]))


# --- measuring -------------------------------------------------------------------------------------------------------


def _cells(n: int, seed: int, budget: int, data: Path | None) -> Iterator[dict[str, Any]]:
    for noise, draw in landscapes.NOISES.items():
        for truth, worth in landscapes.TRUTHS.items():
            yield _cell(truth, noise, landscapes.studies(worth, draw, n, budget, seed), budget)
    if data is not None:
        for default in (ORDINARY, NEAR):
            yield _cell(default, "measured", landscapes.tabulated(data, default, n, budget, seed), budget)


def _cell(truth: str, noise: str, studies: landscapes.Studies, budget: int) -> dict[str, Any]:
    print(f"{truth}, {noise}", file=sys.stderr, flush=True)
    ours = by_rltune(studies, shares(budget), Rules())
    plain = naively(studies, budget)
    return {"truth": truth, "noise": noise, "rltune": _rounded(ours), "naive": _rounded(plain)}


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: round(figure_, 4) for name, figure_ in found.items()}


def _kept(name: str) -> Any:
    return json.loads(FILE.read_text()).get(name, []) if FILE.exists() else []


def _json(report: dict[str, Any]) -> str:
    """With a line for each cell."""
    lists = {name: report[name] for name in ("cells", "ablation")}
    head = json.dumps({name: value for name, value in report.items() if name not in lists}, indent=1)
    parts = [
        f' "{name}": [\n' + ",\n".join("  " + json.dumps(row) for row in found) + "\n ]"
        for name, found in lists.items()
    ]
    return f"{head[:-2]},\n" + ",\n".join(parts) + "\n}\n"


# --- the tables ------------------------------------------------------------------------------------------------------


def _table(cells: list[dict[str, Any]], noise: str) -> Iterator[str]:
    """What was asked for, under one kind of noise; bowls among the rest, in `_everywhere`."""
    found = {cell["truth"]: cell for cell in cells if cell["noise"] == noise}
    yield f"| {noise} noise | naive | rltune | target | |"
    yield "|---|---|---|---|---|"
    for default, most in ((ORDINARY, 0.02), (NEAR, 0.06)):
        a, b = found[default]["naive"]["worse"], found[default]["rltune"]["worse"]
        yield _row(f"shipped worse than the default, {default}", _percent(a), _percent(b), f"≤ {most:.0%}", b <= most)
    for default in (ORDINARY, NEAR):
        plain, ours = found[default]["naive"], found[default]["rltune"]
        for of, key in (("printed", "bias_printed"), ("of what is shipped", "bias")):
            good = abs(ours[key]) <= 0.3
            yield _row(f"bias of the gain {of}, {default}", f"{plain['bias']:+.1f}", f"{ours[key]:+.2f}", "± 0.3", good)
        for of, key in (("printed", "coverage_printed"), ("of what is shipped", "coverage")):
            good = 0.93 <= ours[key] <= 0.97
            yield _row(f"95 % intervals that hold the gain {of}, {default}", "", _percent(ours[key]), "93-97 %", good)
    for default, least in ((ORDINARY, 0.97), (NEAR, 1.1)):
        plain, ours = found[default]["naive"], found[default]["rltune"]
        good = ours["true_gain"] >= least * plain["true_gain"]
        both = f"{plain['true_gain']:.2f}", f"{ours['true_gain']:.2f} ({_ratio(cells, default, noise)})"
        yield _row(f"true gain of what is shipped, {default}", *both, f"≥ {least} x", good)
    if "null" in found:
        a, b = found["null"]["naive"]["claims"], found["null"]["rltune"]["claims"]
        yield _row("null studies that claim a gain", _percent(a), _percent(b), "≤ 5 %", b <= 0.05)


def _ratio(cells: list[dict[str, Any]], truth: str, noise: str) -> str:
    cell = next(cell for cell in cells if (cell["truth"], cell["noise"]) == (truth, noise))
    plain = cell["naive"]["true_gain"]
    return f"{cell['rltune']['true_gain'] / plain:.2f} x" if plain > 0.05 else "naive gains nothing"


def _everywhere(cells: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        "| truth | noise | worse: naive / rltune | true gain: naive / rltune | ships | claims a gain "
        "| bias printed / shipped | coverage printed / shipped | half width | runs |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for cell in cells:
        plain, ours = cell["naive"], cell["rltune"]
        columns = [
            cell["truth"],
            cell["noise"],
            f"{_percent(plain['worse'])} / {_percent(ours['worse'])}",
            f"{plain['true_gain']:.2f} / {ours['true_gain']:.2f}",
            _percent(ours["ships"]),
            _percent(ours["claims"]),
            f"{ours['bias_printed']:+.2f} / {ours['bias']:+.2f}",
            f"{_percent(ours['coverage_printed'])} / {_percent(ours['coverage'])}",
            f"{ours['half_width']:.1f}",
            f"{ours['spent']:.1f}",
        ]
        yield "| " + " | ".join(columns) + " |"


def _row(what: str, naive: str, ours: str, target: str, good: bool) -> str:
    return f"| {what} | {naive} | {ours} | {target} | {'met' if good else 'MISSED'} |"


_percent = partial("{:.1%}".format)


if __name__ == "__main__":
    main()
