"""What a URL gives to predict on: an image, read into memory in bounded size and time, or a video."""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

import requests
import urllib3

from yolofast.errors import ImageError
from yolofast.images import begins_image
from yolofast.ingest.http import CheckedSession
from yolofast.ingest.reach import Reach, UnsafeRedirectError
from yolofast.ingest.redaction import Secrets, hidden
from yolofast.ingest.slowness import SpeedWatch
from yolofast.ingest.transfer import fatal_reason, reason_of
from yolofast.ingest.urls import check_http_url, redacted_url
from yolofast.limits import DOWNLOAD_WINDOW_S, MAX_URL_IMAGE_BYTES, MAX_URL_IMAGE_S, MIN_DOWNLOAD_SPEED
from yolofast.printable import printable

_BLOCK = 1 << 14
_MAX_SHOWN = 60
_HEADERS = {"Accept-Encoding": "identity"}


class WebPicture(NamedTuple):
    """`image` has the bytes of an image file; None where `url` (after redirects) leads to a video.

    `has_end` is False for what a camera sends: `multipart` images, and playlists of a stream (HLS).
    """

    url: str
    image: bytes | None
    has_end: bool


def open_picture(url: str) -> WebPicture:
    """What an http or https URL leads to; of a video nothing is read.

    Redirects and addresses are checked as those of a download (`Reach`); secrets in the URL are not shown.
    Raises `DataError` for another kind of URL, `ImageError` for an error response, a refused redirect, a
    failed or too slow connection, text, and an image above `limits.MAX_URL_IMAGE_BYTES`.
    """
    check_http_url(url)
    name, secrets = redacted_url(url), Secrets()
    secrets.learn_url(url)
    with hidden(secrets), SpeedWatch(MIN_DOWNLOAD_SPEED, DOWNLOAD_WINDOW_S) as watch:
        try:
            with (
                CheckedSession(Reach(is_given=True, anywhere=False), watch) as session,
                session.open_url(url, _HEADERS, secrets) as response,
            ):
                return _received(response, name, secrets, watch)
        except UnsafeRedirectError as error:
            problem = f"{error}. If you trust it, give the URL that it leads to"
        except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
            problem = str(watch) if watch.expired else fatal_reason(error) or reason_of(error)
    raise ImageError(f"{name}: cannot be read: {problem}.")  # not chained: it may contain keys


def _received(response: requests.Response, name: str, secrets: Secrets, watch: SpeedWatch) -> WebPicture:
    if response.status_code != requests.codes.ok:
        said = printable(secrets.hide(response.reason or ""), _MAX_SHOWN)
        status = f"{response.status_code} {said}".rstrip()
        raise ImageError(f"{name}: the server answered {status}, expected an image. Check the address.")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    url = str(response.url)
    if kind.startswith(("multipart/", "video/")) or "mpegurl" in kind:
        return WebPicture(url, None, kind.startswith("video/"))
    data, deadline = bytearray(), monotonic() + MAX_URL_IMAGE_S
    while block := bytes(response.raw.read(_BLOCK, decode_content=False)):
        watch.count(len(block))
        data += block
        if not begins_image(bytes(data[:16])):
            if kind.startswith(("text/", "image/")) or "json" in kind:
                shown = printable(secrets.hide(kind), _MAX_SHOWN)
                raise ImageError(
                    f"{name}: got {shown} that is no image of a format that is read, expected an image or a "
                    "video. Check the address."
                )
            return WebPicture(url, None, True)
        if len(data) > MAX_URL_IMAGE_BYTES:
            raise ImageError(f"{name}: has over {MAX_URL_IMAGE_BYTES:,} bytes, expected an image of fewer.")
        if monotonic() > deadline:
            raise ImageError(f"{name}: took over {MAX_URL_IMAGE_S} s, expected less. Try again later.")
    stated = response.headers.get("Content-Length", "")
    if watch.expired:
        raise ImageError(f"{name}: cannot be read: {watch}.")
    if not data or (stated.isdecimal() and len(stated) < 20 and len(data) < int(stated)):
        raise ImageError(
            f"{name}: the connection ended at {len(data)} of {stated or 'all'} bytes. Try again."
        )
    return WebPicture(url, bytes(data), True)
