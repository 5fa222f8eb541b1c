"""Readers and writers of label formats, shared by the data stages.

The names exported here are what you need to write your own reader (see `yolofast.formats.registry`).
"""

from typing import TYPE_CHECKING

from yolofast.lazy_names import lazy_names

if TYPE_CHECKING:
    from .dataset import FoundImage, LabelledDataset, RawRows, ReadImage, complete_images
    from .discover import FileTree
    from .registry import Reader, register_reader

__all__ = [
    "FileTree",
    "FoundImage",
    "LabelledDataset",
    "RawRows",
    "ReadImage",
    "Reader",
    "complete_images",
    "register_reader",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "dataset": ("FoundImage", "LabelledDataset", "RawRows", "ReadImage", "complete_images"),
        "discover": ("FileTree",),
        "registry": ("Reader", "register_reader"),
    },
)
