"""One entry for all sources, as the command line takes them."""

from __future__ import annotations

import os
from pathlib import Path

from yolofast.errors import ConfigError
from yolofast.ingest.archive import ingest_local
from yolofast.ingest.download import download_dataset_from_url, name_from_url
from yolofast.ingest.roboflow_export import KEY_VARIABLE, export_dataset_for_yolo

ROBOFLOW = "roboflow:"


def fetch_dataset(source: str, out: str | Path) -> Path:
    """Bring a dataset into a folder below `out` and return that folder.

    `source` is an http(s) URL of a zip, the path of a local zip or folder (a folder is used where it is),
    or `roboflow:WORKSPACE/PROJECT/VERSION` with the key in the environment variable ROBOFLOW_API_KEY.

    Raises what `download_dataset_from_url`, `ingest_local` and `export_dataset_for_yolo` raise.
    """
    if source.startswith(ROBOFLOW):
        parts = source.removeprefix(ROBOFLOW).split("/")
        if len(parts) != 3 or not all(parts):
            raise ConfigError(f"got '{source}', expected roboflow:WORKSPACE/PROJECT/VERSION.")
        workspace, project, version = parts
        key = os.environ.get(KEY_VARIABLE, "")
        return export_dataset_for_yolo(key, workspace, project, version, Path(out) / f"{project}-{version}")
    if "://" in source:
        return download_dataset_from_url(source, Path(out) / name_from_url(source))
    return ingest_local(source, Path(out) / Path(source).stem)
