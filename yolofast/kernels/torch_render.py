"""Rendering a plan into a torch tensor, on the CPU or on a CUDA device: `torch.ops.yolofast.render_` over
`BatchPlan` and `Picture`.

    packed = pack_pictures([pictures[number] for number in numbers])
    images = render(plan, pictures, device="cuda", dtype=torch.float16)

The pixels are those of `yolofast.kernels.render`. Planes go to the device in one buffer; what else a plan
says is checked and prepared on the CPU, and follows in one small copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yolofast.kernels.torch_ops  # noqa: F401  (registers; says what to do where torch is missing)

# isort: split
import torch
from torch import Tensor

from yolofast.kernels._render import checked_plan
from yolofast.types import SUBSAMPLING_FACTORS, BatchPlan, Picture, Ycc

_ALIGNMENT = 16  # bytes, of rows and planes
_GRAY = -1


@dataclass(frozen=True, slots=True)
class PackedPictures:
    """The planes of P pictures in one buffer.

    `planes` uint8 [N]; `pictures` int64 [P, 11] says where they lie in it: offset_y, offset_cb, offset_cr
    (both -1 when gray), stride_y, stride_c, height, width, c_height, c_width, factor_x, factor_y;
    `places` float64 [P, 2, 3] are those of the pictures.
    """

    planes: NDArray[np.uint8]
    pictures: NDArray[np.int64]
    places: NDArray[np.float64]


def _aligned(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT


def _planes_of(number: int, picture: Picture) -> list[NDArray[np.uint8]]:
    ycc = picture.ycc
    if ycc.subsampling not in SUBSAMPLING_FACTORS:
        known = ", ".join(SUBSAMPLING_FACTORS)
        raise ValueError(f"pictures[{number}] has subsampling '{ycc.subsampling}'; expected one of {known}")
    checked: list[NDArray[np.uint8]] = []
    for plane in (ycc.y,) if ycc.subsampling == "gray" else (ycc.y, ycc.cb, ycc.cr):
        if not isinstance(plane, np.ndarray) or plane.dtype != np.uint8 or plane.ndim != 2 or not plane.size:
            got = f"{plane.dtype} {plane.shape}" if isinstance(plane, np.ndarray) else type(plane).__name__
            raise ValueError(f"pictures[{number}] has a plane of {got}; expected uint8 [H, W], not empty")
        checked.append(plane)
    if len(checked) == 3 and checked[1].shape != checked[2].shape:
        raise ValueError(
            f"pictures[{number}] has chroma {checked[1].shape} and {checked[2].shape}; expected equal shapes"
        )
    return checked


def pack_pictures(
    pictures: Sequence[Picture | Ycc], *, out: NDArray[np.uint8] | None = None
) -> PackedPictures:
    """Copy the planes of pictures into one buffer, each row at a multiple of 16 bytes.

    Args:
        pictures: what to pack; planes alone stand for `Picture.of` them. A plane may have any strides.
        out: uint8 [M], contiguous, that the planes are written to, such as pinned memory; M may be more
            than is needed.

    Returns:
        the buffer (the part of `out` that is used) and where the pictures are in it, in their order.

    Raises:
        TypeError, ValueError: what is no picture, planes that do not fit, an `out` that is too small.
    """
    whole = [Picture.of(one) if isinstance(one, Ycc) else one for one in pictures]
    for number, picture in enumerate(whole):
        if not isinstance(picture, Picture):
            raise TypeError(f"pictures[{number}] is {type(picture).__name__}; expected a Picture or Ycc")
    planes = [_planes_of(number, picture) for number, picture in enumerate(whole)]
    table = np.zeros((len(whole), 11), np.int64)
    offset = 0
    for row, picture, parts in zip(table, whole, planes, strict=True):
        factors = SUBSAMPLING_FACTORS[picture.ycc.subsampling]
        strides = [_aligned(part.shape[1]) for part in parts]
        row[1:3] = _GRAY
        row[3:] = (strides[0], strides[-1], *parts[0].shape, *parts[-1].shape, *factors)
        for column, (part, stride) in enumerate(zip(parts, strides, strict=True)):
            row[column] = offset
            offset += part.shape[0] * stride
    buffer = _buffer(out, offset)
    for row, parts in zip(table, planes, strict=True):
        for column, part in enumerate(parts):
            stride = row[3] if column == 0 else row[4]
            rows = buffer[row[column] : row[column] + part.shape[0] * stride].reshape(-1, stride)
            rows[:, : part.shape[1]] = part
    places = [np.asarray(picture.place, np.float64) for picture in whole]
    return PackedPictures(buffer, table, np.stack(places) if places else np.zeros((0, 2, 3)))


def _buffer(out: NDArray[np.uint8] | None, size: int) -> NDArray[np.uint8]:
    if out is None:
        return np.empty(size, np.uint8)
    if out.dtype != np.uint8 or out.ndim != 1 or not out.flags.c_contiguous or len(out) < size:
        raise ValueError(
            f"out is {out.dtype} {out.shape}; expected contiguous uint8 [M] with M of at least {size}"
        )
    return out[:size]


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
    torch.ops.yolofast.render_(out, planes, *plan_tensors(plan, packed, tile_picture))
    return out


def plan_tensors(
    plan: BatchPlan, packed: PackedPictures, tile_picture: NDArray[np.integer[Any]]
) -> list[Any]:
    """What `torch.ops.yolofast.render_` takes after `out` and `planes`: CPU tensors, in its order.

    `tile_picture` [T] is the number of each tile's picture in `packed`.
    """

    def tensor(values: Any, dtype: Any) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=dtype, order="C"))

    return [
        tensor(packed.pictures, np.int64),
        tensor(packed.places, np.float64),
        tensor(plan.tile_sample, np.int64),
        tensor(tile_picture, np.int64).reshape(-1),
        tensor(plan.tile_layer, np.int64),
        tensor(plan.tile_matrix, np.float64),
        tensor(plan.tile_window, np.float64),
        tensor(plan.mix, np.float64),
        tensor(plan.colour, np.float64),
    ]
