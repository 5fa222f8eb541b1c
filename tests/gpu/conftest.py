"""The operators on a device: a CUDA device, and the host that tests/emulation makes one of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support.cuda_device import skip_without_cuda
from support.emulated_library import build_emulated_library

torch = pytest.importorskip("torch")


@dataclass(frozen=True)
class Device:
    """Where operators run: `ops.name(...)` takes tensors on `place`."""

    ops: Any
    place: str

    def put(self, values: Any) -> Any:
        """A tensor on the device."""
        return torch.as_tensor(values).to(self.place)

    def numpy(self, tensor: Any) -> np.ndarray[Any, Any]:
        result: np.ndarray[Any, Any] = tensor.cpu().numpy()
        return result

    def poison(self) -> None:
        """Fill memory that is free now and may be given out next, so that what nobody writes is seen."""
        for size in (1 << 10, 1 << 16, 1 << 20, 1 << 23):
            torch.full((size,), 0xA5, dtype=torch.uint8, device=self.place)


@pytest.fixture(scope="session", params=[pytest.param("emulated", marks=pytest.mark.deep), "cuda"])
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "emulated":
        torch.ops.load_library(build_emulated_library())
        return Device(torch.ops.yolofast_emulated, "cpu")
    if not torch.cuda.is_available():
        skip_without_cuda("torch finds no CUDA device")
    from yolofast.kernels import torch_ops

    assert torch_ops.why_no_cuda() is None
    return Device(torch.ops.yolofast, "cuda")
