"""The ``localstripe`` package's own server, at a free port: ``python -m tests.gateways.localstripe_server``.

Its resources, checks, events and webhook signatures are the package's. Around them is what Stripe does and it does not:
an ``Idempotency-Key`` is honoured (the same answer again; another body is refused; one at a time). For tests,
``POST /_config/silence`` makes it carry out every POST from then on without ever answering, ``DELETE`` ends that. It
keeps its books in memory.
"""

import asyncio
import hashlib

from aiohttp import web
from localstripe import resources
from localstripe.server import app

FOREVER_S = 3_600

_answers: dict[str, tuple[bytes, web.StreamResponse | None]] = {}
_silent = asyncio.Event()


def _error(status: int, kind: str, message: str) -> web.Response:
    return web.json_response({"error": {"type": kind, "message": message}}, status=status)


@web.middleware
async def silence(request, handler):
    answer = await handler(request)
    if _silent.is_set() and request.method == "POST" and request.path.startswith("/v1/"):
        await asyncio.sleep(FOREVER_S)
    return answer


@web.middleware
async def idempotency(request, handler):
    key = request.headers.get("Idempotency-Key")
    if request.method != "POST" or key is None:
        return await handler(request)
    asked = hashlib.sha256(request.path.encode() + b" " + await request.read()).digest()
    if key in _answers:
        known, answer = _answers[key]
        if known != asked:
            return _error(400, "idempotency_error", "Keys can only be used with the same parameters.")
        if answer is None:
            return _error(409, "idempotency_error", "Another request with this key is in progress.")
        return web.Response(body=answer.body, status=answer.status, content_type="application/json")
    _answers[key] = asked, None
    answer = await handler(request)
    if answer.status < 400:
        _answers[key] = asked, answer
    else:
        del _answers[key]
    return answer


async def set_silence(request):
    if request.method == "POST":
        _silent.set()
    else:
        _silent.clear()
    return web.Response()


async def main() -> None:
    resources.Store.dump_to_disk = lambda _: None
    app.middlewares.insert(0, silence)
    app.middlewares.insert(1, idempotency)
    app.router.add_post("/_config/silence", set_silence)
    app.router.add_delete("/_config/silence", set_silence)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("ready http://{}:{}".format(*runner.addresses[0]), flush=True)
    await asyncio.sleep(FOREVER_S)


if __name__ == "__main__":
    asyncio.run(main())
