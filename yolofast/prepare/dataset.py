"""From any readable dataset to the YOLO layout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.discover import FileTree, scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.formats.splits import SPLITS
from yolofast.formats.yolo.data_yaml import write_data_yaml
from yolofast.prepare.classes import ClassMap
from yolofast.prepare.up_to_date import up_to_date_manifest, fingerprint
from yolofast.prepare.folder import building, check_output, default_output
from yolofast.prepare.manifest import described_by, write_manifest
from yolofast.prepare.image_writer import image_file, label_file
from yolofast.prepare.settings import Link, Settings
from yolofast.prepare.stratify import choose_valid
from yolofast.prepare.write_images import write_images
from yolofast.prepare.outcome import Tally
from yolofast.types import PreparedDataset


def prepare_dataset(
    path: str | Path,
    out: str | Path | None = None,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    link: Link = "hard",
    label_format: str | None = None,
    restart_rows: int = 0,
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] | None = None,
    drop_empty: bool = False,
    max_side: int | None = None,
    quality: int = 90,
) -> PreparedDataset:
    """Write a dataset in the YOLO layout: `{train,valid,test}/{images,labels}`, data.yaml, manifest.json.

    Args:
        path: folder with images and labels of any registered format. It is only read.
        out: output folder; default: `<name>_yolo` beside the source. A dataset prepared there before is
            replaced; anything else is refused.
        val_fraction: share of the training images that become `valid` when the source names no such
            split (or no train split: then its splits are ignored): round(val_fraction * images), at least
            one, not all. Each class gets its share, and images of the same content stay on one side
            (`stratify.choose_valid`). The choice depends on the seed and on each image's relative path,
            classes and content only.
        seed: another seed gives another choice.
        link: 'hard' links images where the file system can (no extra space) and copies where it cannot;
            'copy' always copies; 'symlink' points at the images by absolute path, and breaks when they move.
        label_format: which labels count when there are several kinds, such as 'yolo', 'coco' or 'voc'.
        restart_rows: 0, or rewrite the JPEGs without loss with a restart marker after every so many rows of
            MCUs (`kernels.rewrite_jpeg`): new files instead of links. An image found to be damaged is left
            out; one that decodes but cannot be rewritten is placed as it is, with a note in manifest.json.
        rename: old class name -> new one. Several classes of one new name become one class; boxes that
            repeat each other by that are dropped. New ids count in the order in which names first come up.
        drop: classes (by their old names) whose boxes are left out.
        keep: classes (by their old names) whose boxes stay; those of all others are left out.
        drop_empty: leave out images that lose all their boxes by `drop` or `keep`. They stay as background
            otherwise, as do images that have no boxes in the source.
        max_side: images whose longer side is larger are made so small, upright, as new files: PNG stays
            PNG, all others become JPEG, without metadata. Labels, as shares of the sides, stay. An image
            found to be damaged is left out. None: no image is decoded.
        quality: of those JPEGs, 1 to 100.

    Nothing is done where `out` already is what it would become (`prepared_is_up_to_date`). Every box and
    image that is left out is in `dropped`, with file, line and reason, and in manifest.json;
    `source_boxes` is the sum of the boxes kept and those dropped. The same input gives the same bytes. A
    failure, or a kill, leaves `out` as it was, or such that the next run puts it right.

    Raises `DatasetNotFoundError` when there is no such folder and `DataError` for everything else.
    """
    settings = Settings.of(
        val_fraction=val_fraction,
        seed=seed,
        link=link,
        label_format=label_format,
        restart_rows=restart_rows,
        rename=rename,
        drop=drop,
        keep=keep,
        drop_empty=drop_empty,
        max_side=max_side,
        quality=quality,
    )
    tree = scan_dataset(path)
    target = Path(os.path.abspath(out)) if out is not None else default_output(tree.root)  # noqa: PTH100
    check_output(tree.root, target)
    manifest = up_to_date_manifest(target, tree, settings)
    return described_by(target, manifest) if manifest else _build(target, tree, settings)


def _build(target: Path, tree: FileTree, settings: Settings) -> PreparedDataset:
    """Make the prepared dataset at `target`."""
    root, state = tree.root, fingerprint(tree)
    dataset = open_dataset(tree, settings.label_format)
    classes = ClassMap.of(dataset.names, settings)
    with building(target) as work:
        tally = write_images(work, dataset, tree, classes, settings)
        if not any(entry.boxes for entry in tally.entries):
            raise DataError(f"{root}: no usable box in {len(tree.images)} images.{tally.first_problem}")
        if not any(entry.split == "valid" for entry in tally.entries):
            _take_valid(root, work, tally, settings)
        folders = {split: f"{split}/images" for split in SPLITS}
        write_data_yaml(work / "data.yaml", folders, classes.new)
        write_manifest(
            work, root, tally, label_format=dataset.format, names=classes.new,
            source_names=dataset.names, settings=settings.entry(), fingerprint=state,
        )  # fmt: skip
    return tally.described(target, classes.new)


def _take_valid(root: Path, work: Path, tally: Tally, settings: Settings) -> None:
    """Move a deterministic share of the training images to valid."""
    train = [entry for entry in tally.entries if entry.split == "train"]
    if len(train) < 2:
        raise DataError(
            f"{root}: got {len(train)} usable training image, expected at least 2: one to train on, one to "
            f"validate.{tally.first_problem}"
        )
    chosen = choose_valid(
        [os.fsencode(entry.source) for entry in train],
        [entry.classes for entry in train],
        [entry.sha256 for entry in train],
        count=min(max(1, round(settings.val_fraction * len(train))), len(train) - 1),
        seed=settings.seed,
    )
    folder = str(work)
    for i in sorted(chosen):
        entry = train[i]
        for place in (image_file, label_file):
            os.rename(place(folder, "train", entry.name), place(folder, "valid", entry.name))  # noqa: PTH104
        entry.split = "valid"
