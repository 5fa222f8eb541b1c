"""Bars of what a comparison found, one panel per case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolofast.bench.figures import Spread, short_number
from yolofast.result_pictures import new_figure, save_figure

OURS_COLOUR, PEER_COLOUR, LINE_COLOUR = "#2a6f97", "#a9b4bd", "#c1121f"


@dataclass(frozen=True)
class Bar:
    """A participant's figure, with how many times as fast ours is where it is a peer's."""

    label: str
    value: Spread
    ours: bool
    ratio: Spread | None = None


@dataclass(frozen=True)
class BarPanel:
    """One case. `lines`: figures to plot as dashed lines across it, by label."""

    title: str
    bars: Sequence[Bar]
    lines: Mapping[str, float] = field(default_factory=dict)


def plot_bars(panels: Sequence[BarPanel], title: str, axis: str, path: str | Path) -> Path:
    """Plot to `path` (PNG): whiskers from the 20th to the 80th percentile, the ratio next to each peer's bar.

    Raises `DataError` when `path` cannot be written, and `MissingExtraError` without matplotlib.
    """
    counts = [len(panel.bars) for panel in panels]
    height = 1.0 + 0.62 * len(panels) + 0.36 * sum(counts)
    figure = new_figure(8.0, height, "Plotting the chart")
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[1 + count for count in counts])
    for axes, panel in zip(grid.flat, panels, strict=True):
        _plot(axes, panel)
    grid.flat[-1].set_xlabel(f"{axis} (whiskers: 20th to 80th percentile)".lstrip())
    figure.suptitle(title, fontsize=11)
    return save_figure(figure, path)


def _plot(axes: Any, panel: BarPanel) -> None:
    values = [bar.value for bar in panel.bars]
    below = [each["median"] - each["p20"] for each in values]
    above = [each["p80"] - each["median"] for each in values]
    axes.barh(
        range(len(values)),
        [each["median"] for each in values],
        xerr=[below, above],
        color=[OURS_COLOUR if bar.ours else PEER_COLOUR for bar in panel.bars],
        height=0.65,
        capsize=3,
    )
    axes.set_yticks(range(len(values)), [bar.label for bar in panel.bars])
    axes.invert_yaxis()
    for row, bar in enumerate(panel.bars):
        text = short_number(bar.value["median"])
        text += f"   (ours {bar.ratio['median']:.2f}x as fast)" if bar.ratio else ""
        axes.annotate(
            text,
            (bar.value["p80"], row),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    for style, (label, value) in zip(("--", ":"), panel.lines.items(), strict=False):
        text = f"{label}: {short_number(value)}"
        axes.axvline(value, color=LINE_COLOUR, linestyle=style, linewidth=1.2, label=text)
    axes.set_xlim(0, 1.4 * max([each["p80"] for each in values] + list(panel.lines.values())))
    axes.set_title(panel.title, fontsize=10, loc="left")
    if panel.lines:
        axes.legend(fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
