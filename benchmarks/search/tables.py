"""Tables in Markdown, which can be read on a terminal and pasted into a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Results: TypeAlias = Mapping[str, Mapping[str, Mapping[int, Mapping[str, Any]]]]
"""What came out of the runs of a suite, by case, arm and seed."""


def markdown(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The first row is the head; columns are padded."""
    cells = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for i, row in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if i == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def number(value: float) -> str:
    """Of a regret."""
    return f"{value:.2f}"


def bracketed(interval: tuple[float, float]) -> str:
    """An interval."""
    low, high = interval
    return f"[{low:.2f}, {high:.2f}]"
