"""Which nvJPEG is taken, what is said where there is none, and whether our declarations are the real ones."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.native_build import CSRC
from support.nvjpeg_library import build_double

from yolofast.errors import ConfigError, MissingExtraError

pytest.importorskip("torch")

from yolofast.kernels._nvjpeg import Nvjpeg
from yolofast.kernels.torch_nvjpeg import NvJpegDecoder, library_candidates


def test_no_library_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLOFAST_NVJPEG", "/nowhere/libnvjpeg.so.13")
    with pytest.raises(MissingExtraError, match=r"nvJPEG is not found \(/nowhere/lib.*pip install 'yolofast"):
        NvJpegDecoder("cuda")


@pytest.mark.parametrize(
    ("macro", "error", "message"),
    [
        ("VERSION=11", MissingExtraError, r"is version 11\.3, expected 12 or newer"),
        ("WITHOUT_SYMBOL", MissingExtraError, "has no nvjpegDecodeJpegDevice"),
        ("NO_BACKEND", ConfigError, r"does not start on this device \(status 6\)"),
    ],
)
def test_libraries_that_do_not_do(macro: str, error: type[Exception], message: str) -> None:
    library = build_double(macro)
    with pytest.raises(error, match=message):
        NvJpegDecoder("cpu", library=library, driver=library)


def test_no_driver() -> None:
    with pytest.raises(MissingExtraError, match="the CUDA driver is not found"):
        NvJpegDecoder("cpu", library=build_double(), driver="/nowhere/libcuda.so.1")


def test_the_first_that_loads_is_taken() -> None:
    library = build_double()
    found = Nvjpeg(["/nowhere/libnvjpeg.so.13", library], [library])
    assert (found.path, found.version, found.is_on_host) == (str(library), (13, 3), True)


def test_a_stand_in_is_no_cuda_device() -> None:
    library = build_double()
    with pytest.raises(ConfigError, match="device: got 'cuda:0', expected a CUDA device"):
        NvJpegDecoder("cuda:0", library=library, driver=library)
    with pytest.raises(ConfigError, match="threads is 0"):
        NvJpegDecoder("cpu", threads=0, library=library, driver=library)


def test_candidates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("YOLOFAST_NVJPEG", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libnvjpeg.so.13").touch()
    found = library_candidates("13.0")
    assert str(tmp_path / "lib64" / "libnvjpeg.so.13") in found
    assert found[-1] == "libnvjpeg.so.13"
    monkeypatch.setenv("YOLOFAST_NVJPEG", "/chosen.so")
    assert library_candidates("13.0") == ["/chosen.so"]


# ---------------------------------------------------------------- the real header

COMPARISON = """
#include <cstddef>
#include <type_traits>
#include <nvjpeg.h>
#include "nvjpeg/api.hpp"

namespace ours = yf::nvjpeg;

template <typename Ours, typename Theirs>
constexpr bool is_alike =
    sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>;

template <typename Ours, typename Theirs>
struct Alike : std::false_type {};
template <typename R, typename... Ours, typename S, typename... Theirs>
    requires(sizeof...(Ours) == sizeof...(Theirs))
struct Alike<R (*)(Ours...), S (*)(Theirs...)>
    : std::bool_constant<is_alike<R, S> && (is_alike<Ours, Theirs> && ...)> {};

