"""`render_` of four-tile mosaics on the device, compared with the time that moving its bytes takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gpu.device_times import compare_on_device, floor, waits
from yolofast import kernels
from yolofast.bench.kernels import planes
from yolofast.config import AugmentConfig
from yolofast.kernels.torch_render import pack_pictures, render_arguments
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Ycc

DTYPES = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}
AUGMENTS = {
    "default augmentation": AugmentConfig(close_mosaic=0),
    "rotation, shear, perspective": AugmentConfig(degrees=10, shear=2, perspective=0.0005),
}


def mosaics(pictures: list[Ycc], size: int, augment: AugmentConfig) -> BatchPlan:
    """A four-tile mosaic for each image, of it and three others."""
    shapes = np.array([picture.y.shape for picture in pictures], dtype=np.int32)
    order = np.arange(len(pictures))
    return plan_batch(order, order, shapes, (size, size), augment, seed=0, epoch=0)


def rendering(plan: BatchPlan, pictures: list[Ycc], out: torch.Tensor) -> tuple[Any, int]:
    """The call that renders into `out` from planes on its device, and the bytes of these planes."""
    packed = pack_pictures(pictures)
    on_device = torch.from_numpy(packed.planes).to(out.device)
    arguments = render_arguments(packed, plan, plan.tile_image)
    used = sum(plane.size for p in pictures for plane in (p.y, p.cb, p.cr) if plane is not None)
    return lambda: torch.ops.yolofast.render_(out, on_device, **arguments), used


def run(device: torch.device, bytes_per_s: float, *, samples: int, size: int) -> dict[str, Any]:
    """Milliseconds per batch, and the floor: each plane read once, each output pixel written once."""
    sources = planes()
    pictures = [sources[i % len(sources)] for i in range(samples)]  # each has its own planes on the device
    figures: dict[str, Any] = {}
    for name, augment in AUGMENTS.items():
        plan = mosaics(pictures, size, augment)
        for dtype_name, dtype in DTYPES.items():
            out = torch.empty((samples, 3, size, size), dtype=dtype, device=device)
            work, planes_bytes = rendering(plan, pictures, out)
            work()
            entry: dict[str, Any] = {}
            if dtype == torch.uint8:
                difference = np.abs(out.cpu().numpy().astype(np.int16) - kernels.render(plan, pictures))
                entry = {
                    "levels_that_differ": int((difference > 0).sum()),
                    "most_apart": int(difference.max()),
                }
            entry |= compare_on_device(work, {}, device)
            entry |= floor(planes_bytes + out.numel() * out.element_size(), bytes_per_s)
            entry["times_the_floor"] = round(entry["ms"]["yolofast"]["median"] / entry["floor_ms"], 2)
            if device.type == "cuda":
                entry["waits_for_the_device"] = waits(work)
            figures[f"{name}, {dtype_name}"] = entry
    return figures
