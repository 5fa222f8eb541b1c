"""What `bench.compare_loaders` found, for people: a table and a bar chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolofast.errors import missing_extra
from yolofast.files import atomic_file

OURS_COLOUR, PEER_COLOUR, FLOOR_COLOUR = "#2a6f97", "#a9b4bd", "#c1121f"


def title(figures: Mapping[str, Any]) -> str:
    """What was measured, in half a line."""
    job = "training with mosaic" if figures["augment"] else "validation letterbox"
    source = "from files" if figures["cache"] == "none" else f"cache {figures['cache']}"
    return f"{job}, {source}, {figures['imgsz']} px"


def described(name: str, side: Mapping[str, Any]) -> str:
    """A side's name with its version."""
    return f"{name} {version}" if (version := side_version(name, side["versions"])) else name


def side_version(name: str, versions: Mapping[str, str]) -> str:
    """The version of the package that a side is about."""
    return next((v for package, v in versions.items() if package.startswith((name, f"nvidia-{name}"))), "")


def text_table(figures: Mapping[str, Any]) -> str:
    """A table: images/s of each side with 20th and 80th percentile, and ours / the peer's."""
    files, images = figures["files"], figures["images"]
    copies = f", each {files // images} times" if files > images else ""
    lines = [
        f"{title(figures)}: {images} images{copies}; {figures['includes']}",
        f"one thread on one core each, {figures['rounds']} rounds of {figures['round_seconds']:g} s, one "
        "side after another",
        f"  {'':26} {'images/s':>9}  {'p20 .. p80':>17}  ours / peer",
    ]
    for name, side in {**figures["sides"], **figures["floor"]}.items():
        rate = side["images_per_s"]
        spread = f"{rate['p20']:.1f} .. {rate['p80']:.1f}"
        ratio = figures["ratio"].get(name)
        compared = f"  {ratio['median']:.2f}x ({ratio['p20']:.2f} .. {ratio['p80']:.2f})" if ratio else ""
        lines.append(f"  {described(name, side):26} {rate['median']:9.1f}  {spread:>17}{compared}")
    for threads, gain in figures["scaling"].items():
        lines.append(f"  {threads} threads / 1 thread: {gain['median']:.2f}x")
    if figures["stages_ms"]:
        stages = ", ".join(f"{name} {each:.2f}" for name, each in figures["stages_ms"].items())
        lines.append(f"  yolofast's stages, ms a sample: {stages}")
    lines += [f"  {name}: left out: {why}" for name, why in figures["left_out"].items()]
    return "\n".join(lines)


def draw_chart(comparisons: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Bars of images/s, a panel a comparison: whiskers from the 20th to the 80th percentile, the ratio
    behind each peer's bar, and decode alone as dashed lines.

    Raises `DataError` when `path` cannot be written, and `MissingExtraError` without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("matplotlib", "plots", "Drawing the chart") from None
    sides = [len(figures["sides"]) for figures in comparisons]
    height = 0.9 * len(comparisons) + 0.45 * sum(sides)
    figure = Figure(figsize=(8.0, 0.9 + height), dpi=120, layout="constrained")
    panels = figure.subplots(len(comparisons), 1, squeeze=False, height_ratios=[2 + n for n in sides])
    for axes, figures in zip(panels.flat, comparisons, strict=True):
        _bars(axes, figures)
    panels.flat[-1].set_xlabel("images/s, one core a thread (whiskers: 20th to 80th percentile)")
    machine = comparisons[0]["machine"]
    figure.suptitle(f"Loaders on {machine['cpu']}", fontsize=11)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
    return Path(path)


def _bars(axes: Any, figures: Mapping[str, Any]) -> None:
    names = list(figures["sides"])
    rates = [figures["sides"][name]["images_per_s"] for name in names]
    middle = [rate["median"] for rate in rates]
    whiskers = [[m - r["p20"], r["p80"] - m] for m, r in zip(middle, rates, strict=True)]
    colours = [PEER_COLOUR if name in figures["ratio"] else OURS_COLOUR for name in names]
    below, above = zip(*whiskers, strict=True)
    axes.barh(range(len(names)), middle, xerr=[below, above], color=colours, height=0.65, capsize=3)
    axes.set_yticks(range(len(names)), [described(n, figures["sides"][n]) for n in names])
    axes.invert_yaxis()
    for place, (name, rate) in enumerate(zip(names, rates, strict=True)):
        ratio = figures["ratio"].get(name)
        said = f"{rate['median']:.0f}" + (f"   (ours {ratio['median']:.2f}x)" if ratio else "")
        axes.annotate(
            said,
            (rate["p80"], place),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    floors = {name: side["images_per_s"]["median"] for name, side in figures["floor"].items()}
    for style, (name, rate) in zip(("--", ":"), floors.items(), strict=False):
        axes.axvline(
            rate, color=FLOOR_COLOUR, linestyle=style, linewidth=1.2, label=f"{name} alone: {rate:.0f}"
        )
    axes.set_xlim(0, 1.22 * max([r["p80"] for r in rates] + list(floors.values())))
    axes.set_title(title(figures), fontsize=10, loc="left")
    if floors:
        axes.legend(fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
