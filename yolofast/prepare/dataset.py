"""From any supported dataset to the YOLO layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from yolofast.config import PrepareConfig
from yolofast.errors import DataError
from yolofast.formats.discover import FileTree, scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.formats.splits import SPLITS
from yolofast.formats.yolo.writer import write_data_yaml
from yolofast.prepare.changes import set_manifest_time
from yolofast.prepare.classes import ClassMap
from yolofast.prepare.folder import building, check_output, default_output, writing
from yolofast.prepare.image_writer import image_file, label_file
from yolofast.prepare.manifest import dataset_from_manifest, write_manifest
from yolofast.prepare.outcome import PrepareOutcome, first_problem
from yolofast.prepare.settings import manifest_settings, with_options
from yolofast.prepare.stratify import choose_valid
from yolofast.prepare.up_to_date import fingerprint, up_to_date_manifest
from yolofast.prepare.write_images import write_images
from yolofast.types import Finding, PreparedDataset


def prepare_dataset(
    path: str | Path | FileTree,
    out: str | Path | None = None,
    *,
    config: PrepareConfig | None = None,
    **options: Any,
) -> PreparedDataset:
    """Write a dataset in the YOLO layout: `{train,valid,test}/{images,labels}`, data.yaml, manifest.json.

        prepare_dataset("raw", val_fraction=0.1, seed=1, link="copy")
        prepare_dataset("raw", "out", config=PrepareConfig(max_side=1280))

    Args:
        path: folder with images and labels of any registered format, a data.yaml, or the scanned tree of
            either. It is only read.
        out: output folder; default: `<name>_yolo` next to the source. A dataset prepared there earlier is
            replaced; anything else is refused.
        config: the settings; default: `PrepareConfig()`.
        options: fields of `PrepareConfig` by name; they take precedence over `config`. The defaults are
            val_fraction=0.2, seed=0, link="hard", label_format=None, restart_rows=0, rename=None, drop=(),
            keep=None, drop_empty=False, keep_rejected=False, max_side=None, quality=90.

    Validation split: the splits of the source are used. When it names no `valid` split (or none but `valid`
    and `test`, for all images: these are then ignored), round(val_fraction * images) training images become
    `valid`, at least one and not all. Each class gets its share, and images of the same content stay on one
    side (`stratify.choose_valid`). The choice depends only on the seed and on the relative path, classes and
    content of each image.

    Classes: new ids follow the order in which the new names first occur. Boxes that repeat each other after a
    merge are dropped. Images without boxes in the source stay as background, and so do images that lose all
    their boxes, unless `drop_empty`. An image with label rows of which none can be used is left out, because
    its objects would be taught as background, unless `keep_rejected`.

    Images: links and copies are the original files. `restart_rows` rewrites JPEGs losslessly
    (`kernels.rewrite_jpeg`); an image that decodes but cannot be rewritten stays as it is, with a note in
    manifest.json. `max_side` writes larger images downscaled and upright: PNG stays PNG, all others become
    JPEG, without metadata. An image that turns out to be damaged is skipped.

    Nothing is done when `out` is up to date (`prepared_is_up_to_date`). Every box and image that is left out
    is in `dropped`, with file, line and reason, and in manifest.json; `source_boxes` is the sum of the boxes
    kept and dropped. The same input gives the same bytes. After a failure or a kill, `out` is as it was, or
    the next run recovers it. While another run writes `out`, this one waits.

    Raises `DatasetNotFoundError` when there is no such folder, `ConfigError` for invalid settings,
    `TypeError` for an unknown option, and `DataError` for everything else.
    """
    settings = with_options(config, options)
    tree = scan_dataset(path)
    target = Path(os.path.abspath(out)) if out is not None else default_output(tree.root)  # noqa: PTH100
    check_output(tree.root, target)
    if manifest := up_to_date_manifest(target, tree, settings):
        return dataset_from_manifest(target, manifest)
    with writing(target) as waited:
        if waited:
            check_output(tree.root, target)
            if manifest := up_to_date_manifest(target, tree, settings):
                return dataset_from_manifest(target, manifest)
        done = _build(target, tree, settings)
        set_manifest_time(target)  # removing the hard links of an earlier one has touched the images
        return done


def _build(target: Path, tree: FileTree, config: PrepareConfig) -> PreparedDataset:
    """Write the prepared dataset to `target`."""
    root, state = tree.root, fingerprint(tree)
    dataset = open_dataset(tree, config.label_format)
    classes = ClassMap.of(dataset.names, config)
    with building(target) as work:
        outcome = write_images(work, dataset, tree, classes, config)
        if not any(image.boxes for image in outcome.images):
            problem = first_problem(outcome.dropped)
            raise DataError(f"{root}: no usable box in {len(tree.images)} images.{problem}")
        if not any(image.split == "valid" for image in outcome.images):
            _move_to_valid(root, work, outcome, config)
        used = {image.split for image in outcome.images}
        folders = {split: f"{split}/images" for split in SPLITS if split in used}
        write_data_yaml(work / "data.yaml", folders, classes.new)
        write_manifest(
            work, root, outcome, label_format=dataset.format, names=classes.new,
            source_names=dataset.names, settings=manifest_settings(config), fingerprint=state,
        )  # fmt: skip
    return outcome.to_dataset(target, classes.new)


def _move_to_valid(root: Path, work: Path, outcome: PrepareOutcome, config: PrepareConfig) -> None:
    """Move a deterministic share of the training images to valid."""
    train = [image for image in outcome.images if image.split == "train"]
    if len(train) < 2:
        raise DataError(
            f"{root}: got {len(train)} usable training image, expected at least 2: one to train on, one to "
            f"validate.{first_problem(outcome.dropped)}"
        )
    chosen = choose_valid(
        [os.fsencode(image.source) for image in train],
        [image.classes for image in train],
        [image.sha256 for image in train],
        count=min(max(1, round(config.val_fraction * len(train))), len(train) - 1),
        seed=config.seed,
    )
    folder = str(work)
    for i in sorted(chosen):
        image = train[i]
        for file in (image_file, label_file):
            os.rename(file(folder, "train", image.name), file(folder, "valid", image.name))  # noqa: PTH104
        image.split = "valid"
    message = (
        f"valid: {len(chosen)} of {len(train)} training images, drawn with seed {config.seed}: "
        "the source does not split its images into train and valid"
    )
    outcome.notes.append(Finding("info", "split-drawn", message, str(root)))
