"""Shared fixtures: where the real data is (when it is there at all)."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # one for each core: more threads of torch would wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if importlib.util.find_spec("hypothesis"):  # machines with a GPU may lack it
    import support.property_tests  # noqa: F401  (registers the profiles)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real datasets, `YOLOFAST_DATA` or `../shared/data`; skips where there is none."""
    folder = Path(os.environ.get("YOLOFAST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data here (set YOLOFAST_DATA)")
    return folder


@pytest.fixture(scope="session")
def sample_yolo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of a small prepared sample dataset: 40 drawn images in train and valid."""
    from yolofast.prepare import prepare_dataset
    from yolofast.sample import make_sample_dataset

    root = tmp_path_factory.mktemp("sample")
    make_sample_dataset(root / "raw", count=40)
    return prepare_dataset(root / "raw", root / "yolo").data_yaml
