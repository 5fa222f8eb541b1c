"""Downloads one file over HTTP, with retries.

Each attempt resumes the previous one, of this or an earlier run (RFC 9110: Range with If-Range), as long as
the server still has the same version of the file; otherwise it starts over.
"""

from __future__ import annotations

import email.utils
import logging
import re
from dataclasses import dataclass, field
from time import sleep, time

import requests
import urllib3
from tqdm import tqdm

from yolofast.errors import DataError
from yolofast.ingest.expected_file import ExpectedFile
from yolofast.ingest.partial import PartialFile, Version
from yolofast.limits import MAX_ARCHIVE_BYTES as MAX_BYTES
from yolofast.ingest.urls import redacted_logs

CONNECT_TIMEOUT_S = 15
READ_TIMEOUT_S = 60
FIRST_WAIT_S = 1.0
MAX_WAIT_S = 30.0
MAX_RETRY_AFTER_S = 120.0
_BLOCK = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)", re.ASCII)
_log = logging.getLogger(__name__)


class _RetryableError(Exception):
    """An attempt that failed and may succeed later; `wait_s` is how long the server asked to wait."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _VersionChangedError(Exception):
    """The server no longer has the version to which the bytes received so far belong."""


@dataclass(frozen=True, slots=True)
class Download:
    """What to download: the URL, its name in messages, and what is known about the file."""

    url: str
    name: str
    expected: ExpectedFile = field(default_factory=ExpectedFile)


def transfer(download: Download, part: PartialFile, retries: int) -> None:
    """Download the file into `part`, with up to `retries` retries.

    Failed and interrupted connections, timeouts and responses 5xx and 429 are retried (after their
    Retry-After, at most two minutes). Raises `DataError` for other error responses, a file of an unexpected
    size or above the limit, and when no retries are left.
    """
    for failures in range(retries + 1):
        if part.complete:
            return
        problem = _attempt(download, part)
        if problem is None:
            return
        if failures < retries:
            wait_s = problem.wait_s
            if wait_s is None:
                wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0**failures)
            _log.warning(
                "%s: %s. Retrying in %.0f s (%d of %d).",
                download.name,
                problem,
                wait_s,
                failures + 1,
                retries,
            )
            sleep(wait_s)
    raise DataError(_given_up(download.name, str(problem), part, retries + 1))


def _given_up(name: str, reason: str, part: PartialFile, attempts: int) -> str:
    count = f" ({attempts} attempts)" if attempts > 1 else ""
    if not part.resumable:
        return f"{name}: cannot be downloaded: {reason}{count}. Try again later."
    total = f" of {part.version.total}" if part.version.total is not None else ""
    return (
        f"{name}: cannot be downloaded: {reason}{count}. {part.size}{total} bytes are kept in "
        f"'{part.path.parent}': the same command resumes there; remove that folder to discard them."
    )


def _attempt(download: Download, part: PartialFile) -> _RetryableError | None:
    """One attempt. No exception of the libraries is returned or chained: their messages contain keys."""
    problem: str | None = None
    with redacted_logs():
        try:
            with _get(download.url, part) as response:
                _receive(download, response, part)
        except _VersionChangedError:
            part.begin(Version())
            return _attempt(download, part)  # not resumable any more, so this does not recur
        except _RetryableError as error:
            return _RetryableError(str(error), error.wait_s)
        except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
            problem = _fatal_reason(error)
            reason = _reason(error)
        else:
            return None
    if problem is not None:
        raise DataError(f"{download.name}: cannot be downloaded: {problem}. Check the address.")
    return _RetryableError(reason)


def _fatal_reason(error: Exception) -> str | None:
    """Why a retry cannot help, or None."""
    if isinstance(error, requests.TooManyRedirects):
        return "the server redirects endlessly"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "the server redirected to a URL that does not begin with http:// or https://"
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | UnicodeError):
        return "the URL, or one that the server redirected to, is invalid"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate cannot be trusted"
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "the server did not answer in time"
    return "the connection failed or was interrupted"


def _get(url: str, part: PartialFile) -> requests.Response:
    """The response, after redirects; raises `requests.RequestException`."""
    headers = {"Accept-Encoding": "identity"}  # sizes, ranges and hashes refer to the file as stored
    if part.resumable:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": str(part.version.validator)}
    elif part.size:
        part.begin(Version())
    try:
        return requests.get(url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
    except requests.RequestException:
        raise
    except ValueError:  # urllib3 raises this for a malformed URL
        raise requests.exceptions.InvalidURL from None


def _receive(download: Download, response: requests.Response, part: PartialFile) -> None:
    """Write the body of a response to `part`; raises `_RetryableError` and `DataError`."""
    _check_status(download.name, response, part)
    if response.status_code == requests.codes.ok:
        part.begin(Version(_validator(response), _length(response)))
    total = part.version.total
    if total is None and response.status_code == requests.codes.partial_content:
        total = _content_range(response)[1]
    if total is not None:
        _check_stated(download, total, part)
    with tqdm(
        desc="downloading", total=total, initial=part.size, unit="B", unit_scale=True, disable=None
    ) as progress:
        for block in response.raw.stream(_BLOCK, decode_content=False):
            if total is not None and part.size + len(block) > total:
                part.begin(Version())
                raise _RetryableError(f"the server sent more than the {total} bytes that it had stated")
            _check_limit(download.name, part.size + len(block), part)
            part.write(block)
            progress.update(len(block))
    if total is not None and part.size < total:
        raise _RetryableError(f"the connection was interrupted at {part.size} of {total} bytes")
    part.end()


def _check_status(name: str, response: requests.Response, part: PartialFile) -> None:
    code = response.status_code
    status = f"the server answered {code} {response.reason}"
    if code == requests.codes.ok:
        return
    if code == requests.codes.partial_content and part.resumable:
        if not _continues(response, part):
            raise _VersionChangedError
        return
    if code == requests.codes.requested_range_not_satisfiable and part.resumable:
        raise _VersionChangedError
    if code == requests.codes.too_many_requests or code >= 500:
        raise _RetryableError(status, _retry_after(response))
    raise DataError(f"{name}: {status}, expected a zip or tar archive. Check the address.")


def _continues(response: requests.Response, part: PartialFile) -> bool:
    """Whether a partial response begins where `part` ends, and has the same version of the file."""
    start, whole = _content_range(response)
    total = part.version.total
    if start != part.size or (total is not None and whole is not None and whole != total):
        return False
    etag, ours = response.headers.get("ETag"), str(part.version.validator)
    return etag is None or not ours.startswith('"') or etag == ours


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """The start of a partial response and the size of the whole file, as far as it states them."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _validator(response: requests.Response) -> str | None:
    """What identifies this version of the file: a strong ETag, else its date."""
    etag = response.headers.get("ETag", "")
    if re.fullmatch(r'"[\x21\x23-\x7e]*"', etag):
        return etag
    date = response.headers.get("Last-Modified", "")
    return date if date and email.utils.parsedate_tz(date) is not None else None


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None


def _check_stated(download: Download, total: int, part: PartialFile) -> None:
    """Refuse a file because of its stated size; the bytes received so far are discarded."""
    _check_limit(download.name, total, part)
    try:
        download.expected.check_size(download.name, total)
    except DataError:
        part.begin(Version())
        raise


def _check_limit(name: str, size: int, part: PartialFile) -> None:
    if size > MAX_BYTES:
        part.begin(Version())
        raise DataError(f"{name}: has {size} bytes or more, expected at most {MAX_BYTES}.")


def _retry_after(response: requests.Response) -> float | None:
    """The seconds that the server asks to wait: a number or a date (RFC 9110, 10.2.3), limited."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdecimal():
        return min(MAX_RETRY_AFTER_S, float(value))
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(MAX_RETRY_AFTER_S, max(0.0, moment - time()))
