"""The bounds of what foreign input may ask for: one table, checked before memory or time is spent.

Nobody's real data comes near them. What exceeds one is refused with an error that names the limit. Those that
a user may have a reason to raise are read from the environment, as `YOLOFAST_MAX_...`, when this module is
imported. Native code has its own in csrc/core/limits.hpp.
"""

from __future__ import annotations

import os


def _setting(name: str, default: int) -> int:
    """A bound that the environment variable `YOLOFAST_<name>` may change; raises `ValueError`."""
    value = os.environ.get(f"YOLOFAST_{name}", str(default))
    if not (value.isascii() and value.isdecimal()):
        raise ValueError(f"YOLOFAST_{name}: got {value!r}, expected a whole number.")
    return int(value)


# Archives (yolofast.ingest)
MAX_ARCHIVE_BYTES = 1 << 40
"""Bytes of an archive, and of the files in it."""
MAX_ARCHIVE_ENTRIES = _setting("MAX_ARCHIVE_ENTRIES", 3_000_000)
"""Files and folders of an archive; each takes about 500 bytes of memory while it is checked."""
MAX_ARCHIVE_FOLDERS = _setting("MAX_ARCHIVE_FOLDERS", 100_000)
"""Different folders of an archive, also those that only occur in the paths of files."""
MAX_ARCHIVE_DEPTH = 64
"""Folders above a file of an archive."""
MAX_ARCHIVE_NAME_BYTES = 512 << 20
"""Bytes of all paths of an archive together."""
MAX_ARCHIVE_RATIO = 100
"""Unpacked over packed size; images hardly compress, and label text compresses about tenfold."""
MIN_RATIO_BYTES = 64 << 20
"""The ratio is only checked for archives that unpack to more than this."""
MIN_HEADER_BYTES = 32 << 20
"""The ratio of the headers of a tar (one or three for each file) is only checked above this."""
MAX_TAR_EXTENSION = 1 << 20
"""Bytes of the extension headers of one tar entry: a path has at most 4096."""
MAX_PAX_RECORDS = 200
"""Records in the extension headers of one tar entry: times, owners, extended attributes."""
MAX_EMPTY_STREAMS = 1000
"""Joined compressed streams of less than 512 bytes each, on average, in a compressed tar."""
MAX_DICTIONARY_BYTES = 128 << 20
"""Memory to decompress xz and LZMA: `xz -9` needs 65 MB."""

# Downloads (yolofast.ingest)
MAX_REDIRECTS = 10
"""Redirects of one request."""
MIN_DOWNLOAD_SPEED = _setting("MIN_DOWNLOAD_SPEED", 1000)
"""Bytes per second, on average over the time below; a slower attempt is broken off. 0: wait for ever."""
DOWNLOAD_WINDOW_S = _setting("DOWNLOAD_WINDOW_S", 60)
"""Seconds over which the speed is measured; also those that the headers of a response may take."""
MIN_FREE_BYTES = 100 << 20
"""What a download of unknown size leaves free on the disk."""
