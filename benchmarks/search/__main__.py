"""`python -m benchmarks.search`: tables on the screen, every figure in benchmarks/results/search.json."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.search import arms, problems, report_others, report_values, runs, tables
from benchmarks.search.cache import Cache
from benchmarks.search.runs import DEFAULT_ARMS, SUITES, N, Run
from benchmarks.speed import machine

RESULTS = Path("benchmarks/results/search.json")

DATA = "RLTUNE_BENCH_DATA"

Summarise = Callable[[tables.Results, int], dict[str, Any]]
Tables = Callable[[Mapping[str, Any]], Iterator[str]]

REPORTS: Mapping[str, tuple[Summarise, Tables]] = {
    "values": (report_values.summarise, report_values.tables),
    "curves": (report_others.summarise_curves, report_others.tables_curves),
    "prior": (report_others.summarise_prior, report_others.tables_prior),
    "speed": (report_others.summarise_speed, report_others.tables_speed),
}


def main() -> None:
    options = _options()
    suites = SUITES if options.suite == "all" else (options.suite,)
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    text: list[str] = []
    for suite in suites:
        n = options.evaluations or N[suite]
        chosen = options.arms or DEFAULT_ARMS[suite]
        compared = {name: arms.get(name.partition("@")[0]) for name in chosen}  # refuses now what it would later
        planned = list(runs.plan(suite, options.problems, chosen, options.seeds, n, options.data))
        if not planned:
            known = problems.names(options.data, curves=suite == "curves")
            sys.exit(f"the suite {suite} has none of these problems; there are {', '.join(known)}")
        done = dict(_run(planned, options))
        setting, failed, summaries = _setting(options, compared), list(_failures(done)), {}
        summarise, as_tables = REPORTS[suite]
        for group, members in _groups(planned, options.data).items():
            summaries[group] = summarise(_results(planned, done, members), n)
            heading = f"## {suite}: {group} ({len(members)}: {', '.join(members)})"
            text += [heading, "", *as_tables(summaries[group]), ""]
        text += _notes(compared, setting, failed)
        report[suite] = setting | _numbered({"failed": failed, "groups": summaries}, options.data)
    print("\n".join(text))
    print(f"Every run is in {options.cache}" + (f", all figures are in {options.out}." if options.out else "."))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=f"{__doc__}\n\nArms:\n{arms.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data, cache = os.environ.get(DATA), Path(tempfile.gettempdir()) / "rltune-benchmarks-search"
    parser.add_argument("--suite", choices=(*SUITES, "all"), default="values")
    parser.add_argument("--problems", type=_names, default=[], metavar="A,B", help="only these; all by default")
    parser.add_argument("--arms", type=_names, default=[], metavar="A,B", help="see below; NAME@K has K seeds at most")
    parser.add_argument("--seeds", type=int, default=10, help="searches of each arm on each problem (default: 10)")
    parser.add_argument("--evaluations", type=int, help="of one search; 100, in the suite curves 50 whole trainings")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each (default: 1)")
    parser.add_argument(
        "--data",
        type=Path,
        default=data and Path(data),
        help=f"a folder of others' tables with problems.py, space.py and data/; by default what {DATA} says, else none",
    )
    parser.add_argument("--cache", type=Path, default=cache, help=f"where every run is kept (default: {cache})")
    parser.add_argument("--out", type=Path, help=f"where the JSON goes; by default {RESULTS}, if suites ran whole")
    options = parser.parse_args()
    whole = not (options.problems or options.arms or options.evaluations)
    options.out = options.out or (RESULTS if whole else None)
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


# --- running ---------------------------------------------------------------------------------------------------------


def _run(planned: Sequence[Run], options: argparse.Namespace) -> Iterator[tuple[Run, dict[str, Any]]]:
    """In processes of one thread each, which is why they are started anew: libraries read these when they load."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    cache = Cache(options.cache)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        waiting = {pool.submit(runs.execute, run, options.data, cache): run for run in planned}
        try:
            for i, future in enumerate(as_completed(waiting), start=1):
                run, result = waiting[future], future.result()
                line = f"{i}/{len(planned)} {run.suite} {run.case} {run.arm} seed {run.seed}"
                print(f"{line}: {result['failed']}" if "failed" in result else line, file=sys.stderr, flush=True)
                yield run, result
        finally:
            pool.shutdown(cancel_futures=True)


def _failures(done: Mapping[Run, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for run, result in done.items():
        if "failed" in result:
            yield {"case": run.case, "arm": run.arm, "seed": run.seed, "why": result["failed"]}


def _results(planned: Sequence[Run], done: Mapping[Run, Mapping[str, Any]], members: Sequence[str]) -> tables.Results:
    """What did not fail, in the order of the plan."""
    results: dict[str, dict[str, dict[int, Mapping[str, Any]]]] = {}
    for run in planned:
        if run.case in members:
            by_seed = results.setdefault(run.case, {}).setdefault(run.arm, {})
            if "failed" not in done[run]:
                by_seed[run.seed] = done[run]
    return results


def _groups(planned: Sequence[Run], data: Path | None) -> dict[str, list[str]]:
    """The cases that ran, by the origin of their problems; a case of `speed` is a number of trials."""
    cases = list(dict.fromkeys(run.case for run in planned))
    if planned[0].suite == "speed":
        return {problems.OWN: cases}
    known = [problems.groups(data), problems.groups(data, curves=True)]
    groups = {
        group: [case for case in cases if any(case.partition("/")[0] in each.get(group, ()) for each in known)]
        for group in (problems.OTHERS, problems.OWN, problems.MEASURED)
    }
    return {name: members for name, members in groups.items() if members}


def _setting(options: argparse.Namespace, compared: Mapping[str, arms.Arm]) -> dict[str, Any]:
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.describe() | machine.load(),
        "versions": {name: _version(name) for name in ("rltune", "optuna", "cmaes", "numpy", "scipy", "torch")},
        "seeds": options.seeds,
        "others_tables": options.data is not None,
        "arms": {arm.name: arm.version for arm in compared.values()},
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _numbered(tree: Any, data: Path | None) -> Any:
    """With numbers for others' tables: the file is part of this project, and they are not, nor are their names."""
    theirs = dict.fromkeys([*problems.names(data), *problems.names(data, curves=True)])
    for name in (*problems.names(None), *problems.names(None, curves=True)):
        theirs.pop(name, None)
    numbers = {name: f"table {i}" for i, name in enumerate(theirs, start=1)}

    def renamed(part: Any) -> Any:
        if isinstance(part, dict):
            return {numbers.get(key, key): renamed(value) for key, value in part.items()}
        if isinstance(part, list | tuple):
            return [renamed(value) for value in part]
        return numbers.get(part, part) if isinstance(part, str) else part

    return renamed(tree)


def _notes(
    compared: Mapping[str, arms.Arm], setting: Mapping[str, Any], failed: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What a reader must know beside the tables."""
    lines = [f"- {arm.name}: {arm.note}" for arm in compared.values() if arm.note]
    lines += [f"- failed: {each['arm']} on {each['case']}, seed {each['seed']}: {each['why']}" for each in failed]
    if not setting["others_tables"]:
        lines.append(f"- only problems of our own ran: neither --data nor {DATA} names a folder of tables")
    m = setting["machine"]
    used = ", ".join(f"{library} {v or 'absent'}" for library, v in setting["versions"].items())
    lines.append(
        f"- {setting['date'][:10]}, commit {setting['commit']}, {used}, {m['processor']}, one thread each, "
        f"the machine {m['busy_percent']:.0f} % busy afterwards"
    )
    return [*lines, ""]


if __name__ == "__main__":
    main()
