"""The host's stand-in for a device sees the mistakes that a device would make visible."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from emulated_library import CSRC

PROGRAM = """
#include "cuda_runtime.h"
#include <cstdio>
#include <set>
#include <vector>
using yf::cuda::launch;

{kernel}

int main() {{
    std::set<std::vector<int>> seen;
    cudaError_t status = cudaSuccess;
    for (unsigned seed = 0; seed < 8 && status == cudaSuccess; ++seed) {{
        yf::emulation::choose_seed(seed);
        std::vector<int> out(128, -1);
        status = launch(kernel, 2, 64, nullptr, out.data());
        seen.insert(out);
    }}
    std::printf("%zu %s", seen.size(), cudaGetErrorString(status));
}}
"""

WRITTEN = "__shared__ int shared[64]; shared[threadIdx.x] = blockIdx.x;"
TURNED = "out[blockIdx.x * 64 + threadIdx.x] = shared[63 - threadIdx.x];"


@pytest.mark.parametrize(
    ("body", "outcomes"),
    [
        (
            f"{WRITTEN} __syncthreads(); {TURNED}",
            "1 no error",
        ),
        ("out[blockIdx.x * 64 + threadIdx.x] = __shfl_xor_sync(0xffffffff, threadIdx.x, 1);", "1 no error"),
        ("out[blockIdx.x * 64 + threadIdx.x] = __ballot_sync(0xffffffff, threadIdx.x % 3);", "1 no error"),
        (
            "if (threadIdx.x < 7) __syncthreads(); else __ballot_sync(0xffffffff, 1);",
            "threads wait",
        ),
        ("if (threadIdx.x < 7) return; __ballot_sync(0xffffffff, 1);", "threads wait"),
    ],
    ids=["barrier", "shuffle", "ballot", "divergent", "lane that is gone"],
)
def test_outcome(tmp_path: Path, body: str, outcomes: str) -> None:
    assert outcomes in outcome(tmp_path, body)


def test_a_missing_barrier_shows(tmp_path: Path) -> None:
    found = outcome(tmp_path, f"{WRITTEN} {TURNED}")
    assert int(found.split()[0]) > 1


def outcome(folder: Path, body: str) -> str:
    source = folder / "program.cpp"
    source.write_text(PROGRAM.format(kernel=f"__global__ void kernel(int* out) {{ (void)out; {body} }}"))
    command = [
        "g++",
        "-std=c++20",
        f"-I{CSRC / 'emulation'}",
        str(source),
        str(CSRC / "emulation/emulation.cpp"),
    ]
    subprocess.run([*command, "-o", str(folder / "program")], check=True)
    return subprocess.run([str(folder / "program")], check=True, capture_output=True, text=True).stdout
