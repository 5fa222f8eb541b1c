"""The same kernels under pytest-benchmark, to watch our own speed from commit to commit.

pytest benchmarks/bench_kernels.py --benchmark-only
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from yolofast.bench.kernels import CASES


@pytest.mark.parametrize("name", CASES)
def test_kernel(name: str, benchmark: BenchmarkFixture) -> None:
    case = CASES[name]()
    case.check()
    benchmark(case.ours)
