"""Where the server is, and how to get a connection to it."""

import ssl
from urllib.parse import urlsplit

import trio

DIAL_SECONDS = 10.0


class Server:
    """The server's address. Whoever starts it again elsewhere assigns ``url``; the next connection goes there."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def url(self) -> str:
        return self._url

    @url.setter
    def url(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not the URL of a server: {url!r}")
        self._url = url.rstrip("/")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    @property
    def authority(self) -> str:
        """What the Host header says."""
        return f"{self._host}:{self._port}"

    async def dial(self) -> trio.abc.Stream:
        """A new connection. Raises OSError, or trio.TooSlowError if nobody answers."""
        with trio.fail_after(DIAL_SECONDS):
            if self._tls is None:
                return await trio.open_tcp_stream(self._host, self._port)
            return await trio.open_ssl_over_tcp_stream(self._host, self._port, ssl_context=self._tls)
