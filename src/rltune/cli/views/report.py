"""A report in the order of a reader's questions: what to ship, how it came about, what mattered, its cost, what next.

A table that would say nothing is left out, and where a reader would miss it, a line says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rltune.analysis.advice import Advice
from rltune.analysis.early import SHARES, EarlyRanks, ahead
from rltune.analysis.effects import FEWEST_TRIALS, Effect, Level
from rltune.analysis.efficiency import Efficiency
from rltune.analysis.history import History
from rltune.analysis.importance import Importance
from rltune.cli.views.verdict import verdict_lines
from rltune.reporting import wording as w
from rltune.reporting.model import Report
from rltune.session import Result
from rltune.types import Purpose, Scalar

_IMPROVEMENTS_SHOWN = 8
_EFFECTS_SHOWN = 4
_LEAST_SHARE = 0.05
_BAR = 8
_BUSY = 0.995
_MESSAGE_WIDTH = 100
_TRIALS_SHOWN = 6
_NOT_ENDED = ("running", "waiting", "interrupted")


def report_text(result: Result, report: Report) -> RenderableType:
    """What `report` prints."""
    return Group(
        _headline(report),
        *_verdict(result, report),
        *_history(report),
        *_parameters(report),
        *_levels(report),
        *_time(report.efficiency),
        *_early(report.early),
        *_losses(report),
        *_next_steps(report.advice),
    )


# --- what came out ---------------------------------------------------------------------------------------------------


def _headline(report: Report) -> Text:
    ended = sum(n for word, n in report.trials.items() if word not in _NOT_ENDED)
    planned = report.n_planned
    known = w.count(ended, "trial") if planned is None else f"{ended} of {w.count(planned, 'trial')}"
    words = [f"{n} {word}" for word, n in report.trials.items()]
    words += [f"{report.n_earlier} more from an earlier study"] if report.n_earlier else []
    about = f": {', '.join(words)}" if words else ""
    return Text.assemble((report.name, "bold"), f"  {known}", (about, "dim"))


def _verdict(result: Result, report: Report) -> Iterator[RenderableType]:
    yield ""
    if report.recommended is None:
        yield Text("nothing to ship: no trial is feasible" + ("" if report.trials else " yet"))
        return
    yield from verdict_lines(result)
    if report.front:
        yield Text(f"trials that no other beats in every objective: {_numbers(report.front)}")


def _history(report: Report) -> Iterator[RenderableType]:
    history, objective = report.history, report.objective
    if history.best is None:
        return
    yield from _title("best so far", f"{objective.metric}, {w.towards(objective)}, by single runs")
    yield _improvements(history)
    if since := history.n_since_best:
        last = "trial" if since == 1 else f"{since} trials"
        yield Text(f"  no better one in the last {last}", "dim")
    if report.noise is not None and report.noise.sd is not None:
        spread = w.plus_minus(report.noise.mean, report.noise.sd)
        runs = w.count(report.noise.n, "seed")
        yield Text(f"  default {spread} over {runs}: the sd is what chance does to a single run", "dim")


def _improvements(history: History) -> RenderableType:
    """The latest ones; the first of all is always there."""
    steps = history.improvements
    shown = steps if len(steps) <= _IMPROVEMENTS_SHOWN else (steps[0], *steps[1 - _IMPROVEMENTS_SHOWN :])
    table = _table("trial", "value", "after", "trained", "wall time", "")
    for i, step in enumerate(shown):
        left_out = len(steps) - len(shown) if i == 1 else 0
        note = "baseline" if step.purpose is Purpose.BASELINE else ""
        note = f"{w.count(left_out, 'step')} before left out" if left_out else note
        table.add_row(
            str(step.number),
            Text(w.number(step.best), "bold"),
            w.count(step.n_trials, "trial"),
            w.duration(step.cost_seconds),
            w.duration(step.wall_seconds),
            Text(note, "dim"),
        )
    return _indented(table)


# --- what mattered ---------------------------------------------------------------------------------------------------


def _parameters(report: Report) -> Iterator[RenderableType]:
    """Importance, correlation and the best fifth: a row for each parameter, the most important first."""
    importance = report.importance
    if not importance.n_configurations:
        return
    effects = _ranked(report)
    yield from _title("parameters", w.importance_from(importance.n_configurations, importance.n_foreseen))
    if importance.fanova or importance.ped_anova or any(e.best_fifth for e in effects):
        yield _indented(_parameter_table(effects, importance))
    yield _remarks([*_legend(report), *importance.notes])


def _ranked(report: Report) -> list[Effect]:
    shares = report.importance.fanova or report.importance.ped_anova or {}
    return sorted(report.effects, key=lambda e: (-shares.get(e.parameter, 0.0), -abs(e.correlation or 0.0)))


def _parameter_table(effects: Sequence[Effect], importance: Importance) -> Table:
    short = w.short_names(e.parameter for e in effects)
    methods = {"fANOVA": importance.fanova, "PED-ANOVA": importance.ped_anova}
    shown = {name: shares for name, shares in methods.items() if shares is not None}
    correlated = any(e.correlation is not None for e in effects)
    bars = next(iter(shown.values()), None)
    table = _table(
        "parameter",
        *(["<"] if shown else []),
        *shown,
        *(["correlation"] if correlated else []),
        "<best fifth",
    )
    for effect in effects:
        share = None if bars is None else bars.get(effect.parameter)
        table.add_row(
            short[effect.parameter],
            *([Text("█" * round(_BAR * (share or 0.0)), "cyan")] if shown else []),
            *(_share(shares.get(effect.parameter)) for shares in shown.values()),
            *([_signed(effect.correlation)] if correlated else []),
            Text(_place(effect), "dim"),
        )
    return table


def _legend(report: Report) -> Iterator[str]:
    importance, effects = report.importance, report.effects
    if importance.fanova is not None and importance.fit is not None:
        yield f"fANOVA: share of the variance; R² of its forest is {importance.fit:.2f} on what it has not seen"
    if importance.ped_anova is not None:
        yield "PED-ANOVA: share in what sets the best fifth apart; small where most trials agree already"
    if any(e.correlation is not None for e in effects):
        yield f"correlation: Spearman's, between the parameter and {report.objective.metric}"
    if any(e.best_fifth for e in effects):
        yield "best fifth: where the best fifth of the feasible trials lies"


def _share(share: float | None) -> str:
    return w.MISSING if share is None else f"{share:.0%}"


def _signed(correlation: float | None) -> str:
    return w.MISSING if correlation is None else f"{correlation:+.2f}".replace("-", "\N{MINUS SIGN}")


def _place(effect: Effect) -> str:
    if effect.best_fifth is None:
        return w.MISSING
    if effect.is_choice:
        return ", ".join(w.value(choice) for choice in effect.best_fifth)
    return _range(*effect.best_fifth)


def _range(low: Scalar, high: Scalar) -> str:
    return w.value(low) if low == high else f"{w.value(low)} to {w.value(high)}"


def _levels(report: Report) -> Iterator[RenderableType]:
    """Value by value, for the parameters that matter."""
    effects = [e for e in _ranked(report) if e.n_values and _says_something(e.levels)]
    shown = [e for e in effects if _matters(e.parameter, report.importance)][:_EFFECTS_SHOWN]
    short = w.short_names(e.parameter for e in report.effects)
    for effect in shown:
        yield from _title(short[effect.parameter], _about(effect, report))
        yield _indented(_level_table(effect.levels))
    if len(effects) > len(shown):
        more = w.count(len(effects) - len(shown), "parameter" if not shown else "more parameter")
        yield ""
        yield Text(f"{more} value by value: rltune report --json", "dim")


def _matters(name: str, importance: Importance) -> bool:
    """Whether its share is worth a table; where no share is known, each may matter."""
    shares = importance.fanova or importance.ped_anova
    return shares is None or shares.get(name, 0.0) >= _LEAST_SHARE


def _says_something(levels: Sequence[Level]) -> bool:
    tried = [level.n_trials for level in levels if level.n_trials]
    return len(tried) > 1 and sum(tried) >= FEWEST_TRIALS


def _about(effect: Effect, report: Report) -> str:
    when = ", where it is active" if effect.conditional else ""
    return f"{report.objective.metric} by its value{when}"


def _level_table(levels: Sequence[Level]) -> Table:
    losses = {
        "pruned": [level.n_pruned for level in levels],
        "failed": [level.n_failed for level in levels],
    }
    losses = {name: counts for name, counts in losses.items() if any(counts)}
    table = _table("<value", "trials", "mean", "median", "best", *losses)
    for i, level in enumerate(levels):
        table.add_row(
            _range(level.low, level.high),
            str(level.n_trials),
            w.number(level.mean),
            w.number(level.median),
            w.number(level.best),
            *(Text(str(counts[i] or ""), "yellow") for counts in losses.values()),
        )
    return table


# --- what it cost ----------------------------------------------------------------------------------------------------


def _time(efficiency: Efficiency) -> Iterator[RenderableType]:
    if efficiency.efficiency is None or efficiency.mean_concurrency is None:
        return
    yield from _title("time", "")
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    workers = w.count(efficiency.workers, "worker")
    table.add_row("trained", w.duration(efficiency.cost_seconds), "all trials together")
    table.add_row("wall time", w.duration(efficiency.wall_seconds), "while at least one trial ran")
    table.add_row("efficiency", f"{efficiency.efficiency:.0%}", f"of the time of {workers}")
    if efficiency.workers > 1:
        table.add_row("at once", f"{efficiency.mean_concurrency:.1f}", f"on average, {efficiency.peak} at most")
    if efficiency.efficiency < _BUSY:
        table.add_row("idle", w.duration(efficiency.idle_seconds), "workers that waited, all together")
    for end, seconds in efficiency.spent.items():
        if end != "complete":
            table.add_row(f"in {end} trials", w.duration(seconds), _part(seconds, efficiency.cost_seconds))
    yield _indented(table)


def _part(seconds: float, total: float) -> str:
    return f"{seconds / total:.0%} of what was trained" if total else ""


def _early(early: EarlyRanks | None) -> Iterator[RenderableType]:
    if early is None:
        return
    yield from _title("early values", f"of {w.count(early.n, 'trial')} that ran to the end")
    table = _table("<after", "<ahead then, ahead at the end", "Kendall's tau")
    for share, tau in zip(SHARES, early.taus, strict=True):
        if tau is not None:
            table.add_row(f"{share} of the training", ahead(tau), f"{tau:.2f}")
    yield _indented(table)


def _losses(report: Report) -> Iterator[RenderableType]:
    if report.failures:
        yield from _title("failures", "by cause")
        table = _table("<cause", "trials", "trained", "<which", "<message")
        for failure in report.failures:
            table.add_row(
                w.spaced(failure.cause.value),
                str(len(failure.trials)),
                w.duration(failure.cost_seconds),
                _numbers(failure.trials),
                _cut(failure.message, _MESSAGE_WIDTH),
            )
        yield _indented(table)
        again = sum(failure.n_run_again for failure in report.failures)
        if again:
            yield Text(f"  {again} of them run again", "dim")
    if report.misses:
        yield from _title("constraints missed", "by complete trials")
        table = _table("<constraint", "trials", "of", "least", "median", "<which")
        for miss in report.misses:
            table.add_row(
                miss.constraint,
                str(len(miss.trials)),
                str(miss.n_complete),
                _missed_by(miss.least),
                _missed_by(miss.median),
                _numbers(miss.trials),
            )
        yield _indented(table)
    if report.stops:
        yield from _title("stopped early", "by rule")
        table = _table("<rule", "trials", "trained", "<which")
        for stop in report.stops:
            numbers = _numbers(stop.trials)
            table.add_row(w.spaced(stop.rule), str(len(stop.trials)), w.duration(stop.cost_seconds), numbers)
        yield _indented(table)
    yield from _shadows(report)


def _shadows(report: Report) -> Iterator[RenderableType]:
    """What guards in shadow mode would have cost: a good value among them is a false alarm."""
    if not report.shadows:
        return
    yield from _title("shadow mode", "what guards would have ended")
    table = _table(
        "<guard", "trials", "with a value", f"best {report.objective.metric}", "would save", "<which", "<message"
    )
    for shadow in report.shadows:
        table.add_row(
            w.spaced(shadow.guard),
            str(len(shadow.trials)),
            str(shadow.n_values),
            w.number(shadow.best),
            w.duration(shadow.saved_seconds),
            _numbers(shadow.trials),
            _cut(shadow.message, _MESSAGE_WIDTH),
        )
    yield _indented(table)


def _missed_by(amount: float) -> str:
    return w.number(amount) if math.isfinite(amount) else "unmeasured"


# --- what next -------------------------------------------------------------------------------------------------------


def _next_steps(advice: Sequence[Advice]) -> Iterator[RenderableType]:
    if advice:
        yield from _title("next steps", "")
        table = Table.grid(padding=(0, 1, 0, 0))
        for each in advice:
            table.add_row("-", str(each))
        yield _indented(table)


# --- small things ----------------------------------------------------------------------------------------------------


def _title(title: str, about: str) -> Iterator[RenderableType]:
    yield ""
    yield Text.assemble((title, "bold"), (f"  {about}" if about else "", "dim"))


def _table(*heads: str) -> Table:
    """Columns of numbers, but for the first and those whose head begins with `<`."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for i, head in enumerate(heads):
        left = i == 0 or head.startswith("<")
        table.add_column(head.removeprefix("<"), justify="left" if left else "right", overflow="fold")
    return table


def _remarks(lines: Sequence[str]) -> RenderableType:
    """Lines below a table; a long one goes on under its beginning."""
    return Padding(Text("\n".join(lines), "dim"), (0, 0, 0, 2))


def _indented(table: Table) -> RenderableType:
    return Padding(table, (0, 0, 0, 2))


def _numbers(trials: Sequence[int]) -> str:
    more = f" and {len(trials) - _TRIALS_SHOWN} more" if len(trials) > _TRIALS_SHOWN else ""
    return ", ".join(str(number) for number in trials[:_TRIALS_SHOWN]) + more


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
