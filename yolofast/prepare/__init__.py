"""Stage 3: any supported dataset to the YOLO layout (or COCO, or VOC). The source is never changed."""

from yolofast.config import PrepareConfig
from yolofast.prepare.changes import changed_files, has_hard_links
from yolofast.prepare.convert import ConvertedDataset, convert_dataset
from yolofast.prepare.dataset import prepare_dataset
from yolofast.prepare.folder import default_output
from yolofast.prepare.manifest import rejected_labels
from yolofast.prepare.up_to_date import prepared_is_up_to_date

__all__ = [
    "ConvertedDataset",
    "PrepareConfig",
    "changed_files",
    "convert_dataset",
    "default_output",
    "has_hard_links",
    "prepare_dataset",
    "prepared_is_up_to_date",
    "rejected_labels",
]
