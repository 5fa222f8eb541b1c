"""Loading: from files to batches. Plans are drawn in `plan`, rendered by native threads behind `Loader`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolofast.config import AugmentConfig
from yolofast.lazy_names import lazy_names

if TYPE_CHECKING:
    from yolofast.load.dataset import YOLODataset
    from yolofast.load.index import SINGLE_CLASS_NAMES
    from yolofast.load.lazy import LazyDataset, stream_process_dataset
    from yolofast.load.loader import Loader
    from yolofast.load.monitor import DataFlowMonitor
    from yolofast.load.torch_dataloader import (
        TorchLoader,
        create_dataloader,
        create_loader,
        custom_collate_fn,
    )

__all__ = [
    "SINGLE_CLASS_NAMES",
    "AugmentConfig",
    "DataFlowMonitor",
    "LazyDataset",
    "Loader",
    "TorchLoader",
    "YOLODataset",
    "create_dataloader",
    "create_loader",
    "custom_collate_fn",
    "stream_process_dataset",
]

_HOMES = {
    "dataset": ("YOLODataset",),
    "index": ("SINGLE_CLASS_NAMES",),
    "lazy": ("LazyDataset", "stream_process_dataset"),
    "loader": ("Loader",),
    "monitor": ("DataFlowMonitor",),
    "torch_dataloader": ("TorchLoader", "create_dataloader", "create_loader", "custom_collate_fn"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
