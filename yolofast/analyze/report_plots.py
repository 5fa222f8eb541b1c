"""Plots of the HTML report as inline SVG and HTML: they scale, need no package and follow dark mode."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from yolofast.types import Histogram

WIDTH, HEIGHT = 400, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 8, 40
_SIDE = 300
_MIN_BARS = 8
"""Space is reserved for this many bars, so that a single bar is not too wide."""
_MIN_ROWS_FOR_COLUMNS = 16
"""From this many rows on, horizontal bars are laid out in two columns if the page is wide enough."""
_SPLIT_COLOURS = {"train": "s0", "valid": "s1", "test": "s2", "none": "s3"}

Bar = tuple[str, int]
"""The label of a bar, and its height."""


def ranges(histogram: Histogram) -> list[Bar]:
    """Bars of a histogram over integers, up to the last non-empty bin."""
    edges, counts = histogram.edges.astype(int).tolist(), histogram.counts.tolist()
    used = max((i for i, count in enumerate(counts) if count), default=0) + 1
    names = [str(low) if high - low == 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)]
    if edges[-1] - edges[-2] > edges[1]:  # a tail that is wider than the others
        names[-1] = f"{edges[-2]}+"
    return list(zip(names, counts, strict=True))[:used]


def ratios(histogram: Histogram) -> list[Bar]:
    """Bars of a histogram over ratios, labelled by the middle of each bin, without empty bins at the ends."""
    used = np.flatnonzero(histogram.counts)
    if not len(used):
        return []
    bars = []
    for i in range(used[0], used[-1] + 1):
        middle = float(np.sqrt(histogram.edges[i] * histogram.edges[i + 1]))
        name = f"{middle:.2g}:1" if middle >= 1 else f"1:{1 / middle:.2g}"
        bars.append((name, int(histogram.counts[i])))
    return bars


def bars(data: Sequence[Bar], x_name: str, y_name: str) -> str:
    """An SVG of vertical bars."""
    if not any(count for _, count in data):
        return _no_data()
    top = _round_up(max(count for _, count in data))
    inner, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = inner / max(len(data), _MIN_BARS)
    margin = _LEFT + (inner - step * len(data)) / 2
    widest = max(len(name) for name, _ in data)
    every = max(1, int(np.ceil((widest * 6.2 + 6) / step)))
    parts = [_grid(top)]
    for i, (name, count) in enumerate(data):
        height = max(count / top * tall, 1.0 if count else 0.0)
        x = margin + i * step
        parts.append(
            f'<rect x="{x + step * 0.08:.1f}" y="{_TOP + tall - height:.1f}" width="{step * 0.84:.1f}" '
            f'height="{height:.1f}" rx="1.5" fill="var(--accent)"><title>{name}: {count:,}</title></rect>'
        )
        if i % every == 0:
            parts.append(_text(x + step / 2, HEIGHT - _BOTTOM + 14, name, "middle"))
    parts.append(_text(_LEFT + inner / 2, HEIGHT - 6, x_name, "middle"))
    return _svg(WIDTH, HEIGHT, f"{y_name} by {x_name}", parts)


def heat_map(
    counts: NDArray[np.int64],
    x_name: str,
    y_name: str,
    ticks: Sequence[tuple[float, str]],
    *,
    low: float = 0.0,
    upwards: bool = False,
) -> str:
    """An SVG of a square table of counts int64 [N, N]; darker (in dark mode lighter) means more.

    The axes are linear from 0 to 1, or logarithmic from `low` to 1. Row 0 is at the bottom if `upwards`.
    """
    if not counts.any():
        return _no_data()
    cell = _SIDE / len(counts)
    left, top = _LEFT + 12, _TOP
    strength = np.sqrt(counts / counts.max())
    parts = [
        f'<rect x="{left}" y="{top}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="var(--line)"/>'
    ]
    for row, column in np.argwhere(counts).tolist():
        y = len(counts) - 1 - row if upwards else row
        shade = 0.08 + 0.92 * strength[row, column]
        parts.append(
            f'<rect x="{left + column * cell:.2f}" y="{top + y * cell:.2f}" width="{cell:.2f}" '
            f'height="{cell:.2f}" fill="var(--accent)" fill-opacity="{shade:.2f}"/>'
        )
    for value, name in ticks or [(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")]:
        share = np.log(value / low) / -np.log(low) if low else value
        along = share * _SIDE
        down = _SIDE - along if upwards else along
        end = "start" if share == 0 else "end" if share == 1 else "middle"
        parts.append(_text(left + along, top + _SIDE + 15, name, end))
        parts.append(_text(left - 6, top + min(max(down + 4, 9), _SIDE), name, "end"))
    parts.append(_text(left + _SIDE / 2, top + _SIDE + 32, x_name, "middle"))
    middle = top + _SIDE / 2
    parts.append(f'<g transform="rotate(-90 12 {middle:.0f})">{_text(12, middle, y_name, "middle")}</g>')
    return _svg(left + _SIDE + 14, top + _SIDE + 40, f"{y_name} by {x_name}", parts)


def stacked_rows(
    rows: Sequence[tuple[str, Sequence[int]]], splits: Sequence[str], legend: bool = True
) -> str:
    """HTML of one horizontal bar per row (escaped name, one count per split), with a legend."""
    longest = max((sum(counts) for _, counts in rows), default=0)
    if not longest and legend:
        return _no_data()
    colours = [_SPLIT_COLOURS[split] for split in splits]
    colour_names = "".join(
        f'<span><i class="{colour}"></i>{split if split != "none" else "no split"}</span>'
        for split, colour in zip(splits, colours, strict=True)
    )
    cells = []
    for name, counts in rows:
        pieces = "".join(
            f'<i class="{colour}" style="width:{100 * count / longest:.2f}%" title="{split}: {count:,}"></i>'
            for split, colour, count in zip(splits, colours, counts, strict=True)
            if count
        )
        cells.append(f"<span>{name}</span><div class=bar>{pieces}</div><em>{sum(counts):,}</em>")
    half = len(cells) if len(cells) < _MIN_ROWS_FOR_COLUMNS else (len(cells) + 1) // 2
    columns = "".join(
        f"<div class=rows>{''.join(part)}</div>" for part in (cells[:half], cells[half:]) if part
    )
    heading = f"<div class=legend>{colour_names}</div>" if legend else ""
    return f"{heading}<div class=columns>{columns}</div>"


def _no_data() -> str:
    return "<p>No data.</p>"


def _round_up(value: int) -> int:
    """The next round number, for the end of an axis."""
    scale: int = 10 ** (len(str(value)) - 1)
    return next((n for n in (scale, 2 * scale, 4 * scale, 5 * scale) if n >= value), 10 * scale)


def _grid(top: int) -> str:
    tall = HEIGHT - _TOP - _BOTTOM
    lines = []
    for part in (0, 1, 2) if top % 2 == 0 else (0, 2):
        y = _TOP + tall * (1 - part / 2)
        lines.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            + _text(_LEFT - 6, y + 4, f"{top * part // 2:,}", "end")
        )
    return "".join(lines)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _svg(width: float, height: float, name: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{name}">{"".join(parts)}</svg>'
    )
