"""Loading: from image files to batches; README.md in this folder explains how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolofast.config import AugmentConfig
from yolofast.lazy_names import lazy_names

if TYPE_CHECKING:
    from yolofast.load.arrays import array_batch
    from yolofast.load.configured import create_loader
    from yolofast.load.dataset import YOLODataset
    from yolofast.load.hooks import Hook, hook
    from yolofast.load.image_files import image_batches
    from yolofast.load.index import SINGLE_CLASS_NAMES
    from yolofast.load.lazy import LazyDataset, stream_process_dataset
    from yolofast.load.loader import Loader
    from yolofast.load.monitor import DataFlowMonitor
    from yolofast.load.tensors import custom_collate_fn
    from yolofast.load.torch_dataloader import TorchLoader, create_dataloader

__all__ = [
    "SINGLE_CLASS_NAMES",
    "AugmentConfig",
    "DataFlowMonitor",
    "Hook",
    "LazyDataset",
    "Loader",
    "TorchLoader",
    "YOLODataset",
    "array_batch",
    "create_dataloader",
    "create_loader",
    "custom_collate_fn",
    "hook",
    "image_batches",
    "stream_process_dataset",
]

_HOMES = {
    "arrays": ("array_batch",),
    "configured": ("create_loader",),
    "dataset": ("YOLODataset",),
    "hooks": ("Hook", "hook"),
    "image_files": ("image_batches",),
    "index": ("SINGLE_CLASS_NAMES",),
    "lazy": ("LazyDataset", "stream_process_dataset"),
    "loader": ("Loader",),
    "monitor": ("DataFlowMonitor",),
    "tensors": ("custom_collate_fn",),
    "torch_dataloader": ("TorchLoader", "create_dataloader"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
