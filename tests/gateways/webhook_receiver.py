"""A small server that receives webhooks, in a thread: what arrived, in what order, and what it answers to it."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_S = 30


@dataclass(frozen=True)
class Delivery:
    """``headers`` with their names in lower case."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        """What it tells."""
        return json.loads(self.body)


@dataclass
class Inbox:
    """What came to one URL. ``answer``: the status for the delivery of that number, from 1."""

    url: str
    arrived: threading.Condition
    deliveries: list[Delivery] = field(default_factory=list)
    answer: Callable[[int], int] = lambda number: 200

    def until(self, count: int) -> list[Delivery]:
        """Wait until so many have arrived; all that have."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.deliveries) >= count, PATIENCE_S), self.told()
            return list(self.deliveries)

    def told(self) -> list[tuple[int, str]]:
        """Sequence and type of what has arrived, in that order."""
        return [(delivery.event["sequence"], delivery.event["eventType"]) for delivery in self.deliveries]


class Receiver:
    """All inboxes, at one port."""

    def __init__(self) -> None:
        self._inboxes: dict[str, Inbox] = {}
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(receiver.take(self.path, Delivery(headers, body)))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False

    def inbox(self) -> Inbox:
        """A new one."""
        path = f"/{uuid.uuid4()}"
        self._inboxes[path] = Inbox(f"http://127.0.0.1:{self._server.server_port}{path}", self._arrived)
        return self._inboxes[path]

    def take(self, path: str, delivery: Delivery) -> int:
        """Note a delivery; what to answer."""
        with self._arrived:
            inbox = self._inboxes[path]
            inbox.deliveries.append(delivery)
            self._arrived.notify_all()
            return inbox.answer(len(inbox.deliveries))

    @contextmanager
    def serving(self) -> Iterator["Receiver"]:
        """Receive until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
