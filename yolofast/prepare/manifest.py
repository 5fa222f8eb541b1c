"""manifest.json: where a prepared dataset came from, every file in it and all that was left out.

One item a line, written as it goes, so that it stays small in memory and can be searched by line.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from yolofast.prepare.outcome import Entry, Tally, described, noticed
from yolofast.types import Finding, PreparedDataset

MANIFEST = "manifest.json"
MADE_BY = "yolofast prepare"


def is_cache(name: str) -> bool:
    """Whether a file in a prepared folder is what loaders put there, or hidden: no part of the dataset."""
    return name.startswith(".") or name.endswith((".cache", ".npy"))


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a prepared dataset; None when there is none, or it is not ours."""
    try:
        content = json.loads((out / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("made_by") == MADE_BY else None


def write_manifest(
    work: Path, root: Path, tally: Tally, *, label_format: str, names: Iterable[str],
    source_names: Iterable[str], settings: Mapping[str, Any], fingerprint: str,
) -> None:  # fmt: skip
    """Write the manifest of the source `root` into the folder `work`; the same bytes for the same input.

    `fingerprint` is the source's from before it was read, so that a change meanwhile shows. It does not
    cover files outside of the source; with such files there is none.
    """
    head = {
        "made_by": MADE_BY,
        "source": str(root),
        "label_format": label_format,
        "classes": list(names),
        "source_classes": list(source_names),
        "settings": settings,
        "fingerprint": None if tally.outside else fingerprint,
        "source_boxes": tally.rows,
        "kept_boxes": sum(entry.boxes for entry in tally.entries),
        "dropped_boxes": sum(f.code.startswith("box-") for f in tally.dropped),
        "dropped_by_code": dict(sorted(Counter(f.code for f in tally.dropped).items())),
        "notes_by_code": dict(sorted(Counter(f.code for f in tally.notes).items())),
    }
    write_listed(
        work / MANIFEST,
        head,
        {
            "dropped": (finding_entry(f, root) for f in tally.dropped),
            "notes": (finding_entry(f, root) for f in tally.notes),
            "images": map(_image_entry, tally.entries),
        },
    )


def write_listed(
    path: Path, head: Mapping[str, Any], lists: Mapping[str, Iterable[Mapping[str, Any]]]
) -> None:
    """Write a JSON object: the entries of `head`, then `lists`, an item a line, as they come."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(json.dumps(head, indent=1).removesuffix("\n}"))
        for key, items in lists.items():
            _write_list(file, key, items)
        file.write("\n}\n")


def _write_list(file: TextIO, key: str, items: Iterable[Mapping[str, Any]]) -> None:
    file.write(f',\n "{key}": [')
    separator = "\n  "
    for item in items:
        file.write(separator + json.dumps(item))
        separator = ",\n  "
    file.write("\n ]")


def _image_entry(entry: Entry) -> dict[str, Any]:
    return {
        "source": entry.source,
        "split": entry.split,
        "name": entry.name,
        "boxes": entry.boxes,
        "bytes": entry.size,
        "sha256": entry.sha256.hex(),
        "label_bytes": entry.label_size,
        "label_sha256": entry.label_sha256.hex(),
    }


def finding_entry(finding: Finding, root: Path) -> dict[str, Any]:
    """A finding as the manifest holds it: its file from the root, where it lies there."""
    file, prefix = finding.file, os.path.join(root, "")  # noqa: PTH118 - ends with a separator
    return {
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
        "file": file.removeprefix(prefix) if file is not None else None,
        "line": finding.line,
    }


def _finding(entry: dict[str, Any], root: Path) -> Finding:
    finding = Finding(**entry)
    return finding if finding.file is None else dataclasses.replace(finding, file=str(root / finding.file))


def described_by(target: Path, manifest: dict[str, Any]) -> PreparedDataset:
    """The prepared dataset that a manifest tells of."""
    root = Path(manifest["source"])
    return described(
        target,
        tuple(manifest["classes"]),
        ((item["split"], item["boxes"]) for item in manifest["images"]),
        manifest["source_boxes"],
        tuple(_finding(entry, root) for entry in manifest["dropped"]),
        noticed(_finding(entry, root) for entry in manifest["notes"]),
    )
