"""The host's stand-in for a device sees the mistakes that a device would make visible."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.emulated_library import EMULATION, SHARED_MEMORY
from support.native_build import CSRC

pytestmark = pytest.mark.deep

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


@pytest.fixture(scope="module")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("emulation")
    return compiled(EMULATION / "emulation.cpp", folder / "emulation.o")


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
        (
            "if (threadIdx.x < 7) { out[0] = 1; __syncthreads(); } else __syncthreads();",
            "threads wait at different barriers",
        ),
        ("if (threadIdx.x < 7) return; __syncthreads();", "1 no error"),
        (
            "if (threadIdx.x % 32 < 7) __ballot_sync(0xffffffff, 1); else __ballot_sync(0xffffffff, 1);",
            "threads wait for one another",
        ),
        ("out[0] = __shfl_up_sync(0xffffffff, 3, 1);", "1 no error"),
        (
            "if (threadIdx.x % 32 < 7) out[0] = __shfl_down_sync(0x7f, 3, 1);",
            "a lane reads from one that takes no part",
        ),
    ],
    ids=[
        "barrier",
        "shuffle",
        "ballot",
        "divergent",
        "lane that is gone",
        "two barriers",
        "barrier without those who left",
        "two ballots",
        "the warp's end",
        "lane outside of the mask",
    ],
)
def test_outcome(emulation: str, tmp_path: Path, body: str, outcomes: str) -> None:
    assert outcomes in outcome(emulation, tmp_path, body)


def test_a_missing_barrier_shows(emulation: str, tmp_path: Path) -> None:
    found = outcome(emulation, tmp_path, f"{WRITTEN} {TURNED}")
    assert int(found.split()[0]) > 1


def test_shared_memory_that_nobody_wrote_shows(emulation: str, tmp_path: Path) -> None:
    found = outcome(emulation, tmp_path, "__shared__ int shared; out[blockIdx.x] = shared;")
    assert int(found.split()[0]) > 1


UPLOAD = """
#include "cuda/upload.hpp"
#include <cstdio>

int main() {
    for (bool late : {false, true}) {
        yf::emulation::copy_late(late);
        std::vector<char> from(200'000, 'a'), to(from.size());
        yf::cuda::upload(to.data(), from.data(), from.size(), nullptr);
        from.assign(from.size(), 'b');
        cudaStreamSynchronize(nullptr);
        std::printf("%d", to == std::vector<char>(from.size(), 'a'));
    }
}
"""


def test_what_is_uploaded_may_go_at_once(emulation: str, tmp_path: Path) -> None:
    """Also where the device reads the host's memory by itself, in its own time."""
    assert run(emulation, tmp_path, f"#include <vector>\n{UPLOAD}") == "11"


def outcome(emulation: str, folder: Path, body: str) -> str:
    return run(
        emulation, folder, PROGRAM.format(kernel=f"__global__ void kernel(int* out) {{ (void)out; {body} }}")
    )


def run(emulation: str, folder: Path, program: str) -> str:
    """What a program prints that is compiled as csrc/cuda is."""
    source = folder / "program.cpp"
    source.write_text(program)
    objects = [compiled(source, folder / "program.cu.o"), emulation]
    subprocess.run(["g++", *objects, SHARED_MEMORY, "-o", str(folder / "program")], check=True)
    return subprocess.run([str(folder / "program")], check=True, capture_output=True, text=True).stdout


def compiled(source: Path, target: Path) -> str:
    command = ["g++", "-std=c++20", f"-I{EMULATION}", f"-I{CSRC}", "-c", str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    return str(target)
