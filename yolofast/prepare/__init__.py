"""Stage 3: any readable dataset to the YOLO layout (or COCO, or VOC). The source is never changed."""

from yolofast.prepare.convert import ConvertedDataset, convert_dataset
from yolofast.prepare.up_to_date import prepared_is_up_to_date
from yolofast.prepare.dataset import prepare_dataset
from yolofast.prepare.folder import default_output

__all__ = ["ConvertedDataset", "convert_dataset", "default_output", "prepare_dataset", "prepared_is_up_to_date"]
