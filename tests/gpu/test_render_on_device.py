"""Rendering on the device: the pixels of the CPU renderer, to the bit, over random plans and hostile ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from yolofast import kernels
from yolofast.config import AugmentConfig
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Picture, Ycc

torch = pytest.importorskip("torch")

from yolofast.kernels import torch_render  # noqa: E402  (after the skip)
from yolofast.kernels.packed_pictures import PictureColumn  # noqa: E402

FACTORS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1)}
SUBSAMPLINGS = (*FACTORS, "gray")
DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32]
JITTER = {"hsv_h": 0.5, "hsv_s": 1.0, "hsv_v": 1.0, "translate": 0.5, "scale": 0.9, "flipud": 0.5}
AUGMENTS = {
    "letterbox": None,
    "mosaic": AugmentConfig(**JITTER),
    "affine": AugmentConfig(**JITTER, degrees=180, shear=30, mosaic=0.7),
    "perspective": AugmentConfig(**JITTER, degrees=30, perspective=0.001, mosaic=0.7),
    "mixup": AugmentConfig(**JITTER, mixup=1.0, mosaic=0.5),
    "turned mixup": AugmentConfig(**JITTER, degrees=5, mixup=1.0, mosaic=0.5),
    "cutmix": AugmentConfig(**JITTER, cutmix=1.0, mosaic=0.5),
    "turned cutmix": AugmentConfig(
        **JITTER, degrees=90, perspective=0.001, mixup=0.5, cutmix=1.0, mosaic=0.5
    ),
}


def noise(rng: np.random.Generator, height: int, width: int, subsampling: str) -> Ycc:
    across, down = FACTORS.get(subsampling, (1, 1))
    y = rng.integers(0, 256, (height, width), dtype=np.uint8)
    if subsampling == "gray":
        return Ycc(y, None, None, "gray")
    chroma = rng.integers(0, 256, (2, -(-height // down), -(-width // across)), dtype=np.uint8)
    return Ycc(y, chroma[0], chroma[1], subsampling)


def picture(rng: np.random.Generator, width: int, height: int, subsampling: str) -> Picture:
    """Stored turned by 90 degrees, at half size or as it is."""
    kind = rng.integers(0, 3)
    if kind == 0:
        return Picture.of(noise(rng, height, width, subsampling))
    if kind == 1:
        place = np.array([[0.5, 0, 0], [0, 0.5, 0]])
        return Picture(noise(rng, -(-height // 2), -(-width // 2), subsampling), place, (height, width))
    place = np.array([[0.0, 1, 0], [-1, 0, width]])
    return Picture(noise(rng, width, height, subsampling), place, (height, width))


def random_plan(
    seed: int, kind: str, size: tuple[int, int], most: int = 150
) -> tuple[BatchPlan, list[Picture]]:
    rng = np.random.default_rng(seed)
    sides = rng.integers(1, most, (4, 2))
    pictures = [picture(rng, *map(int, side), str(rng.choice(SUBSAMPLINGS))) for side in sides]
    shapes = np.array([one.shape for one in pictures], dtype=np.int32)
    order = np.arange(len(pictures))
    augment = AUGMENTS[kind]
    whole = size if augment is None else (size[1], size[1])
    return plan_batch(order, order, shapes, whole, augment, seed=seed, epoch=0), pictures


def render(device: Any, plan: BatchPlan, pictures: list[Any], dtype: Any = torch.uint8) -> Any:
    packed = torch_render.pack_pictures(pictures)
    device.poison()
    out = torch.full((len(plan), 3, *plan.size), 77, dtype=dtype, device=device.place)
    named = torch_render.render_arguments(packed, plan, np.asarray(plan.tile_image))
    device.ops.render_(out, device.put(packed.planes), **named)
    return out.cpu()


def assert_same(device: Any, plan: BatchPlan, pictures: list[Any]) -> None:
    wanted = torch.from_numpy(kernels.render(plan, pictures))
    assert torch.equal(render(device, plan, pictures), wanted)


@pytest.mark.parametrize("kind", AUGMENTS)
@pytest.mark.parametrize("seed", range(6))
def test_random_plans(device: Any, kind: str, seed: int) -> None:
    side = (1, 31, 32, 65, 129, 200)[seed]
    plan, pictures = random_plan(seed, kind, (side + 3, side))
    assert_same(device, plan, pictures)


@pytest.mark.parametrize("kind", ["mosaic", "turned mixup", "cutmix", "turned cutmix"])
def test_a_wide_frame(device: Any, kind: str) -> None:
    plan, pictures = random_plan(7, kind, (641, 641), 500)
    assert plan.hole is None or plan[:1].holes.any()
    assert_same(device, plan[:1], pictures)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("side", [64, 67])
def test_types(device: Any, dtype: Any, side: int) -> None:
    plan, pictures = random_plan(11, "mixup", (side, side))
    wanted = torch.from_numpy(kernels.render(plan, pictures))
    assert len(wanted.unique()) > 200
    if dtype != torch.uint8:
        wanted = (wanted.float() / 255).to(dtype)
    assert torch.equal(render(device, plan, pictures, dtype), wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mix", [1.0, 0.0])
def test_each_level_of_each_type(device: Any, dtype: Any, mix: float) -> None:
    """Of both layers: the lower one is read back from what was written."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tile = (np.eye(3), (0.0, 0, 16, 16))
    plan = hand_made((16, 16), [(0, 0, 0, *tile), (0, 1, 0, *tile)], mix=mix or 0.5)
    got = render(device, plan, [Ycc(levels, None, None, "gray")], dtype)
    wanted = torch.from_numpy(levels).expand(1, 3, 16, 16)
    assert torch.equal(got, wanted if dtype == torch.uint8 else (wanted.float() / 255).to(dtype))


