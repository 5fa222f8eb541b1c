"""What each finding code means and what to do about it: one table for the text, JSON and HTML output.

Severities: an `error` loses data or invalidates the metrics of a training (a row or an image is dropped, the
same image is in two splits); a `warning` does not prevent use but is likely to harm; an `info` is worth
knowing and often intended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from yolofast.types import CodeSummary, Finding, Severity

RANK: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


class Advice(NamedTuple):
    """A heading for the findings of a code, and one or two sentences on what to do."""

    title: str
    recommendation: str


ADVICE: dict[str, Advice] = {
    # ---- images
    "image-unreadable": Advice(
        "Images that cannot be read",
        "They are skipped with their labels. Get the files again, or remove them.",
    ),
    "image-truncated": Advice(
        "Truncated images",
        "A copy or download was interrupted; training substitutes other images. Get the files again.",
    ),
    "image-tiny": Advice(
        "Tiny images",
        "They are mostly upscaled for training and teach little. Remove icons and thumbnails.",
    ),
    "image-huge": Advice(
        "Huge images",
        "They are slow to read, and objects become small at training size. Tile or downscale them.",
    ),
    "image-gray": Advice(
        "Gray images",
        "They are read as three equal channels. Make sure that images at inference are gray too.",
    ),
    "image-cmyk": Advice(
        "CMYK images",
        "They are converted to RGB without their colour profile, so colours may be off. Convert them first.",
    ),
    "image-16bit": Advice(
        "Images with 16 bits per channel",
        "They are read as 8 bits: the lower byte is lost. Rescale dark images to 8 bits yourself first.",
    ),
    "image-palette": Advice(
        "Palette images",
        "They are expanded to RGB when read. Nothing to do, unless they are masks instead of photos.",
    ),
    "image-alpha": Advice(
        "Images with transparency",
        "Transparency is dropped, so hidden content may appear. Flatten them first if that matters.",
    ),
    "image-rotated": Advice(
        "EXIF-rotated images",
        "They are turned upright when read, and boxes must fit the upright image. Look at a few of them: "
        "tools that ignore EXIF write rotated labels.",
    ),
    "image-aspect": Advice(
        "Images with an extreme aspect ratio",
        "Letterboxing fills most of the square with padding. Tile them.",
    ),
    "image-duplicate": Advice(
        "Duplicate images",
        "Identical files: such an image counts twice, and contradicting labels harm. Keep one of each.",
    ),
    "split-leakage": Advice(
        "Images in two splits",
        "Validation metrics are too good when the model has trained on the image. Keep each in one split.",
    ),
    "image-missing": Advice(
        "Labels whose image is missing", "They cannot be used. Add the images, or remove the labels."
    ),
    "image-unlabelled": Advice(
        "Images that were never annotated",
        "They are skipped. Annotate them; an annotation without objects marks an image as background.",
    ),
    "image-repeated": Advice(
        "Images that are listed twice", "Only the first entry is used. Merge their rows into one."
    ),
    "images-joined": Advice(
        "Images with labels in several places",
        "They have the boxes of all of them, each once. Nothing to do, if each place labels something else.",
    ),
    "image-unlisted": Advice(
        "Images in no split", "They are skipped. Add them to a split in data.yaml, or remove them."
    ),
    "image-rejected": Advice(
        "Images none of whose label rows can be used",
        "They are left out, because their objects would be taught as background. Correct the rows, or keep "
        "the images as background (--keep-rejected).",
    ),
    "label-suffix": Advice(
        "Files in label formats that are not read", "If these are the labels, export them as COCO or YOLO."
    ),
    "image-suffix": Advice("Images in formats that are not read", "Convert them to JPEG or PNG."),
    "image-hidden": Advice(
        "Images hidden by a name that begins with a dot", "They are not read. Rename those that are data."
    ),
    "image-label-unreadable": Advice(
        "Label files that cannot be read", "Their images are skipped. Fix or remove the files."
    ),
    # ---- label rows
    "box-syntax": Advice(
        "Rows that are not numbers", "The rows are dropped. Expected: class x y w h, separated by spaces."
    ),
    "box-columns": Advice(
        "Rows with a wrong number of values", "The rows are dropped. Write them again with all their values."
    ),
    "box-nan": Advice(
        "Boxes with NaN or infinity",
        "The rows are dropped. Look for a division by zero in the tool that wrote them.",
    ),
    "box-class": Advice(
        "Rows with an invalid class",
        "The rows are dropped. Compare the class ids with the list of names: often they are off by one.",
    ),
    "box-outside": Advice(
        "Boxes outside their image",
        "The rows are dropped. Often the labels are in pixels, or belong to another size of the image.",
    ),
    "box-empty": Advice("Boxes without area", "The rows are dropped. Annotate them again, or delete them."),
    "box-duplicate": Advice("Repeated rows", "Only the first is used. Delete the others."),
    "box-no-image": Advice(
        "Rows without a usable image",
        "The rows are dropped. Fix or add their images, or delete the labels.",
    ),
    "box-shape": Advice(
        "Shapes that are not boxes",
        "Points and lines have no area: the rows are dropped. Annotate rectangles or polygons.",
    ),
    "box-reserved": Advice(
        "Shapes with a label that the tool reserves",
        "Areas to ignore are no objects: they are dropped, and count as background in training.",
    ),
    "shapes-grouped": Advice(
        "Shapes that are one object",
        "One box around the parts is taken, as their group says. Nothing to do, unless each is an object.",
    ),
    "box-crowd": Advice(
        "Crowd boxes",
        "A crowd stands for many objects, so it is dropped, and in training its objects count as background. "
        "Annotate them one by one where that matters. If a tool marks every mask as crowd (run lengths are "
        "often written so) and each is one object, set iscrowd to 0.",
    ),
    "box-ignored": Advice(
        "Regions that their dataset ignores",
        "They hold objects that were not labelled one by one, and are dropped. Nothing to do.",
    ),
    "box-clipped": Advice(
        "Boxes clipped to the image", "They reached less than 1 % beyond the image. Nothing to do."
    ),
    "box-swapped": Advice(
        "Boxes with swapped corners",
        "They are put right. Correct the tool that wrote them if they were not drawn that way.",
    ),
    "box-tiny": Advice(
        "Boxes with a side under 2 px",
        "Our detectors cannot learn them. Delete accidental boxes; for real objects use larger images.",
    ),
    "box-near-duplicate": Advice(
        "Nearly equal boxes of the same class",
        "Mostly one object annotated twice: IoU from 0.9, or all corners within 3 px. Keep one of each.",
    ),
    "box-covers-image": Advice(
        "Boxes that cover the whole image",
        "They teach nothing about the location of objects. Make sure that they are not converted image tags.",
    ),
    "boxes-many": Advice(
        "Images with very many boxes",
        "Detection returns at most 300 objects per image by default. Raise max_det, or tile the images.",
    ),
    "label-missing": Advice(
        "Images without a label file", "They are used as background. Remove them if they were never labelled."
    ),
    "label-orphan": Advice(
        "Label files without an image", "They are not used. Add their images, or remove them."
    ),
    "size-mismatch": Advice(
        "Wrong stated sizes",
        "The actual size of the image is used. If images were cropped after labelling, correct the boxes.",
    ),
    "boxes-turned": Advice(
        "Boxes drawn on images before their EXIF rotation",
        "The stated size is that of the file as stored, so the boxes are turned. Look at a few of them.",
    ),
    "boxes-scaled": Advice(
        "Boxes drawn on images of another size",
        "The stated size has the shape of the image, so the boxes are scaled to it. Look at a few of them.",
    ),
    "boxes-from-masks": Advice(
        "Annotations with a mask and no box", "The box around the mask is taken. Nothing to do."
    ),
    "boxes-normalised": Advice(
        "Coordinates from 0 to 1 in a format of pixels",
        "They are taken as shares of the image's sides. Look at a few of them.",
    ),
    # ---- formats and files
    "split-overlap": Advice(
        "Names listed in two splits", "The first split is used. List each image in one split only."
    ),
    "split-source": Advice("Where the splits come from", "Nothing to do."),
    "split-drawn": Advice("A validation split was drawn", "Nothing to do."),
    "split-list-unused": Advice(
        "Lists of images that are not here", "They are not used. Add the images, or remove the list."
    ),
    "split-unknown": Advice(
        "Texts in a split column that name no split",
        "Images with these are in the split of their folder, if any. Write train, val or test.",
    ),
    "names-matched": Advice(
        "Names that differ in spelling", "They are used. Rename the files, if other tools are to find them."
    ),
    "names-missing": Advice(
        "Classes without a name", "Their codes are used as names. Add the file that names the classes."
    ),
    "names-short": Advice(
        "Class ids beyond the list of names",
        "Their rows are dropped. Add the missing names, or check whether the ids start at 1.",
    ),
    "names-unreadable": Advice(
        "Files of class names that cannot be read", "They are ignored. Fix or remove them."
    ),
    "names-mapped": Advice(
        "Files that number the same classes differently",
        "Classes are mapped by name, each file by its own list. Look at the names if that is not intended.",
    ),
    "names-repeated": Advice(
        "Class names that occur twice", "The message says which id is used. Keep each name once."
    ),
    "names-case": Advice(
        "Class names that differ only in case or separators",
        "They are different classes. If one is meant, merge them: yolofast prepare --rename.",
    ),
    "category-root": Advice(
        "An unused root category", "It is left out of the classes: Roboflow adds it for the project."
    ),
    "yaml-several": Advice(
        "Several data.yaml files in a folder",
        "The message says which one is used. Give the path of another one instead of the folder's to use it.",
    ),
    "yaml-merged": Advice(
        "Several data.yaml files of different images",
        "They are merged, with classes by name. Give the path of one of them to use it alone.",
    ),
    "file-other-format": Advice(
        "Files of another format", "They are not used. Remove them, or convert them if they hold your labels."
    ),
    "label-kinds": Advice(
        "Rows that are more than boxes",
        "Only the boxes around polygons and keypoints are used. Nothing to do.",
    ),
    "names-conflict": Advice(
        "Contradicting class lists",
        "The message says which one is used. Make them equal, or remove the other.",
    ),
    "format-several": Advice(
        "Labels in several formats", "Choose one with --label-format, or remove the others."
    ),
    "format-unknown": Advice(
        "No labels that can be read", "Convert the labels to YOLO, COCO json or Pascal VOC xml."
    ),
    "format-broken": Advice(
        "Labels that cannot be opened", "None of them are used. Fix what the message names."
    ),
    "folder-unreadable": Advice("Folders that cannot be read", "Check their permissions."),
    "link-broken": Advice("Broken links", "Restore their targets, or remove them."),
    # ---- the dataset as a whole
    "class-unused": Advice("Classes without a box", "Remove them from the names, or add examples."),
    "class-few": Advice("Rare classes", "Add examples, or merge the class with a similar one."),
    "class-imbalance": Advice(
        "Class imbalance", "Add examples of the rare classes, or merge classes; look at the AP of each class."
    ),
    "class-missing-split": Advice(
        "Classes missing from a split", "Split again with all classes in every split (stratified)."
    ),
    "images-empty": Advice(
        "Many images without a box",
        "Make sure that they are intended as background; up to about a tenth reduces false positives.",
    ),
    "labels-missing": Advice(
        "Images without a label file, in total",
        "Remove them if they were never labelled; otherwise they are background.",
    ),
    "boxes-small": Advice("Mostly small objects", "Train with a larger image size, or tile the images."),
    "sizes-vary": Advice(
        "Images of very different sizes",
        "Objects appear at very different scales. Compare results on small and large images.",
    ),
}
_OTHER = Advice("Other findings", "Read the messages.")


def advice_for(code: str) -> Advice:
    """The entry of a code, or a general one for codes of user-registered readers."""
    return ADVICE.get(code, _OTHER._replace(title=code.replace("-", " ").capitalize()))


def summarise(findings: Iterable[Finding]) -> tuple[CodeSummary, ...]:
    """One entry per code: the worst first, then the most frequent."""
    counts: dict[str, int] = {}
    worst: dict[str, Severity] = {}
    for finding in findings:
        counts[finding.code] = counts.get(finding.code, 0) + finding.count
        known = worst.setdefault(finding.code, finding.severity)
        if RANK[finding.severity] < RANK[known]:
            worst[finding.code] = finding.severity
    ordered = sorted(counts, key=lambda code: (RANK[worst[code]], -counts[code], code))
    return tuple(CodeSummary(code, worst[code], counts[code], *advice_for(code)) for code in ordered)
