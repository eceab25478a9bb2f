"""The running trials of a study, a line each, as wide as the terminal has room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from rltune.cli.views.curves import Curve
from rltune.cli.views.pace import Outlook
from rltune.cli.views.snapshot import Snapshot
from rltune.records import TrialRecord
from rltune.reporting import wording as w

_GAP = 2
_BARS, _FEWEST_BARS = 40, 8
"""A curve takes the room that is left, up to so many characters, and none where there are too few."""


@dataclass(frozen=True)
class _Column:
    """One fact of every trial.

    Attributes:
        rank: Those with a lower one are left out last.
        least: Its width at least, so that the columns stay where they are while numbers change.
    """

    cells: list[Text]
    rank: int
    least: int = 0

    @property
    def width(self) -> int:
        return max(self.least, *(cell.cell_len for cell in self.cells))


def rows(
    snapshot: Snapshot, outlook: Outlook, records: Sequence[TrialRecord], width: int, *, alive: bool = True
) -> Iterator[Text]:
    """Number, purpose, curve, value, step, time so far and time to go; the first and the value always.

    Args:
        snapshot: The study.
        outlook: What its trials have measured.
        records: Trials that run, at least one.
        width: Characters that a line may have.
        alive: Whether they run; what their process has left when it died has no time.
    """
    curves = [outlook.curves[r.number] for r in records]
    columns = [
        _Column([Text(f"trial {r.number}") for r in records], 0),
        _Column([Text(r.purpose.value, "dim") for r in records], 6, len("baseline")),
        _Column([Text(" " * _FEWEST_BARS) for _ in records], 3),
        _Column([_value(snapshot, curve) for curve in curves], 1, 6),
        _Column([_step(snapshot, outlook, curve) for curve in curves], 4),
        _Column([Text(w.duration(r.seconds), "dim", justify="right") for r in records], 5, len("59 min 59 s")),
        _Column([_left(outlook, r) for r in records], 2, len("59 min left")),
    ]
    columns = columns if alive else columns[:-2]
    bars = columns[2]
    shown: list[_Column] = []
    room = width
    for column in sorted(columns, key=lambda c: c.rank):
        needed = column.width + (_GAP if shown else 0)
        if column.rank <= 1 or (column.width > 0 and needed <= room):
            shown.append(column)
            room -= needed
    if bars in shown:
        n = min(_BARS, _FEWEST_BARS + max(0, room))
        n = max(_FEWEST_BARS, min(n, max(len(curve.values) for curve in curves)))
        wide = [Text(w.sparkline(curve.values, n), "cyan") for curve in curves]
        columns[2] = drawn = _Column(wide, bars.rank, n)
        shown[shown.index(bars)] = drawn
    order = [column for column in columns if column in shown]
    for i in range(len(records)):
        cells = [_padded(column.cells[i], column.width) for column in order]
        text = Text(" " * _GAP).join(cells)
        text.rstrip()
        yield text


def _padded(cell: Text, width: int) -> Text:
    text = cell.copy()
    if cell.justify == "right":
        text.pad_left(width - cell.cell_len)
    else:
        text.pad_right(width - cell.cell_len)
    text.justify = None
    return text


def _value(snapshot: Snapshot, curve: Curve) -> Text:
    """The newest one of each objective."""
    if curve.step is None:
        return Text("no value yet", "dim")
    values = [w.number(curve.last[o.metric]) for o in snapshot.objectives if o.metric in curve.last]
    return Text(", ".join(values))


def _step(snapshot: Snapshot, outlook: Outlook, curve: Curve) -> Text:
    if not curve.ticks:
        return Text("")
    if snapshot.n_folds is not None:
        return Text(f"mean of {curve.ticks[-1].step} of {snapshot.n_folds} folds", "dim")
    of = "" if outlook.horizon is None else f" of {outlook.horizon}"
    return Text(f"step {curve.ticks[-1].step}{of}", "dim")


def _left(outlook: Outlook, record: TrialRecord) -> Text:
    if (since := outlook.silent.get(record.number)) is not None:
        return Text(f"silent for {w.duration(since)}", "yellow")
    left = outlook.left.get(record.number)
    return Text("" if left is None else f"{w.roughly(left)} left", "dim")
