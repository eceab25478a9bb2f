"""The picture of docs/trust.md: what is printed beside what is true, naively and by rltune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "docs" / "trust.svg"

_WIDTH, _HEIGHT = 640, 300
_LEFT, _BASE, _SCALE = 60, 240, 30.0  # of the axis, in pixels; a point of gain is _SCALE pixels
_PRINTED, _TRUE = "#9aa5b1", "#1b6ca8"


def write(cells: list[dict[str, Any]]) -> None:
    """Draws the cells with Gaussian noise, as text that a diff can show."""
    found = {cell["truth"]: cell for cell in cells if cell["noise"] == "gaussian"}
    FILE.write_text(svg([(truth, found[truth]) for truth in ("ordinary", "near-optimal", "null")]))


def svg(named: list[tuple[str, dict[str, Any]]]) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="12">',
        "<title>Printed and true gain of what is shipped, naively and by rltune</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        '<g font-family="sans-serif">',
    ]
    for points in range(0, 8, 2):
        y = _BASE - points * _SCALE
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{points}</text>')
    parts.append(f'<text x="16" y="{_BASE - 90}" transform="rotate(-90 16 {_BASE - 90})">gain, points</text>')
    for i, (truth, cell) in enumerate(named):
        left = _LEFT + 20 + 185 * i
        for j, who in enumerate(("naive", "rltune")):
            true = cell[who]["true_gain"] / max(cell[who]["ships"], 1e-9)  # of the studies that ship
            x = left + 85 * j
            parts += _bar(x, true + cell[who]["bias"], _PRINTED)
            parts += _bar(x + 32, true, _TRUE)
            parts.append(f'<text x="{x + 30}" y="{_BASE + 18}" text-anchor="middle">{who}</text>')
        parts.append(f'<text x="{left + 72}" y="{_BASE + 38}" text-anchor="middle" font-weight="bold">{truth}</text>')
    for x, colour, text in ((_LEFT + 20, _PRINTED, "printed"), (_LEFT + 110, _TRUE, "true")):
        parts.append(f'<rect x="{x}" y="10" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="20">{text}</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _bar(x: float, gain: float, colour: str) -> list[str]:
    height = abs(gain) * _SCALE
    top = _BASE - max(gain, 0.0) * _SCALE
    return [
        f'<rect x="{x}" y="{top:.1f}" width="28" height="{height:.1f}" fill="{colour}"/>',
        f'<text x="{x + 14}" y="{top - 4:.1f}" text-anchor="middle" font-size="10">{gain:.1f}</text>',
    ]
