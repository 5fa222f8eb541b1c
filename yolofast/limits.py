"""The bounds of what foreign input may ask for: one table, checked before memory or time is spent.

Nobody's real data comes near them. What exceeds one is refused with an error that names the limit. Those that
a user may have a reason to raise are read from the environment, as `YOLOFAST_MAX_...`, when this module is
imported. Native code has its own in csrc/core/limits.hpp.
"""

from __future__ import annotations

# ------------------------------------------------------------ weights files

MAX_TENSOR_HEADER_BYTES = 8 * 2**20
"""Bytes of the header of a safetensors file. A run of 10,000 epochs of the largest model has 6 MB."""
MAX_TENSOR_HEADER_VALUES = 250_000
"""Opening brackets in such a header: tensors take two each, epochs of the history one."""
MAX_TENSOR_DIMENSIONS = 8
"""Dimensions of a tensor in a safetensors file."""