def hand_made(
    size: tuple[int, int], tiles: list[tuple[int, int, int, Any, Any]], samples: int = 1, mix: float = 1.0
) -> BatchPlan:
    """Of tiles (sample, layer, image, matrix, window)."""
    plain = plan_batch(np.arange(1), np.arange(1), np.array([[8, 8]]), size, None, seed=0, epoch=0)
    columns = list(zip(*tiles, strict=True)) if tiles else [()] * 5
    return dataclasses.replace(
        plain,
        images=np.zeros(samples, np.int64),
        tile_sample=np.array(columns[0], np.int64),
        tile_layer=np.array(columns[1], np.int64),
        tile_image=np.array(columns[2], np.int64),
        tile_matrix=np.array(columns[3], np.float64).reshape(-1, 3, 3),
        tile_forward=np.zeros((len(tiles), 3, 3)),
        tile_window=np.array(columns[4], np.float64).reshape(-1, 4),
        mix=np.full(samples, mix),
        colour=np.repeat(plain.colour, samples, axis=0),
    )


def turn(degrees: float, centre: float, scale: float = 1.0) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)) * scale, np.sin(np.radians(degrees)) * scale
    return np.array([[c, -s, centre - c * 20 + s * 20], [s, c, centre - s * 20 - c * 20], [0, 0, 1]])


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (2, 2), (3, 5), (1, 300), (300, 1)])
def test_tiny_planes(device: Any, subsampling: str, height: int, width: int) -> None:
    one = noise(np.random.default_rng(height + width), height, width, subsampling)
    window = (-50.0, -50, 400, 400)
    fit = np.diag([width / 40, height / 40, 1.0])
    flipped = fit @ np.array([[-1.0, 0, 40], [0, -1, 40], [0, 0, 1]])
    squeeze = np.array([[0.01, 0, 0], [0, 9.5, -3], [0, 0, 1]])
    matrices = [fit, flipped, squeeze, np.eye(3), fit @ turn(30, 20), turn(45, width / 2, 7), turn(90, 0)]
    plan = hand_made((40, 41), [(i, 0, 0, m, window) for i, m in enumerate(matrices)], len(matrices))
    assert_same(device, plan, [one])


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e9])
@pytest.mark.parametrize(
    "last",
    [(0.05, 0, -0.5), (-0.05, 0.01, 1), (0, 0.04, -0.9), (1e-9, 1e-9, 1), (0.05, 0, -0.525), (0, 0, 2)],
)
def test_horizon_in_the_picture(device: Any, last: tuple[float, float, float], scale: float) -> None:
    """Up to it, source points run off to infinity; beyond it, nothing shows."""
    one = noise(np.random.default_rng(3), 60, 70, "420")
    matrix = turn(20, 30)
    matrix[2] = last
    plan = hand_made((40, 150), [(0, 0, 0, matrix * scale, (-(2.0**24), -(2.0**24), 2.0**24, 2.0**24))])
    assert_same(device, plan, [one])
    assert_same(device, dataclasses.replace(plan, tile_window=np.array([[0.0, 0, 70, 60]])), [one])


