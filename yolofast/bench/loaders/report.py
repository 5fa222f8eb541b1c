"""What `compare_loaders` found, for people: a table, and a panel of the chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yolofast.bench.chart import Bar, BarPanel
from yolofast.bench.figures import OURS, labelled

AXIS = "images/s, one core per thread"


def title(figures: Mapping[str, Any]) -> str:
    """What was measured, in half a line."""
    job = "training with mosaic" if figures["augment"] else "validation letterbox"
    source = "from files" if figures["cache"] == "none" else f"cache {figures['cache']}"
    return f"{job}, {source}, {figures['imgsz']} px"


def text_table(figures: Mapping[str, Any]) -> str:
    """A table: images/s of each participant with 20th and 80th percentile, and ours / the peer's."""
    files, images = figures["files"], figures["images"]
    copies = f", each {files // images} times" if files > images else ""
    lines = [
        f"{title(figures)}: {images} images{copies}; {figures['includes']}",
        f"one thread on one core each, {figures['rounds']} rounds of {figures['round_seconds']:g} s, one "
        "after another",
        f"  {'':26} {'images/s':>9}  {'p20 .. p80':>17}  ours / peer",
    ]
    for name, each in {**figures["sides"], **figures["floor"]}.items():
        rate = each["images_per_s"]
        spread = f"{rate['p20']:.1f} .. {rate['p80']:.1f}"
        ratio = figures["ratio"].get(name)
        compared = f"  {ratio['median']:.2f}x ({ratio['p20']:.2f} .. {ratio['p80']:.2f})" if ratio else ""
        label = labelled(name, each["versions"])
        lines.append(f"  {label:26} {rate['median']:9.1f}  {spread:>17}{compared}")
    for threads, gain in figures["scaling"].items():
        lines.append(f"  {threads} threads / 1 thread: {gain['median']:.2f}x")
    if figures["stages_ms"]:
        stages = ", ".join(f"{name} {ms:.2f}" for name, ms in figures["stages_ms"].items())
        lines.append(f"  yolofast's stages, ms per sample: {stages}")
    lines += [f"  {name}: left out: {why}" for name, why in figures["left_out"].items()]
    return "\n".join(lines)


def panel(figures: Mapping[str, Any]) -> BarPanel:
    """Images/s of all participants, and decode alone as lines."""
    bars = [
        Bar(
            labelled(name, each["versions"]),
            each["images_per_s"],
            ours=name.startswith(OURS),
            ratio=figures["ratio"].get(name),
        )
        for name, each in figures["sides"].items()
    ]
    lines = {f"{name} alone": each["images_per_s"]["median"] for name, each in figures["floor"].items()}
    return BarPanel(title(figures), bars, lines)
