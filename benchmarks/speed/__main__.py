"""`python -m benchmarks.speed`: one table on the screen, everything behind it in benchmarks/results/speed.json."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed import arms, machine
from benchmarks.speed.arms import Arm, ArmError
from benchmarks.speed.rows import Comparison, Row, comparisons

RESULTS = Path("benchmarks/results/speed.json")


@dataclass(frozen=True)
class Setting:
    """What holds for every comparison.

    Attributes:
        versions: Of the libraries; None for those that are missing.
    """

    peers: bool
    versions: Mapping[str, str | None]

    def why_not(self, arm: Arm) -> str | None:
        """Why an arm is not run; None where it is."""
        if arm.needs == "rltune":
            return None
        if not self.peers:
            return "left out"
        return None if self.versions[arm.needs] else f"{arm.needs} is not installed"


def main() -> None:
    options = _options()
    versions = {library: arms.version(library) for library in ("rltune", "optuna", "ray")}
    setting = Setting(not options.no_peers, versions)
    report: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "quick": options.quick,
        "machine": machine.describe(),
        "versions": versions,
        "rows": [],
        "rounds": {},
    }
    for comparison in comparisons(quick=options.quick):
        if options.only and comparison.name not in options.only:
            continue
        rounds = _measure(comparison, setting)
        report["rounds"][comparison.name] = rounds
        report["rows"] += [_row(comparison, row, rounds, setting) for row in comparison.rows]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(_table(report)))
    print(f"\nEvery round of it is in {options.out}.")
    if any("failed" in each for rounds in report["rounds"].values() for each in rounds):
        sys.exit(1)


def _options() -> argparse.Namespace:
    names = [comparison.name for comparison in comparisons(quick=True)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="whether it works, in seconds; the figures mean nothing")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the JSON goes; {RESULTS} by default")
    return parser.parse_args()


# --- measuring -------------------------------------------------------------------------------------------------------


def _measure(comparison: Comparison, setting: Setting) -> list[dict[str, Any]]:
    """Every arm once a round, in turn, so that whatever else the machine does falls on all of them alike."""
    rounds = []
    for number in range(1, comparison.rounds + 1):
        for name, arm in comparison.arms.items():
            if setting.why_not(arm):
                continue
            print(f"{comparison.name} {number}/{comparison.rounds}: {name}", file=sys.stderr, flush=True)
            entry: dict[str, Any] = {"round": number, "arm": name, **machine.load()}
            try:
                rounds.append(entry | {"numbers": arms.run(arm)})
            except ArmError as error:
                print(error, file=sys.stderr)
                rounds.append(entry | {"failed": str(error)})
    return rounds


# --- the table -------------------------------------------------------------------------------------------------------


def _row(comparison: Comparison, row: Row, rounds: list[dict[str, Any]], setting: Setting) -> dict[str, Any]:
    ours = _values(rounds, row.ours)
    peer = _values(rounds, row.peer) if row.peer else {}
    better = [(o, p) if row.better == "more" else (p, o) for o, p in _pairs(ours, peer)]
    ratios = [high / low for high, low in better if low > 0]
    middle = statistics.median(ours.values()) if ours else None
    entry: dict[str, Any] = {
        "comparison": comparison.name,
        "what": row.what,
        "unit": row.unit,
        "better": row.better,
        "ours": _spread(ours.values()),
        "peer": None,
        "ratio": _spread(ratios),
        "target": None,
    }
    if row.peer:
        arm = comparison.arms[row.peer.split(".")[0]]
        entry["peer"] = {"who": arm.who, "why_not": setting.why_not(arm), **(_spread(peer.values()) or {})}
    if row.target:
        ratio = statistics.median(ratios) if ratios else None
        judged = ratio if row.target.of_ratio else middle
        more = row.target.of_ratio or row.better == "more"
        met = judged is not None and (judged >= row.target.goal if more else judged <= row.target.goal)
        entry["target"] = {**row.target._asdict(), "met": met}
    return entry


def _values(rounds: list[dict[str, Any]], figure: str) -> dict[int, float]:
    """A figure by round."""
    arm, number = figure.split(".")
    return {each["round"]: each["numbers"][number] for each in rounds if each["arm"] == arm and "numbers" in each}


def _pairs(ours: Mapping[int, float], peer: Mapping[int, float]) -> Iterator[tuple[float, float]]:
    """Only what was measured in the same round is compared."""
    return ((ours[number], peer[number]) for number in sorted(ours.keys() & peer.keys()))


def _spread(values: Any) -> dict[str, float] | None:
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None


def _table(report: Mapping[str, Any]) -> Iterator[str]:
    cells = [["what", "ours", "peer", "ratio", "target"]]
    for row in report["rows"]:
        unit, peer, target = row["unit"], row["peer"], row["target"]
        cells.append(
            [
                row["what"],
                _cell(row["ours"], unit) if row["ours"] else "failed",
                _peer(peer, unit) if peer else "",
                _cell(row["ratio"], "x") if row["ratio"] else "",
                _target(target, row, judge=not report["quick"]) if target else "",
            ]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    yield lines[0]
    yield "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    yield from lines[1:]
    yield ""
    yield _setting_line(report)


def _cell(spread: Mapping[str, float], unit: str) -> str:
    low, middle, high = (_short(spread[key]) for key in ("min", "median", "max"))
    return f"{middle}{_unit(unit)}" + (f" ({low}-{high})" if low != high else "")


def _peer(peer: Mapping[str, Any], unit: str) -> str:
    if peer["why_not"]:
        return f"{peer['who']}: {peer['why_not']}"
    return f"{_cell(peer, unit)} {peer['who']}" if "median" in peer else f"{peer['who']}: failed"


def _target(target: Mapping[str, Any], row: Mapping[str, Any], *, judge: bool) -> str:
    sign = "≥" if row["better"] == "more" or target["of_ratio"] else "≤"
    stretch = f", stretch {target['stretch']:g}" if target["stretch"] else ""
    verdict = (": met" if target["met"] else ": missed") if judge else ""
    unit = _unit("x" if target["of_ratio"] else row["unit"])
    return f"{sign} {target['goal']:g}{unit}{stretch}{verdict}"


def _short(value: float) -> str:
    """Three figures, without an exponent."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _unit(unit: str) -> str:
    return unit if unit in ("/s", "%", "x") else f" {unit}"


def _setting_line(report: Mapping[str, Any]) -> str:
    m, all_rounds = report["machine"], [each for rounds in report["rounds"].values() for each in rounds]
    loads, busy = [each["load_1_min"] for each in all_rounds], [each["busy_percent"] for each in all_rounds]
    versions = ", ".join(f"{library} {version or 'absent'}" for library, version in report["versions"].items())
    return (
        f"Medians (min-max). {report['date'][:10]}, commit {report['commit']}, {versions}, Python {m['python']}, "
        f"{m['processor']}, {m['cores']} cores, {m['memory_gb']:g} GB. Before the runs the machine was "
        f"{statistics.median(busy):.0f} % busy with other work (median; at most {max(busy):.0f} %), "
        f"1-minute load {min(loads):g}-{max(loads):g}."
        + (" QUICK: these figures mean nothing." if report["quick"] else "")
    )


if __name__ == "__main__":
    main()
