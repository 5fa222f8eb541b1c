"""Writes the figures of results/*.json into README.md and docs/measured.md, between their markers."""

from __future__ import annotations

import json
from typing import Any

from folders import REPOSITORY, RESULTS

from yolofast.bench.figures import labelled, short_number

PAGES = (REPOSITORY / "README.md", REPOSITORY / "docs" / "measured.md")


def table(document: dict[str, Any]) -> str:
    """A Markdown table, one row per kernel and peer."""
    machine, versions = document["machine"], document["versions"]
    others = ", ".join(f"{k} {v}" for k, v in versions.items() if k != "yolofast")
    lines = [
        "One thread each, interleaved rounds, medians (20th to 80th percentile of the ratio). "
        f"{machine['cpu']}, {document['date']}; {others}.",
        "",
        "| work | yolofast | peer | peer / yolofast |",
        "|---|---|---|---|",
    ]
    for entry in document["entries"].values():
        for peer, ratio in entry["ratio"].items():
            ours, theirs = entry["ms"]["yolofast"]["median"], entry["ms"][peer]["median"]
            spread = f"{ratio['median']:.2f}x ({ratio['p20']:.2f} to {ratio['p80']:.2f})"
            lines.append(f"| {entry['what']} | {ours:.3g} ms | {peer} {short_number(theirs)} ms | {spread} |")
    return "\n".join(lines)


def training(document: dict[str, Any]) -> str:
    """One sentence on a training run."""
    machine = document["machine"]
    (entry,) = document["entries"].values()
    best, settings = entry["best"], entry["settings"]
    size, run = settings["model"]["model"], settings["training"]
    return (
        f"Training from scratch, size {size} at {entry['imgsz']} px on {entry['data']}, {run['epochs']} "
        f"epochs of batch {run['batch']} with the default augmentation: mAP50 {best['map50']:.3f}, "
        f"mAP50-95 {best['map50_95']:.3f} (epoch {best['epoch']:.0f}) in {entry['seconds']:.0f} s on "
        f"{machine['cores']} cores of an {machine['cpu']}, {document['date']}."
    )


def loader(document: dict[str, Any]) -> str:
    """A Markdown table, one row per case and peer, and what the figures include."""
    entries = list(document["entries"].values())
    first = entries[0]
    lines = [
        "Images/s of one thread on one core, each in a process of its own, "
        f"{first['rounds']} alternating rounds of {first['round_seconds']:g} s, medians (20th to 80th "
        "percentile of the ratio); from the file or the cache to uint8 RGB planes and labels, "
        f"{first['data']}. {document['machine']['cpu']}, {document['date']}.",
        "",
        "| case | yolofast | peer | yolofast / peer |",
        "|---|---|---|---|",
    ]
    for entry in entries:
        for peer, ratio in entry["ratio"].items():
            measured = entry["sides"][peer]
            rates = [entry["images_per_s"], measured["images_per_s"]["median"]]
            label = labelled(peer, measured["versions"])
            spread = f"{ratio['median']:.2f}x ({ratio['p20']:.2f} to {ratio['p80']:.2f})"
            lines.append(f"| {entry['what']} | {rates[0]:.0f} | {label} {rates[1]:.0f} | {spread} |")
    lines += ["", *(_floor_and_scaling(entry) for entry in entries)]
    return "\n".join(lines)


def _floor_and_scaling(entry: dict[str, Any]) -> str:
    """One list item: decode alone, ours with more threads, and which peers were left out."""
    floors = entry["floor"].items()
    parts = [f"{name} alone {floor['images_per_s']['median']:.0f}/s" for name, floor in floors]
    parts += [f"{threads} threads {gain['median']:.2f}x one" for threads, gain in entry["scaling"].items()]
    parts += [f"without {peer} ({why})" for peer, why in entry["left_out"].items()]
    return f"- {entry['what']}: {', '.join(parts)}."


def nms(document: dict[str, Any]) -> str:
    """The table of kernels, and how many detections the peers found equal."""
    notes = []
    for entry in document["entries"].values():
        for peer, counted in entry["checks"].items():
            other = [f"{count} {what}" for what, count in counted.items() if count and what != "equal"]
            if other:
                notes.append(f"- {entry['what']}: {counted['equal']} equal to {peer}'s, {', '.join(other)}.")
    return "\n".join([table(document), "", *notes])


def evaluation(document: dict[str, Any]) -> str:
    """A Markdown table: seconds, seconds of a fresh process, and memory, per participant."""
    entries = list(document["entries"].values())
    first, versions = entries[0], document["versions"]
    lines = [
        f"{first['threads']} threads each, {first['rounds']} alternating rounds, medians; a fresh process "
        "starts an interpreter, loads both files and evaluates once. All figures and arrays are equal to the "
        f"last bit. {document['machine']['cpu']}, {document['date']}.",
        "",
        "| set | package | seconds | peer / yolofast | fresh process | memory |",
        "|---|---|---|---|---|---|",
    ]
    for entry in entries:
        for name, each in entry["seconds"].items():
            peer = name in entry["checks"]
            label = f"{labelled(name, versions)}, files" if peer else f"yolofast, {WAYS[name]}"
            gain = f"{entry['ratio']['json'][name]['median']:.2f}x" if peer else ""
            process = name if peer else ("yolofast" if name == "json" else "")
            fresh = entry["fresh_seconds"].get(process)
            more = (
                f"{fresh['median']:.2f} s | {entry['peak_mib'][process]['median']:.0f} MiB"
                if fresh
                else " | "
            )
            lines.append(f"| {entry['what']} | {label} | {each['median']:.3f} | {gain} | {more} |")
    return "\n".join(lines)


def data_stages(document: dict[str, Any]) -> str:
    """A Markdown table: the label scan compared with Ultralytics', and what each command takes."""
    scan, machine = document["entries"]["scan"], document["machine"]
    ratio, rates = scan["ratio"], scan["images_per_s"]
    lines = [
        f"{scan['images']:,} tiny images and {scan['boxes']:,} boxes, files in the page cache, "
        f"{machine['cores']} cores; {scan['rounds']} rounds, medians; a command's time is that of a fresh "
        f"process. {machine['cpu']}, {document['date']}.",
        "",
        "| work | time | peak memory |",
        "|---|---|---|",
        f"| scan of image headers and labels: {rates['yolofast']:,} images/s; Ultralytics "
        f"{document['versions']['ultralytics']} {rates['ultralytics']:,} images/s: {ratio['median']:.1f}x "
        f"({ratio['p20']:.1f} to {ratio['p80']:.1f}) | {scan['seconds']['yolofast']['median']:.2f} s | |",
    ]
    for name, entry in document["entries"].items():
        if name != "scan":
            what = " ".join(entry["what"].split()[:3])
            lines.append(f"| {what} | {entry['seconds']['median']:.1f} s | {entry['peak_mib']} MiB |")
    return "\n".join(lines)


WAYS = {"json": "files", "batches": "arrays, batches of 64 images", "one update": "arrays at once"}
SECTIONS = {
    "kernels": table,
    "jpeg": table,
    "nms": nms,
    "map": evaluation,
    "data": data_stages,
    "train_bccd": training,
    "loader": loader,
}


def main() -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in PAGES}
    for name, write in SECTIONS.items():
        start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
        page = next(page for page, text in pages.items() if start in text)
        document = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        before, rest = pages[page].split(start)
        after = rest.split(end)[1]
        pages[page] = f"{before}{start}\n{write(document)}\n{end}{after}"
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
