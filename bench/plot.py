"""A line chart as SVG: a few series over seconds, a logarithmic axis of ms."""

import math
from collections.abc import Sequence
from pathlib import Path

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 48, 44
COLOURS = ("#1f6feb", "#d1242f", "#8c6d1f", "#2da44e")
FONT = 'font-family="sans-serif" font-size="12"'

Series = tuple[str, Sequence[tuple[float, float]]]  # name, (second, ms)


def write(path: Path, title: str, series: Sequence[Series], shaded: tuple[float, float]) -> None:
    """Draw the series; `shaded`: the seconds that the chart is about."""
    points = [point for _, line in series for point in line]
    last = max(second for second, _ in points) + 1
    low = math.floor(math.log10(max(min(ms for _, ms in points), 1e-3)))
    high = math.ceil(math.log10(max(ms for _, ms in points)))

    def x(second: float) -> float:
        return LEFT + second / last * (WIDTH - LEFT - RIGHT)

    def y(ms: float) -> float:
        share = (math.log10(max(ms, 10**low)) - low) / max(high - low, 1)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<rect x="{x(shaded[0]):.1f}" y="{TOP}" width="{x(shaded[1]) - x(shaded[0]):.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}" fill="#eeeeee"/>',
        f'<text x="{LEFT}" y="20" {FONT} font-weight="bold">{title}</text>',
    ]
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ccc"/>'
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" {FONT} text-anchor="end">'
            f"{10.0**power:g} ms</text>"
        )
    for second in range(0, int(last) + 1, max(1, int(last) // 8)):
        parts.append(
            f'<text x="{x(second):.1f}" y="{HEIGHT - BOTTOM + 18}" {FONT} '
            f'text-anchor="middle">{second} s</text>'
        )
    for i, (name, line) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        path_of = " ".join(f"{x(second + 0.5):.1f},{y(ms):.1f}" for second, ms in line)
        parts.append(
            f'<polyline points="{path_of}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{LEFT + i * 220}" y="38" {FONT} fill="{colour}">{name}</text>')
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>\n"]))
