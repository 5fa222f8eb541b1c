"""render_ by `yolofast.kernels.render`, from packed planes."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolofast.kernels import render
from yolofast.types import SUBSAMPLING_FACTORS, BatchPlan, Picture, Ycc


def render_(out: Any, planes: Any, pictures: Any, places: Any, *rest: Any) -> None:
    import torch

    sample, picture, layer, matrix, window, mix, colour = (t.numpy() for t in rest)
    memory = planes.numpy()
    names = {f: n for n, f in SUBSAMPLING_FACTORS.items() if n != "gray"}
    images = []
    for row, place in zip(pictures.tolist(), places.numpy(), strict=True):
        oy, ocb, ocr, sy, sc, h, w, ch, cw, fx, fy = row

        def cut(at: int, stride: int, height: int, width: int) -> Any:
            return np.lib.stride_tricks.as_strided(memory[at:], (height, width), (stride, 1))

        y = cut(oy, sy, h, w)
        if ocb < 0:
            ycc = Ycc(y, None, None, "gray")
        else:
            ycc = Ycc(y, cut(ocb, sc, ch, cw), cut(ocr, sc, ch, cw), names[fx, fy])
        images.append(Picture(ycc, place, (h, w)))
    b, _, height, width = out.shape
    plan = BatchPlan(
        (height, width), np.arange(b), sample, layer, picture, matrix, matrix, window, mix, colour
    )
    if out.dtype == torch.uint8:
        render(plan, images, out.numpy())
    else:
        out.copy_(torch.from_numpy(render(plan, images)).float() / 255)
