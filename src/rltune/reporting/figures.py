"""A report's figures as Plotly's, for notebooks: the page's own, from the same data.

No template is set, so `plotly.io.templates.default` says how they look, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from rltune.errors import InputError, Problem, RltuneError
from rltune.reporting import wording as w
from rltune.reporting.figure_parts import (
    BEST,
    LOOKS,
    add_marks,
    cell_middles,
    dimension_of,
    empty_figure,
    has_result,
    look,
    new_figure,
    on_axis,
    ranked_axes,
    safe,
    scale_of,
    searched_rows,
    short_labels,
    time_unit,
    tip,
    value_in,
    value_of,
)
from rltune.reporting.model import Report
from rltune.wording import listed, nearest

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SLICES_A_ROW = 3


def figure(report: Report, name: str) -> Figure:
    """One figure of a report.

    Args:
        report: The study's.
        name: A key of `FIGURES`.

    Raises:
        InputError: There is no such figure.
        RltuneError: Plotly is not installed.
    """
    if name not in FIGURES:
        near = nearest(name, FIGURES)
        hint = f"did you mean `{near}`? " if near else ""
        raise InputError([Problem(("figure",), f"there is no figure `{name}`", f"{hint}there is {listed(FIGURES)}")])
    try:
        import plotly  # noqa: F401
    except ImportError as error:
        raise RltuneError("figures are drawn by Plotly: pip install 'rltune[notebook]'") from error
    return FIGURES[name](report)


# --- how it came about -----------------------------------------------------------------------------------------------


def history(report: Report) -> Figure:
    """Each trial's value, and the best so far; the band is the default, give or take what the seed does."""
    steps = report.history.steps
    if not steps:
        return empty_figure("no trial has ended yet")
    rows = {row.number: row for row in report.rows}
    at = {step.number: step.n_trials for step in steps}
    fig = new_figure(f"Best {report.objective.metric} so far", "trials that have ended", report.objective.metric)
    if report.noise is not None and report.noise.sd is not None:
        low, high = report.noise.mean - report.noise.sd, report.noise.mean + report.noise.sd
        fig.add_hrect(y0=low, y1=high, fillcolor=LOOKS["baseline"].color, opacity=0.15, line_width=0)
    add_marks(fig, [rows[n] for n in at], lambda row: at[row.number], partial(value_of, report))
    found = [step for step in steps if step.best is not None]
    line = {"color": BEST, "shape": "hv", "width": 2}
    fig.add_scatter(
        x=[s.n_trials for s in found], y=[s.best for s in found], mode="lines", line=line, name="best so far"
    )
    return fig


def curves(report: Report) -> Figure:
    """The objective by step, a line for each trial."""
    shown = [row for row in report.rows if len(row.curve) > 1]
    if not shown:
        return empty_figure("no trial has reported more than one step of one objective")
    best = report.recommended.number if report.recommended else None
    fig, told = new_figure("Learning curves", "step", report.objective.metric), set()
    order = list(LOOKS)
    for row in sorted(shown, key=lambda row: (row.number == best, order.index(look(row)))):
        seen, is_best = LOOKS[look(row)], row.number == best
        key = "recommended" if is_best else seen.label
        fig.add_scatter(
            x=[step for step, _ in row.curve],
            y=[value for _, value in row.curve],
            mode="lines",
            line={"color": BEST if is_best else seen.color, "width": 3 if is_best else 1.2},
            opacity=1.0 if is_best else 0.7,
            name=key,
            legendgroup=key,
            showlegend=key not in told,
            hovertemplate=f"{tip(row)}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
        )
        told.add(key)
    return fig


