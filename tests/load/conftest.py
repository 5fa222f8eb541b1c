"""The dataset that the loader's tests load."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.coloured_dataset import write_coloured
from support.loader_cases import COUNT


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coloured(tmp_path_factory.mktemp("coloured"), COUNT)
