"""A dataset version from Roboflow.

Roboflow's package checks the key, finds the version and waits for its export. It would also unpack the
archive with `zipfile`, unchecked and directly into the target. So it is only asked for the link: the archive
is downloaded and checked like every other one, and an interrupted download can be resumed.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from urllib.parse import quote

from yolofast.errors import ConfigError, DataError, missing_extra
from yolofast.ingest.download import RETRIES, download_and_unpack
from yolofast.ingest.target_folder import check_target
from yolofast.ingest.transfer import Download
from yolofast.ingest.urls import check_http_url, redact, redacted_logs

KEY_VARIABLE = "ROBOFLOW_API_KEY"
FORMAT = "yolov8"
_MAX_REASON = 300


def export_dataset_for_yolo(
    api_key: str,
    workspace: str,
    project: str,
    version: int | str,
    target_dir: str | Path | None = None,
    *,
    retries: int = RETRIES,
) -> Path:
    """Download a Roboflow dataset version in YOLO format and return its folder.

    `target_dir` (default `<project>-<version>` in the working directory) must be missing or empty. The
    key never appears in messages, logs or files. The archive is downloaded, resumed and unpacked as by
    `download_dataset_from_url`.

    Raises `MissingExtraError` without the roboflow package, `ConfigError` for an empty key or a version that
    is not a number, and `DataError` when Roboflow refuses and for everything that `download_dataset_from_url`
    refuses.
    """
    if not api_key:
        raise ConfigError(
            f"Roboflow: got no API key. Pass api_key, or set {KEY_VARIABLE} for the command line."
        )
    if not (str(version).isascii() and str(version).isdecimal()):
        raise ConfigError(f"Roboflow: got version '{version}', expected a whole number such as 3.")
    target = Path(target_dir) if target_dir is not None else Path(f"{project}-{version}")
    check_target(target)
    name = f"Roboflow {workspace}/{project}/{version}"
    link = _link(name, api_key, workspace, project, int(version))
    return download_and_unpack(Download(link, name), target, identity=name, retries=retries)


def _link(name: str, api_key: str, workspace: str, project: str, version: int) -> str:
    """The URL of the archive of a version. Raises `DataError` and `MissingExtraError`."""
    secrets = (api_key, quote(api_key, safe=""))
    reason = missing = None
    link: object = None
    with redacted_logs(*secrets), redirect_stdout(sys.stderr):  # the package prints its progress
        try:
            from roboflow import Roboflow
            from roboflow.adapters.rfapi import get_version_export

            source = Roboflow(api_key=api_key).workspace(workspace).project(project)
            source.version(version).export(FORMAT)  # waits until Roboflow has created the archive
            link = get_version_export(api_key, workspace, project, str(version), FORMAT)["export"]["link"]
        except ImportError:
            missing = missing_extra("roboflow", "roboflow", "Downloading from Roboflow")
        except Exception as error:  # the package raises anything, and its messages may contain the key
            reason = f"{type(error).__name__}: {redact(str(error), *secrets)[:_MAX_REASON]}"
    if missing is not None:
        raise missing
    if reason is not None:
        raise DataError(f"{name}: cannot be exported: {reason}. Check the key, the names and the version.")
    if not isinstance(link, str):
        raise DataError(f"{name}: Roboflow returned no URL of an archive. Try again later.")
    check_http_url(link)
    return link