def timeline(report: Report) -> Figure:
    """What ran when, a lane for each of the places that ran side by side."""
    shown = [row for row in report.rows if row.begin is not None and row.end is not None and row.lane is not None]
    if not shown:
        return empty_figure("no trial has ended yet")
    size, unit = time_unit(max(row.end or 0.0 for row in shown))
    fig = new_figure("What ran when", f"wall time without pauses, {unit}", "")
    for name, seen in LOOKS.items():
        some = [row for row in shown if look(row) == name]
        if some:
            fig.add_bar(
                orientation="h",
                base=[(row.begin or 0.0) / size for row in some],
                x=[((row.end or 0.0) - (row.begin or 0.0)) / size for row in some],
                y=[row.lane for row in some],
                marker={"color": seen.color, "line": {"width": 0.5, "color": "white"}},
                name=seen.label,
                hovertext=[tip(row) for row in some],
                hoverinfo="text",
            )
    fig.update_layout(barmode="overlay")
    fig.update_yaxes(showticklabels=False, autorange="reversed", title="lanes")
    return fig


def verdict(report: Report) -> Figure:
    """The default and the best finalist on fresh seeds: each run, the mean and its standard deviation."""
    found = report.verdict
    best = "shipped" if found is not None and found.ship else "best finalist"
    arms = [] if found is None else [("default", found.default, "baseline"), (best, found.winner, "complete")]
    fig = new_figure("On fresh seeds", report.objectives[0].metric, "")
    for name, runs, kind in arms:
        if runs is None or not runs.values:
            continue
        color = LOOKS[kind].color
        error = {"type": "data", "array": [runs.sd if math.isfinite(runs.sd) else 0.0], "thickness": 2}
        fig.add_scatter(
            x=list(runs.values),
            y=[name] * len(runs.values),
            mode="markers",
            marker={"color": color, "size": 9},
            name=name,
        )
        marker = {"symbol": "line-ns-open", "size": 18, "color": color, "line": {"width": 3}}
        fig.add_scatter(
            x=[runs.mean], y=[name], error_x=error, mode="markers", marker=marker, name=f"{name}: mean ± sd"
        )
    fig.update_layout(height=300)
    return fig if fig.data else empty_figure("there are no runs on fresh seeds yet")


# --- what the parameters did -----------------------------------------------------------------------------------------


def importance(report: Report) -> Figure:
    """How much each parameter matters, by both methods."""
    methods = {"fANOVA": report.importance.fanova, "PED-ANOVA": report.importance.ped_anova}
    shown = {name: shares for name, shares in methods.items() if shares}
    if not shown:
        return empty_figure("; ".join(report.importance.notes) or "too few trials have a value")
    short = short_labels(report)
    order = [axis.parameter for axis in reversed(ranked_axes(report))]
    fig = new_figure("Importance", "share", "")
    for (name, shares), color in zip(shown.items(), (LOOKS["complete"].color, LOOKS["final"].color), strict=False):
        known = [parameter for parameter in order if parameter in shares]
        fig.add_bar(
            orientation="h", x=[shares[p] for p in known], y=[short[p] for p in known], name=name, marker_color=color
        )
    fig.update_xaxes(tickformat=".0%")
    return fig