def test_tiles_that_hide_one_another_and_samples_without_any(device: Any) -> None:
    rng = np.random.default_rng(4)
    pictures = [noise(rng, 50, 50, name) for name in SUBSAMPLINGS]
    tiles = []
    for t in range(24):
        corner = rng.uniform(0, 30, 2)
        window = (*corner, *(corner + rng.uniform(0, 30, 2)))
        matrix = turn(float(rng.choice([0, 0, 0, 90, 33])), 20.5, float(rng.uniform(0.3, 3)))
        tiles.append((1 + 2 * (t // 12), int(rng.integers(0, 2)), t % len(pictures), matrix, window))
    for mix in (1.0, 0.0, 0.3, 1 - 1e-9):
        assert_same(device, hand_made((45, 53), tiles, 6, mix), pictures)


def test_more_tiles_than_one_piece_of_the_table(device: Any) -> None:
    one = noise(np.random.default_rng(8), 20, 20, "420")
    tiles = [(t, 0, 0, turn(float(t), 10), (0.0, 0, 20, 20)) for t in range(300)]
    assert_same(device, hand_made((7, 9), tiles, 300), [one])


@pytest.mark.parametrize("mix", [1.0, 0.25])
def test_no_tiles_no_samples_no_pictures(device: Any, mix: float) -> None:
    gray = render(device, hand_made((5, 9), [], 3, mix), [])
    assert gray.shape == (3, 3, 5, 9)
    assert (gray == 114).all()
    assert render(device, hand_made((5, 9), [], 0), []).shape == (0, 3, 5, 9)


@pytest.mark.parametrize("far", [1e9, -1e9, 1e12])
def test_tiles_far_out_of_the_frame(device: Any, far: float) -> None:
    one = noise(np.random.default_rng(5), 30, 30, "420")
    matrices = [np.eye(3), turn(10, 15), np.diag([1e12, 1e-12, 1.0]), np.zeros((3, 3))]
    for matrix in matrices[:2]:
        matrix[:2, 2] = far
    wide = (-(2.0**24), -(2.0**24), 2.0**24, 2.0**24)
    plan = hand_made((20, 20), [(i, 0, 0, m, wide) for i, m in enumerate(matrices)], len(matrices))
    assert_same(device, plan, [one])


ONE = noise(np.random.default_rng(6), 8, 10, "420")


def arguments(device: Any, **changes: Any) -> dict[str, Any]:
    """All that render_ takes, for one picture as it is."""
    plan = hand_made((8, 10), [(0, 0, 0, np.eye(3), (0.0, 0, 10, 8))])
    packed = torch_render.pack_pictures([ONE])
    all_of_them = {
        "out": device.put(np.zeros((1, 3, 8, 10), np.uint8)),
        "planes": device.put(packed.planes),
        **torch_render.render_arguments(packed, plan, np.zeros(1, np.int64)),
    }
    return {**all_of_them, **changes}


def test_the_arguments_that_the_refusals_change_are_good(device: Any) -> None:
    given = arguments(device)
    device.ops.render_(*given.values())
    plan = hand_made((8, 10), [(0, 0, 0, np.eye(3), (0.0, 0, 10, 8))])
    np.testing.assert_array_equal(device.numpy(given["out"]), kernels.render(plan, [ONE]))


PICTURE = torch_render.pack_pictures([ONE]).pictures[0]


def changed(column: PictureColumn, value: int) -> Any:
    row = PICTURE.copy()
    row[column] = value
    return torch.from_numpy(row[None])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pictures": changed(PictureColumn.OFFSET_Y, -1)},
            r"pictures\[0\] has plane y of 10 x 8 at -1, .* expected it inside",
        ),
        (
            {"pictures": changed(PictureColumn.OFFSET_Y, 10**6)},
            "plane y .* expected it inside planes, which has 256 bytes",
        ),
        ({"pictures": changed(PictureColumn.OFFSET_Y, 2**63 - 1)}, "expected it inside planes"),
        ({"pictures": changed(PictureColumn.OFFSET_CR, 250)}, "plane cr .* expected it inside planes"),
        ({"pictures": changed(PictureColumn.OFFSET_CB, -2)}, "plane cb .* expected it inside planes"),
        ({"pictures": changed(PictureColumn.STRIDE_Y, 9)}, "plane y .* expected rows at least a width apart"),
        ({"pictures": changed(PictureColumn.STRIDE_Y, 2**62)}, "expected rows at least a width apart"),
        ({"pictures": changed(PictureColumn.HEIGHT, 0)}, r"expected sides of 1\.\."),
        ({"pictures": changed(PictureColumn.WIDTH, 2**40)}, r"expected sides of 1\.\."),
        (
            {"pictures": changed(PictureColumn.HEIGHT_C, 5)},
            "chroma of 5 x 5; expected 5 x 4 for luma of 10 x 8",
        ),
        ({"pictures": changed(PictureColumn.FACTOR_X, 0)}, "factors 0 and 2; expected 1..4"),
        ({"pictures": changed(PictureColumn.FACTOR_Y, 8)}, "factors 2 and 8; expected 1..4"),
        ({"pictures": torch.zeros(1, 10, dtype=torch.int64)}, r"pictures has shape \[1, 10\]"),
        ({"places": torch.full((1, 2, 3), torch.nan, dtype=torch.float64)}, "places holds nan"),
        ({"places": torch.zeros(2, 2, 3, dtype=torch.float64)}, r"places has shape \[2, 2, 3\]"),
        ({"tile_sample": torch.tensor([1])}, "tile_sample holds 1; expected 0..0"),
        ({"tile_sample": torch.tensor([0, 0])}, r"tile_picture has shape \[1\]; expected \[2\]"),
        ({"tile_picture": torch.tensor([1])}, "tile_picture holds 1; expected 0..0"),
        ({"tile_picture": torch.tensor([-1])}, "tile_picture holds -1"),
        ({"tile_layer": torch.tensor([2])}, "tile_layer holds 2"),
        ({"tile_layer": torch.tensor([3])}, "tile_layer holds 3"),
        (
            {"hole": torch.tensor([[0, 0, 11, 8]])},
            r"hole\[0\] is 0, 0, 11, 8; .* inside the output of 10 x 8",
        ),
        ({"hole": torch.tensor([[0, 0, 10, 9]])}, r"hole\[0\] is"),
        ({"hole": torch.tensor([[-1, 0, 10, 8]])}, r"hole\[0\] is"),
        ({"hole": torch.tensor([[5, 0, 4, 8]])}, r"hole\[0\] is"),
        ({"hole": torch.tensor([[0, 0, 2**40, 8]])}, r"hole\[0\] is"),
        ({"hole": torch.zeros(2, 4, dtype=torch.int64)}, r"hole has shape \[2, 4\]"),
        ({"tile_matrix": torch.full((1, 3, 3), 1e13, dtype=torch.float64)}, "tile_matrix holds 1e"),
        ({"tile_matrix": torch.full((1, 3, 3), torch.inf, dtype=torch.float64)}, "tile_matrix holds inf"),
        ({"tile_matrix": torch.zeros(1, 3, 3)}, "tile_matrix has dtype float32; expected float64"),
        ({"tile_window": torch.full((1, 4), 1e9, dtype=torch.float64)}, "tile_window holds"),
        ({"mix": torch.tensor([1.5], dtype=torch.float64)}, "mix holds 1.5"),
        ({"mix": torch.tensor([-0.5], dtype=torch.float64)}, "mix holds -0.5; expected 0..1"),
        ({"colour": torch.full((1, 3, 4), 9.0, dtype=torch.float64)}, "colour is out of range"),
    ],
)
def test_refusals(device: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=f"render_: .*{message}"):
        device.ops.render_(*arguments(device, **changes).values())


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 3, 8, 10), torch.float64, "out has dtype float64; expected uint8, float16"),
        ((1, 4, 8, 10), torch.uint8, r"out has shape \[1, 4, 8, 10\]; expected \[B, 3, H, W\]"),
        ((1, 3, 0, 10), torch.uint8, r"out has shape \[1, 3, 0, 10\]"),
        ((3, 8, 10), torch.uint8, r"out has shape \[3, 8, 10\]"),
        ((2, 3, 8, 10), torch.uint8, r"mix has shape \[1\]; expected \[2\]"),
    ],
)
def test_a_bad_out_is_refused(device: Any, shape: Any, dtype: Any, message: str) -> None:
    out = torch.zeros(shape, dtype=dtype, device=device.place)
    with pytest.raises(RuntimeError, match=message):
        device.ops.render_(*arguments(device, out=out).values())


