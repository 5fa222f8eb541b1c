"""The detector as its users meet it: shapes, capture into graphs, errors, and that it learns."""

from __future__ import annotations

import copy
import re
import warnings

import pytest
import torch

from yolofast.errors import ConfigError
from yolofast.models import STRIDES, Detector, build_model, fused_copy
from yolofast.models.loss import loss_sums


def anchors(height: int, width: int) -> int:
    return sum((height // stride) * (width // stride) for stride in STRIDES)


@pytest.fixture(scope="module")
def pico() -> Detector:
    return build_model("p", 3, class_names=("red", "green", "blue"), seed=1)


@pytest.mark.parametrize("name", ["p", "n", "s", "m", "l", "x"])
def test_every_size_runs(name: str) -> None:
    with torch.device("meta"):
        raw = build_model(name, 7)(torch.empty(2, 3, 64, 64))
    assert raw.shape == (2, 4 + 7, anchors(64, 64))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 96), (32, 160), (224, 96)])
@pytest.mark.parametrize("training", [True, False])
def test_raw_output(pico: Detector, height: int, width: int, training: bool) -> None:
    raw = pico.train(training)(torch.rand(2, 3, height, width))
    assert raw.shape == (2, 4 + 3, anchors(height, width))
    assert raw.dtype == torch.float32
    boxes, scores = raw[:, :4], raw[:, 4:]
    assert (boxes[:, 2:] >= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_box_of_even_distributions_is_centred_on_its_anchor_point() -> None:
    """Equal logits over the bins mean a distance of 7.5 strides to every side."""
    model = build_model("p", 3, seed=0).eval()
    for branch in model.head.box_branches:
        torch.nn.init.zeros_(branch.get_submodule("2").get_parameter("weight"))
    raw = model(torch.rand(1, 3, 64, 96))[0]
    start = 0
    for stride in STRIDES:
        rows, columns = 64 // stride, 96 // stride
        level = raw[:4, start : start + rows * columns].reshape(4, rows, columns)
        start += rows * columns
        x = (torch.arange(columns) + 0.5) * stride
        y = (torch.arange(rows) + 0.5) * stride
        torch.testing.assert_close(level[0], x.expand(rows, columns))
        torch.testing.assert_close(level[1], y[:, None].expand(rows, columns))
        torch.testing.assert_close(level[2:], torch.full_like(level[2:], 15.0 * stride))


def test_initial_scores_are_the_prior() -> None:
    """About 5 objects in a 640-pixel image, so that background does not swamp the first steps."""
    model = build_model("n", 80, seed=0).eval()
    expected = model(torch.rand(1, 3, 640, 640))[:, 4:].sum().item()
    assert 5 < expected < 30  # 5 a level


def test_batch_members_do_not_mix(pico: Detector) -> None:
    images = torch.rand(3, 3, 64, 64)
    together = pico.eval()(images)
    alone = torch.cat([pico(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_loss_is_float32_under_autocast(pico: Detector) -> None:
    """Not one operation of the loss runs in half precision: inside and outside give the same bits."""
    images, targets = torch.rand(2, 3, 64, 64), torch.tensor([[0, 1, 0.5, 0.5, 0.4, 0.4]])
    pico.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw, sums = pico.with_loss(images, targets)
        output = pico.predict_maps(images)
    assert raw.dtype == sums.dtype == torch.float32
    assert torch.equal(sums, loss_sums(output, targets, 64, 64, pico.gains))


def test_memory_format_does_not_matter(pico: Detector) -> None:
    images = torch.rand(2, 3, 64, 96)
    wanted = pico.eval()(images)
    got = copy.deepcopy(pico).to(memory_format=torch.channels_last)(
        images.to(memory_format=torch.channels_last)
    )
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_with_loss_gives_what_the_two_calls_give(pico: Detector) -> None:
    images, targets = torch.rand(2, 3, 64, 64), torch.tensor([[1, 2, 0.3, 0.6, 0.4, 0.2]])
    raw, sums = pico.eval().with_loss(images, targets)
    assert torch.equal(raw, pico(images))
    assert torch.equal(sums[:3] / sums[3].clamp(min=1), pico(images, targets))


def test_loss_sums_of_batches_add_up(pico: Detector) -> None:
    """Also with an image without boxes, whose class term alone would be divided by nothing."""
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, 0.5, 0.5, 0.4, 0.4], [2, 2, 0.3, 0.6, 0.5, 0.5]])
    together = pico.eval().with_loss(images, targets)[1]
    alone = torch.zeros(4)
    for i in range(3):
        own = targets[targets[:, 0] == i].clone()
        own[:, 0] = 0
        alone += pico.with_loss(images[i : i + 1], own)[1]
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-3)  # convolutions differ by the batch size


