"""The bounds of what foreign input may ask for: one table, checked before memory or time is spent.

Nobody's real data comes near them. What exceeds one is refused with an error that names the limit. Those that
a user may have a reason to raise are read from the environment, as `YOLOFAST_MAX_...`, when this module is
imported. Native code has its own in csrc/core/limits.hpp. docs/limits.md shows this table.
"""

from __future__ import annotations

import os
import warnings


def _from_environment(name: str, default: int, high: int, low: int = 1) -> int:
    """The whole number in an environment variable, from `low` to `high`; `default` where it is not one."""
    text = os.environ.get(name, "")
    if text.isascii() and text.isdecimal() and len(text) < 20 and low <= int(text) <= high:
        return int(text)
    if text:
        warnings.warn(
            f"{name}: got {text[:40]!a}, expected a whole number from {low} to {high}; {default} is used",
            stacklevel=2,
        )
    return default


# Images
MAX_PIXELS = _from_environment("YOLOFAST_MAX_PIXELS", 1 << 28, 1 << 30)
"""Pixels of an image of any format (16,384 x 16,384). The loader itself takes no more than the default:
`yolofast prepare --max-side` makes larger images smaller."""
MAX_EXPANSION = _from_environment("YOLOFAST_MAX_EXPANSION", 1000, 1 << 30)
"""Bytes of stored pixels for each byte of an image file, where the decoded ones are more than
`FREE_EXPANSION`. Deflate packs one colour 1,029 times. Measured: a mask with five blobs 927, a drawing of 20
lines 860, a screenshot 816, a drawing as CCITT G4 613, a GeoTIFF black but for one part in 6,400 570."""
WEBP_EXPANSION = 50
"""How many times more it may be in a WebP: 20,011 for that drawing, without loss."""
FREE_EXPANSION = 7 << 24
"""Bytes of decoded pixels that any image file may have, however small it is: a blank page of A4 at 600 dpi
has 104 million in 3 kB."""
MAX_IMAGE_BYTES = 1 << 30
"""Bytes of an image file."""
MAX_PNG_CHUNKS = 1 << 19
"""Chunks of a PNG: 1 GB in chunks of 2 kB."""
MAX_MISSING_BYTES = 1 << 26
"""Bytes that a chunk of a PNG may state and that its file lacks: decoders allocate them."""
PIXELS_REWRITTEN = 1 << 26
"""Pixels that all threads of `prepare` together rewrite or downscale at once, at 12 bytes each (CMYK 16)."""
PIXELS_IN_FLIGHT = 1 << 28
"""Pixels that all threads of a process together decode at once in Python; a larger image is decoded alone."""

# Classes and labels
MAX_CLASSES = 50_000
"""Classes of a dataset: the largest public detection sets have some ten thousand."""
MAX_NAME = 1000
"""Characters of a class name."""
MAX_BOXES = 100_000
"""Label rows of an image; the native reader of YOLO files has the same number."""

# Text files
MAX_YAML_BYTES = 4 << 20
"""Bytes of a data.yaml or a config: real ones are a few kB."""
MAX_YAML_VALUES = 150_000
"""Values, keys, lists and aliases of a YAML file: `MAX_CLASSES` names with their ids, and some."""
MAX_YAML_KEYS = 1000
"""Keys at the top of a data.yaml."""
MAX_YAML_SCALAR = 1 << 16
"""Characters of one value or key of a YAML file."""
MAX_DEPTH = 32
"""Nesting of YAML and XML: no format needs half of that."""
MAX_XML_ELEMENTS = 150_000
"""Elements of the XML file of one image: some 18,000 objects."""
MAX_XML_TAG = 1 << 21
"""Bytes of a tag with its attributes in an XML file: those of CVAT hold the outline of a mask."""
MAX_ENTRY_BYTES = 8 << 20
"""Bytes of the categories of a COCO file, and of an image or annotation in it of an unusual form."""
MAX_ENTRY_VALUES = 1_000_000
"""Lists and objects in such a value, and in a line of ndjson: the pairs of an outline are lists, too."""
MAX_LINE = 32 << 20
"""Characters of a line of text labels, such as the JSON of one image; 1 << 20 in a CSV."""
MAX_PATH = 4096
"""Characters of a path in a data.yaml, and of a line in a list of images."""
MAX_UNFOUND = 5000
"""Images of a list that may all be missing; of a list of more, every hundredth is to be here."""
MAX_QUOTED = 80
"""Characters of foreign text that an error quotes."""

# File names
MAX_NAME_BYTES = 255
"""Bytes of a file name that common file systems support; longer names of our own files are shortened."""

