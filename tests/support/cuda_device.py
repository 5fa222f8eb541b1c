"""What tests for CUDA devices do where there is none."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_without_cuda(reason: str) -> NoReturn:
    """Skip, or fail where `YOLOFAST_REQUIRE_CUDA=1` says that there must be a GPU and what goes with it."""
    if os.environ.get("YOLOFAST_REQUIRE_CUDA") == "1":
        pytest.fail(f"YOLOFAST_REQUIRE_CUDA=1, but {reason}")
    pytest.skip(reason)
