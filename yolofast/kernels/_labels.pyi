from _typeshed import ReadableBuffer

from yolofast.kernels.parsed_labels import ParsedLabels

ERROR_CODES: tuple[str, ...]
LONGEST_TEXT: int

def parse_yolo_labels(data: ReadableBuffer, *, keypoints: tuple[int, int] | None = None) -> ParsedLabels: ...
