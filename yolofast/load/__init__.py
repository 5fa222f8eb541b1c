"""Loading: from files to batches. Plans are drawn in `plan`, rendered in `render`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolofast.load.dataset import SINGLE_CLASS_NAMES, YOLODataset, collate

if TYPE_CHECKING:
    from yolofast.load.torch_loader import TorchLoader, create_dataloader, custom_collate_fn

__all__ = [
    "SINGLE_CLASS_NAMES",
    "TorchLoader",
    "YOLODataset",
    "collate",
    "create_dataloader",
    "custom_collate_fn",
]


def __getattr__(name: str) -> Any:
    """torch is imported only when the torch loader is asked for."""
    if name in __all__:
        from yolofast.load import torch_loader

        return getattr(torch_loader, name)
    raise AttributeError(f"module 'yolofast.load' has no attribute '{name}'")
