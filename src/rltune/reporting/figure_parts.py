"""What the figures share: how trials are marked, and how parameters become axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rltune.analysis.rows import Row
from rltune.records import RACE
from rltune.reporting import wording as w
from rltune.reporting.model import Axis, Report
from rltune.types import FRESH

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class Look(NamedTuple):
    """How the trials that stand alike are drawn."""

    label: str
    color: str
    symbol: str = "circle"


LOOKS: Mapping[str, Look] = {
    "pruned": Look("pruned", "#98a1ae"),
    "interrupted": Look("interrupted", "#b05fb5", "x"),
    "failed": Look("failed", "#e0473f", "x"),
    "infeasible": Look("infeasible", "#e8850c", "circle-open"),
    "complete": Look("complete", "#3b7be0"),
    "final": Look("finals", "#12a594"),
    "claim": Look("claim", "#8b5ce0"),
    "baseline": Look("the default", "#c98a1f", "diamond"),
}
"""By what `look` says; the last are drawn on top."""

BEST = "#1f9d5c"
"""Of what is recommended."""

# --- trials ----------------------------------------------------------------------------------------------------------


def look(row: Row) -> str:
    """Which of `LOOKS` a trial has."""
    own = row.purpose.value if row.standing == "complete" and row.purpose.value in LOOKS else row.standing
    return own if own in LOOKS else "interrupted"  # it runs, or waits


def value_of(report: Report, row: Row) -> float | None:
    """In the objective that the report looks at."""
    return row.values[report.objectives.index(report.objective)] if row.values else None


def value_in(index: int, row: Row) -> float:
    """In one of the objectives, of a trial that has a value."""
    assert row.values is not None
    return row.values[index]


def on_axis(axis: Axis, row: Row) -> Any:
    value = row.params[axis.parameter]
    return safe(w.value(value)) if axis.choices else value


def searched_rows(report: Report) -> list[Row]:
    """The trials that say where to search."""
    return [row for row in report.rows if not row.replaced and row.purpose not in FRESH]


def has_result(report: Report, row: Row) -> bool:
    """The last value of a pruned trial belongs to another step, so it is no result; that of a raced one is."""
    value = value_of(report, row)
    whole = row.standing in ("complete", "infeasible") or row.stopped_by == RACE
    return value is not None and math.isfinite(value) and whole


def tip(row: Row) -> str:
    """What is shown where a trial is pointed at; Plotly reads tags in it."""
    facts = [f"trial {row.number}, {LOOKS[look(row)].label}"]
    facts += [f"{name}: {w.value(value)}" for name, value in row.params.items()]
    facts += [w.failure(row.cause, row.why)] if row.cause else []
    return "<br>".join(safe(fact) for fact in facts)


def safe(text: str) -> str:
    """A text in which Plotly finds no tag and no template."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def add_marks(
    fig: Figure,
    rows: Sequence[Row],
    x: Callable[[Row], Any],
    y: Callable[[Row], Any],
    *,
    told: set[str] | None = None,
    place: Mapping[str, int] | None = None,
    large: bool = False,
) -> None:
    """A mark a trial, in one trace for each look; `told` has the looks that the legend has already."""
    told = set() if told is None else told
    for name, seen in LOOKS.items():
        some = [row for row in rows if look(row) == name and y(row) is not None]
        if some:
            fig.add_scatter(
                x=[x(row) for row in some],
                y=[y(row) for row in some],
                mode="markers",
                marker={"color": seen.color, "symbol": seen.symbol, "size": 12 if large else 7},
                name=seen.label,
                legendgroup=seen.label,
                showlegend=seen.label not in told,
                hovertext=[tip(row) for row in some],
                hoverinfo="text+x+y",
                **(place or {}),
            )
            told.add(seen.label)


# --- axes ------------------------------------------------------------------------------------------------------------


def ranked_axes(report: Report) -> list[Axis]:
    """What matters comes first."""
    shares = report.importance.fanova or report.importance.ped_anova or {}
    strength = {effect.parameter: abs(effect.correlation or 0.0) for effect in report.effects}
    return sorted(report.axes, key=lambda a: (-shares.get(a.parameter, 0.0), -strength.get(a.parameter, 0.0)))


def short_labels(report: Report) -> dict[str, str]:
    """What each parameter is called in a figure."""
    return {name: safe(short) for name, short in w.short_names(axis.parameter for axis in report.axes).items()}


def axis_type(axis: Axis) -> str:
    return "category" if axis.choices else "log" if axis.log and (axis.low or 0) > 0 else "linear"


def scale_of(axis: Axis) -> dict[str, Any]:
    """As Plotly's axes take it; ticks at powers of ten alone, where there are enough of them."""
    kind = axis_type(axis)
    decades = math.log10(float(axis.high or 1) / float(axis.low or 1)) if kind == "log" else 0.0
    ticks = {"dtick": math.ceil(decades / 6)} if decades >= 2 else {}
    return {"type": kind, "exponentformat": "power", **ticks}


def cell_middles(axis: Axis, n: int) -> list[float]:
    """The middles of `n` cells along a number, even on its scale."""
    low, high = float(axis.low or 0), float(axis.high or 0)
    if axis_type(axis) == "log":
        return [low * (high / low) ** ((i + 0.5) / n) for i in range(n)]
    return [low + (high - low) * (i + 0.5) / n for i in range(n)]


def dimension_of(axis: Axis, label: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Plotly's axis of parallel coordinates, which has numbers only: a choice is its place, a logarithm is taken."""
    values = [row.params.get(axis.parameter, _ABSENT) for row in rows]
    scale = axis_type(axis)

    def at(value: Any) -> float:
        return float(
            axis.choices.index(value) if scale == "category" else math.log10(value) if scale == "log" else value
        )

    if scale == "category":
        ticks = {float(i): w.value(choice) for i, choice in enumerate(axis.choices)}
    else:
        low, high = at(axis.low), at(axis.high)
        places = [low + (high - low) * i / 4 for i in range(5)]
        ticks = {place: w.number(10**place if scale == "log" else place) for place in places}
    bottom, top = min(ticks), max(ticks)
    below = bottom - 0.15 * ((top - bottom) or 1.0)
    absent = any(value is _ABSENT for value in values)
    if absent:
        ticks = {below: "not active"} | ticks
    return {
        "label": label,
        "values": [below if value is _ABSENT else at(value) for value in values],
        "range": [below if absent else bottom, top if top > bottom else bottom + 1.0],
        "tickvals": list(ticks),
        "ticktext": [safe(text) for text in ticks.values()],
    }


_ABSENT = object()


def time_unit(longest: float) -> tuple[float, str]:
    units = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
    return next(((size, unit) for size, unit in units if longest >= size), (1.0, "seconds"))


# --- Plotly ----------------------------------------------------------------------------------------------------------


def new_figure(title: str, x: str, y: str) -> Figure:
    import plotly.graph_objects as go

    fig = go.Figure()
    fig.update_layout(title=safe(title), xaxis_title=safe(x), yaxis_title=safe(y))
    return fig


def empty_figure(why: str) -> Figure:
    """There is nothing to draw."""
    fig = new_figure("", "", "")
    place = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    fig.add_annotation(text=safe(why), showarrow=False, **place)
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False)
    return fig
