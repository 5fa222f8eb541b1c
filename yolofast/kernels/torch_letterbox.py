"""Letterboxing a batch of torch images for inference, on the CPU or on a CUDA device:
`torch.ops.yolofast.letterbox_` over `Letterbox`.

    images, placed = letterbox_batch(frames, 640, dtype=torch.float16)
"""

from __future__ import annotations

from collections.abc import Sequence

import yolofast.kernels.torch_ops  # noqa: F401  (registers; says what to do where torch is missing)

# isort: split
import torch
from torch import Tensor

from yolofast.kernels.placements import placement, target_size
from yolofast.types import Letterbox


def letterbox_batch(
    images: Sequence[Tensor],
    size: int | tuple[int, int],
    *,
    fill: int = 114,
    sources: Sequence[tuple[int, int]] | None = None,
    dtype: torch.dtype = torch.uint8,
    out: Tensor | None = None,
) -> tuple[Tensor, list[Letterbox]]:
    """Resize each image to fit inside `size` with its aspect ratio kept, centred, with `fill` around.

    Placement and values are those of `yolofast.kernels.letterbox`. The order of the channels stays as it is.

    Args:
        images: B tensors uint8 [H, W, 3] on one device, each of its own size.
        size: side of a square target, or (height, width), in pixels.
        fill: level around the images, 0..255.
        sources: (height, width) of the whole upright picture that each image is a reduced version of, as
            `source` of `letterbox`. None: the images are whole.
        dtype: torch.uint8 for levels 0..255 (the default); float16, bfloat16 or float32 for level / 255, the
            float32 quotient rounded to that type.
        out: tensor [B, 3, h, w] to fill, contiguous, on the images' device; its dtype is the one used.

    Returns:
        ([B, 3, h, w], the `Letterbox` of each image). On a CUDA device it is one launch on the current
        stream, and nothing waits for it.

    Raises:
        ValueError: neither images nor `out`, an empty image, an invalid size, sources that do not fit.
        RuntimeError: an image, fill or `out` that does not fit; says what came and what was wanted.
    """
    target = target_size(size)
    if out is None and not images:
        raise ValueError("images is empty; expected at least one image, or an `out` that says the device")
    for number, image in enumerate(images):
        if image.dim() != 3 or image.numel() == 0:
            raise ValueError(
                f"images[{number}] has shape {tuple(image.shape)}; expected [H, W, 3], not empty"
            )
    if out is None:
        shape = (len(images), 3, *target)
        out = torch.empty(shape, dtype=dtype, device=images[0].device)
    elif tuple(out.shape[2:]) != target:
        raise ValueError(
            f"out has shape {tuple(out.shape)}; expected [{len(images)}, 3, {target[0]}, {target[1]}]"
        )
    if sources is not None and len(sources) != len(images):
        raise ValueError(f"sources has {len(sources)} sizes for {len(images)} images; expected one for each")
    placed = [
        placement(f"images[{i}]", (image.shape[0], image.shape[1]), target, sources[i] if sources else None)
        for i, image in enumerate(images)
    ]
    rows = [(*one.inner, int(one.pad_y), int(one.pad_x)) for one in placed]
    places = torch.tensor(rows, dtype=torch.int64).reshape(-1, 4)
    torch.ops.yolofast.letterbox_(out, list(images), places, fill)
    return out, placed
