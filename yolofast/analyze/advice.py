"""What each code means and what to do about it: the one table behind the text, the JSON and the HTML.

Severities: an `error` costs data or makes the figures of a training wrong (a row or an image is left out,
the same picture is in two splits); a `warning` is used as it is and likely harms; an `info` is worth
knowing and often intended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from yolofast.types import CodeSummary, Finding, Severity

RANK: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


class Advice(NamedTuple):
    """A heading for all findings of a code, and one or two sentences on what to do."""

    title: str
    recommendation: str


ADVICE: dict[str, Advice] = {
    # ---- images
    "image-unreadable": Advice(
        "Images that cannot be read",
        "They and their labels are left out. Get the files again, or remove them.",
    ),
    "image-truncated": Advice(
        "Images that stop early",
        "A copy or download was cut off; training puts other images in their place. Get the files again.",
    ),
    "image-tiny": Advice(
        "Tiny images",
        "They are mostly enlarged for training and hold little to learn. Remove icons and thumbnails.",
    ),
    "image-huge": Advice(
        "Huge images",
        "Slow to read, and objects become small at training size. Cut them into tiles, or scale them down.",
    ),
    "image-gray": Advice(
        "Gray images",
        "They are read as three equal channels. Make sure that those met in use are gray too.",
    ),
    "image-cmyk": Advice(
        "CMYK images",
        "They are converted to RGB without their colour profile, so colours may be off. Convert them to RGB.",
    ),
    "image-16bit": Advice(
        "Images with 16 bits a sample",
        "They are read as 8 bits: the lower byte is lost. Stretch dark pictures to 8 bits yourself first.",
    ),
    "image-palette": Advice(
        "Palette images", "They are expanded to RGB when read. Nothing to do; masks among them are no photos."
    ),
    "image-alpha": Advice(
        "Images with transparency",
        "Transparency is dropped, so what it hid may show. Flatten them onto a background if that matters.",
    ),
    "image-rotated": Advice(
        "EXIF-rotated images",
        "They are turned upright when read, and boxes must fit the upright picture. Look at a few of them: "
        "labels of tools that ignore EXIF are turned.",
    ),
    "image-aspect": Advice(
        "Very long or very tall images",
        "Letterboxing fills most of the square with padding. Cut them into pieces.",
    ),
    "image-duplicate": Advice(
        "Duplicate images",
        "Byte for byte the same picture: it counts double, and contradicting labels harm. Keep one of each.",
    ),
    "split-leakage": Advice(
        "Images that are in two splits",
        "Validation figures are too good where the model has trained on the picture. Keep each in one split.",
    ),
    "image-missing": Advice(
        "Labels whose image is missing", "They cannot be used. Add the images, or remove the labels."
    ),
    "image-unlabelled": Advice(
        "Images that were never annotated",
        "They are left out. Annotate them; an annotation without objects makes one background.",
    ),
    "image-repeated": Advice(
        "Images that are listed twice", "Only the first entry counts. Merge their rows into one."
    ),
    "image-unlisted": Advice(
        "Images in no split", "They are left out. Add them to a split in data.yaml, or remove them."
    ),
    "image-label-unreadable": Advice(
        "Label files that cannot be read", "Their images are left out. Mend or remove the files."
    ),
    # ---- label rows
    "box-syntax": Advice(
        "Rows that are not numbers", "The rows are left out. Expected: class x y w h, separated by blanks."
    ),
    "box-columns": Advice(
        "Rows with a wrong number of values", "The rows are left out. Write them again with all their values."
    ),
    "box-nan": Advice(
        "Boxes with NaN or infinity", "The rows are left out. Look for a division by zero in what wrote them."
    ),
    "box-class": Advice(
        "Rows with an impossible class",
        "The rows are left out. Compare the class ids with the list of names: often it is off by one.",
    ),
    "box-outside": Advice(
        "Boxes outside their image",
        "The rows are left out. Often the labels are in pixels or belong to another size of the image.",
    ),
    "box-empty": Advice("Boxes without area", "The rows are left out. Draw them again, or delete them."),
    "box-duplicate": Advice("Rows that repeat", "Only the first counts. Delete the others."),
    "box-no-image": Advice(
        "Rows without a usable image",
        "The rows are left out. Mend or add their images, or delete the labels.",
    ),
    "box-shape": Advice(
        "Shapes that are no boxes",
        "Points and lines have no area: the rows are left out. Draw rectangles or polygons.",
    ),
    "box-crowd": Advice(
        "Crowd boxes",
        "A crowd stands for many objects at once and is no YOLO label: left out. Nothing to do.",
    ),
    "box-clipped": Advice(
        "Boxes clipped at the frame", "They reached less than 1 % beyond the image. Nothing to do."
    ),
    "box-tiny": Advice(
        "Boxes with a side under 2 px",
        "No detector here can learn them. Delete slips of the mouse; for real objects use larger images.",
    ),
    "box-near-duplicate": Advice(
        "Nearly equal boxes of the same class",
        "Mostly one object marked twice (IoU over 0.95). Keep one of each pair.",
    ),
    "box-covers-image": Advice(
        "Boxes over the whole image",
        "They teach nothing about where an object is. Make sure that they are no image tags made into boxes.",
    ),
    "boxes-many": Advice(
        "Images with very many boxes",
        "Detection stops at 300 objects an image unless told otherwise. Raise max_det, or cut into tiles.",
    ),
    "label-missing": Advice(
        "Images without a label file", "They count as background. Remove them if they were never labelled."
    ),
    "label-orphan": Advice(
        "Label files without an image", "They are not used. Add their images, or remove them."
    ),
    "size-mismatch": Advice(
        "Stated sizes that are wrong",
        "The image's own size counts. If images were resized after labelling, scale the boxes too.",
    ),
    # ---- formats and files
    "split-overlap": Advice(
        "Names listed in two splits", "They stay in the first. List each image in one split only."
    ),
    "names-missing": Advice(
        "Classes without a name", "They go by their code. Add the file that names the classes."
    ),
    "names-short": Advice(
        "Class ids beyond the list of names",
        "Their rows are left out. Add the missing names, or see whether the ids start at 1.",
    ),
    "names-unreadable": Advice(
        "Files of class names that cannot be read", "They are passed over. Mend or remove them."
    ),
    "label-kinds": Advice(
        "Rows that are more than boxes", "Only the boxes of polygons and keypoints are used. Nothing to do."
    ),
    "names-conflict": Advice(
        "Class lists that contradict", "One of them counts, as said. Make them equal, or remove the other."
    ),
    "format-several": Advice(
        "Labels in several formats", "Say which one counts with --label-format, or remove the others."
    ),
    "format-unknown": Advice(
        "No labels that can be read", "Convert the labels to YOLO, COCO json or Pascal VOC xml."
    ),
    "format-broken": Advice(
        "Labels that cannot be opened", "Mend what the message names; none of them count."
    ),
    "folder-unreadable": Advice("Folders that cannot be read", "Check their permissions."),
    "link-broken": Advice("Links that lead nowhere", "Restore what they point to, or remove them."),
    # ---- the dataset as a whole
    "class-unused": Advice("Classes without a box", "Remove them from the names, or add examples."),
    "class-few": Advice("Classes with few boxes", "Add examples, or merge the class with a similar one."),
    "class-imbalance": Advice(
        "Uneven classes", "Add examples of the rare classes, or merge classes; look at AP class by class."
    ),
    "class-missing-split": Advice(
        "Classes missing from a split", "Split again with all classes in every split (stratified)."
    ),
    "images-empty": Advice(
        "Many images without a box",
        "Make sure that they are background on purpose; up to about a tenth helps against false alarms.",
    ),
    "labels-missing": Advice(
        "Images without a label file, in all",
        "Remove them if they were never labelled; else they are background.",
    ),
    "boxes-small": Advice(
        "Mostly small objects", "Train with a larger image size, or cut the images into tiles."
    ),
    "sizes-vary": Advice(
        "Images of very different sizes",
        "Objects appear at very different scales. Compare results on small and large images.",
    ),
}
_OTHER = Advice("Other findings", "Read the messages.")


def advice_for(code: str) -> Advice:
    """The table's entry, or a general one for the codes of readers that a user added."""
    return ADVICE.get(code, _OTHER._replace(title=code.replace("-", " ").capitalize()))


def summarise(findings: Iterable[Finding]) -> tuple[CodeSummary, ...]:
    """One entry a code: worst first, then the most frequent."""
    counts: dict[str, int] = {}
    worst: dict[str, Severity] = {}
    for finding in findings:
        counts[finding.code] = counts.get(finding.code, 0) + 1
        known = worst.setdefault(finding.code, finding.severity)
        if RANK[finding.severity] < RANK[known]:
            worst[finding.code] = finding.severity
    ordered = sorted(counts, key=lambda code: (RANK[worst[code]], -counts[code], code))
    return tuple(CodeSummary(code, worst[code], counts[code], *advice_for(code)) for code in ordered)
