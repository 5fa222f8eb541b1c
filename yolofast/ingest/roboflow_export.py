"""A dataset version from Roboflow.

Roboflow's package checks the key, finds the version and waits for its export. It would also unpack the
archive with `zipfile`, unchecked and directly into the target. So it is only asked for the link: the archive
is downloaded and checked like every other one, and an interrupted download can be resumed.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

from yolofast.errors import ConfigError, DataError, missing_extra
from yolofast.ingest.download import RETRIES, download_and_unpack
from yolofast.ingest.reach import Reach
from yolofast.ingest.redaction import Secrets, hidden, redact
from yolofast.ingest.target_folder import check_target
from yolofast.ingest.transfer import Download
from yolofast.ingest.urls import check_http_url
from yolofast.printable import printable

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
    unsafe_redirects: bool = False,
) -> Path:
    """Download a Roboflow dataset version in YOLO format and return its folder.

    `target_dir` (default `<project>-<version>` in the working directory) must be missing or empty. The
    key never appears in messages, logs, output or files: not even quoted, in base64, or where a server echoes
    it. The archive is downloaded, resumed and unpacked as by `download_dataset_from_url`; the link to it may
    not lead to a private address, unless `unsafe_redirects`.

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
    name = printable(f"Roboflow {workspace}/{project}/{version}")
    secrets = Secrets(api_key)
    reach = Reach(is_given=False, anywhere=unsafe_redirects)
    with hidden(secrets):
        link = _link(name, secrets, api_key, workspace, project, int(version))
        download = Download(link, name, reach, secrets)
        return download_and_unpack(download, target, identity=name, retries=retries)


def _link(name: str, secrets: Secrets, api_key: str, workspace: str, project: str, version: int) -> str:
    """The URL of the archive of a version. Raises `DataError` and `MissingExtraError`."""
    reason = missing = None
    link: object = None
    with redirect_stdout(sys.stderr):  # the package prints its progress
        try:
            from roboflow import Roboflow
            from roboflow.adapters.rfapi import get_version_export

            source = Roboflow(api_key=api_key).workspace(workspace).project(project)
            source.version(version).export(FORMAT)  # waits until Roboflow has created the archive
            link = get_version_export(api_key, workspace, project, str(version), FORMAT)["export"]["link"]
        except ImportError:
            missing = missing_extra("roboflow", "roboflow", "Downloading from Roboflow")
        except Exception as error:  # the package raises anything, and its messages may contain the key
            said = printable(redact(secrets.hide(str(error))), _MAX_REASON)
            reason = f"{type(error).__name__}: {said}"
    if missing is not None:
        raise missing
    if reason is not None:
        raise DataError(f"{name}: cannot be exported: {reason}. Check the key, the names and the version.")
    if not isinstance(link, str):
        raise DataError(f"{name}: Roboflow returned no URL of an archive. Try again later.")
    check_http_url(link)
    secrets.learn_url(link)
    return link
