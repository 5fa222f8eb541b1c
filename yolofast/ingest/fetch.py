"""Fetches a dataset from any supported source, as the command line names it."""

from __future__ import annotations

import os
from pathlib import Path

from yolofast.errors import ConfigError
from yolofast.ingest.download import RETRIES, download_dataset_from_url
from yolofast.ingest.extract import name_of_archive
from yolofast.ingest.local import ingest_local
from yolofast.ingest.roboflow_export import KEY_VARIABLE, export_dataset_for_yolo
from yolofast.ingest.urls import name_from_url

ROBOFLOW = "roboflow:"


def fetch_dataset(
    source: str,
    out: str | Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    retries: int = RETRIES,
    unsafe_redirects: bool = False,
) -> Path:
    """Fetch a dataset into a folder below `out` and return that folder.

    `source` is an http(s) URL of an archive, the path of a local archive or folder (a folder is used in
    place), or `roboflow:WORKSPACE/PROJECT/VERSION` with the key in the environment variable ROBOFLOW_API_KEY.
    `sha256` and `size` are those of the archive; `retries` and `unsafe_redirects` (whether to follow
    redirects from https to http, and to private addresses) apply to downloads.

    Raises what `download_dataset_from_url`, `ingest_local` and `export_dataset_for_yolo` raise, and
    `ConfigError` for the `sha256` or `size` of a Roboflow project, whose archive is created on demand.
    """
    if source.startswith(ROBOFLOW):
        if sha256 is not None or size is not None:
            raise ConfigError(f"{source}: Roboflow creates the archive on demand; omit sha256 and size.")
        parts = source.removeprefix(ROBOFLOW).split("/")
        if len(parts) != 3 or not all(parts):
            raise ConfigError(f"got '{source}', expected roboflow:WORKSPACE/PROJECT/VERSION.")
        workspace, project, version = parts
        target = Path(out) / f"{project}-{version}"
        key = os.environ.get(KEY_VARIABLE, "")
        return export_dataset_for_yolo(
            key, workspace, project, version, target, retries=retries, unsafe_redirects=unsafe_redirects
        )
    if "://" in source:
        target = Path(out) / name_from_url(source)
        return download_dataset_from_url(
            source, target, sha256=sha256, size=size, retries=retries, unsafe_redirects=unsafe_redirects
        )
    target = Path(out) / name_of_archive(Path(source).name)
    return ingest_local(source, target, sha256=sha256, size=size)
