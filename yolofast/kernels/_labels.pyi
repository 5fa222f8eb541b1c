from _typeshed import ReadableBuffer

from yolofast.kernels.parsed_labels import ParsedLabels

ERROR_CODES: tuple[str, ...]
LONGEST_TEXT: int
MOST_KEYPOINTS: int

def keypoint_shape(keypoints: tuple[int, int] | None) -> tuple[int, int]: ...
def parse_yolo_labels(data: ReadableBuffer, *, keypoints: tuple[int, int] | None = None) -> ParsedLabels: ...
