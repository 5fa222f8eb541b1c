"""The bounds of what foreign input may ask for: one table, checked before memory or time is spent.

Nobody's real data comes near them. What exceeds one is refused with an error that names the limit. Those that
a user may have a reason to raise are read from the environment, as `YOLOFAST_MAX_...`, when this module is
imported. Native code has its own in csrc/core/limits.hpp.
"""

from __future__ import annotations

# File names
MAX_NAME_BYTES = 255
"""Bytes of a file name that common file systems support; longer names of our own files are shortened."""
