"""Trials as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rltune.cli.views.block import how_it_ended
from rltune.records import TrialRecord
from rltune.reporting import wording as w
from rltune.session import Result

Column: TypeAlias = tuple[str, list[Text]]
"""A head of one line or more, and a cell for each trial."""

_GAP = 2
_WORDS = ("purpose", "state", "")  # columns of words are aligned to the left


def trials_table(records: Sequence[TrialRecord], result: Result, width: int) -> Iterator[RenderableType]:
    """A row for each trial, with as many parameters as `width` has room for; the others are counted, never cut."""
    alive = result.folder.holder() is not None
    columns: list[Column] = [
        ("trial", [Text(str(r.number)) for r in records]),
        ("purpose", [Text(r.purpose.value) for r in records]),
        ("state", [how_it_ended(r, alive=alive) for r in records]),
        ("time", [Text(w.duration(r.seconds), "dim") for r in records]),
    ]
    for i, objective in enumerate(result.objectives):
        cells = [Text(w.number(r.values[i]) if r.values else w.MISSING, "bold") for r in records]
        columns.append((objective.metric.rpartition("/")[2], cells))
    yield from with_parameters(columns, records, result, width)


def with_parameters(
    columns: list[Column], records: Sequence[TrialRecord], result: Result, width: int
) -> Iterator[RenderableType]:
    """A table of `columns`, then of as many parameters as `width` has room for."""
    columns = list(columns)
    names = [str(name) for name in result.config.search_space]
    short, left_out = w.short_names(names), 0
    for name in names:
        cells = [Text(w.value(r.params[name]) if name in r.params else w.MISSING) for r in records]
        columns.append((short[name], cells))
        if _width(columns) > width:
            columns.pop()
            left_out += 1
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for head, _ in columns:
        table.add_column(head, justify="left" if head in _WORDS else "right", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    yield table
    if left_out:
        more = w.count(left_out, "more parameter")
        yield Text(f"{more}: widen the terminal, or see `rltune show TRIAL` and `rltune export`", "dim")


def _width(columns: Sequence[Column]) -> int:
    widths = [max(*map(len, head.split("\n")), *(cell.cell_len for cell in cells)) for head, cells in columns]
    return sum(widths) + _GAP * (len(widths) - 1)
