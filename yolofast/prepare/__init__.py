"""Stage 3: any readable dataset to the YOLO layout. The source is never changed."""

from yolofast.prepare.dataset import prepare_dataset

__all__ = ["prepare_dataset"]
