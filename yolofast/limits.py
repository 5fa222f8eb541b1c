"""The bounds of what foreign input may ask for: one table, checked before memory or time is spent.

Nobody's real data comes near them. What exceeds one is refused with an error that names the limit. Those that
a user may have a reason to raise are read from the environment, as `YOLOFAST_MAX_...`, when this module is
imported. Native code has its own in csrc/core/limits.hpp.
"""

from __future__ import annotations

# The disk cache of decoded planes.
CACHE_BYTES = 200 * 10**9
"""Of all cache files in a folder, unless YOLOFAST_CACHE_GB says otherwise; those unused longest go first."""
MAX_CACHE_NAME_BYTES = 120
"""Of a dataset's name in a cache file's name: file names may have 255 bytes, those of temporary files too."""
MAX_CACHE_SIBLINGS = 8
"""Cache files of a dataset that a new one looks into for planes to take over, the last used first."""
