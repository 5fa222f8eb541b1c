"""Where the scripts here find the project, the real datasets, and the folder of their results."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
DATA = Path(os.environ.get("YOLOFAST_DATA", REPOSITORY.parent / "shared" / "data"))