@pytest.mark.parametrize("images", [1, 2])
def test_maps_of_one_cell_can_be_trained(images: int) -> None:
    """32 pixels are one cell at stride 32: with one image a batch norm has one value per channel."""
    model = build_model("p", 2, seed=0).train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    loss = model(torch.rand(images, 3, 32, 32), torch.tensor([[0, 1, 0.5, 0.5, 0.8, 0.8]])).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    moved = not torch.equal(before["backbone.spp.squeeze.norm.running_mean"],
                            model.backbone.spp.squeeze.norm.running_mean)  # fmt: skip
    assert moved == (images > 1)


def test_fused_copy_gives_the_same_boxes_and_scores() -> None:
    model = build_model("p", 3, seed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # far from the start, where folding is trivial
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    images = torch.rand(2, 3, 96, 64)
    fused = fused_copy(model)
    assert fused.fused
    assert not model.fused
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=1e-4, atol=1e-4)


def test_exported_program_takes_any_batch() -> None:
    model = fused_copy(build_model("p", 3, seed=0))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.rand(2, 3, 64, 64),), dynamic_shapes={"images": {0: batch}})
    images = torch.rand(5, 3, 64, 64)
    torch.testing.assert_close(program.module()(images), model(images), rtol=1e-4, atol=1e-4)


def test_traced_model_takes_other_batches_and_sizes() -> None:
    model = fused_copy(build_model("p", 3, seed=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit as a whole is deprecated
        traced = torch.jit.trace(model, torch.rand(1, 3, 64, 64))
    images = torch.rand(3, 3, 96, 32)
    torch.testing.assert_close(traced(images), model(images), rtol=1e-4, atol=1e-4)


def test_same_seed_same_weights_and_global_generator_untouched() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = (build_model("p", 3, seed=seed).state_dict() for seed in (7, 7, 8))
    assert torch.equal(torch.rand(3), wanted)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["backbone.stem.conv.weight"], c["backbone.stem.conv.weight"])


@pytest.mark.parametrize(
    ("arguments", "names", "message"),
    [
        (("q", 3), None, "got 'q', expected one of p (pico), n (nano)"),
        (("nanoo", 3), None, "Did you mean 'n'?"),
        (("N", 3), None, "Did you mean 'n'?"),
        (("n", 0), None, "num_classes: got 0, expected at least 1"),
        (("n", 3), ("a", "b"), "got 2 names, expected 3"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: tuple[str, int], names: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_model(*arguments, class_names=names)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 64, 64), "expected [B, 3, H, W]"),
        (torch.zeros(1, 64, 64, 3), "channels first"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "images.float() / 255"),
        (torch.zeros(1, 3, 64, 50), "got 64 x 50 pixels, expected multiples of 32"),
        (torch.zeros(1, 3, 0, 64), "got 0 x 64 pixels"),
    ],
)
def test_wrong_images_are_refused(pico: Detector, images: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        pico(images)


def test_learns_one_batch_by_heart() -> None:
    """Coloured rectangles, one of them tiny: after a few steps each is found with its class."""
    model = build_model("p", 3, seed=0).train()
    truth = [(0, 0, 8, 8, 40, 36), (0, 1, 36, 30, 60, 60), (1, 2, 4, 20, 30, 60), (1, 1, 44, 10, 50, 16)]
    images = torch.full((2, 3, 64, 64), 0.45)
    rows = []
    for sample, color, x0, y0, x1, y1 in truth:
        images[sample, :, y0:y1, x0:x1] = 0
        images[sample, color, y0:y1, x0:x1] = 1
        rows.append([sample, color, (x0 + x1) / 128, (y0 + y1) / 128, (x1 - x0) / 64, (y1 - y0) / 64])
    targets = torch.tensor(rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    first = model(images, targets).detach()
    for _ in range(100):
        loss = model(images, targets)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    assert (loss < 0.5 * first).all()
    raw = model(images).detach()
    for sample, color, x0, y0, x1, y1 in truth:
        x, y, w, h = raw[sample, :4]
        wide = (torch.minimum(x + w / 2, torch.tensor(x1)) - (x - w / 2).clamp(min=x0)).clamp(min=0)
        high = (torch.minimum(y + h / 2, torch.tensor(y1)) - (y - h / 2).clamp(min=y0)).clamp(min=0)
        iou = wide * high / (w * h + (x1 - x0) * (y1 - y0) - wide * high)
        found = (iou > 0.5) & (raw[sample, 4:].argmax(0) == color) & (raw[sample, 4 + color] > 0.3)
        assert found.any(), f"box {x0, y0, x1, y1} of image {sample} not found"
