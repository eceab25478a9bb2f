"""Everything about one trial."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rltune.cli.views.as_json import resolved
from rltune.cli.views.block import how_it_ended
from rltune.cli.views.console import verbatim
from rltune.cli.views.verdict import log_lines
from rltune.records import TrialRecord, schedule
from rltune.reporting import wording as w
from rltune.session import Result
from rltune.trainers.config_text import overrides
from rltune.tuner import MEASURED_METRICS

_FOLD = re.compile(r"fold_(\d+)/(.+)")
_FOLD_SD = "/fold_sd"
_FOLD_METRICS = 4  # so many have room in a terminal


def trial_text(result: Result, record: TrialRecord) -> RenderableType:
    """What `show` prints."""
    return Group(
        Text.assemble(
            (f"trial {record.number}", "bold"),
            f"  {record.purpose.value}  ",
            how_it_ended(record, alive=result.folder.holder() is not None),
            (f"  {w.duration(record.seconds)}" if record.finished else "", "dim"),
        ),
        _table(list(_facts(result, record))),
        *_section("schedule", _schedule(result, record)),
        *_section("parameters", _parameters(result, record)),
        *_section("constraints", _constraints(record)),
        *_section("metrics", _metrics(result, record)),
        *_folds(result, record),
        *_curve(result, record),
        *_shadow_stops(record),
        *_ending(result, record),
        *_section("files", [(name, str(path), "") for name, path in files(result, record)]),
    )


def files(result: Result, record: TrialRecord) -> list[tuple[str, Path]]:
    """The trial's files that are there, by what is in them."""
    folder = result.folder.trial(record.number)
    known = {
        "config": folder.config,
        "overrides": folder.overrides,
        "command": folder.command,
        "environment": folder.env,
        "log": folder.log,
        "metrics": folder.metrics,
        "result": folder.result,
        "checkpoints": folder.checkpoints,
    }
    logs = {f"log of {fold.path.name}": fold.log for fold in folder.folds()}
    return [(name, path) for name, path in (known | logs).items() if path.exists()]


def _facts(result: Result, record: TrialRecord) -> Iterator[tuple[str, str, str]]:
    yield "seed", w.MISSING if record.seed is None else str(record.seed), ""
    for objective, value in zip(result.objectives, record.values or (), strict=False):
        yield objective.metric, w.number(value), w.towards(objective)
    if record.started is not None:
        yield "started", record.started.isoformat(sep=" ", timespec="seconds"), ""
    if record.stopped_by:
        yield "stopped by", w.spaced(record.stopped_by), ""
    if record.retry_of is not None:
        yield "runs again", f"trial {record.retry_of}", ""
    for later in (r for r in result.records if r.retry_of == record.number):
        yield "replaced by", f"trial {later.number}", ""
    for later in (r for r in result.records if r.origin and r.origin.replaces == record.number and not r.retry_of):
        yield "makes way for", f"trial {later.number}", ""
    if record.origin is not None:
        yield "takes the place of", f"trial {record.origin.replaces}", ""
    if record.origin is not None and record.origin.parent is not None:
        yield "lineage", w.lineage(schedule(result.records, record)), ""
    missed = [name for name, amount in record.violations.items() if amount > 0]
    if missed:
        yield "infeasible", f"{', '.join(missed)} out of range", ""


def _schedule(result: Result, record: TrialRecord) -> list[tuple[str, str, str]]:
    """The parameters of each trial of a lineage that the trial goes on from, and its own."""
    segments = schedule(result.records, record)
    rows = [
        (f"steps {s.begin + 1} to {s.end or '?'}", ", ".join(overrides(resolved(result, s.record))), f"trial {n}")
        for s in segments
        for n in [s.record.number]
    ]
    return rows if len(segments) > 1 else []


def _parameters(result: Result, record: TrialRecord) -> list[tuple[str, str, str]]:
    default = result.plan.get("default") or {}
    rows = []
    for name, value in resolved(result, record).items():
        note = "" if name in record.params else "derived"
        if name in default and w.value(default[name]) != w.value(value):
            note = f"default {w.value(default[name])}"
        rows.append((name, w.value(value), note))
    return rows


def _constraints(record: TrialRecord) -> list[tuple[str, str, str]]:
    """Each with its metric's value, and by how much it is missed or kept."""
    rows = []
    for name, amount in record.violations.items():
        value = w.number(record.metrics.get(name))
        if math.isinf(amount):
            rows.append((name, value, "missed: it was not measured, or is no number"))
        else:
            rows.append((name, value, f"{'missed by' if amount > 0 else 'kept, by'} {w.number(abs(amount))}"))
    return rows


