"""Whose address a request comes from: the peer's, or what a proxy that is trusted says of it.

The only place where that is decided: limits, alerts and logs go by it. Each proxy appends the address it was called
from to ``X-Forwarded-For``, so the header is read from its right, as far as those who wrote it are trusted: the first
address that is not a proxy's of ours is the client's. What stands left of that anybody may have written.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

HEADER = b"x-forwarded-for"
HOPS_AT_MOST = 16
"""No more proxies than these stand in a row; of longer lists the rest is not looked at."""

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case, in their order."""


class Proxies:
    """``trusted``: networks (CIDR) of proxies that are believed. Raises ValueError for what is no network."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = tuple(ip_network(network) for network in trusted)

    def client(self, peer: str, headers: Headers) -> str:
        """The client's address. ``peer``: who has connected."""
        if not self._is_ours(_address(peer)):
            return peer
        client = peer
        hops = b",".join(value for name, value in headers if name == HEADER).rsplit(b",", HOPS_AT_MOST)
        for hop in reversed(hops[-HOPS_AT_MOST:]):
            address = _address(hop.decode("latin-1").strip())
            if address is None:
                return client  # not an address: whoever wrote it is the last that is known
            client = str(address)
            if not self._is_ours(address):
                return client
        return client

    def before(self, app: ASGIFramework) -> ASGIFramework:
        """The app, told of each request whose it is: a proxy sends those of many over one connection."""
        if not self._trusted:
            return app

        async def told(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            if scope["type"] != "lifespan" and scope["client"] is not None:
                peer, port = scope["client"]
                scope["client"] = (self.client(peer, scope["headers"]), port)
            await app(scope, receive, send)

        return told

    def _is_ours(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """With or without a port; an IPv4 address in the clothes of IPv6 is what it is."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
