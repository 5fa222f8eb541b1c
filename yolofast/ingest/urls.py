"""URLs without the secrets in them, for messages, logs and files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

from yolofast.errors import DataError
from yolofast.files import shortened
from yolofast.ingest.extract import name_of_archive
from yolofast.limits import MAX_NAME_BYTES
from yolofast.printable import printable


def redacted_url(url: str) -> str:
    """The URL without user, password, query and fragment, which may contain keys."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as http://[half an IPv6 address
        return printable(url.partition("?")[0].partition("#")[0].rpartition("@")[2])
    host = parts.netloc.rpartition("@")[2]
    return printable(urlunsplit((parts.scheme, host, parts.path, "", "")))


def check_http_url(url: str) -> None:
    """Raise `DataError` unless `url` is an http or https URL."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.netloc:
            return
    raise DataError(f"got '{redacted_url(url)}', expected a URL that begins with http:// or https://.")


def name_from_url(url: str) -> str:
    """A folder name for the file at `url`. Raises `DataError` when it is not an http or https URL."""
    check_http_url(url)
    last = PurePosixPath(unquote(urlsplit(url).path)).name.replace("\0", "")
    return shortened(name_of_archive(last).strip(" .")[:100], MAX_NAME_BYTES) or "dataset"
