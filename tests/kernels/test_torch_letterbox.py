"""Letterboxing a batch of tensors: the pixels of the kernel, clear refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from yolofast import kernels

torch = pytest.importorskip("torch")

from yolofast.kernels.torch_letterbox import letterbox_batch  # noqa: E402  (after the skip)

SIZES = [(1, 1), (1, 90), (77, 1), (31, 45), (200, 33)]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_the_pixels_of_the_kernel(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    both = [kernels.letterbox(image, (40, 56), fill=7, layout="chw") for image in images]
    wanted, placed = torch.from_numpy(np.stack([pixels for pixels, _ in both])), [one for _, one in both]
    out, found = letterbox_batch([torch.from_numpy(image) for image in images], (40, 56), fill=7, dtype=dtype)
    assert found == placed
    assert torch.equal(out, wanted if dtype == torch.uint8 else (wanted.float() / 255).to(dtype))
    again = torch.empty_like(out)
    filled, _ = letterbox_batch([torch.from_numpy(image) for image in images], (40, 56), fill=7, out=again)
    assert filled is again
    assert torch.equal(again, out)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "images is empty"),
        ([torch.zeros(0, 4, 3, dtype=torch.uint8)], {}, r"images\[0\] has shape \(0, 4, 3\)"),
        ([torch.zeros(4, 4, 3, dtype=torch.uint8)], {"size": 0}, "size is 0"),
        ([torch.zeros(4, 4, 3, dtype=torch.uint8)], {"out": torch.zeros(1, 3, 8, 9)}, "out has shape"),
    ],
)
def test_refusals(images: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        letterbox_batch(images, **{"size": 8, **options})
