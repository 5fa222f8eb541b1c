"""Writes what README.md says was measured, from results/*.json, between the markers of each file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"


def table(document: dict[str, Any]) -> str:
    """A Markdown table, one row a kernel."""
    machine, versions = document["machine"], document["versions"]
    others = ", ".join(f"{k} {v}" for k, v in versions.items() if k != "yolofast")
    lines = [
        "One thread each, interleaved rounds, medians (20th to 80th percentile of the ratio). "
        f"{machine['cpu']}, {document['date']}; {others}.",
        "",
        "| kernel | yolofast | peer | peer / yolofast |",
        "|---|---|---|---|",
    ]
    for entry in document["entries"].values():
        for peer, ratio in entry["ratio"].items():
            ours, theirs = entry["ms"]["yolofast"]["median"], entry["ms"][peer]["median"]
            spread = f"{ratio['median']:.2f}x ({ratio['p20']:.2f} to {ratio['p80']:.2f})"
            lines.append(f"| {entry['what']} | {ours:.3g} ms | {peer} {theirs:.3g} ms | {spread} |")
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


SECTIONS = {"kernels": table, "train_bccd": training}


def main() -> None:
    text = README.read_text(encoding="utf-8")
    for name, write in SECTIONS.items():
        start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
        document = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
        before, rest = text.split(start)
        after = rest.split(end)[1]
        text = f"{before}{start}\n{write(document)}\n{end}{after}"
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
