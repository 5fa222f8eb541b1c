"""yolofast: the fast path from raw images to a trained, evaluated and exported YOLO detector.

Nothing heavy is imported here; each stage is a sub-package (see README.md).
"""

__version__ = "0.1.0"
