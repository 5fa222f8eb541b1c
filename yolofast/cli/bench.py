"""The command line's `bench`: the loader, NMS and COCO evaluation, alone or compared with other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolofast.cli.arguments import BenchLoaderArgs, BenchMapArgs, BenchNmsArgs
from yolofast.cli.output import print_json, say, say_lines
from yolofast.config import AugmentConfig, DatasetConfig
from yolofast.files import write_json

BENCH_SECONDS = 5.0


def bench_loader(args: BenchLoaderArgs) -> None:
    from yolofast.bench.loaders.ours import measure_loader
    from yolofast.data_source import resolve_data
    from yolofast.formats.splits import as_split

    work = args.loading
    if args.peers is not None:
        _bench_loaders(args, args.peers)
        return
    figures = measure_loader(
        resolve_data(work.data).path,
        as_split(work.split),
        imgsz=DatasetConfig(imgsz=work.imgsz).imgsz,
        threads=work.threads,
        augment=AugmentConfig() if work.augment == "default" else None,
        cache=work.cache,
        seconds=work.seconds or BENCH_SECONDS,
    )
    _report(
        "loader",
        figures,
        f"{figures['images_per_s']:.1f} images/s with {work.threads} threads, {work.imgsz} px, "
        f"augment {work.augment}, cache {work.cache}",
        args,
    )


def _bench_loaders(args: BenchLoaderArgs, peers: Sequence[str]) -> None:
    from yolofast.bench.chart import plot_bars
    from yolofast.bench.loaders.comparison import ROUND_SECONDS, LoaderComparison, compare_loaders
    from yolofast.bench.loaders.report import AXIS, panel, text_table
    from yolofast.bench.peers.loaders import PEERS
    from yolofast.data_source import resolve_data
    from yolofast.formats.splits import as_split

    work = args.loading
    figures = compare_loaders(
        LoaderComparison(
            resolve_data(work.data).path,
            as_split(work.split),
            imgsz=DatasetConfig(imgsz=work.imgsz).imgsz,
            augment=work.augment == "default",
            cache=work.cache,
            peers=_named_peers(peers, tuple(PEERS)),
            peers_python=args.peers_python,
            threads=work.threads,
            rounds=work.rounds,
            seconds=work.seconds or ROUND_SECONDS,
        )
    )
    chart_title = f"Loaders on {figures['machine']['cpu']}"
    plot = lambda path: plot_bars([panel(figures)], chart_title, AXIS, path)  # noqa: E731
    _report("loader", figures, text_table(figures), args, plot)


def bench_nms(args: BenchNmsArgs) -> None:
    from yolofast.bench.chart import plot_bars
    from yolofast.bench.detections.nms import PEERS, NmsComparison, compare_nms, panels, text_table

    figures = compare_nms(
        NmsComparison(
            boxes=args.boxes,
            images=args.images,
            peers=_named_peers(args.peers, PEERS),
            peers_python=args.peers_python,
            rounds=args.rounds,
            seconds=args.seconds,
        )
    )
    bars = panels(figures)
    plot = (lambda path: plot_bars(bars, "NMS, one thread", "ms", path)) if bars else None
    _report("nms", figures, text_table(figures), args, plot)


def bench_map(args: BenchMapArgs) -> None:
    from yolofast.bench.chart import plot_bars
    from yolofast.bench.detections.coco import PEERS, MapComparison, compare_map, panels, text_table
    from yolofast.bench.detections.coco_set import CocoSet

    figures = compare_map(
        MapComparison(
            args.gt,
            args.dt,
            CocoSet(args.images, args.detections, args.style),
            peers=_named_peers(args.peers, PEERS),
            peers_python=args.peers_python,
            threads=args.threads,
            rounds=args.rounds,
            fresh=args.fresh,
        )
    )
    title = f"COCO evaluation, {args.threads} threads"
    plot = lambda path: plot_bars(panels(figures), title, "", path)  # noqa: E731
    _report("map", figures, text_table(figures), args, plot)


def _named_peers(named: Sequence[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """None means no peers; no name, or "all", means all of them."""
    if named is None:
        return ()
    return known if not named or "all" in named else tuple(dict.fromkeys(named))


def _report(
    name: str,
    figures: Mapping[str, Any],
    text: str,
    args: BenchLoaderArgs | BenchNmsArgs | BenchMapArgs,
    plot: Callable[[Path], object] | None = None,
) -> None:
    """Write NAME.json and, with `plot`, NAME.png into the folder asked for, if any; print the figures."""
    if args.out is not None:
        write_json(args.out / f"{name}.json", figures)
        if plot is not None:
            plot(args.out / f"{name}.png")
    if args.json:
        print_json(figures)
        return
    say_lines(text)
    if args.out is not None:
        say(f"written to {args.out}")
