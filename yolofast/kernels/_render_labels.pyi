import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.types import BatchPlan

def render_labels(
    plan: BatchPlan,
    rows: ArrayLike,
    offsets: ArrayLike,
    shapes: ArrayLike,
    *,
    filtered: bool,
    min_side: float = 2.0,
    min_area: float = 0.1,
    max_aspect: float = 100.0,
) -> NDArray[np.float32]: ...