def _metrics(result: Result, record: TrialRecord) -> list[tuple[str, str, str]]:
    """The objectives first, what was measured from outside last; single folds have a table of their own."""
    first = [o.metric for o in result.objectives]
    names = [name for name in record.metrics if not (_FOLD.match(name) or name.endswith(_FOLD_SD))]
    order = sorted(names, key=lambda name: (name not in first, name in MEASURED_METRICS, name))
    return [(name, _metric(name, record.metrics[name]), "") for name in order]


def _metric(name: str, value: float) -> str:
    if name == "training_time":
        return w.duration(value)
    return f"{value / 1e9:.2f} GB" if name in MEASURED_METRICS else w.number(value)


def _folds(result: Result, record: TrialRecord) -> Iterator[RenderableType]:
    """A row for each fold of a cross-validated trial, then their mean and standard deviation."""
    by_fold: dict[int, dict[str, float]] = {}
    for name, value in record.metrics.items():
        if match := _FOLD.match(name):
            by_fold.setdefault(int(match[1]), {})[match[2]] = value
    if not by_fold:
        return
    first = [o.metric for o in result.objectives]
    names = sorted({n for row in by_fold.values() for n in row}, key=lambda n: (n not in first, n))
    shown = names[: max(_FOLD_METRICS, len(first))]
    rows = [(str(fold), [by_fold[fold].get(n) for n in shown]) for fold in sorted(by_fold)]
    columns = [[row[n] for row in by_fold.values() if n in row] for n in shown]
    rows.append(("mean", [fmean(column) for column in columns]))
    rows.append(("sd", [stdev(column) if len(column) > 1 else None for column in columns]))
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("fold", style="dim")
    for name in shown:
        table.add_column(name, justify="right", overflow="fold")
    for label, values in rows:
        table.add_row(label, *map(w.number, values))
    yield ""
    yield Text("folds", "bold")
    yield Padding(table, (0, 0, 0, 2))
    if len(names) > len(shown):
        yield Text(f"  {w.count(len(names) - len(shown), 'more metric')}: rltune show {record.number} --json", "dim")


def _section(title: str, rows: list[tuple[str, str, str]]) -> Iterator[RenderableType]:
    if rows:
        yield ""
        yield Text(title, "bold")
        yield _table(rows)


def _table(rows: list[tuple[str, str, str]]) -> RenderableType:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="dim", overflow="fold")
    table.add_column(overflow="fold")
    table.add_column(style="dim", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return Padding(table, (0, 0, 0, 2))


def _curve(result: Result, record: TrialRecord) -> Iterator[RenderableType]:
    objective = result.objectives[0]
    curve = dict(record.curve) or _measured(result, record)
    if len(curve) < 2:
        return
    steps = sorted(curve)
    first, last, best = (w.number(v) for v in (curve[steps[0]], curve[steps[-1]], objective.best(curve.values())))
    yield ""
    yield Text.assemble(("curve", "bold"), (f"  {objective.metric}, {w.count(len(curve), 'measurement')}", "dim"))
    yield Text.assemble("  ", (w.sparkline([curve[step] for step in steps]), "cyan"))
    yield Text(f"  {first} at step {steps[0]}, {last} at step {steps[-1]}, best {best}", "dim")


def _measured(result: Result, record: TrialRecord) -> dict[int, float]:
    """The curve where the journal has none, as with several objectives."""
    metric = result.objectives[0].metric
    try:
        measurements = result.folder.trial(record.number).read_metrics()
    except (OSError, KeyError, TypeError, AttributeError):  # a file that something else wrote in
        return {}
    return {m.step: m.metrics[metric] for m in measurements if metric in m.metrics}


def _shadow_stops(record: TrialRecord) -> Iterator[RenderableType]:
    """What guards in shadow mode would have done."""
    if not record.shadow_stops:
        return
    yield ""
    yield Text.assemble(("shadow mode", "bold"), ("  guards that would have ended it", "dim"))
    yield _table([(stop.guard, f"step {stop.step}, {w.spaced(stop.cause.value)}", "") for stop in record.shadow_stops])
    for message in dict.fromkeys(stop.message for stop in record.shadow_stops):
        yield Padding(Text(message, "dim"), (0, 0, 0, 2))


def _ending(result: Result, record: TrialRecord) -> Iterator[RenderableType]:
    message, log = record.message.rstrip(), log_lines(result.folder, record.number)
    if message:
        yield ""
        yield Text(w.spaced(record.cause.value) if record.cause else "message", "bold red")
        yield Padding(Text(message), (0, 0, 0, 2))
    if log and log[-1] not in message:
        yield ""
        yield Text.assemble(("log", "bold"), ("  its last lines", "dim"))
        yield Padding(Text("\n".join(log), "dim"), (0, 0, 0, 2))
    command = _command(result, record)
    if command:
        yield ""
        yield Text("command", "bold")
        yield verbatim(f"  {command}")


def _command(result: Result, record: TrialRecord) -> str:
    try:
        return result.folder.trial(record.number).command.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
