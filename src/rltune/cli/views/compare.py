"""What `compare` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rltune.analysis.changes import Change
from rltune.analysis.noise import Noise
from rltune.analysis.selection import Runs
from rltune.cli.views.block import how_it_ended
from rltune.cli.views.preview import parameter_range, parameter_scale
from rltune.comparison import Spent, StudyComparison, Trial, TrialComparison
from rltune.reporting import wording as w
from rltune.session import Result
from rltune.space import NO_DEFAULT, Parameter
from rltune.wording import found as in_words

_STEPS_SHOWN = 8
_WIDEST = 40  # of a curve as a line of bars


def studies_text(found: StudyComparison) -> RenderableType:
    """Two studies."""
    a, b = found.a, found.b
    names = _names(a, b)
    return Group(
        Text.assemble(("A", "bold"), f"  {a.config.name}", (f"  {a.folder.path}", "dim")),
        Text.assemble(("B", "bold"), f"  {b.config.name}", (f"  {b.folder.path}", "dim")),
        *_not_comparable(found.reasons),
        *_section("search space", _space(found), names),
        *_section("settings", [(d.key, _setting(d.old), _setting(d.new)) for d in found.settings], names),
        *_section("budget", _budget(*found.spent), names),
        *_section("result", _results(found), names),
        *_gain(found),
        *_winners(found),
    )


def trials_text(found: TrialComparison) -> RenderableType:
    """Two trials."""
    head = [Text.assemble((letter, "bold"), f"  {t.name}  {t.record.purpose.value}  ", _ended(t))
            for letter, t in (("A", found.a), ("B", found.b))]  # fmt: skip
    return Group(
        *head,
        *_not_comparable(found.reasons),
        *_params(found.params),
        *_section("result", _trial_results(found), ("A", "B")),
        *_single_runs(found),
        *_curves(found),
    )


def _names(a: Result, b: Result) -> tuple[str, str]:
    return (a.config.name, b.config.name) if a.config.name != b.config.name else ("A", "B")


def _not_comparable(reasons: Sequence[str]) -> Iterator[RenderableType]:
    if not reasons:
        return
    yield ""
    yield Text("their values cannot be compared", "bold yellow")
    for reason in reasons:
        yield Padding(Text(reason), (0, 0, 0, 2))


def _section(title: str, rows: Iterable[tuple[str, str, str]], heads: tuple[str, str]) -> Iterator[RenderableType]:
    """Rows of which each is a name and both sides; none where nothing differs."""
    rows = list(rows)
    yield ""
    if not rows:
        yield Text.assemble((title, "bold"), ("  the same", "dim"))
        return
    yield Text(title, "bold")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("", style="dim", overflow="fold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    yield Padding(table, (0, 0, 0, 2))


# --- studies ---------------------------------------------------------------------------------------------------------


def _space(found: StudyComparison) -> Iterator[tuple[str, str, str]]:
    for change in found.space:
        yield change.parameter, _parameter(change.a), _parameter(change.b)


def _parameter(parameter: Parameter | None) -> str:
    if parameter is None:
        return w.MISSING
    scale = parameter_scale(parameter)
    words = [parameter_range(parameter), *([scale] if scale != "choice" else [])]
    if parameter.default is not NO_DEFAULT:
        words.append(f"default {w.value(parameter.default)}")
    if parameter.prior is not NO_DEFAULT:
        words.append(f"prior {w.value(parameter.prior)}")
    if parameter.when is not None:
        words.append(f"when {parameter.when}")
    return ", ".join(words)


def _setting(value: object) -> str:
    if value is None:
        return w.MISSING
    return w.value(value) if isinstance(value, bool | int | float | str) else _listed(value)


def _listed(value: object) -> str:
    return ", ".join(map(_setting, value)) if isinstance(value, list) else in_words(value)


def _budget(a: Spent, b: Spent) -> Iterator[tuple[str, str, str]]:
    states = dict.fromkeys([*a.trials, *b.trials])
    yield "trials", str(sum(a.trials.values())), str(sum(b.trials.values()))
    yield from ((f"  {state}", str(a.trials.get(state, 0)), str(b.trials.get(state, 0))) for state in states)
    yield "full runs (FRE)", f"{a.full_runs:.1f}", f"{b.full_runs:.1f}"
    yield "training time", w.duration(a.trial_seconds), w.duration(b.trial_seconds)
    yield "wall time", w.duration(a.wall_seconds), w.duration(b.wall_seconds)
    if a.gpu_hours is not None or b.gpu_hours is not None:
        yield "GPU-hours", w.number(a.gpu_hours), w.number(b.gpu_hours)


def _results(found: StudyComparison) -> Iterator[tuple[str, str, str]]:
    a, b = found.a, found.b
    yield "verdict", _verdict(a), _verdict(b)
    metrics = [result.objectives[0].metric for result in (a, b)]
    of_a, of_b = (_best(*each) for each in zip((a, b), found.runs, strict=True))
    if metrics[0] == metrics[1]:
        yield metrics[0], of_a, of_b
    else:
        yield metrics[0], of_a, w.MISSING
        yield metrics[1], w.MISSING, of_b
    for i, (objective, other) in enumerate(zip(a.objectives[1:], b.objectives[1:], strict=False), 1):
        if objective == other:
            yield objective.metric, _single(a, i), _single(b, i)
    yield "noise of one run", _noise(found.noise[0]), _noise(found.noise[1])


def _verdict(result: Result) -> str:
    found = result.verdict
    if result.best is None:
        return "nothing feasible"
    if found is None:
        return f"best single run, trial {result.best.number}"
    if found.default is None:
        return f"no default to beat, trial {result.best.number}"
    decided = {True: "ship", False: "keep the default", None: "not decided yet"}[found.ship]
    gain = w.interval(found.gain, found.low, found.high) if found.gain == found.gain else ""
    return ", ".join(part for part in (decided, gain and f"gain {gain}") if part)


def _best(result: Result, runs: Runs | None) -> str:
    if runs is not None:
        return f"{w.plus_minus(runs.mean, runs.sd)} on {w.count(len(runs.values), 'fresh seed')}"
    return _single(result, 0)


def _single(result: Result, i: int) -> str:
    """The objective of that index, of the run that is recommended."""
    if result.best is None or result.best.values is None:
        return w.MISSING
    return f"{w.number(result.best.values[i])} by one run"


def _noise(found: Noise | None) -> str:
    return w.MISSING if found is None or found.sd is None else f"± {w.rounded(found.sd)}"


def _gain(found: StudyComparison) -> Iterator[RenderableType]:
    if found.reasons or found.a.best is None or found.b.best is None:
        return
    objective = found.a.objectives[0]
    yield ""
    if found.gain is not None:
        gain = w.interval(found.gain.gain, found.gain.low, found.gain.high)
        yield Text.assemble(("B over A", "bold"), f"  {gain}  {w.p_better(found.gain.p_better)}",
                            (f"  in {objective.metric}, positive where B is better; 95 % interval", "dim"))  # fmt: skip
        if any(r.verdict is not None and r.verdict.seeds == "final" for r in (found.a, found.b)):
            yield Text("by finals, which a winner is chosen by, so that it looks better than it is", "yellow")
        if found.gain.low <= 0.0 <= found.gain.high:
            yield Text("the interval holds 0: which of the two is better, these runs do not show", "yellow")
        return
    yield Text("which is better, nobody can say: that takes several runs on fresh seeds of what each recommends "
               "(`protocol: full`)", "yellow")  # fmt: skip


def _winners(found: StudyComparison) -> Iterator[RenderableType]:
    if found.a.best is None or found.b.best is None:
        return
    numbers = (f"A, trial {found.a.best.number}", f"B, trial {found.b.best.number}")
    yield from _changed("what each recommends", found.winners, numbers)


# --- trials ----------------------------------------------------------------------------------------------------------


def _ended(trial: Trial) -> Text:
    return how_it_ended(trial.record, alive=trial.result.folder.holder() is not None)


def _params(params: Sequence[Change]) -> Iterator[RenderableType]:
    yield from _changed("parameters", params, ("A", "B"))


def _changed(title: str, found: Sequence[Change], heads: tuple[str, str]) -> Iterator[RenderableType]:
    rows = [(c.parameter, _side(c.default, c.in_default), _side(c.shipped, c.in_shipped)) for c in found if c.changed]
    yield from _section(title, rows, heads)
    same = [c.parameter for c in found if not c.changed]
    if rows and same:
        yield Text(f"  the same in both: {', '.join(w.short_names(same).values())}", "dim")


def _side(value: object, given: bool) -> str:
    return w.value(value) if given else w.MISSING


def _trial_results(found: TrialComparison) -> Iterator[tuple[str, str, str]]:
    a, b = found.a, found.b
    yield "seed", _seed(a), _seed(b)
    yield "time", w.duration(a.record.seconds), w.duration(b.record.seconds)
    for name, (of_a, of_b) in found.metrics.items():
        if name not in ("training_time", "memory_usage", "gpu_memory_usage"):
            yield name, w.number(of_a), w.number(of_b)


def _seed(trial: Trial) -> str:
    return w.MISSING if trial.record.seed is None else str(trial.record.seed)


def _single_runs(found: TrialComparison) -> Iterator[RenderableType]:
    sd = found.noise.sd if found.noise is not None else None
    if found.reasons or sd == 0.0:
        return
    spread = "" if sd is None else f": runs of the default alone vary by ± {w.rounded(sd)}"
    yield Text(f"one run each, so part of the difference is luck{spread}", "yellow")


def _curves(found: TrialComparison) -> Iterator[RenderableType]:
    a, b, steps = found.a.curve, found.b.curve, found.steps
    if not a and not b:
        return
    metric = found.a.result.objectives[0].metric
    yield ""
    if not steps or metric != found.b.result.objectives[0].metric:
        why = "they have no step in common" if not steps else "they are of different metrics"
        yield Text.assemble(("curves", "bold"), (f"  {why}: {_span(a)} and {_span(b)}", "dim"))
        return
    yield Text.assemble(
        ("curves", "bold"),
        (f"  {metric} at {w.count(len(steps), 'common step')}, {w.towards(found.a.result.objectives[0])}", "dim"),
    )
    shown = steps if len(steps) <= _WIDEST else [steps[(i + 1) * len(steps) // _WIDEST - 1] for i in range(_WIDEST)]
    both = w.sparkline([*(a[s] for s in shown), *(b[s] for s in shown)], width=2 * _WIDEST)
    for letter, bars in (("A", both[: len(shown)]), ("B", both[len(shown) :])):
        yield Text.assemble(f"  {letter}  ", (bars, "cyan"))
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for head in ("step", "A", "B", "B - A"):
        table.add_column(head, justify="right")
    for step in _some(steps):
        table.add_row(str(step), w.number(a[step]), w.number(b[step]), f"{b[step] - a[step]:+.4g}")
    yield Padding(table, (0, 0, 0, 2))
    yield Text(f"  B is better at {found.n_better} of {w.count(len(steps), 'common step')}")
    if len(a) != len(steps) or len(b) != len(steps):
        yield Text(f"  A has {w.count(len(a), 'step')}, B {w.count(len(b), 'step')}", "dim")


def _span(curve: object) -> str:
    steps = sorted(curve) if isinstance(curve, dict) else []
    return f"steps {steps[0]} to {steps[-1]}" if steps else "no step"


def _some(steps: Sequence[int]) -> list[int]:
    """The first, the last, and a few between."""
    if len(steps) <= _STEPS_SHOWN:
        return list(steps)
    return [steps[i * (len(steps) - 1) // (_STEPS_SHOWN - 1)] for i in range(_STEPS_SHOWN)]
