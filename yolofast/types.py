"""The values that the stages exchange.

Frozen dataclasses with numpy inside; this module imports numpy and nothing heavier. Boxes are
`xyxy` in pixels on pixel edges (a box over a whole image is `0, 0, w, h`) unless a name says
otherwise; `xywhn` is centre x, centre y, width, height, each divided by the image's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "valid", "test"]
Severity = Literal["error", "warning", "info"]
StructureType = Literal["flat", "nested", "mixed", "unknown"]
Layout = Literal[
    "roboflow", "voc", "coco", "images+labels", "split folders", "class folders", "one folder", "unknown"
]
"""Roboflow's export (its readme and split folders), VOC's JPEGImages/ and Annotations/, COCO's annotations/
with folders of images, images/ with labels/, split folders with labels next to the images, one folder per
class as for classification (no boxes), all images in one folder, or none of these."""

# ---------------------------------------------------------------- pixels


@dataclass(frozen=True, slots=True)
class JpegInfo:
    """The header of a JPEG. `width` and `height` are as stored, before `orientation`."""

    width: int
    height: int
    components: int
    subsampling: str
    """'444', '422', '420', '440', '411', 'gray' or 'other'."""
    progressive: bool
    orientation: int
    """EXIF orientation, 1..8; 1 = upright, also without EXIF."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) after applying the EXIF orientation, as a viewer shows the image."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


SUBSAMPLING_FACTORS = {
    "444": (1, 1),
    "422": (2, 1),
    "420": (2, 2),
    "440": (1, 2),
    "411": (4, 1),
    "gray": (1, 1),
}
"""Luma samples per chroma sample, across and down, for every `Ycc.subsampling`."""

MAX_RESTART_ROWS = 65535
"""Maximum MCU rows between two restart markers of a JPEG: the format counts MCUs in 16 bits."""


