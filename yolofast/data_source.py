"""The dataset that `--data` means: a data.yaml, or a folder, which is prepared first if needed."""

from __future__ import annotations

import logging
from pathlib import Path

from yolofast.config import YOLOConfig
from yolofast.errors import ConfigError, DataError, DatasetNotFoundError
from yolofast.formats.data_yaml import DataYaml, list_images, read_data_yaml
from yolofast.formats.discover import scan_dataset
from yolofast.prepare import changed_files, default_output, prepare_dataset, prepared_is_up_to_date
from yolofast.printable import printable
from yolofast.stopwatch import Report
from yolofast.types import Split

_log = logging.getLogger(__name__)

MODEL_TYPES = ("yolo",)


def auto_prepare_dataset_if_needed(root: str | Path, model_type: str = "yolo") -> Path:
    """The folder of a prepared dataset for `root`, which is prepared first if needed.

    Returns `root` at once when it holds data.yaml and images for training and validation. Otherwise the
    dataset is prepared next to it (the source is not changed), unless that was done before and nothing has
    changed since, and the prepared folder is returned. The source is scanned once.

        root = auto_prepare_dataset_if_needed("datasets/pets", model_type="yolo")
        config = YOLOConfig().replace(data=root / "data.yaml")

    `model_type` names the layout that is needed; 'yolo' is the only one. Raises `DatasetNotFoundError` (a
    FileNotFoundError) when there is no such folder, `DataError` when it holds no usable dataset,
    `ConfigError` for another `model_type`.
    """
    if model_type not in MODEL_TYPES:
        raise ConfigError(f"model_type: got '{model_type}', expected {' or '.join(MODEL_TYPES)}.")
    root = Path(root)
    if not root.exists():
        raise DatasetNotFoundError(
            f"{root}: no such folder. Create it and put your images and annotations in it "
            "(YOLO txt, COCO json or Pascal VOC xml), or give the path of an existing dataset."
        )
    return root if _prepared_data(root) is not None else _prepared(root, _log.info)


def _prepared(root: Path, report: Report, label_format: str | None = None) -> Path:
    """The folder next to `root` in which it is prepared, now unless it is up to date."""
    tree = scan_dataset(root)
    out = default_output(tree.root)
    if prepared_is_up_to_date(
        out, tree, label_format=label_format
    ):  # then files that a user added to it are no reason to refuse
        report(f"{root}: already prepared, up to date; using {out}")
        return out
    report(f"{root}: not in the YOLO layout yet; preparing it in {out} (the source is not changed)")
    return prepare_dataset(tree, out, label_format=label_format).root


def _prepared_data(root: Path) -> DataYaml | None:
    """The data.yaml in `root`, if it has images for training and validation."""
    path = root.resolve() / "data.yaml"  # where it is a link itself, its paths are still relative to `root`
    if not path.is_file():
        return None
    data = read_data_yaml(path)
    complete = all(split in data.splits and list_images(data, split) for split in ("train", "valid"))
    return data if complete else None


def resolve_data(
    data: Path | None, report: Report = _log.info, *, label_format: str | None = None
) -> DataYaml:
    """The dataset meant by `--data`: a data.yaml, or that of a folder, which is prepared first if needed.

    `report` is told when it is. `label_format` chooses the labels of a folder with several formats; any but
    'yolo' is always prepared. `DataYaml.path` is absolute. A warning says when files of a prepared dataset
    are no longer those that were prepared. Raises `ConfigError` for None, `DatasetNotFoundError` when `data`
    does not exist, `DataError` for an unusable dataset.
    """
    if data is None:
        raise ConfigError("data: missing, expected a data.yaml or a dataset folder. Add --data PATH.")
    if not data.exists():
        raise DatasetNotFoundError(f"{data}: no such file or folder. Give a data.yaml or a dataset folder.")
    if not data.is_dir():
        found = read_data_yaml(data.resolve())
    elif (prepared := _prepared_data(data) if label_format in (None, "yolo") else None) is not None:
        found = prepared
    else:  # prepared now, or found to be up to date
        return read_data_yaml((_prepared(data, report, label_format) / "data.yaml").resolve())
    _warn_of_changes(found.path.parent)
    return found


def _warn_of_changes(root: Path) -> None:
    """Log a warning when files of the prepared dataset `root` are no longer those that were prepared."""
    if changed := changed_files(root):
        more = f" and {len(changed) - 1} more have" if len(changed) > 1 else " has"
        _log.warning(
            "%s%s changed since `yolofast prepare` (images that are hard links change with their source). "
            "Prepare again to have it as the source is now, which undoes edits made here; --link copy keeps "
            "the images apart.",
            printable(changed[0]),
            more,
        )


def dataset_of(config: YOLOConfig, report: Report = _log.info) -> DataYaml:
    """`resolve_data` for the dataset of a config."""
    return resolve_data(config.dataset.data, report, label_format=config.dataset.label_format)


def evaluation_split(data: DataYaml) -> Split:
    """`valid`, or `test` for a dataset that has only that. Raises `DataError` with neither."""
    if "valid" in data.splits:
        return "valid"
    if "test" in data.splits:
        return "test"
    raise DataError(f"{data.path}: no validation split. Run `yolofast prepare`, which makes one.")
