"""URLs without the secrets in them, for messages, logs and files."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

from yolofast.errors import DataError
from yolofast.ingest.extract import name_of_archive

_QUERY = re.compile(r"\?[^\s'\"<>]+")
_USER = re.compile(r"(?<=://)[^\s/@'\"]+@")
_LOGGERS = ("urllib3.connectionpool", "urllib3.connection", "urllib3.poolmanager", "urllib3.util.retry")


def redacted_url(url: str) -> str:
    """The URL without user, password, query and fragment, which may contain keys."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as http://[half an IPv6 address
        return url.partition("?")[0].partition("#")[0].rpartition("@")[2]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


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
    return name_of_archive(last).strip(" .")[:100] or "dataset"


def redact(text: str, *secrets: str) -> str:
    """A text without `secrets`, and without the queries and users of the URLs in it."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _USER.sub("***@", _QUERY.sub("?***", text))


@contextmanager
def redacted_logs(*secrets: str) -> Iterator[None]:
    """Remove secrets from the log records of urllib3 (it logs whole URLs) while the block runs."""

    def clean(record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage(), *secrets), ()
        return True

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(clean)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(clean)
