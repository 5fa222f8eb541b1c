"""Rendering a plan into a torch tensor, on the CPU or on a CUDA device: `torch.ops.yolofast.render_` over
`BatchPlan` and `Picture`.

    images = render(plan, pictures, device="cuda", dtype=torch.float16)

The pixels are those of `yolofast.kernels.render`. Planes go to the device in one buffer (`pack_pictures`);
the rest of a plan is checked and prepared on the CPU, and follows in one small copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yolofast.kernels.torch_ops  # noqa: F401  (registers; says what to do where torch is missing)

# isort: split
import torch
from torch import Tensor

from yolofast.kernels._render import checked_plan
from yolofast.kernels.packed_pictures import PackedPictures, pack_pictures
from yolofast.types import BatchPlan, Picture, Ycc

__all__ = ["PackedPictures", "pack_pictures", "render", "render_arguments"]


def render(
    plan: BatchPlan,
    pictures: Mapping[int, Picture | Ycc] | Sequence[Picture | Ycc],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.uint8,
    out: Tensor | None = None,
) -> Tensor:
    """Render a plan on a device: the pixels of `yolofast.kernels.render`, to the bit.

    Args:
        plan: a `BatchPlan`.
        pictures: the pictures that `plan.tile_image` names, indexed by those numbers.
        device: where to render, a CUDA device or the CPU.
        dtype: torch.uint8 for levels 0..255 (the default); float16, bfloat16 or float32 for level / 255, the
            float32 quotient rounded to that type.
        out: tensor [B, 3, H, W] to fill, contiguous; its device and dtype are the ones used.

    Returns:
        [B, 3, H, W] RGB; level 114 where no tile shows. On a CUDA device the work goes to its current stream.

    Raises:
        ValueError, TypeError, LookupError: a plan or picture that does not fit.
        RuntimeError: an `out` that does not fit; says what came and what was wanted.
    """
    checked_plan(plan)
    if out is None:
        out = torch.empty((len(plan), 3, *plan.size), dtype=dtype, device=device)
    elif tuple(out.shape) != (len(plan), 3, *plan.size):
        raise ValueError(f"out has shape {tuple(out.shape)}; expected {(len(plan), 3, *plan.size)}")
    numbers, tile_picture = np.unique(np.asarray(plan.tile_image), return_inverse=True)
    packed = pack_pictures([pictures[int(number)] for number in numbers])
    planes = torch.from_numpy(packed.planes).to(out.device)
    torch.ops.yolofast.render_(out, planes, **render_arguments(packed, plan, tile_picture))
    return out


def render_arguments(
    packed: PackedPictures[Any], plan: BatchPlan, tile_picture: NDArray[np.integer[Any]]
) -> dict[str, Tensor]:
    """What `torch.ops.yolofast.render_` takes after `out` and `planes`: CPU tensors by name.

    They share memory with the arrays of `packed` and `plan` where their types allow it. `tile_picture` [T] is
    the number of each tile's picture in `packed`.
    """
    arrays = packed.render_arrays(plan, tile_picture)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
