"""Writes the benchmark table of README.md from results/kernels.json, between its two markers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
START, END = "<!-- kernels: start -->", "<!-- kernels: end -->"


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


def main() -> None:
    document = json.loads((HERE / "results" / "kernels.json").read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    README.write_text(f"{before}{START}\n{table(document)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
