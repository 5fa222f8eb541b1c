"""Numbers for the tensors of a network, made from their names: the same in every environment.

So two programs can fill the same network with the same weights without a file of weights. Needs numpy only.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def foreign_value(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """A tensor: weights about as large as those of a trained network, statistics of batch norms near 1 and 0.

    Uniform numbers from the raw bits of Philox, which numpy keeps as they are in all versions.
    """
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("dfl.conv.weight"):
        return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    bits = np.random.Philox(key=zlib.crc32(name.encode())).random_raw(math.prod(shape))
    uniform = ((np.asarray(bits) >> np.uint64(11)) * 2.0**-53).reshape(shape)
    if name.endswith(("running_var", "bn.weight")):
        values = uniform + 0.5
    elif name.endswith(("running_mean", "bn.bias")):
        values = 0.4 * (uniform - 0.5)
    elif len(shape) == 4 and name.endswith("weight"):
        values = (2 * uniform - 1) * math.sqrt(3 / math.prod(shape[1:]))
    else:
        values = uniform
    return values.astype(np.float32)
