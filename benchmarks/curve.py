"""Draw samples over time as an SVG that needs nothing to be shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 420, 60, 50, 200, 40
COLOURS = ("#0b62a4", "#d1495b", "#2e8b57", "#8a5fbf", "#c77700")


def draw(samples: Sequence[dict[str, Any]], title: str) -> str:
    """Return a picture of every column but ``at_s``, over ``at_s``."""
    names = [name for name in samples[0] if name != "at_s"]
    last = max(samples[-1]["at_s"], 1e-9)
    most = max(max(row[name] for name in names) for row in samples)
    step = _round_up(most / 5)
    top = step * 5 if step * 5 >= most else step * 6
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(at: float) -> float:
        return LEFT + at / last * inner_w

    def y(value: float) -> float:
        return TOP + inner_h - value / top * inner_h

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="26" font-size="15">{escape(title)}</text>',
    ]
    for value in range(0, int(top) + 1, int(step)):
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    for number in range(6):
        at = last * number / 5
        parts.append(f'<text x="{x(at):.1f}" y="{HEIGHT - 16}" text-anchor="middle">{at:.0f}</text>')
    for name, colour in zip(names, COLOURS, strict=False):
        points = " ".join(f"{x(row['at_s']):.1f},{y(row[name]):.1f}" for row in samples)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        at = TOP + 16 + 22 * place
        parts.append(f'<rect x="{WIDTH - RIGHT + 16}" y="{at - 10}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 34}" y="{at}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _round_up(value: float) -> int:
    for size in (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000):
        if value <= size:
            return size
    return int(value) + 1