# Weights files
MAX_TENSOR_HEADER_BYTES = 8 * 2**20
"""Bytes of the header of a safetensors file. A run of 10,000 epochs of the largest model has 6 MB."""
MAX_TENSOR_HEADER_VALUES = 250_000
"""Opening brackets in such a header: tensors take two each, epochs of the history one."""
MAX_TENSOR_DIMENSIONS = 8
"""Dimensions of a tensor in a safetensors or PyTorch file."""

# PyTorch's files
MAX_TORCH_ENTRIES = 50_000
"""Entries of a PyTorch file: one for each tensor and some. A training file of the largest model has 2,200."""
MAX_PICKLE_BYTES = 16 << 20
"""Bytes of the pickle in a PyTorch file, which describes the tensors. Such a training file has 0.5 MB."""
MAX_PICKLE_OPCODES = 1_000_000
"""Steps of such a pickle."""
MAX_PICKLE_OBJECTS = 300_000
"""Lists, dictionaries, tuples and objects that such a pickle makes. Such a training file has 60,000."""
MAX_PICKLE_NESTING = 500
"""Lists, dictionaries and tuples of a pickle that are begun and not ended."""
MAX_PICKLE_NAME = 1000
"""Characters of the module or of the name of a class or function in a pickle."""
MAX_PICKLE_NAMES = 5000
"""Different classes and functions that a pickle mentions. Training files have 30."""
MAX_PICKLE_TUPLE_KEYS = 2000
"""Times that a pickle uses a tuple as a key: tuples of one hash are easy to make, and each is compared with
all others. Training files have none."""
MAX_MODULE_DEPTH = 32
"""Modules of a network inside one another."""
MAX_MODULES = 20_000
"""Modules of a network. The largest model has 1,500."""
MAX_NETWORK_TENSORS = 50_000
"""Tensors of a network, which may be the same one many times. The largest model has 1,100."""
MAX_TENSOR_NAME = 1000
"""Characters of the dotted name of a module or tensor."""

# The disk cache of decoded planes.
CACHE_BYTES = 200 * 10**9
"""Of all cache files in a folder, unless YOLOFAST_CACHE_GB says otherwise; those unused longest go first."""
MAX_CACHE_NAME_BYTES = 120
"""Of a dataset's name in a cache file's name: file names may have 255 bytes, those of temporary files too."""
MAX_CACHE_SIBLINGS = 8
"""Cache files of a dataset that a new one looks into for planes to take over, the last used first."""

# Archives (yolofast.ingest)
MAX_ARCHIVE_BYTES = 1 << 40
"""Bytes of an archive, and of the files in it."""
MAX_ARCHIVE_ENTRIES = _from_environment("YOLOFAST_MAX_ARCHIVE_ENTRIES", 3_000_000, 1 << 40)
"""Files and folders of an archive; each takes about 500 bytes of memory while it is checked."""
MAX_ARCHIVE_FOLDERS = _from_environment("YOLOFAST_MAX_ARCHIVE_FOLDERS", 100_000, 1 << 40)
"""Different folders of an archive, also those that only occur in the paths of files."""
MAX_ARCHIVE_DEPTH = 64
"""Folders above a file of an archive."""
MAX_ARCHIVE_NAME_BYTES = 512 << 20
"""Bytes of all paths of an archive together."""
MAX_ARCHIVE_RATIO = 100
"""Unpacked over packed size; images hardly compress, and label text compresses about tenfold."""
MIN_RATIO_BYTES = 64 << 20
"""The ratio is only checked for archives that unpack to more than this."""
MIN_HEADER_BYTES = _from_environment("YOLOFAST_MIN_HEADER_BYTES", 32 << 20, 1 << 40)
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
MIN_DOWNLOAD_SPEED = _from_environment("YOLOFAST_MIN_DOWNLOAD_SPEED", 1000, 1 << 40, low=0)
"""Bytes per second, on average over the time below; a slower attempt is broken off. 0: wait for ever."""
DOWNLOAD_WINDOW_S = _from_environment("YOLOFAST_DOWNLOAD_WINDOW_S", 60, 1 << 40)
"""Seconds over which the speed is measured; also those that the headers of a response may take."""
MIN_FREE_BYTES = 100 << 20
"""What a download of unknown size leaves free on the disk."""
MAX_URL_IMAGE_BYTES = 1 << 27
"""Bytes of an image that `predict` reads from a URL, which are held in memory."""
MAX_URL_IMAGE_S = 120
"""Seconds that it may take."""
