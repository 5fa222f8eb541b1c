"""Loading: from files to batches. Plans are drawn in `plan`, rendered by native threads behind `Loader`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from yolofast.config import AugmentConfig

if TYPE_CHECKING:
    from yolofast.load.dataset import YOLODataset
    from yolofast.load.index import SINGLE_CLASS_NAMES
    from yolofast.load.lazy import LazyDataset, stream_process_dataset
    from yolofast.load.loader import Loader
    from yolofast.load.monitor import DataFlowMonitor
    from yolofast.load.torch_loader import TorchLoader, create_dataloader, create_loader, custom_collate_fn

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
    "torch_loader": ("TorchLoader", "create_dataloader", "create_loader", "custom_collate_fn"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Names are imported from their modules when first used, so torch comes only with the torch loader."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
