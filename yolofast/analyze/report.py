"""Writes a quality report as one self-contained HTML file: no scripts, no network, all text escaped.

Plots are inline SVG in the colours of the page: they need no plotting package and follow light and dark mode.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from yolofast.analyze import report_plots as plots
from yolofast.analyze.report_images import Layer, Picture, picture
from yolofast.analyze.report_style import STYLE
from yolofast.errors import at
from yolofast.files import atomic_file
from yolofast.printable import printable
from yolofast.types import (
    CodeSummary,
    DatasetStatistics,
    FaultExample,
    Finding,
    LabelledSample,
    QualityReport,
)

MAX_LOCATIONS = 20
"""Findings listed per code; the JSON output has all."""
MAX_IMAGES = 24
MAX_CLASSES = 60
"""Classes with a bar: the most frequent ones, and if there are more, `MAX_RARE` of them the rarest."""
MAX_RARE = 20
_MAX_TEXT = 600
_THIN, _THICK = 2, 4
_BAD, _OTHER, _MARKED = (230, 40, 48), (90, 150, 255), (255, 210, 30)
_PALETTE = (
    (255, 210, 30), (90, 150, 255), (240, 70, 70), (70, 200, 110),
    (235, 120, 235), (250, 140, 40), (60, 210, 220), (170, 130, 250),
)  # fmt: skip


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
            _examples(report),
            _plots(report.statistics),
            _samples(report),
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
    """Text escaped for HTML, as `printable` makes it."""
    return html.escape(printable(text, _MAX_TEXT), quote=True)


def _tiles(report: QualityReport) -> str:
    numbers = report.statistics
    counts = Counter(finding.severity for finding in (*report.findings, *report.recommendations))
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


def _examples(report: QualityReport) -> str:
    chosen = list(_choose(report))
    titles = {entry.code: entry.title for entry in report.summary}
    figures = [_example(report, example, titles[example.finding.code]) for example in chosen]
    note = "The boxes in question are red; other boxes of the image are thin and blue."
    return _gallery("Examples of the worst findings", note, figures)


def _example(report: QualityReport, example: FaultExample, title: str) -> str:
    others, bad = Layer(example.others, _OTHER, _THIN), Layer(example.bad, _BAD, _THICK)
    finding = example.finding
    message = f"<span>{shown(finding.message.replace(f'{report.root}/', ''))}</span>"
    return _figure(
        report, example.image, picture(example.image, [others], bad), title, message, finding.severity
    )


def _samples(report: QualityReport) -> str:
    """Images with the labels as they were read: the rarest classes, and a random few."""
    names = report.statistics.class_names
    totals = report.statistics.class_boxes.sum(axis=0).tolist()
    rare = []
    for sample in report.rare_samples if len(names) > 1 else ():
        label = sample.marked or 0
        mine = sample.classes == label
        layers = [Layer(sample.boxes[~mine], _OTHER, _THIN)], Layer(sample.boxes[mine], _MARKED, _THICK)
        count = f"<span>{totals[label]:,} {'box' if totals[label] == 1 else 'boxes'} in the dataset</span>"
        rare.append(_figure(report, sample.image, picture(sample.image, *layers), names[label], count))
    drawn = [_random_sample(report, sample, names) for sample in report.samples]
    note = "One image of each of the classes with the fewest boxes. Their boxes are yellow; others are blue."
    random_note = "Drawn at random, the same in every report: do the boxes fit, and are the classes right?"
    return _gallery("Rarest classes", note, rare) + _gallery("Random labelled images", random_note, drawn)


def _random_sample(report: QualityReport, sample: LabelledSample, names: Sequence[str]) -> str:
    """An image with all its boxes, a colour per class, and a legend."""
    layers, legend = [], []
    for i, (label, count) in enumerate(Counter(sample.classes.tolist()).most_common()):
        colour = _PALETTE[i % len(_PALETTE)]
        layers.append(Layer(sample.boxes[sample.classes == label], colour, _THICK))
        swatch = f'<i style="background:#{bytes(colour).hex()}"></i>'
        legend.append(f"<span>{swatch}{shown(names[label])}{f' × {count}' if count > 1 else ''}</span>")
    return _figure(report, sample.image, picture(sample.image, layers), "", "".join(legend))


def _figure(
    report: QualityReport, path: Path, image: Picture, title: str, more: str, severity: str = ""
) -> str:
    """A picture that is shown large when it is clicked; `more` is HTML."""
    if image.jpeg:
        source = f"data:image/jpeg;base64,{image.jpeg}"
        content = f'<label><input type="checkbox" aria-label="Enlarge"><img alt="" src="{source}"></label>'
        more += f"<small>{image.note}</small>" if image.note else ""
    else:
        content = f"<div class=noimage>{shown(image.note)}</div>"
    heading = f"<b>{shown(title)}</b>" if title else ""
    return (
        f'<figure class="{severity}">{content}<figcaption>{heading}'
        f"<code>{shown(_relative(str(path), str(report.root)))}</code>{more}</figcaption></figure>"
    )


def _gallery(title: str, note: str, figures: Sequence[str]) -> str:
    if not figures:
        return ""
    return f"<section><h2>{title}</h2><p>{note}</p><div class=images>{''.join(figures)}</div></section>"


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
    if len(order) <= MAX_CLASSES:
        return plots.stacked_rows(_class_rows(numbers, order), numbers.split_names)
    common, between, rare = (
        order[: MAX_CLASSES - MAX_RARE],
        order[MAX_CLASSES - MAX_RARE : -MAX_RARE],
        order[-MAX_RARE:],
    )
    return (
        plots.stacked_rows(_class_rows(numbers, common), numbers.split_names)
        + f"<p class=note>… {len(between):,} classes with fewer boxes, and the {MAX_RARE} rarest, at a scale "
        "of their own:</p>"
        + plots.stacked_rows(_class_rows(numbers, rare), numbers.split_names, legend=False)
    )


def _class_rows(numbers: DatasetStatistics, classes: Sequence[int]) -> list[tuple[str, list[int]]]:
    return [(shown(numbers.class_names[i]), numbers.class_boxes[:, i].tolist()) for i in classes]


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
