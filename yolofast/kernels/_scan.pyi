from typing import Any

from numpy.typing import NDArray

from yolofast.kernels.parsed_labels import LabelError

FINE: int
UNREADABLE: int
EMPTY: int
UNKNOWN_FORMAT: int
REFUSED: int
UNUSUAL: int
FORMATS: tuple[str, ...]
MODES: tuple[str, ...]

def image_claims(data: bytes) -> tuple[int, int, int]: ...
def scan_headers(paths: bytes) -> dict[str, NDArray[Any]]: ...
def scan_labels(
    paths: bytes, keypoints: tuple[int, int] | None = None
) -> tuple[dict[str, NDArray[Any]], list[tuple[int, LabelError]]]: ...
