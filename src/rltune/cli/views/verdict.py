"""What came out of a study, and how to go on."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

from optuna.trial import TrialState
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rltune.analysis.changes import changes
from rltune.analysis.pareto import front
from rltune.analysis.selection import Runs
from rltune.cli.views.as_json import override_texts, resolved
from rltune.cli.views.console import verbatim
from rltune.cli.views.snapshot import INTERRUPTED, Snapshot
from rltune.folder import StudyDir
from rltune.protocol.decision import Verdict
from rltune.records import TrialRecord, effective, own, schedule
from rltune.reporting import wording as w
from rltune.session import Result
from rltune.trainers.child import last_lines, log_tail
from rltune.trainers.config_text import overrides
from rltune.types import Cause, Purpose

_LOG_LINES = 10
_FAILED_SHOWN = 2
_FAILED_LOOKED_AT = 10
_FRONT_SHOWN = 20


def conclusion(result: Result, *, again: str) -> RenderableType:
    """The end of a session.

    Args:
        result: What the session left.
        again: The command that goes on with the study.
    """
    snapshot = Snapshot.of(result)
    parts: list[RenderableType] = [_summary(snapshot)]
    if result.halted is not None:
        parts += ["", *_halted(result)]
    if result.best is None:
        parts += ["", Text("no feasible trial yet" if result.stopped else "nothing to ship: no trial is feasible")]
    else:
        parts += ["", *verdict_lines(result), *_front(result), *_changed(result), *_files(result)]
    if result.stopped:
        parts += ["", Text("stopped before its end; go on with"), verbatim(f"  {again}", "bold")]
    return Group(*parts)


def best_text(result: Result) -> RenderableType:
    """What `best` prints: the verdict, and the configuration as a mapping and as overrides."""
    assert result.best is not None
    against = _changed(result) if result.plan.get("default") else ()
    return Group(*verdict_lines(result), *against, *configuration(result, result.best))


def configuration(result: Result, record: TrialRecord) -> Iterator[RenderableType]:
    """A trial's parameters as a mapping and as overrides."""
    pairs = [text.partition("=") for text in overrides(resolved(result, record))]
    rows = [Text.assemble((f"  {name}: ", "cyan"), value) for name, _, value in pairs]
    head = Text.assemble(("parameters", "bold"), (f"  trial {record.number}", "dim"))
    yield ""
    yield head
    yield from rows
    yield ""
    yield Text("as overrides", "bold")
    yield verbatim(f"  {shlex.join(override_texts(result, record))}")


def verdict_lines(result: Result) -> list[RenderableType]:
    """What to ship, with the numbers behind it."""
    verdict = result.verdict
    if verdict is None or (verdict.winner is None and verdict.default is None):
        return list(_nothing_better(result) if _is_done_without_finalists(result) else _single_run(result))
    return list(_comparison(result, verdict))


def _summary(snapshot: Snapshot) -> Text:
    counts = dict(snapshot.counts)
    again = sum(counts.pop(state, 0) for state in ("waiting", "running", INTERRUPTED))
    words = [f"{n} {state}" for state, n in counts.items()]
    if "failed" in counts:
        words[-1] += f" ({w.causes(snapshot.failures)})"
    if again:
        words.append(f"{again} to be run again")
    ended = w.count(sum(counts.values()), "trial")
    return Text.assemble((ended, "bold"), f" in {w.duration(snapshot.elapsed_seconds)}: {', '.join(words) or 'none'}")


# --- the verdict -----------------------------------------------------------------------------------------------------


def _comparison(result: Result, verdict: Verdict) -> Iterator[RenderableType]:
    objective, best = result.objectives[0], result.best
    seeds = "untouched seeds" if verdict.seeds == "claim" else "the seeds of the finals"
    yield Text.assemble((objective.metric, "bold"), (f" on {seeds}, {w.towards(objective)}", "dim"))
    table = _grid()
    if verdict.default is not None:
        table.add_row("default", _runs(verdict.default), "")
    if verdict.winner is not None:
        shipped = best is not None and dict(best.params) == dict(verdict.winner.params)
        table.add_row("best", _runs(verdict.winner), f"trial {best.number}" if best and shipped else "")
    if math.isfinite(verdict.gain):
        table.add_row("gain", w.interval(verdict.gain, verdict.low, verdict.high), w.p_better(verdict.p_better))
    yield Padding(table, (0, 0, 1, 2))
    yield from _decision(verdict)


def _decision(verdict: Verdict) -> Iterator[RenderableType]:
    """`ship` or `keep your default`, and why."""
    keep = ("keep your default", "bold yellow")
    if verdict.default is None:
        yield Text("no comparison: the default has no value on the fresh seeds", "yellow")
    elif verdict.ship is None:
        phase = "the claim has" if verdict.seeds == "claim" else "the finals have"
        yield Text(f"not decided yet: {phase} not ended", "yellow")
    elif verdict.ship:
        yield Text.assemble(("ship", "bold green"), f": {w.why_ship(verdict)}")
    else:
        yield Text.assemble(keep, f": {w.why_keep(verdict)}")
        if (unseen := w.unseen(verdict)) is not None:
            yield Text(unseen, "dim")


