"""Writes a quality report as one self-contained HTML file: no scripts, no network, all text escaped.

Plots are inline SVG in the colours of the page: they need no plotting package and follow light and dark mode.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from yolofast.analyze import report_plots as plots
from yolofast.analyze.report_images import example_image
from yolofast.analyze.report_style import STYLE
from yolofast.errors import at
from yolofast.files import atomic_file
from yolofast.types import CodeSummary, DatasetStatistics, FaultExample, Finding, QualityReport

MAX_LOCATIONS = 20
"""Findings listed per code; the JSON output has all."""
MAX_IMAGES = 24
MAX_CLASSES = 60
"""Classes with a bar, the most frequent first."""
_MAX_TEXT = 600


def write_html_report(report: QualityReport, path: str | Path) -> None:
    """Write `report` to an HTML file, atomically; the same report gives the same bytes.

    Example images are read from the dataset again. Raises `DataError` when the file cannot be written.
    """
    text = html_report(report)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def html_report(report: QualityReport) -> str:
    """The page as text; see `write_html_report`."""
    title = f"Data quality of {shown(report.root.name or str(report.root))}"
    body = "".join(
        [
            f"<header><h1>{title}</h1><p class=path>{shown(str(report.root))}</p></header>",
            _tiles(report),
            _problems(report),
            _images(report),
            _plots(report.statistics),
            "<footer>Made by yolofast check. An error loses data or invalidates the metrics of a training; a "
            "warning is likely to harm; an info is worth knowing and often intended.</footer>",
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def shown(text: str) -> str:
    """Text escaped for HTML; control characters and file name bytes that are not UTF-8 become \\x.."""
    readable = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    readable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in readable)
    if len(readable) > _MAX_TEXT:
        readable = readable[:_MAX_TEXT] + "…"
    return html.escape(readable, quote=True)


def _tiles(report: QualityReport) -> str:
    numbers = report.statistics
    counts = {"error": 0, "warning": 0, "info": 0}
    for entry in report.summary:
        counts[entry.severity] += entry.count
    splits = ", ".join(
        f"{name} {count:,}" for name, count in zip(numbers.split_names, numbers.split_images, strict=True)
    )
    tiles = [
        ("", "images", f"{report.images_checked:,}", splits),
        ("", "boxes", f"{numbers.boxes:,}", f"of {report.boxes_checked:,} label rows"),
        ("", "classes", f"{len(numbers.class_names):,}", ""),
        ("", "images without a box", f"{numbers.empty_images:,}", ""),
        ("error", "errors", f"{counts['error']:,}", ""),
        ("warning", "warnings", f"{counts['warning']:,}", ""),
        ("info", "infos", f"{counts['info']:,}", ""),
    ]
    cells = "".join(
        f'<div class="tile {kind}"><b>{value}</b><span>{name}</span><small>{more}</small></div>'
        for kind, name, value, more in tiles
    )
    return f"<section class=tiles>{cells}</section>"


def _problems(report: QualityReport) -> str:
    if not report.summary:
        return "<section><h2>Findings</h2><p class=good>No problems found.</p></section>"
    by_code: dict[str, list[Finding]] = {}
    for finding in (*report.findings, *report.recommendations):
        by_code.setdefault(finding.code, []).append(finding)
    groups = "".join(_group(report, entry, by_code[entry.code]) for entry in report.summary)
    return f"<section><h2>Findings</h2>{groups}</section>"


def _group(report: QualityReport, entry: CodeSummary, findings: Sequence[Finding]) -> str:
    root = str(report.root)
    rows = []
    for finding in findings[:MAX_LOCATIONS]:
        location = ""
        if finding.file is not None and finding.file != root:
            location = f"<code>{shown(at(_relative(finding.file, root), finding.line))}</code>"
        rows.append(f"<li>{location}<span>{shown(finding.message.replace(root + '/', ''))}</span></li>")
    more = len(findings) - MAX_LOCATIONS
    if more > 0:
        rows.append(f"<li><span>… and {more:,} more: yolofast check --json lists all</span></li>")
    is_open = " open" if entry.severity == "error" or len(findings) <= 3 else ""
    return (
        f'<details class="group {entry.severity}"{is_open}><summary><span class=badge>{entry.severity}</span>'
        f"<b>{shown(entry.title)}</b><span class=count>{entry.count:,}</span>"
        f"<code>{shown(entry.code)}</code></summary>"
        f"<p>{shown(entry.recommendation)}</p><ul class=locations>{''.join(rows)}</ul></details>"
    )


def _relative(file: str, root: str) -> str:
    return file.removeprefix(root + "/")


def _images(report: QualityReport) -> str:
    chosen = list(_choose(report))
    if not chosen:
        return ""
    titles = {entry.code: entry.title for entry in report.summary}
    figures = []
    for example in chosen:
        encoded, reason = example_image(example)
        image = (
            f'<img alt="" src="data:image/jpeg;base64,{encoded}">'
            if encoded
            else f"<div class=noimage>{shown(reason)}</div>"
        )
        finding = example.finding
        figures.append(
            f'<figure class="{finding.severity}">{image}<figcaption><b>{shown(titles[finding.code])}</b>'
            f"<code>{shown(_relative(str(example.image), str(report.root)))}</code>"
            f"<span>{shown(finding.message.replace(f'{report.root}/', ''))}</span></figcaption></figure>"
        )
    note = "The boxes in question are red; other boxes of the image are thin and blue."
    return (
        f"<section><h2>Examples of the worst findings</h2><p>{note}</p>"
        f"<div class=images>{''.join(figures)}</div></section>"
    )


def _choose(report: QualityReport) -> Iterator[FaultExample]:
    """Examples of all codes in turn, the worst codes first."""
    by_code: dict[str, list[FaultExample]] = {entry.code: [] for entry in report.summary}
    for example in report.examples:
        by_code.get(example.finding.code, []).append(example)
    turns = chain.from_iterable(zip_longest(*by_code.values()))
    chosen = [example for example in turns if example is not None][:MAX_IMAGES]
    order = list(by_code)
    yield from sorted(chosen, key=lambda example: order.index(example.finding.code))


def _plots(numbers: DatasetStatistics) -> str:
    cards = [
        ("Boxes by class", _classes(numbers), "wide"),
        (
            "Box sizes",
            plots.heat_map(
                numbers.box_sizes,
                "width / image width",
                "height / image height",
                [(0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")],
                low=0.001,
                upwards=True,
            ),
            "",
        ),
        (
            "Box centres",
            plots.heat_map(numbers.box_centres, "x / image width", "y / image height", []),
            "",
        ),
        (
            "Boxes per image",
            plots.bars(plots.ranges(numbers.boxes_per_image), "boxes in the image", "images"),
            "",
        ),
        ("Box areas", _areas(numbers), ""),
        (
            "Box aspect ratios",
            plots.bars(plots.ratios(numbers.box_aspects), "width : height", "boxes"),
            "",
        ),
        (
            "Image aspect ratios",
            plots.bars(plots.ratios(numbers.image_aspects), "width : height", "images"),
            "",
        ),
        ("Image sizes", _image_sizes(numbers), ""),
    ]
    plotted = "".join(f'<div class="card {kind}"><h3>{name}</h3>{plot}</div>' for name, plot, kind in cards)
    return f"<section><h2>Statistics</h2><div class=cards>{plotted}</div></section>"


def _classes(numbers: DatasetStatistics) -> str:
    totals = numbers.class_boxes.sum(axis=0)
    order = sorted(range(len(totals)), key=lambda i: (-int(totals[i]), i))
    rows = [(shown(numbers.class_names[i]), numbers.class_boxes[:, i].tolist()) for i in order[:MAX_CLASSES]]
    more = len(order) - len(rows)
    note = f"<p class=note>… and {more:,} more classes, none with more boxes</p>" if more > 0 else ""
    return plots.stacked_rows(rows, numbers.split_names) + note


def _areas(numbers: DatasetStatistics) -> str:
    rows = []
    for name, native in numbers.boxes_by_area.items():
        scaled = numbers.boxes_by_area_at_640[name]
        share = [f"{n:,} ({n / max(numbers.boxes, 1):.0%})" for n in (native, scaled)]
        rows.append(f"<tr><th>{name}</th><td>{share[0]}</td><td>{share[1]}</td></tr>")
    return (
        "<table><tr><th></th><th>as stored</th><th>long side 640 px</th></tr>"
        f"{''.join(rows)}</table>"
        "<p class=note>COCO's ranges: small is under 32×32 px, large is 96×96 px or more.</p>"
    )


def _image_sizes(numbers: DatasetStatistics) -> str:
    rows = [
        f"<tr><th>{width}×{height}</th><td>{count:,}</td></tr>"
        for width, height, count in numbers.image_sizes[:8]
    ]
    more = numbers.distinct_image_sizes - len(rows)
    note = f"{more:,} more sizes. " if more > 0 else ""
    (w0, w1, w2), (h0, h1, h2) = numbers.image_sides["width"], numbers.image_sides["height"]
    return (
        f"<table><tr><th>size in px</th><th>images</th></tr>{''.join(rows)}</table><p class=note>{note}"
        f"Width {w0} to {w2}, median {w1}; height {h0} to {h2}, median {h1}.</p>"
    )