#define COMPARE(name, arguments) \\
    static_assert(Alike<decltype(ours::Library::name), decltype(&nvjpeg##name)>::value);
YF_NVJPEG_FUNCTIONS(COMPARE)

static_assert(sizeof(ours::Image) == sizeof(nvjpegImage_t));
static_assert(offsetof(ours::Image, pitch) == offsetof(nvjpegImage_t, pitch));
static_assert(ours::kMostComponents == NVJPEG_MAX_COMPONENT);
static_assert(sizeof(ours::Allocator) == sizeof(nvjpegDevAllocatorV2_t));
static_assert(sizeof(ours::Allocator) == sizeof(nvjpegPinnedAllocatorV2_t));
static_assert(offsetof(ours::Allocator, release) == offsetof(nvjpegDevAllocatorV2_t, dev_free));
static_assert(offsetof(ours::Allocator, context) == offsetof(nvjpegDevAllocatorV2_t, dev_ctx));
static_assert(offsetof(ours::Allocator, release) == offsetof(nvjpegPinnedAllocatorV2_t, pinned_free));
static_assert(Alike<ours::Allocate, tDevMallocV2>::value && Alike<ours::Release, tDevFreeV2>::value);
static_assert(Alike<ours::Allocate, tPinnedMallocV2>::value && Alike<ours::Release, tPinnedFreeV2>::value);
static_assert(ours::kSuccess == NVJPEG_STATUS_SUCCESS && ours::kBadJpeg == NVJPEG_STATUS_BAD_JPEG);
static_assert(ours::kNotSupported == NVJPEG_STATUS_JPEG_NOT_SUPPORTED);
static_assert(ours::kAllocatorFailure == NVJPEG_STATUS_ALLOCATOR_FAILURE);
static_assert(ours::kExecutionFailed == NVJPEG_STATUS_EXECUTION_FAILED);
static_assert(ours::kArchMismatch == NVJPEG_STATUS_ARCH_MISMATCH);
static_assert(ours::kInternalError == NVJPEG_STATUS_INTERNAL_ERROR);
static_assert(ours::kIncomplete == NVJPEG_STATUS_INCOMPLETE_BITSTREAM);
static_assert(ours::kBackendDefault == NVJPEG_BACKEND_DEFAULT);
static_assert(ours::kBackendHybrid == NVJPEG_BACKEND_HYBRID);
static_assert(ours::kBackendGpuHybrid == NVJPEG_BACKEND_GPU_HYBRID);
static_assert(ours::kBackendHardware == NVJPEG_BACKEND_HARDWARE);
static_assert(ours::kOutputYuv == NVJPEG_OUTPUT_YUV && ours::kOutputY == NVJPEG_OUTPUT_Y);
static_assert(ours::kChroma444 == NVJPEG_CSS_444 && ours::kChroma422 == NVJPEG_CSS_422);
static_assert(ours::kChroma420 == NVJPEG_CSS_420 && ours::kChroma440 == NVJPEG_CSS_440);
static_assert(ours::kChroma411 == NVJPEG_CSS_411 && ours::kChromaGray == NVJPEG_CSS_GRAY);
static_assert(ours::kMajorVersion == MAJOR_VERSION && ours::kMinorVersion == MINOR_VERSION);
"""


def include_folders() -> list[Path]:
    """Where CUDA's headers may lie: in packages, in CUDA_HOME, beside nvcc."""
    spec = importlib.util.find_spec("nvidia")
    packages = spec.submodule_search_locations if spec is not None else None
    folders = [path for folder in packages or () for path in sorted(Path(folder).glob("*/include"))]
    nvcc = shutil.which("nvcc")
    homes = [os.environ.get("CUDA_HOME"), nvcc and Path(nvcc).resolve().parents[1], "/usr/local/cuda"]
    return folders + [Path(home, "include") for home in homes if home]


def test_declarations_are_those_of_the_header(tmp_path: Path) -> None:
    folders = include_folders()
    for header in ("nvjpeg.h", "cuda_runtime_api.h", "crt/host_defines.h"):
        if not any((folder / header).exists() for folder in folders):
            pytest.skip(f"there is no {header} on this machine")
    source = tmp_path / "compare.cpp"
    source.write_text(COMPARISON)
    system = [part for folder in folders for part in ("-isystem", str(folder))]
    command = ["g++", "-std=c++20", "-fsyntax-only", f"-I{CSRC}", *system, str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_real_library_is_whole() -> None:
    """Where it is installed, it has all that we call; no GPU is needed to see that."""
    installed = [path for path in library_candidates("13.0") if Path(path).exists()]
    if not installed:
        pytest.skip("nvJPEG is not installed")
    found = Nvjpeg(installed, [build_double()])
    assert found.version >= (12, 0)
    assert not found.is_on_host
