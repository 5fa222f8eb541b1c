"""Rendering a plan into a tensor: the pixels of the kernel, and how pictures are packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from yolofast import kernels
from yolofast.config import AugmentConfig
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Picture, Ycc

torch = pytest.importorskip("torch")

from yolofast.kernels.packed_pictures import PictureColumn  # noqa: E402  (after the skip)
from yolofast.kernels.torch_render import pack_pictures, render, render_arguments  # noqa: E402


def plane(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width), dtype=np.uint8)


PICTURES = [
    Ycc(plane(50, 33), plane(25, 17), plane(25, 17)[::-1], "420"),
    Ycc(plane(40, 60), None, None, "gray"),
    Picture(Ycc(plane(20, 9), plane(20, 9), plane(20, 9), "444"), np.eye(2, 3) / 2, (40, 18)),
]


def plan_of(size: int = 48, **more: float) -> BatchPlan:
    shapes = np.array([[50, 33], [40, 60], [40, 18]])
    augment = AugmentConfig(mixup=0.5, degrees=5, **more)
    return plan_batch(np.arange(3), np.arange(3), shapes, (size, size), augment, seed=1, epoch=0)


@pytest.mark.parametrize("cutmix", [0, 1])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_the_pixels_of_the_kernel(dtype: Any, cutmix: int) -> None:
    plan = plan_of(cutmix=cutmix)
    wanted = torch.from_numpy(kernels.render(plan, PICTURES))
    if dtype != torch.uint8:
        wanted = (wanted.float() / 255).to(dtype)
    out = render(plan, PICTURES, dtype=dtype)
    assert torch.equal(out, wanted)
    again = torch.full_like(out, 7)
    assert render(plan, dict(enumerate(PICTURES)), out=again) is again
    assert torch.equal(again, wanted)


def test_only_pictures_that_the_plan_names_are_asked_for() -> None:
    shapes = np.array([[40, 60]])
    plan = plan_batch(
        np.array([1]), np.array([0]), np.repeat(shapes, 2, axis=0), (32, 32), None, seed=0, epoch=0
    )
    only = {1: PICTURES[1]}
    np.testing.assert_array_equal(render(plan, only).numpy(), kernels.render(plan, only))
    with pytest.raises(KeyError):
        render(plan, {0: PICTURES[0]})


def test_packing_aligns_rows_and_says_where_they_are() -> None:
    packed = pack_pictures(PICTURES)
    assert packed.pictures.tolist()[0][PictureColumn.STRIDE_Y :] == [48, 32, 50, 33, 25, 17, 2, 2]
    assert packed.pictures.tolist()[1][PictureColumn.OFFSET_CB : PictureColumn.STRIDE_Y] == [-1, -1]
    np.testing.assert_array_equal(packed.places[2], np.eye(2, 3) / 2)
    for row, picture in zip(packed.pictures, PICTURES, strict=True):
        ycc = picture.ycc if isinstance(picture, Picture) else picture
        for number, source in enumerate((ycc.y, ycc.cb, ycc.cr)):
            if source is None:
                continue
            offset = row[PictureColumn.OFFSET_Y + number]
            stride = row[PictureColumn.STRIDE_Y if number == 0 else PictureColumn.STRIDE_C]
            assert offset % 16 == stride % 16 == 0
            rows = packed.planes[offset : offset + source.shape[0] * stride].reshape(-1, stride)
            np.testing.assert_array_equal(rows[:, : source.shape[1]], source)


def test_packing_into_memory_that_is_there() -> None:
    size = len(pack_pictures(PICTURES).planes)
    room = np.zeros(size + 100, np.uint8)
    packed = pack_pictures(PICTURES, out=room)
    assert packed.planes.shape == (size,)
    assert np.shares_memory(packed.planes, room)
    assert not room[size:].any()
    with pytest.raises(ValueError, match=f"at least {size}"):
        pack_pictures(PICTURES, out=room[: size - 1])
    with pytest.raises(ValueError, match="out is read-only"):
        pack_pictures(PICTURES, out=np.frombuffer(bytes(size), np.uint8))
    with pytest.raises(TypeError, match="out is bytearray; expected an array"):
        pack_pictures(PICTURES, out=bytearray(size))  # type: ignore[arg-type]
    nothing = pack_pictures([])
    assert nothing.planes.shape == (0,)
    assert (nothing.pictures.shape, nothing.places.shape) == ((0, len(PictureColumn)), (0, 2, 3))


@pytest.mark.parametrize("row_align", [0, 4097, 2**62])
def test_rows_are_aligned_to_a_page_at_most(row_align: int) -> None:
    """More could overflow what the planes take: 4 rows of 2**62 bytes are none."""
    with pytest.raises(ValueError, match=f"row_align is {row_align}; expected 1..4096 bytes"):
        pack_pictures([Ycc(plane(4, 4), None, None, "gray")], row_align=row_align)


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (np.zeros((4, 4), np.uint8), TypeError, r"pictures\[0\] is ndarray; expected a Picture or Ycc"),
        (Ycc(plane(4, 4), None, None, "444"), ValueError, r"pictures\[0\]\.cb is NoneType"),
        (Ycc(plane(4, 0), None, None, "gray"), ValueError, "not empty"),
        (Ycc(plane(4, 4), plane(4, 4), plane(4, 3), "444"), ValueError, r"chroma \(4, 4\) and \(4, 3\)"),
        (Ycc(plane(4, 4), None, None, "333"), ValueError, "subsampling '333'; expected one of 444"),
    ],
)
def test_what_is_no_picture_is_refused(picture: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pack_pictures([picture])


def test_a_bad_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"out has shape \(3, 3, 9, 9\); expected \(3, 3, 48, 48\)"):
        render(plan_of(), PICTURES, out=torch.zeros(3, 3, 9, 9))
    with pytest.raises(RuntimeError, match="out is not contiguous"):
        render(plan_of(), PICTURES, out=torch.zeros(3, 3, 48, 96)[..., ::2])


def test_arguments_are_those_of_the_schema_in_its_order() -> None:
    named = render_arguments(pack_pictures(PICTURES), plan_of(), plan_of().tile_image)
    schema = torch.ops.yolofast.render_.default._schema
    assert ["out", "planes", *named] == [argument.name for argument in schema.arguments]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_opcheck(dtype: Any) -> None:
    plan = plan_of(9)
    packed = pack_pictures(PICTURES)
    out = torch.zeros(3, 3, 9, 9, dtype=dtype)
    planes = torch.from_numpy(packed.planes)
    named = render_arguments(packed, plan, plan.tile_image)
    outcome = torch.library.opcheck(torch.ops.yolofast.render_.default, (out, planes), named)
    assert set(outcome.values()) == {"SUCCESS"}
    images = [torch.zeros(4, 5, 3, dtype=torch.uint8), torch.zeros(2, 2, 3, dtype=torch.uint8)]
    placed = torch.tensor([[7, 9, 1, 0], [9, 9, 0, 0]])
    outcome = torch.library.opcheck(torch.ops.yolofast.letterbox_.default, (out[:2], images, placed))
    assert set(outcome.values()) == {"SUCCESS"}
