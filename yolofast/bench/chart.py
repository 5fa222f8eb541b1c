"""Bars of what a comparison found, a panel a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolofast.bench.loaders_report import OURS_COLOUR, PEER_COLOUR
from yolofast.errors import missing_extra
from yolofast.files import atomic_file


def draw_bars(panels: Sequence[Mapping[str, Any]], title: str, axis: str, path: str | Path) -> Path:
    """Draw `path` (PNG): whiskers from the 20th to the 80th percentile, the ratio behind each peer's bar.

    A panel has `title`, `bars` (name -> (spread, whether it is ours)) and `ratio` (name -> spread of peer /
    ours).

    Raises `MissingExtraError` without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("matplotlib", "plots", "Drawing the chart") from None
    counts = [len(panel["bars"]) for panel in panels]
    height = 1.0 + 0.62 * len(panels) + 0.34 * sum(counts)
    figure = Figure(figsize=(8.0, height), dpi=120, layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[1 + n for n in counts])
    for axes, panel in zip(grid.flat, panels, strict=True):
        _panel(axes, panel)
    grid.flat[-1].set_xlabel(f"{axis} (whiskers: 20th to 80th percentile)")
    figure.suptitle(title, fontsize=11)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
    return Path(path)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _panel(axes: Any, panel: Mapping[str, Any]) -> None:
    bars: Mapping[str, tuple[Mapping[str, float], bool]] = panel["bars"]
    middle = [each["median"] for each, _ in bars.values()]
    below = [each["median"] - each["p20"] for each, _ in bars.values()]
    above = [each["p80"] - each["median"] for each, _ in bars.values()]
    colours = [OURS_COLOUR if ours else PEER_COLOUR for _, ours in bars.values()]
    axes.barh(range(len(bars)), middle, xerr=[below, above], color=colours, height=0.65, capsize=3)
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    for place, (name, (each, _)) in enumerate(bars.items()):
        gain = panel["ratio"].get(name)
        said = _short(each["median"]) + (f"   (ours {gain['median']:.1f}x as fast)" if gain else "")
        axes.annotate(said, (each["p80"], place), (8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xlim(0, 1.4 * max(each["p80"] for each, _ in bars.values()))
    axes.set_title(panel["title"], fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