def _is_done_without_finalists(result: Result) -> bool:
    planned = result.plan.get("phases", {}).get("final", 0)
    return bool(planned and result.plan.get("finished") and result.best and result.best.purpose is Purpose.BASELINE)


def _nothing_better(result: Result) -> Iterator[RenderableType]:
    assert result.best is not None
    yield Text.assemble(("keep your default", "bold yellow"), ": no other configuration comes near it")
    yield values(result, result.best)


def _single_run(result: Result) -> Iterator[RenderableType]:
    best = result.best
    assert best is not None
    scored = sum(r.state is TrialState.COMPLETE for r in effective(own(result.records)))
    yield Text.assemble(("best", "bold"), f" of {w.count(scored, 'single run')}, trial {best.number}")
    yield values(result, best)
    yield Text(_caveat(result), "yellow")
    segments = schedule(result.records, best)
    if len(segments) > 1:
        yield Text(
            f"reached by a schedule, trial {w.lineage(segments)}: its last parameters from the start on are another "
            f"training; `rltune show {best.number}` and {result.folder.best_schedule.name} have those of every step"
        )


def values(result: Result, record: TrialRecord) -> RenderableType:
    """A trial's value in each objective."""
    table = _grid()
    for objective, value in zip(result.objectives, record.values or (), strict=False):
        table.add_row(objective.metric, Text(w.number(value), "bold green"), w.towards(objective))
    return Padding(table, (0, 0, 1, 2))


def _front(result: Result) -> Iterator[RenderableType]:
    if len(result.objectives) > 1:
        numbers = [str(record.number) for record in front(result.records, result.objectives)]
        yield Text(f"trials that no other beats in every objective: {', '.join(numbers[:_FRONT_SHOWN])}")


def _caveat(result: Result) -> str:
    luck = "the best of many single runs is partly luck"
    planned = result.plan.get("phases", {}).get("final", 0)
    if result.config.algorithm.name == "population":
        return luck
    if planned:
        return f"{luck}; the comparison with your default on fresh seeds has not been run yet"
    if result.plan.get("default") is None:
        return f"{luck}; give each parameter a `default`, and rltune compares with it on fresh seeds"
    return f"{luck}; `protocol: full` compares it with your default on fresh seeds"


def _runs(runs: Runs) -> Text:
    seeds = w.count(len(runs.values), "seed") + (f", {runs.failed} failed" if runs.failed else "")
    mean = w.plus_minus(runs.mean, runs.sd) if runs.values else w.MISSING
    return Text.assemble(mean, (f"  {seeds}", "dim"))


def _grid() -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    return table


# --- the configuration -----------------------------------------------------------------------------------------------


def _changed(result: Result) -> Iterator[RenderableType]:
    best, default = result.best, result.plan.get("default")
    assert best is not None
    found = changes(default or {}, best.params)
    rows, same = [each for each in found if each.changed], [each.parameter for each in found if not each.changed]
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("changed" if default else "parameter", overflow="fold")
    if default:
        table.add_column("default", justify="right", style="dim")
    table.add_column("best", justify="right")
    for each in rows:
        old = w.value(each.default) if each.in_default else w.MISSING
        new = w.value(each.shipped) if each.in_shipped else w.MISSING
        table.add_row(each.parameter, *([old] if default else []), new)
    yield ""
    yield table
    if same:
        yield Text(f"as before: {', '.join(w.short_names(same).values())}", "dim")


def _files(result: Result) -> Iterator[RenderableType]:
    folder = result.folder
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("best config", str(folder.best_config))
    table.add_row("as overrides", str(folder.best_overrides))
    table.add_row("all trials", str(folder.trials_csv))
    if result.best is not None:
        table.add_row("look closer", f"rltune show {result.best.number} {folder.path}")
    yield ""
    yield table


# --- failures --------------------------------------------------------------------------------------------------------


def _halted(result: Result) -> Iterator[RenderableType]:
    failed = [r for r in result.records if r.state is TrialState.FAIL and r.cause is not Cause.INTERRUPTED]
    different = {w.failure(r.cause, r.message): r for r in failed[-_FAILED_LOOKED_AT:]}
    yield Text.assemble(("ended early: ", "bold red"), result.halted or "")
    for why, record in list(different.items())[-_FAILED_SHOWN:]:
        yield Text(f"\ntrial {record.number}: {why}", "bold")
        yield Padding(Text(last_words(result.folder, record), "dim"), (0, 0, 0, 2))
    if failed:
        yield Text(f"\nmore: rltune show {failed[-1].number} {result.folder.path}")


def last_words(folder: StudyDir, record: TrialRecord) -> str:
    """The last lines of a trial's log, and the last of its message where the log has not got them."""
    log, message = log_lines(folder, record.number), record.message.strip().splitlines()[1:]
    told = message[-_LOG_LINES:] if not log or log[-1] not in message else []
    return "\n".join([*log, *told])


def log_lines(folder: StudyDir, number: int) -> list[str]:
    """The last lines that a trial printed."""
    try:
        return last_lines(log_tail(folder.trial(number).log)).splitlines()[-_LOG_LINES:]
    except OSError:
        return []
