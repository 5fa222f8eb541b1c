"""Mixed precision: on which devices it is used, and in which dtype."""

from __future__ import annotations

import torch

from yolofast.config import Amp
from yolofast.errors import ConfigError


def mixed_precision(amp: Amp, device: torch.device) -> torch.dtype | None:
    """The dtype to compute in, or None for float32.

    `auto`: bfloat16 on CUDA devices that support it, float16 on older ones, bfloat16 on CPUs with
    native bfloat16 products (AVX512-BF16 or AMX), else off. `on` forces it, and raises `ConfigError`
    on a device that supports none.
    """
    if amp == "off":
        return None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if fast or amp == "on" else None
    if amp == "on":
        raise ConfigError(f"amp: got 'on' for device '{device}', expected cpu or cuda. Use amp auto or off.")
    return None
