"""yolofast: the fast path from raw images to a trained, evaluated and exported YOLO detector.

    from yolofast import YOLO

Nothing heavy is imported here: `YOLO` is imported on first use; each stage is a sub-package (see README.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolofast.lazy_names import lazy_names

if TYPE_CHECKING:
    from yolofast.yolo import YOLO

__version__ = "0.1.0"
__all__ = ["YOLO", "__version__"]

__getattr__, __dir__ = lazy_names(__name__, {"yolo": ("YOLO",)})
