"""One request and its answer between Hypercorn and Quart, in one task.

By themselves they use three for it: one that answers, one that waits for pieces of the body and for the client's
leaving, and the connection's, which gives way with each piece. Here a body that came with its head is handed over
before the app begins, and the client's leaving cancels whoever answers. Where more is to come, it is as they do it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup, _handle
from hypercorn.typing import AppWrapper, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent, Scope
from quart.utils import encode_headers
from quart.wrappers import Request, Response
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.wrappers import Response as WerkzeugResponse

Send = Callable[[ASGISendEvent | None], Awaitable[None]]


class Incoming:
    """What comes of one request; to call it is ASGI's ``receive``."""

    __slots__ = ("_answered", "_came", "_comes", "_gone", "_send")

    def __init__(self, waiting: int, send: Send) -> None:
        self._comes, self._came = trio.open_memory_channel[ASGIReceiveEvent](waiting)
        self._send = send
        self._gone = trio.CancelScope()
        self._answered = False

    async def __call__(self) -> ASGIReceiveEvent:
        return await self._came.receive()

    async def put(self, event: ASGIReceiveEvent) -> None:
        """From the connection. It waits where the app does not keep up."""
        if event["type"] == "http.disconnect" and not self._answered:
            self._gone.cancel()
        try:
            self._comes.send_nowait(event)
        except trio.WouldBlock:
            await self._comes.send(event)

    async def send(self, event: ASGISendEvent | None) -> None:
        """From the app. After its last word a disconnect is the connection's own, which goes on after it."""
        if event is not None and event["type"] == "http.response.body" and not event.get("more_body", False):
            self._answered = True
        await self._send(event)

    async def run(self, app: AppWrapper, config: Config, scope: Scope) -> None:
        with self._gone:
            await _handle(app, config, scope, self, self.send, trio.to_thread.run_sync, trio.from_thread.run)

    def feed(self, request: Request) -> bool:
        """Give the request what of its body is here. Whether that is all."""
        while True:
            try:
                event = self._came.receive_nowait()
            except trio.WouldBlock:
                return False
            if event["type"] != "http.request":
                return True  # the client has left
            request.body.append(event.get("body", b""))
            if not event.get("more_body", False):
                request.body.set_complete()
                return True


class Apps(TaskGroup):
    """The app's tasks of one connection."""

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Scope, send: Send
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        if scope["type"] != "http":
            return await super().spawn_app(app, config, scope, send)
        incoming = Incoming(config.max_app_queue_size, send)
        self.spawn(incoming.run, app, config, scope)
        return incoming.put


class Exchange(TrioASGIHTTPConnection):
    """Quart's part."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        request = self._create_request_from_scope(send)
        if isinstance(receive, Incoming) and receive.feed(request):
            response = await self.app.handle_request(request)
            with trio.move_on_after(self.app.config["RESPONSE_TIMEOUT"]):
                await self._send_response(send, response)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.handle_messages, nursery, request, receive)
            await self.handle_request(nursery, request, send)

    async def _send_response(self, send: ASGISendCallable, response: Response | WerkzeugResponse) -> None:
        body: Any = response.response
        if type(body) is not DataBody:
            await super()._send_response(send, response)
            return
        headers = encode_headers(response.headers)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body.data[body.begin : body.end], "more_body": False})
