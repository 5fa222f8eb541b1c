"""Detections of a torch head, on the CPU and where the operators for a device are missing."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from yolofast.kernels import postprocess

torch = pytest.importorskip("torch")

from yolofast.evaluate import detect  # noqa: E402  (after the skip)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype(dtype: torch.dtype) -> None:
    raw = torch.rand((3, 7, 50), generator=torch.Generator().manual_seed(3)).to(dtype)
    found = detect.find_detections(raw.requires_grad_(), conf=0.2, iou=0.5, max_det=20)
    expected = postprocess(raw.detach().float().numpy(), conf=0.2, iou=0.5, max_det=20)
    for mine, theirs in zip(found, expected, strict=True):
        assert len(theirs)
        np.testing.assert_array_equal(mine.boxes, theirs.boxes)
        np.testing.assert_array_equal(mine.scores, theirs.scores)
        np.testing.assert_array_equal(mine.classes, theirs.classes)


def test_says_once_why_nms_runs_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch_ops = pytest.importorskip("yolofast.kernels.torch_ops")
    monkeypatch.setattr(torch_ops, "why_no_cuda", lambda: "yolofast was built without CUDA. Build it again")
    detect._has_cuda_operators.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert not detect._has_cuda_operators()
        assert not detect._has_cuda_operators()
    detect._has_cuda_operators.cache_clear()
    assert caplog.messages == ["NMS runs on the CPU: yolofast was built without CUDA. Build it again."]
