"""Where a cafe's events may be sent, and when again after a failure (spec H5). Pure.

The schedule and what counts as success are those of Standard Webhooks (github.com/standard-webhooks/standard-webhooks).
"""

import ipaddress
from urllib.parse import urlsplit

DELAYS_S = (0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
"""Before the first attempt, the second, ...: after the last of them a message has failed."""

LONGEST_PAUSE_S = DELAYS_S[-1]
GONE = 410
"""The receiver wants nothing any more."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAMES = ("localhost", "localhost.")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def succeeded(status: int) -> bool:
    """Only 2xx is: a redirect leads to somebody who was never meant."""
    return 200 <= status < 300


def pause_s(failures: int, retry_after_s: float | None) -> float | None:
    """How long to wait after so many failures (1: the first), at least as long as the receiver asked; None: give up."""
    if failures >= len(DELAYS_S):
        return None
    return min(max(DELAYS_S[failures], retry_after_s or 0.0), LONGEST_PAUSE_S)


def url_at_fault(url: str, *, private: bool) -> str | None:
    """What is wrong with an endpoint's URL. ``private``: networks that are nobody else's business are allowed too.

    Names are judged when they are resolved, at each attempt; an address that is written out is judged here.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if not host or port == 0 or any(not 33 <= ord(letter) <= 126 for letter in url) or "\\" in url:
        return "is not a URL"
    if parts.username is not None or parts.password is not None:
        return "must not contain a password"
    if parts.fragment:
        return "must not contain a fragment"
    address = address_in(host)
    local = host in _LOCAL_NAMES or (address is not None and address.is_loopback)
    if parts.scheme != "https" and not (parts.scheme == "http" and private and local):
        return "must be https"
    if local and not private:
        return "must be reachable from the internet"
    return None if address is None else address_at_fault(address, private=private)


def address_in(host: str) -> Address | None:
    """The address that is written out in a host; None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def address_at_fault(address: Address, *, private: bool) -> str | None:
    """Why nothing may be sent there: our own networks, and those of whoever hosts us, are no receivers."""
    inner = _inner(address)
    if inner.is_loopback or (inner.is_private and not inner.is_link_local and not inner.is_unspecified):
        return None if private else "must be reachable from the internet"
    if not inner.is_global or inner.is_multicast or inner.is_reserved:
        return "is no address of a server"
    return None


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that leads there."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address
