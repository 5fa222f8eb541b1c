"""manifest.json: where a prepared dataset comes from, its files, and everything that was dropped.

Lists have one item per line and are written as a stream: memory stays small, and the file can be searched by
line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from yolofast.files import first_zeros
from yolofast.formats.boxes import is_rejection
from yolofast.prepare.outcome import PreparedImage, PrepareOutcome, noticed, prepared_dataset
from yolofast.seal import UNSEALED, is_intact, seal_file
from yolofast.types import Finding, PreparedDataset

MANIFEST = "manifest.json"
MADE_BY = "yolofast prepare"
DATA_YAML_KEY = "data_yaml_sha256"
_HEAD_BYTES = 4096
_END = '"\n}\n'


def is_cache(name: str) -> bool:
    """Whether a file in a prepared folder is hidden or a cache of a loader: not part of the dataset."""
    return name.startswith(".") or name.endswith((".cache", ".npy"))


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a prepared dataset; None when there is none, or another program wrote it."""
    return checked_manifest(out)[0]


def checked_manifest(out: Path) -> tuple[dict[str, Any] | None, bool]:
    """`read_manifest`, and whether the file is not what was written. Earlier versions wrote no checksum."""
    try:
        with (out / MANIFEST).open("rb") as file:
            head = file.read(_HEAD_BYTES)
            has_checksum = DATA_YAML_KEY.encode() in head
            if not has_checksum and MADE_BY.encode() not in head:
                return None, False  # of another program, and perhaps huge
            if first_zeros(file) is not None:
                return None, True
            file.seek(0)
            data = file.read()
    except OSError:
        return None, False
    intact = is_intact(data)
    return _content(data), intact is False or (intact is None and has_checksum)


def _content(data: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("made_by") == MADE_BY else None


def data_yaml_sha256(out: Path) -> str | None:
    """The SHA-256 (hex) of the data.yaml in `out`, None where it cannot be read."""
    try:
        return hashlib.sha256((out / "data.yaml").read_bytes()).hexdigest()
    except OSError:
        return None


def rejected_labels(prepared: Path) -> tuple[int, int] | None:
    """How many label rows of the source were wrong, and how many it had; None for a folder that was not
    prepared."""
    manifest = read_manifest(prepared)
    if manifest is None:
        return None
    dropped = manifest.get("dropped", ())
    return sum(is_rejection(entry["severity"], entry["code"]) for entry in dropped), manifest["source_boxes"]


def write_manifest(
    work: Path, root: Path, outcome: PrepareOutcome, *, label_format: str, names: Iterable[str],
    source_names: Iterable[str], settings: Mapping[str, Any], fingerprint: str,
) -> None:  # fmt: skip
    """Write the manifest of the source `root` into the folder `work`; the same input gives the same bytes.

    `fingerprint` was taken before the source was read, so that a change in the meantime is detected. It does
    not cover files outside the source; with such files, the manifest has none.
    """
    head = {
        "made_by": MADE_BY,
        "source": str(root),
        "label_format": label_format,
        "classes": list(names),
        "source_classes": list(source_names),
        "settings": settings,
        "fingerprint": None if outcome.outside else fingerprint,
        DATA_YAML_KEY: data_yaml_sha256(work),
        "source_boxes": outcome.rows,
        "kept_boxes": sum(image.boxes for image in outcome.images),
        "dropped_boxes": sum(f.code.startswith("box-") for f in outcome.dropped),
        "dropped_by_code": dict(sorted(Counter(f.code for f in outcome.dropped).items())),
        "notes_by_code": dict(sorted(Counter(f.code for f in outcome.notes).items())),
    }
    write_listed(
        work / MANIFEST,
        head,
        {
            "dropped": (finding_entry(f, root) for f in outcome.dropped),
            "notes": (finding_entry(f, root) for f in outcome.notes),
            "images": map(_image_entry, outcome.images),
        },
    )


def write_listed(
    path: Path, head: Mapping[str, Any], lists: Mapping[str, Iterable[Mapping[str, Any]]]
) -> None:
    """Stream a JSON object: `head`, `lists` with one item per line, and a checksum of it all."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(json.dumps(head, indent=1).removesuffix("\n}"))
        for key, items in lists.items():
            _write_list(file, key, items)
        file.write(f',\n "checksum": "{UNSEALED}{_END}')
    seal_file(path, _END.encode())


def _write_list(file: TextIO, key: str, items: Iterable[Mapping[str, Any]]) -> None:
    file.write(f',\n "{key}": [')
    separator = "\n  "
    for item in items:
        file.write(separator + json.dumps(item))
        separator = ",\n  "
    file.write("\n ]")


def _image_entry(image: PreparedImage) -> dict[str, Any]:
    return {
        "source": image.source,
        "split": image.split,
        "name": image.name,
        "boxes": image.boxes,
        "bytes": image.size,
        "sha256": image.sha256.hex(),
        "label_bytes": image.label_size,
        "label_sha256": image.label_sha256.hex(),
    }


def finding_entry(finding: Finding, root: Path) -> dict[str, Any]:
    """A finding as the manifest stores it: its file is relative to the root where it is below it."""
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


def dataset_from_manifest(target: Path, manifest: dict[str, Any]) -> PreparedDataset:
    """The prepared dataset that a manifest describes."""
    root = Path(manifest["source"])
    return prepared_dataset(
        target,
        tuple(manifest["classes"]),
        ((item["split"], item["boxes"]) for item in manifest["images"]),
        manifest["source_boxes"],
        tuple(_finding(entry, root) for entry in manifest["dropped"]),
        noticed(_finding(entry, root) for entry in manifest["notes"]),
    )