@dataclass(frozen=True, slots=True)
class Ycc:
    """Decoded JPEG planes, full-range BT.601, before any colour conversion or orientation.

    `y` is uint8 [H, W]; `cb` and `cr` are uint8 [ceil(H / sy), ceil(W / sx)] for the factors of
    `subsampling`, or None for a gray image. `place` and `shape` say what `Picture` says of planes that were
    reduced or are to be turned; None for whole, upright ones.
    """

    y: NDArray[np.uint8]
    cb: NDArray[np.uint8] | None
    cr: NDArray[np.uint8] | None
    subsampling: str
    place: NDArray[np.float64] | None = None
    shape: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """Planes as a renderer takes them: as stored, and where the upright picture lies in them.

    `place` float64 [2, 3] takes a point of the upright picture at full size (pixel edges) to a point of
    `ycc.y`: EXIF orientation and reduction in one. `shape` is (height, width) of that upright picture.
    A point of `y` lies in `cb` and `cr` at its coordinates divided by the factors of `ycc.subsampling`.
    """

    ycc: Ycc
    place: NDArray[np.float64]
    shape: tuple[int, int]

    @staticmethod
    def of(ycc: Ycc) -> Picture:
        """Planes at their own place; at full size and upright if they do not say."""
        height, width = ycc.y.shape
        return Picture(
            ycc,
            np.eye(2, 3) if ycc.place is None else ycc.place,
            (height, width) if ycc.shape is None else ycc.shape,
        )


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The placement of a source image in a padded target: `target = source * scale + pad`.

    Pixel-edge coordinates. `source` and `target` are (height, width).
    """

    scale: float
    pad_x: float
    pad_y: float
    source: tuple[int, int]
    target: tuple[int, int]

    @staticmethod
    def fit(source: tuple[int, int], target: tuple[int, int]) -> Letterbox:
        """The placement that shows all of `source` as large as possible, centred in `target`."""
        scale = min(target[0] / source[0], target[1] / source[1])
        inner_h, inner_w = Letterbox(scale, 0, 0, source, target).inner
        return Letterbox(scale, (target[1] - inner_w) // 2, (target[0] - inner_h) // 2, source, target)

    @property
    def inner(self) -> tuple[int, int]:
        """(height, width) of the resized image inside the padding."""
        return max(1, round(self.source[0] * self.scale)), max(1, round(self.source[1] * self.scale))

    def to_source(self, boxes: NDArray[Any]) -> NDArray[np.float32]:
        """Boxes [..., 4] from target pixels to source pixels, clipped to the source image."""
        inner_h, inner_w = self.inner
        out = np.array(boxes, dtype=np.float32, copy=True)
        out[..., 0::2] = (out[..., 0::2] - self.pad_x) * (self.source[1] / inner_w)
        out[..., 1::2] = (out[..., 1::2] - self.pad_y) * (self.source[0] / inner_h)
        out[..., 0::2] = out[..., 0::2].clip(0, self.source[1])
        out[..., 1::2] = out[..., 1::2].clip(0, self.source[0])
        return out

    def to_target(self, boxes: NDArray[Any]) -> NDArray[np.float32]:
        """Boxes [..., 4] from source pixels to target pixels."""
        inner_h, inner_w = self.inner
        out = np.array(boxes, dtype=np.float32, copy=True)
        out[..., 0::2] = out[..., 0::2] * (inner_w / self.source[1]) + self.pad_x
        out[..., 1::2] = out[..., 1::2] * (inner_h / self.source[0]) + self.pad_y
        return out


# ---------------------------------------------------------------- data stages


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The header of an image file; its pixels are not decoded."""

    format: str
    """'jpeg', 'png', 'bmp', 'webp' or 'tiff', by content rather than file name."""
    width: int
    """Of the image as shown and read: upright, `orientation` applied."""
    height: int
    mode: str
    """Pillow's names: 'L' gray, 'LA', 'RGB', 'RGBA', 'P' palette, 'CMYK'."""
    bits: int
    """Bits per channel value: mostly 8 or 16; 1, 2 and 4 occur."""
    orientation: int
    """EXIF orientation (a TIFF's own tag 274) that was applied, 1..8; 1 = as stored."""
    bytes: int
    """Size of the file."""
    complete: bool
    """False if the file is certainly truncated, such as a JPEG or PNG without its end marker."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the upright picture."""
        return self.height, self.width

    @property
    def stored_shape(self) -> tuple[int, int]:
        """(height, width) of the pixels as they are stored, before `orientation`."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation about a dataset, with file and line if there are any."""

    severity: Severity
    code: str
    """A short stable name such as 'box-nan' or 'image-unreadable'."""
    message: str
    file: str | None = None
    line: int | None = None
    count: int = 1
    """How many things (classes, images, boxes) it is about."""

    def __str__(self) -> str:
        where = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{where}{self.severity}: {self.message} [{self.code}]"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image with its boxes, from any label format.

    `boxes` float64 [N, 4] xyxy pixels, `classes` int64 [N] index into the dataset's class names,
    `lines` int64 [N] line (text formats), or annotation id / object number, each box came from.
    """

    path: Path
    width: int
    height: int
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    lines: NDArray[np.int64]
    label_file: Path | None
    split: Split | None


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """The result of `analyze_dataset`."""

    root: Path
    structure_type: StructureType
    label_format: str
    """The name of a reader ('yolo', 'coco', 'cvat' and so on, or one that was registered), 'mixed' or
    'unknown'."""
    class_names: tuple[str, ...]
    total_images: int
    total_boxes: int
    splits: Mapping[str, int]
    """Images per split that the dataset itself names; empty when it names none."""
    format_counts: Mapping[str, int]
    """Annotation files per format."""
    image_formats: Mapping[str, int]
    class_counts: Mapping[str, int]
    evidence: tuple[str, ...]
    """The reasons for the detected structure and format, one sentence each."""
    findings: tuple[Finding, ...] = ()
    layout: Layout = "unknown"

    @property
    def class_count(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between edges; values beyond the outer edges are in the outer bins."""

    edges: NDArray[np.float64]
    """[N + 1], ascending."""
    counts: NDArray[np.int64]
    """[N]."""


@dataclass(frozen=True, slots=True)
class DatasetStatistics:
    """Statistics of the usable boxes of a dataset; every array is small, however large the dataset is.

    Arrays over splits have one row per entry of `split_names`: those of train, valid, test that occur, and
    'none' for images in no split.
    """

    images: int
    boxes: int
    empty_images: int
    """Images without usable boxes."""
    class_names: tuple[str, ...]
    split_names: tuple[str, ...]
    split_images: tuple[int, ...]
    class_boxes: NDArray[np.int64]
    """Boxes per split and class [S, C]."""
    boxes_per_image: Histogram
    """At most 24 bins of equal width; if a few images have many more boxes, one more bin holds these."""
    box_sizes: NDArray[np.int64]
    """[32, 32]: rows height, columns width, as shares of the image's sides, between `box_size_edges`."""
    box_size_edges: NDArray[np.float64]
    """[33] from 0.001 to 1, evenly spaced in the logarithm."""
    box_centres: NDArray[np.int64]
    """[32, 32]: box centres, rows y, columns x, as shares of the image's sides, evenly spaced."""
    box_aspects: Histogram
    """Width / height."""
    boxes_by_area: Mapping[str, int]
    """COCO's small (under 32x32 px), medium and large (from 96x96 px), at the original image size."""
    boxes_by_area_at_640: Mapping[str, int]
    """The same with each image's long side scaled to 640 px."""
    image_aspects: Histogram
    """Width / height."""
    image_sides: Mapping[str, tuple[int, int, int]]
    """'width' and 'height': smallest, median and largest in pixels."""
    image_sizes: tuple[tuple[int, int, int], ...]
    """The 64 most common (width, height, images)."""
    distinct_image_sizes: int


