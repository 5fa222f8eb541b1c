"""A dataset version from Roboflow, through Roboflow's own package."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from yolofast.errors import ConfigError, DataError, missing_extra
from yolofast.ingest.archive import installing

KEY_VARIABLE = "ROBOFLOW_API_KEY"


def export_dataset_for_yolo(
    api_key: str,
    workspace: str,
    project: str,
    version: int | str,
    target_dir: str | Path | None = None,
) -> Path:
    """Download a Roboflow dataset version in YOLO form and return its folder.

    `target_dir` (default `<project>-<version>` in the working directory) must be missing or empty. The
    key never appears in messages or files.

    Raises `MissingExtraError` without the roboflow package, `ConfigError` for an empty key or a version
    that is no number, and `DataError` when Roboflow refuses or delivers nothing.
    """
    if not api_key:
        raise ConfigError(
            f"Roboflow: got no API key. Pass api_key, or set {KEY_VARIABLE} for the command line."
        )
    if not str(version).isdecimal():
        raise ConfigError(f"Roboflow: got version '{version}', expected a whole number such as 3.")
    try:
        from roboflow import Roboflow
    except ImportError:
        raise missing_extra("roboflow", "roboflow", "Downloading from Roboflow") from None
    name = f"{workspace}/{project}/{version}"
    target = Path(target_dir) if target_dir is not None else Path(f"{project}-{version}")
    with installing(target) as work:
        try:
            with redirect_stdout(sys.stderr):  # the package prints its progress
                source = Roboflow(api_key=api_key).workspace(workspace).project(project)
                source.version(int(version)).download("yolov8", location=os.path.abspath(work))  # noqa: PTH100
        except Exception as error:  # the package raises anything, and its texts may hold the key
            reason = str(error).replace(api_key, "***")
            raise DataError(
                f"Roboflow {name}: cannot be downloaded: {type(error).__name__}: {reason}. "
                "Check the key, the names and the version."
            ) from None
        if not work.is_dir() or not any(work.iterdir()):
            raise DataError(f"Roboflow {name}: nothing was delivered.")
        _make_relative(work)
    return target


def _make_relative(folder: Path) -> None:
    """Take the temporary location out of the data.yaml: the package writes absolute paths into it."""
    data_yaml = folder / "data.yaml"
    if data_yaml.is_file():
        text = data_yaml.read_text(encoding="utf-8")
        data_yaml.write_text(text.replace(os.path.abspath(folder), "."), encoding="utf-8")  # noqa: PTH100
