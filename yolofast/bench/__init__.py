"""Comparisons with other packages: suppression of boxes (`nms`) and COCO metrics (`coco`).

They stand above the stages because they measure several of them; the loader's own is in `yolofast.load`.
"""
