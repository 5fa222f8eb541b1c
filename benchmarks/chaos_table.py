"""Turns the report of `make chaos` into results/chaos.json and a Markdown table.

    YOLOFAST_CHAOS_REPORT=chaos.jsonl YOLOFAST_CHAOS_SECONDS=0 make chaos
    python benchmarks/chaos_table.py chaos.jsonl [MORE.jsonl ...]

Several reports, and several rows of an attack, are added up. Exit code 1 where an attack was not survived.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from folders import RESULTS

from yolofast.bench.figures import machine

ADDED, LARGEST = ("wanted", "tries", "survived", "seconds"), ("peak_mb", "longest_s")


def added_up(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One entry for each attack, by name: tries and seconds added, memory and the longest try as maximum."""
    attacks: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = attacks.setdefault(row["attack"], {"seeds": []})
        for key in ADDED:
            entry[key] = round(entry.get(key, 0) + row.get(key, row["tries"]), 1)
        for key in LARGEST:
            entry[key] = max(entry.get(key, 0), row[key])
        if row["seed"] not in entry["seeds"]:
            entry["seeds"].append(row["seed"])
    return dict(sorted(attacks.items()))


def table(attacks: dict[str, dict[str, Any]]) -> str:
    """A Markdown table, one row for each attack. Memory is that of the attacked process, where it has one."""
    lines = ["| attack | tries | survived | peak memory | longest try | all |", "|---|---|---|---|---|---|"]
    for name, entry in attacks.items():
        memory = f"{entry['peak_mb']:.0f} MB" if entry["peak_mb"] else "-"
        longest = f"{entry['longest_s']:.2f} s" if entry["longest_s"] else "-"
        counts = f"{entry['tries']:,.0f} | {entry['survived']:,.0f}"
        lines.append(f"| {name} | {counts} | {memory} | {longest} | {entry['seconds']:.0f} s |")
    return "\n".join(lines)


def main(*reports: str) -> int:
    lines = [line for report in reports for line in Path(report).read_text(encoding="utf-8").splitlines()]
    attacks = added_up(json.loads(line) for line in lines if line.strip())
    document = {"machine": machine(), "attacks": attacks}
    (RESULTS / "chaos.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(table(attacks))
    fallen = [name for name, entry in attacks.items() if entry["survived"] < entry["tries"]]
    if fallen:
        print(f"not survived: {', '.join(fallen)}", file=sys.stderr)
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
