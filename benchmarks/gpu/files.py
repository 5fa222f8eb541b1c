"""JPEG files to one letterboxed, normalised batch on the device: nvJPEG and `render_`, compared with
torchvision's CUDA decode_jpeg and a resize of each image. Both read the files, from the page cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu.device_times import compare_on_device
from yolofast.kernels.torch_nvjpeg import NvJpegDecoder
from yolofast.kernels.torch_render import render_arguments
from yolofast.load.plan.plan import plan_batch

DTYPE = torch.float16


def by_nvjpeg(
    decoder: NvJpegDecoder, files: list[Path], shapes: np.ndarray[Any, Any], size: int
) -> torch.Tensor:
    """float16 [B, 3, size, size] in 0..1."""
    decoded = decoder.decode(files)
    assert not decoded.refused, decoded.refused
    order = np.arange(len(files))
    plan = plan_batch(order, order, shapes, (size, size), None, seed=0, epoch=0)
    out = torch.empty((len(files), 3, size, size), dtype=DTYPE, device=decoded.planes.device)
    arguments = render_arguments(decoded.packed, plan, plan.tile_image)
    torch.ops.yolofast.render_(out, decoded.planes, **arguments)
    return out


def by_torchvision(files: list[Path], size: int, device: torch.device) -> torch.Tensor:
    """The same by decode_jpeg, interpolate and pad."""
    from torch.nn.functional import interpolate, pad
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    data = [read_file(str(file)) for file in files]
    images = decode_jpeg(data, mode=ImageReadMode.RGB, device=device)
    out = []
    for image in images:
        height, width = image.shape[1:]
        scale = size / max(height, width)
        to = (round(height * scale), round(width * scale))
        resized = interpolate(image[None].to(DTYPE) / 255, to, mode="bilinear", align_corners=False)
        top, left = (size - to[0]) // 2, (size - to[1]) // 2
        space = (left, size - to[1] - left, top, size - to[0] - top)
        out.append(pad(resized, space, value=114 / 255))
    return torch.cat(out)


def run(files: list[Path], device: torch.device, *, size: int, library: str | None) -> dict[str, Any]:
    from yolofast.images import read_header

    headers = [read_header(file) for file in files]
    shapes = np.array([header.shape for header in headers], dtype=np.int32)
    driver = library  # the stand-in of a dry run is both
    decoder = NvJpegDecoder(device, library=library, driver=driver)
    ours = by_nvjpeg(decoder, files, shapes, size).float()
    peers = {}
    figures: dict[str, Any] = {}
    if device.type == "cuda":
        try:
            difference = (ours - by_torchvision(files, size, device).float()).abs() * 255
        except (ImportError, RuntimeError) as error:  # not installed, or built without nvJPEG
            figures["peer not run"] = f"{type(error).__name__}: {error}"
        else:
            figures["levels_apart_mean"] = round(float(difference.mean()), 3)
            peers["torchvision decode_jpeg + interpolate"] = lambda: by_torchvision(files, size, device)
    figures |= compare_on_device(
        lambda: by_nvjpeg(decoder, files, shapes, size), peers, device, host_counts=True
    )
    seconds = figures["ms"]["yolofast"]["median"] / 1e3
    figures |= {"files": len(files), "images_per_s": round(len(files) / seconds, 1)}
    return figures | {"bytes": sum(file.stat().st_size for file in files), "hardware": decoder.has_hardware}
