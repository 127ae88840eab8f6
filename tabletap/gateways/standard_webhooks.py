"""Signs messages by Standard Webhooks, and carries them to integrators (spec H5).

The signature is base64 HMAC-SHA256 over ``id.timestamp.body``, one per key, each after ``v1,``; the time is that of the
attempt. Names are resolved at every attempt and the connection goes to the address that was checked, so that no name
leads into our own network, whatever it meant when the endpoint was made. Redirects are not followed: they fail.
"""

import base64
import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
import trio

from tabletap import __version__
from tabletap.actors.webhook_ports import Answer, Outgoing
from tabletap.domain import cardlike
from tabletap.domain.endpoint import LONGEST_PAUSE_S, Address, address_at_fault, address_in, url_at_fault

EXCERPT_BYTES: Final = 1_024
ADDRESSES_AT_MOST: Final = 3
"""Of one name, tried one after the other until one takes the connection."""


def signature(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """One entry of the header ``webhook-signature``."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class Undeliverable(Exception):  # noqa: N818  read as a sentence at the raise
    """There is nowhere to send it to."""


class WebhookSender:
    """``private``: networks that the internet does not reach are allowed (see ``domain.endpoint``). ``tls``: for a
    server whose certificate the system does not know."""

    def __init__(
        self,
        *,
        timeout_s: float,
        private: bool,
        now_s: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._private = private
        self._now_s = now_s
        self._tls = tls or ssl.create_default_context()

    async def send(self, outgoing: Outgoing) -> Answer:
        """Send it once; whatever happens is an answer."""
        now_s, began = self._now_s(), trio.current_time()
        status: int | None = None
        excerpt, error, retry_after_s = b"", None, None
        with trio.move_on_after(self._timeout_s) as scope:
            try:
                async with httpx.AsyncClient(
                    verify=self._tls,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=self._timeout_s,
                ) as client:
                    response = await self._post(client, outgoing, int(now_s))
                    try:
                        status, retry_after_s = response.status_code, _retry_after_s(response, now_s)
                        excerpt = await _beginning(response)
                    finally:
                        await response.aclose()
            except Undeliverable as reason:
                error = str(reason)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as trouble:
                error = f"{type(trouble).__name__}: {trouble}"
        if scope.cancelled_caught and status is None:
            error = f"no answer within {self._timeout_s:g} s"
        return Answer(
            at=datetime.fromtimestamp(now_s, UTC),
            duration_ms=round((trio.current_time() - began) * 1_000),
            status=status,
            error=None if error is None or status is not None else error[:EXCERPT_BYTES],
            excerpt=_kept(excerpt),
            retry_after_s=retry_after_s,
        )

    async def _post(self, client: httpx.AsyncClient, outgoing: Outgoing, timestamp_s: int) -> httpx.Response:
        fault = url_at_fault(outgoing.url, private=self._private)
        if fault is not None:
            raise Undeliverable(f"the URL {fault}")
        url = httpx.URL(outgoing.url)
        headers = {
            "host": url.netloc.decode(),
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": f"TableTap/{__version__}",
            "webhook-id": outgoing.webhook_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join(
                signature(key, outgoing.webhook_id, timestamp_s, outgoing.body) for key in outgoing.keys
            ),
        }
        addresses = await self._addresses(url)
        for place, address in enumerate(addresses, start=1):
            request = client.build_request(
                "POST",
                url.copy_with(host=str(address)),
                content=outgoing.body,
                headers=headers,
                extensions={"sni_hostname": url.host},  # the certificate must be the name's, not the address's
            )
            try:
                return await client.send(request, stream=True)
            except httpx.ConnectError:
                if place == len(addresses):
                    raise
        raise Undeliverable("the name leads nowhere")

    async def _addresses(self, url: httpx.URL) -> Sequence[Address]:
        """Where the name leads to, as far as we go there."""
        written = address_in(url.host)
        if written is not None:
            return (written,)
        try:
            found = await trio.socket.getaddrinfo(url.host, url.port or 443, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Undeliverable(f"the name cannot be resolved ({error})") from error
        addresses = [address for address in (address_in(str(where[0])) for *_, where in found) if address is not None]
        faults = [address_at_fault(address, private=self._private) for address in addresses]
        if url.scheme == "http" and not all(address.is_loopback for address in addresses):
            raise Undeliverable("the URL must be https")
        allowed = [address for address, fault in zip(addresses, faults, strict=True) if fault is None]
        if not allowed:
            raise Undeliverable(f"the name leads to an address that {faults[0] if faults else 'is none'}")
        return allowed[:ADDRESSES_AT_MOST]


async def _beginning(response: httpx.Response) -> bytes:
    """No more of the body than is kept: it is whatever length the receiver likes."""
    read = b""
    with trio.CancelScope() as enough:
        async for chunk in response.aiter_raw():
            read += chunk[: EXCERPT_BYTES - len(read)]
            if len(read) == EXCERPT_BYTES:
                enough.cancel()  # a break would leave generators of httpx unfinished
    return read


def _kept(excerpt: bytes) -> str:
    return cardlike.redact(excerpt.decode(errors="replace").replace("\0", " "))


def _retry_after_s(response: httpx.Response, now_s: float) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3); nonsense is none."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_PAUSE_S)
    try:
        wait = parsedate_to_datetime(text).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), LONGEST_PAUSE_S)