def slices(report: Report) -> Figure:
    """The objective by each parameter; a bar is the mean of the trials in that part of its range."""
    from plotly.subplots import make_subplots

    shown = [row for row in searched_rows(report) if has_result(report, row)]
    axes = [axis for axis in ranked_axes(report) if len(axis.choices) > 1 or axis.low != axis.high]
    if not shown or not axes:
        return empty_figure("no trial has a value yet")
    n_rows, short = math.ceil(len(axes) / _SLICES_A_ROW), short_labels(report)
    n_columns = min(_SLICES_A_ROW, len(axes))
    fig = make_subplots(rows=n_rows, cols=n_columns, shared_yaxes=True, vertical_spacing=0.3 / n_rows)
    told: set[str] = set()
    for i, axis in enumerate(axes):
        place = {"row": i // n_columns + 1, "col": i % n_columns + 1}
        name = axis.parameter
        active = [row for row in shown if name in row.params]
        add_marks(fig, active, partial(on_axis, axis), partial(value_of, report), told=told, place=place)
        for level in next((e.levels for e in report.effects if e.parameter == name), ()):
            if level.mean is not None:
                ends = [safe(w.value(end)) if axis.choices else end for end in (level.low, level.high)]
                about = f"mean of {w.count(level.n_values, 'trial')}: {w.number(level.mean)}"
                fig.add_scatter(
                    x=ends,
                    y=[level.mean] * 2,
                    mode="lines+markers",
                    line={"color": BEST, "width": 3},
                    marker={"color": BEST},
                    showlegend=False,
                    hovertext=about,
                    hoverinfo="text",
                    **place,
                )
        fig.update_xaxes(title=short[name], **scale_of(axis), **place)
    fig.update_yaxes(title=report.objective.metric, col=1)
    fig.update_layout(title="One parameter at a time", height=120 + 240 * n_rows)
    return fig


def contour(report: Report) -> Figure:
    """The objective over the two most important numbers, as a local mean of what was measured."""
    surface = report.surface
    if surface is None:
        return empty_figure("too few trials have a value, or fewer than two numbers varied")
    axes = {axis.parameter: axis for axis in report.axes}
    x, y, short = axes[surface.x], axes[surface.y], short_labels(report)
    n = len(surface.values)
    fig = new_figure(f"{report.objective.metric} over two parameters", short[surface.x], short[surface.y])
    fig.add_contour(
        x=cell_middles(x, n),
        y=cell_middles(y, n),
        z=surface.values,
        colorscale="Blues",
        reversescale=report.objective.direction == "minimize",
        colorbar={"title": report.objective.metric},
    )
    shown = [r for r in searched_rows(report) if has_result(report, r) and {x.parameter, y.parameter} <= set(r.params)]
    add_marks(fig, shown, lambda row: row.params[x.parameter], lambda row: row.params[y.parameter])
    fig.update_xaxes(**scale_of(x))
    fig.update_yaxes(**scale_of(y))
    fig.update_layout(legend={"orientation": "h", "y": 1.08})
    return fig


def parallel(report: Report) -> Figure:
    """A line for each trial through all its parameters; drag along an axis to choose a range."""
    shown = [row for row in searched_rows(report) if has_result(report, row)]
    if len(shown) < 2:
        return empty_figure("fewer than two trials have a value")
    short, values = short_labels(report), [value_of(report, row) for row in shown]
    dimensions = [dimension_of(axis, short[axis.parameter], shown) for axis in ranked_axes(report)]
    dimensions.append({"label": report.objective.metric, "values": values})
    line = {"color": values, "colorscale": "Blues", "showscale": True}
    line["reversescale"] = report.objective.direction == "minimize"
    fig = new_figure("All parameters", "", "")
    fig.add_parcoords(dimensions=dimensions, line=line)
    fig.update_layout(margin={"t": 110})
    return fig


# --- several objectives ----------------------------------------------------------------------------------------------


def pareto(report: Report) -> Figure:
    """The trade-off between objectives, two at a time; large marks are what no other trial beats in all of them."""
    from plotly.subplots import make_subplots

    names = [objective.metric for objective in report.objectives]
    whole = [
        row for row in report.rows if row.values and not row.replaced and row.standing in ("complete", "infeasible")
    ]
    if len(names) < 2 or not whole:
        return empty_figure("there is one objective" if len(names) < 2 else "no trial has a value yet")
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    fig, told = make_subplots(rows=1, cols=len(pairs)), set[str]()
    for column, (i, j) in enumerate(pairs, 1):
        place = {"row": 1, "col": column}
        front = sorted((row for row in whole if row.number in report.front), key=partial(value_in, i))
        if len(names) == 2:
            line = {"color": BEST, "width": 2}
            x, y = ([value_in(each, row) for row in front] for each in (i, j))
            fig.add_scatter(x=x, y=y, mode="lines", line=line, name="front", **place)
        others = [row for row in whole if row not in front]
        for large, some in ((False, others), (True, front)):
            add_marks(fig, some, partial(value_in, i), partial(value_in, j), told=told, place=place, large=large)
        fig.update_xaxes(title=names[i], **place)
        fig.update_yaxes(title=names[j], **place)
    fig.update_layout(title="Trade-off")
    return fig


FIGURES: Mapping[str, Callable[[Report], Figure]] = {
    "history": history,
    "curves": curves,
    "importance": importance,
    "slices": slices,
    "parallel": parallel,
    "contour": contour,
    "pareto": pareto,
    "timeline": timeline,
    "verdict": verdict,
}
