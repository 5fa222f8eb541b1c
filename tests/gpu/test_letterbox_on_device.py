"""Letterboxing on the device: the pixels of the CPU kernel, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from yolofast import kernels

torch = pytest.importorskip("torch")

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32]
SIZES = [(1, 1), (1, 90), (77, 1), (31, 45), (64, 64), (200, 33), (129, 257)]


def noise(seed: int, sizes: list[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def expected(images: list[NDArray[np.uint8]], size: Any, fill: int = 114) -> tuple[Any, list[Any]]:
    both = [kernels.letterbox(image, size, fill=fill, layout="chw") for image in images]
    return torch.from_numpy(np.stack([pixels for pixels, _ in both])), [placed for _, placed in both]


def places_of(placed: list[Any]) -> Any:
    rows = [(*one.inner, int(one.pad_y), int(one.pad_x)) for one in placed]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [(64, 64), (31, 130), (1, 1), (96, 641), (33, 129)])
def test_pixels_are_those_of_the_kernel(device: Any, size: tuple[int, int], dtype: Any) -> None:
    images = noise(sum(size), SIZES)
    wanted, placed = expected(images, size)
    device.poison()
    out = torch.full((len(images), 3, *size), 77, dtype=dtype, device=device.place)
    device.ops.letterbox_(out, [device.put(image) for image in images], places_of(placed))
    if dtype != torch.uint8:
        wanted = (wanted.float() / 255).to(dtype)
    assert torch.equal(out.cpu(), wanted)


@pytest.mark.parametrize("fill", [0, 114, 255])
def test_fill(device: Any, fill: int) -> None:
    images = noise(1, [(20, 50)])
    wanted, placed = expected(images, 64, fill)
    out = device.put(np.zeros((1, 3, 64, 64), np.uint8))
    device.ops.letterbox_(out, [device.put(images[0])], places_of(placed), fill)
    assert torch.equal(out.cpu(), wanted)


def test_strides_do_not_matter_and_out_may_start_anywhere(device: Any) -> None:
    images = noise(2, [(40, 30), (17, 64)])
    wanted, placed = expected(images, 32)
    views = [device.put(np.repeat(image, 2, axis=1))[:, ::2] for image in images]
    assert not views[0].is_contiguous()
    room = device.put(np.zeros(2 * 3 * 32 * 32 + 1, np.uint8))
    out = room[1:].view(2, 3, 32, 32)
    device.ops.letterbox_(out, views, places_of(placed))
    assert torch.equal(out.cpu(), wanted)


def test_no_images(device: Any) -> None:
    out = device.put(np.zeros((0, 3, 8, 8), np.uint8))
    device.ops.letterbox_(out, [], places_of([]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out": ((1, 3, 8, 8), np.float64)}, "letterbox_: out has dtype float64; expected uint8, float16"),
        ({"out": ((1, 1, 8, 8), np.uint8)}, r"out has shape \[1, 1, 8, 8\]; expected \[B, 3, H, W\]"),
        ({"out": ((2, 3, 8, 8), np.uint8)}, "out is for 2 images, images has 1"),
        ({"image": ((4, 4, 4), np.uint8)}, r"images\[0\] has shape \[4, 4, 4\]; expected \[\*, \*, 3\]"),
        ({"image": ((0, 4, 3), np.uint8)}, r"images\[0\] has shape \[0, 4, 3\]; expected sides of 1"),
        ({"image": ((4, 4, 3), np.float32)}, r"images\[0\] has dtype float32"),
        ({"placed": [[8, 8, 0, 1]]}, r"placed\[0\] is 8 x 8 at \(1, 0\); expected it inside 8 x 8"),
        ({"placed": [[8, 0, 0, 0]]}, r"placed\[0\] is 0 x 8"),
        ({"placed": [[8, 8, -1, 0]]}, r"placed\[0\] is 8 x 8 at \(0, -1\)"),
        ({"placed": [[2**62, 8, 2**62, 0]]}, r"placed\[0\]"),
        ({"placed": [[8, 8, 0]]}, r"placed has shape \[1, 3\]; expected \[1, 4\]"),
        ({"fill": 256}, "fill is 256; expected 0..255"),
    ],
)
def test_refusals(device: Any, changes: dict[str, Any], message: str) -> None:
    out_shape, out_dtype = changes.get("out", ((1, 3, 8, 8), np.uint8))
    image_shape, image_dtype = changes.get("image", ((4, 4, 3), np.uint8))
    arguments = (
        device.put(np.zeros(out_shape, out_dtype)),
        [device.put(np.zeros(image_shape, image_dtype))],
        torch.tensor(changes.get("placed", [[8, 8, 0, 0]])),
        changes.get("fill", 114),
    )
    with pytest.raises(RuntimeError, match=message):
        device.ops.letterbox_(*arguments)


def test_out_is_none_of_the_images(device: Any) -> None:
    out = device.put(np.zeros((1, 3, 8, 8), np.uint8))
    with pytest.raises(RuntimeError, match="out shares memory with an image"):
        device.ops.letterbox_(out, [out.view(8, 8, 3)], torch.tensor([[8, 8, 0, 0]]))