def test_out_is_written_whole_and_is_not_the_planes(device: Any) -> None:
    wide = device.put(np.zeros((1, 3, 8, 20), np.uint8))
    with pytest.raises(RuntimeError, match="out is not contiguous"):
        device.ops.render_(*arguments(device, out=wide[..., ::2]).values())
    out = wide.view(-1)[:240].view(1, 3, 8, 10)
    with pytest.raises(RuntimeError, match="out shares memory with planes"):
        device.ops.render_(*arguments(device, out=out, planes=wide.view(-1)[100:400]).values())


def test_tiles_out_of_order_are_refused(device: Any) -> None:
    given = arguments(device, out=device.put(np.zeros((2, 3, 8, 10), np.uint8)))
    for name, times in [("tile_picture", 2), ("tile_layer", 2), ("tile_matrix", 2), ("tile_window", 2)]:
        given[name] = given[name].repeat(times, *[1] * (given[name].dim() - 1))
    for name in ("mix", "colour"):
        given[name] = given[name].repeat(2, *[1] * (given[name].dim() - 1))
    given["tile_sample"] = torch.tensor([1, 0])
    with pytest.raises(RuntimeError, match="tile_sample is not ascending"):
        device.ops.render_(*given.values())


def test_out_may_start_anywhere(device: Any) -> None:
    room = device.put(np.zeros(241, np.uint8))
    out = room[1:].view(1, 3, 8, 10)
    given = arguments(device, out=out)
    device.ops.render_(*given.values())
    plain = arguments(device)
    device.ops.render_(*plain.values())
    assert torch.equal(out, plain["out"])
    assert room[0] == 0