@dataclass(frozen=True, slots=True)
class CodeSummary:
    """All findings with one code: severity, count and what to do."""

    code: str
    severity: Severity
    """The highest among them."""
    count: int
    """How many things they are about: the sum of their counts."""
    title: str
    recommendation: str

    def __str__(self) -> str:
        return f"{self.title}: {self.count}. {self.recommendation} [{self.code}, {self.severity}]"


@dataclass(frozen=True, slots=True)
class FaultExample:
    """One finding with its image, for a report.

    `bad` float32 [M, 4] the boxes concerned, `others` float32 [K, 4] some of the image's other boxes; xyxy
    pixels, `bad` possibly outside the image.
    """

    finding: Finding
    image: Path
    bad: NDArray[np.float32]
    others: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LabelledSample:
    """An image with all its boxes, for a report.

    `boxes` float32 [N, 4] xyxy pixels, `classes` int64 [N] index into the class names of the statistics;
    `marked` is the class that it is an example of, if there is one.
    """

    image: Path
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    marked: int | None = None


@dataclass(frozen=True, slots=True)
class QualityReport:
    """The result of `check_data_quality`, most severe first within each group."""

    root: Path
    image_issues: tuple[Finding, ...]
    label_issues: tuple[Finding, ...]
    format_issues: tuple[Finding, ...]
    recommendations: tuple[Finding, ...]
    """Advice about the dataset as a whole."""
    images_checked: int
    boxes_checked: int
    summary: tuple[CodeSummary, ...]
    """One entry per code over all groups and the recommendations: most severe first, then most frequent."""
    statistics: DatasetStatistics = field(compare=False, repr=False)
    examples: tuple[FaultExample, ...] = field(compare=False, repr=False)
    """A few findings per code, of the codes that concern images."""
    samples: tuple[LabelledSample, ...] = field(default=(), compare=False, repr=False)
    """Some labelled images, drawn at random with a fixed seed."""
    rare_samples: tuple[LabelledSample, ...] = field(default=(), compare=False, repr=False)
    """An image of each of the rarest classes, the rarest first."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.image_issues + self.label_issues + self.format_issues

    @property
    def errors(self) -> int:
        return sum(f.severity == "error" for f in self.findings)


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """A dataset in the YOLO layout: `{train,valid,test}/{images,labels}` and `data.yaml`."""

    root: Path
    data_yaml: Path
    class_names: tuple[str, ...]
    images: Mapping[str, int]
    """Images per split."""
    boxes: Mapping[str, int]
    """Boxes per split."""
    source_boxes: int
    """Boxes in the source: `source_boxes == sum(boxes.values()) + len(dropped boxes)`."""
    dropped: tuple[Finding, ...]
    """Every box or image that was dropped, with file, line and reason."""
    noticed: tuple[Finding, ...] = ()
    """Errors, then warnings, about what was kept and about the dataset as a whole; then, of severity info,
    where the splits come from and which names were matched although they differ."""


# ---------------------------------------------------------------- loading


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How to render B samples of one size from T tiles. Pixel-edge coordinates throughout.

    A tile is one source picture that gives pixels to one sample. All that is random is in here, and no
    pixel is: the same plan and pictures give the same samples, whoever executes it.

    size          (height, width) of the output
    images        int64 [B]        the image each sample is about (its path and original shape)
    tile_sample   int64 [T]        ascending: the sample each tile belongs to
    tile_layer    int64 [T]        0, 1 for a tile of the picture that is mixed in (mixup), or 2 for one of
                                   the picture in the sample's hole (cutmix)
    tile_image    int64 [T]        the image each tile is cut from
    tile_matrix   float64 [T,3,3]  output point -> source point (of the upright image, full size)
    tile_forward  float64 [T,3,3]  source point -> output point (for the labels)
    tile_window   float64 [T,4]    x0, y0, x1, y1 in source pixels, half-open: what the tile may show
    mix           float64 [B]      weight of layer 0; layer 1 has the rest; 1 = no mixup
    colour        float64 [B,3,4]  (Y, Cb, Cr, 1) -> (R, G, B), levels 0..255, colour jitter included
    hole          int64 [B,4]      x0, y0, x1, y1 in output pixels: the part of each sample that shows layer 2
                                   alone; empty = no such part. None = no sample has one

    The last row of a matrix is 0, 0, 1 unless there is perspective. `kernels.reference.render` says
    exactly which pixel a tile owns and what colour it gets; where no tile of a layer owns a pixel, that
    layer is 114 there.
    """

    size: tuple[int, int]
    images: NDArray[np.int64]
    tile_sample: NDArray[np.int64]
    tile_layer: NDArray[np.int64]
    tile_image: NDArray[np.int64]
    tile_matrix: NDArray[np.float64]
    tile_forward: NDArray[np.float64]
    tile_window: NDArray[np.float64]
    mix: NDArray[np.float64]
    colour: NDArray[np.float64]
    hole: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def holes(self) -> NDArray[np.int64]:
        """The hole of every sample, int64 [B, 4]."""
        return np.zeros((len(self), 4), np.int64) if self.hole is None else self.hole

    def __getitem__(self, rows: slice) -> BatchPlan:
        """The plan of samples `rows` (a slice of step 1); arrays are shared, not copied."""
        begin, end, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"a plan is cut in steps of 1; got {step}")
        tiles = slice(*np.searchsorted(self.tile_sample, (begin, max(begin, end))))
        return BatchPlan(
            self.size,
            self.images[rows],
            self.tile_sample[tiles] - begin,
            self.tile_layer[tiles],
            self.tile_image[tiles],
            self.tile_matrix[tiles],
            self.tile_forward[tiles],
            self.tile_window[tiles],
            self.mix[rows],
            self.colour[rows],
            None if self.hole is None else self.hole[rows],
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One training or validation sample.

    `image` uint8 [3, H, W] RGB; `labels` float32 [N, 5] class, xywhn; `shape` (height, width) of
    the original image, EXIF orientation applied.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.float32]
    path: str
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch from a loader: numpy arrays, or torch tensors from `create_dataloader`.

    `images` uint8 [B, 3, H, W] RGB; `targets` float32 [N, 6] sample, class, xywhn;
    `paths` B strings; `shapes` int64 [B, 2] original height, width.
    """

    images: Any
    targets: Any
    paths: tuple[str, ...]
    shapes: Any

    def __len__(self) -> int:
        return len(self.paths)

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (torch tensors only; called by torch's DataLoader)."""
        return Batch(
            self.images.pin_memory(), self.targets.pin_memory(), self.paths, self.shapes.pin_memory()
        )


