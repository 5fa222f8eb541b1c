"""Which addresses a download may reach: the internet must not redirect into the user's own network.

A server on the internet could redirect to a router, a database or the metadata service of a cloud
(169.254.169.254), with the rights of this machine. A server in that network, whose URL the user has given,
may redirect to others in it, as a laboratory's web server does to its storage.

The address is that of the connected socket, so a host name that resolves to something else a moment later
(DNS rebinding) makes no difference. Behind a proxy, which resolves names itself, only addresses that are
written in a URL can be judged.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_BENCHMARKS = ipaddress.ip_network("198.18.0.0/15")
"""Not on the internet, and what local proxies answer for every name there is."""
_INTRANETS = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918. The metadata services of clouds are in other private networks, of IPv6 too."""
HOW_TO_ALLOW = "If you trust it, allow it with --unsafe-redirects (unsafe_redirects=True)"


class UnsafeRedirectError(Exception):
    """A redirect that is not followed; the message says why, without secrets."""


class Reach:
    """What one download may connect to.

    `is_given`: the user has given the URL, so its host may be private. `anywhere`: nothing is refused.
    """

    def __init__(self, *, is_given: bool, anywhere: bool) -> None:
        self._is_given, self._anywhere = is_given, anywhere
        self._own_host: str | None = None
        self._own_is_public = False
        self._own_address: str | None = None
        self._was_public = False

    def begin(self, url: str) -> None:
        """Say which URL is asked first, in each attempt."""
        self._was_public = False
        if self._is_given:
            self._own_host = (urlsplit(url).hostname or "").rstrip(".")
        else:
            self._check_literal(url)

    def check_redirect(self, old: str, new: str) -> None:
        """Raise `UnsafeRedirectError` for a redirect that is refused by what its URL says."""
        if self._anywhere:
            return
        if urlsplit(old).scheme == "https" and urlsplit(new).scheme == "http":
            raise UnsafeRedirectError(
                "the server redirected from https to http, where anybody can read along"
            )
        self._check_literal(new)

    def check_peer(self, host: str, address: str) -> None:
        """Raise `UnsafeRedirectError` unless a connection to `host` may lead to an IP address."""
        if self._anywhere:
            return
        is_own = host.lower() == self._own_host
        if not is_private(address):
            self._was_public = True
            self._own_is_public |= is_own
        elif is_own and not self._own_is_public:
            self._own_address = address
        elif self._was_public or not self._is_neighbour(address):
            raise UnsafeRedirectError(f"the server redirected to {address}, a private address")

    def _is_neighbour(self, address: str) -> bool:
        """Whether an address is in the network of the given host, which is private too: its intranet, or both
        on this machine."""
        if self._own_address is None:
            return False
        own, found = _address(self._own_address), _address(address)
        return (found.is_loopback and own.is_loopback) or (_is_intranet(found) and _is_intranet(own))

    def _check_literal(self, url: str) -> None:
        host = urlsplit(url).hostname or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return
        self.check_peer(host, host)


def is_private(address: str) -> bool:
    """Whether an IP address is not one of the internet: private, loopback, link-local, shared, reserved."""
    found = _address(address)
    return not found.is_global and found not in _BENCHMARKS


def _is_intranet(address: Address) -> bool:
    return any(address in network for network in _INTRANETS)


def _address(address: str) -> Address:
    """The address, without its zone; the IPv4 address that an IPv6 address leads to."""
    found: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        in_nat64 = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None
        return found.ipv4_mapped or found.sixtofour or in_nat64 or found
    return found
