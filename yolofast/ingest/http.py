"""One HTTP request, with redirects that are checked and connections that are watched.

`requests` would follow redirects anywhere, and read their bodies, however long, into memory.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from yolofast.ingest.reach import Reach
from yolofast.ingest.redaction import Secrets
from yolofast.ingest.slowness import SpeedWatch
from yolofast.limits import MAX_REDIRECTS

CONNECT_TIMEOUT_S = 15
READ_TIMEOUT_S = 60


class CheckedSession(requests.Session):
    """A session that tells `reach` and `watch` of every connection, and follows no redirect by itself."""

    def __init__(self, reach: Reach, watch: SpeedWatch) -> None:
        super().__init__()
        self.reach = reach

        def opened(connection: HTTPConnection, found: socket.socket) -> socket.socket:
            try:
                if connection.proxy is None:
                    reach.check_peer(connection.host, found.getpeername()[0])
                watch.follow(found)
            except BaseException:
                found.close()
                raise
            return found

        adapter = _CheckedAdapter(opened)
        for scheme in ("http://", "https://"):
            self.mount(scheme, adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Keep `requests` from reading the body of a redirect; `open_url` follows it."""

    def open_url(self, url: str, headers: dict[str, str], secrets: Secrets) -> requests.Response:
        """The first response that is not a redirect; its body has not been read.

        `secrets` learns what the URLs on the way contain. Raises `requests.RequestException` and
        `UnsafeRedirectError`.
        """
        self.reach.begin(_prepared(url))
        auth: Any = requests.utils.get_auth_from_url(url)
        for _ in range(MAX_REDIRECTS + 1):
            secrets.learn_url(url)
            response = self._get(url, headers, auth if any(auth or ()) else None)
            if not response.is_redirect:
                return response
            response.close()
            new = _joined(url, response.headers["Location"])
            self.reach.check_redirect(url, new)
            own = requests.utils.get_auth_from_url(new)
            if any(own) or self.should_strip_auth(url, new):  # type: ignore[no-untyped-call]
                auth = own
            url = new
        raise requests.TooManyRedirects

    def _get(self, url: str, headers: dict[str, str], auth: Any) -> requests.Response:
        try:
            return self.get(
                url,
                headers=headers,
                auth=auth,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            )
        except requests.RequestException:
            raise
        except ValueError:  # urllib3 raises this for a malformed URL
            raise requests.exceptions.InvalidURL from None


def _prepared(url: str) -> str:
    """The URL as it is asked for: with the host name in ASCII."""
    try:
        return requests.Request("GET", url).prepare().url or url
    except requests.RequestException:
        raise
    except ValueError:
        raise requests.exceptions.InvalidURL from None


def _joined(url: str, location: str) -> str:
    """The URL that a Location header, relative or not, leads to."""
    try:
        new = requests.compat.urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))
        _ = requests.compat.urlsplit(new).port  # which raises for an impossible one
    except ValueError:
        raise requests.exceptions.InvalidURL from None
    if not new.lower().startswith(("http://", "https://")):
        raise requests.exceptions.InvalidSchema
    return str(new)


Opened = Callable[[HTTPConnection, socket.socket], socket.socket]


class _CheckedAdapter(HTTPAdapter):
    """Calls `opened` with every connection, before anything is sent over it."""

    def __init__(self, opened: Opened) -> None:
        self._pools = _pools(opened)
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # these have connections of their own
            manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(opened: Opened) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return opened(self, super()._new_conn())

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return opened(self, super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
