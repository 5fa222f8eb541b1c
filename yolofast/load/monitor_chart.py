"""The chart of a data flow: samples per second, queue depth and memory over time, and the stages' shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from yolofast.result_pictures import chart_label, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORKER_WAIT = "wait"
"""The stage in which loader threads wait for the consumer to take a batch."""
MAX_POINTS = 160
"""More steps than this across the chart are noise."""
MIN_LABELLED_SHARE = 0.03
"""Segments of the bar below this share have no room for a number."""

STAGE_COLOURS = {
    "read": ("#56b4e9", "black"),
    "decode": ("#0072b2", "white"),
    "render": ("#e69f00", "black"),
    "labels": ("#cc79a7", "black"),
    "plan": ("#009e73", "white"),
    WORKER_WAIT: ("#d9d9d9", "black"),
}
"""Colour of a stage and of the number on it (the palette of Okabe and Ito)."""
OTHER_COLOURS = (("#d55e00", "white"), ("#f0e442", "black"), ("#8c564b", "white"), ("#666666", "white"))


@dataclass
class FlowPoint:
    """A stretch of time in the history of a data flow; `depths` is the sum over its `batches`."""

    seconds: float = 0.0
    samples: int = 0
    depths: float = 0.0
    batches: int = 0
    memory_mb: float = 0.0

    def merged(self, other: FlowPoint) -> FlowPoint:
        """Both stretches as one."""
        return FlowPoint(
            self.seconds + other.seconds,
            self.samples + other.samples,
            self.depths + other.depths,
            self.batches + other.batches,
            max(self.memory_mb, other.memory_mb),
        )


def merge_pairs(points: Sequence[FlowPoint]) -> list[FlowPoint]:
    """Half as many points, each twice as long; a last point without a neighbour stays as it is."""
    pairs = [one.merged(two) for one, two in zip(points[::2], points[1::2], strict=False)]
    return pairs + list(points[2 * len(pairs) :])


def plot_flow(
    title: str,
    points: Sequence[FlowPoint],
    stages: Mapping[str, Mapping[str, float | None]],
    path: Path,
    *,
    warm_up_s: float = 0.0,
) -> Path:
    """Write the chart to `path` as a PNG; `stages` has `share` and `ms_per_sample` of each stage.

    The first `warm_up_s` seconds are shaded; the mean is of what follows.

    Raises `MissingExtraError` without matplotlib, and `DataError` when `path` cannot be written.
    """
    figure = new_figure(10.0, 8.5, "Plotting the data flow")
    from matplotlib.ticker import MaxNLocator

    while len(points) > MAX_POINTS:
        points = merge_pairs(points)
    figure.suptitle(fill(title, 100), fontsize=11, x=0.01, ha="left", fontweight="bold")
    rate, depth, memory, shares = figure.subplots(4, 1, height_ratios=[3, 2, 2, 1.3])
    edges, unit, scale = _time_axis([point.seconds for point in points])
    steady = [p for p, begin in zip(points, edges, strict=False) if begin * scale >= warm_up_s] or points
    mean = sum(p.samples for p in steady) / sum(p.seconds for p in steady)
    rates = [p.samples / p.seconds for p in points]
    shaded = "; shaded: warm-up, not in the mean" if warm_up_s else ""
    _steps(rate, edges, rates, "#0072b2", f"samples per second (mean {mean:.0f}{shaded})")
    rate.axhline(mean, color="0.3", linestyle="--", linewidth=1)
    if warm_up_s:
        rate.axvspan(0, warm_up_s / scale, color="0.9", zorder=0)
    depths = [p.depths / p.batches if p.batches else math.nan for p in points]
    _steps(
        depth,
        edges,
        depths,
        "#009e73",
        "batches ready when requested (0 = training waits; always 0 without --workers)",
    )
    depth.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    depth.set_ylim(top=1.08 * max([1.0, *(d for d in depths if d > 1)]))
    _steps(memory, edges, [p.memory_mb for p in points], "#d55e00", "memory of this process, MiB")
    memory.set_xlabel(f"time, {unit}")
    for axes in (rate, depth):
        axes.tick_params(labelbottom=False)
    _stage_bar(shares, stages)
    return save_figure(figure, path)


def _time_axis(seconds: Sequence[float]) -> tuple[list[float], str, int]:
    """Edges of the points in a unit that suits the whole duration, the unit's name and its seconds."""
    edges = list(accumulate(seconds, initial=0.0))
    scale, unit = (1, "s") if edges[-1] < 300 else (60, "min") if edges[-1] < 18_000 else (3600, "h")
    return [edge / scale for edge in edges], unit, scale


def _steps(axes: Axes, edges: Sequence[float], values: Sequence[float], colour: str, title: str) -> None:
    axes.stairs(values, edges, baseline=None, color=colour, linewidth=1.5)
    axes.stairs(values, edges, color=colour, alpha=0.15, fill=True)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _stage_bar(axes: Axes, stages: Mapping[str, Mapping[str, float | None]]) -> None:
    """One bar with a segment per stage; the legend below has all the numbers."""
    axes.set_title("worker time by stage", loc="left", fontsize=10)
    axes.axis("off")
    axes.set_xlim(0, 1)
    others = [name for name in stages if name not in STAGE_COLOURS]
    left = 0.0
    for name, row in stages.items():
        share, each = row["share"] or 0.0, row["ms_per_sample"] or 0.0
        number = others.index(name) if name in others else 0
        colour, ink = STAGE_COLOURS.get(name, OTHER_COLOURS[number % len(OTHER_COLOURS)])
        shown = "wait for the consumer" if name == WORKER_WAIT else chart_label(name, "a stage")
        label = f"{shown}: {each:.2f} ms per sample, {share:.1%}"
        axes.barh(0, share, left=left, color=colour, edgecolor="white", linewidth=0.8, label=label)
        if share >= MIN_LABELLED_SHARE:
            axes.text(left + share / 2, 0, f"{share:.0%}", color=ink, ha="center", va="center", fontsize=9)
        left += share
    if left:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, fontsize=9, frameon=False)
    else:
        axes.text(0.5, 0.5, "not recorded", ha="center", va="center", transform=axes.transAxes)