# ---------------------------------------------------------------- results


@dataclass(frozen=True, slots=True)
class Detections:
    """Detections in one image, highest score first.

    `boxes` float32 [N, 4] xyxy pixels of the original image, `scores` float32 [N], `classes`
    int64 [N].
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of one class; precision, recall and f1 at the confidence threshold of the best mean F1.

    AP is NaN for a class without ground truth.
    """

    name: str
    images: int
    boxes: int
    precision: float
    recall: float
    f1: float
    ap50: float
    ap50_95: float


@dataclass(frozen=True, slots=True)
class ConfidenceCurves:
    """Precision, recall and F1 at IoU 0.5 over the confidence; NaN rows for classes without boxes."""

    confidence: NDArray[np.float64] = field(repr=False)
    """Confidence thresholds [N], ascending from 0 to 1."""
    precision: NDArray[np.float64] = field(repr=False)
    """[num_classes, N]; beyond a class's highest score the value at it, and 0 for a class never detected."""
    recall: NDArray[np.float64] = field(repr=False)
    f1: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of one evaluation: COCO definition, IoU 0.50:0.05:0.95, 101 recall points."""

    map50: float
    map50_95: float
    precision: float
    recall: float
    f1: float
    confidence: float
    """The confidence threshold with the best mean F1 over classes; P, R and F1 are taken at it."""
    classes: tuple[ClassMetrics, ...]
    images: int
    boxes: int
    detections: int
    pr_recall: NDArray[np.float64] = field(repr=False)
    """Recall points of the PR curves [101]."""
    pr_precision: NDArray[np.float64] = field(repr=False)
    """Interpolated precision at IoU 0.5 [num_classes, 101]; NaN rows for classes without boxes."""
    stats: NDArray[np.float64] = field(repr=False)
    """pycocotools' twelve metrics: AP, AP50, AP75, AP small, medium, large; AR at 1, 10 and 100 detections,
    AR small, medium, large; -1 without ground truth."""
    eval: Mapping[str, NDArray[np.float64]] = field(repr=False)
    """pycocotools' arrays: `precision` and `scores` [T, R, K, A, M], `recall` [T, K, A, M] over IoU
    thresholds, recall points, classes, area ranges and detection limits."""
    confidence_curves: ConfidenceCurves = field(repr=False)
    lvis: Mapping[str, float] | None = None
    """lvis-api's thirteen results by its names (AP, AP50, ..., APr, APc, APf, AR@300, ...) for a ground truth
    of LVIS, -1 without ground truth; else None."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """An exported file, and how far its output is from the torch model's on real images."""

    format: str
    path: Path
    size_bytes: int
    max_rel_diff: float | None
    """max |exported - torch| / max |torch| over the raw outputs; None if it was not compared."""
    images_checked: int
    seconds: float
