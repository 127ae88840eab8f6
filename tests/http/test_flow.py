"""A cafe's day, as its customers and its people live it: by REST and by sockets, from another process."""

from .server import Server


def test_an_order_is_placed(server: Server) -> None:
    order = server.place(server.a)
    assert order["number"] == 1
    before = server.footprint(server.a)
    import time

    time.sleep(2)
    assert before == server.footprint(server.a)


async def test_a_socket(server: Server) -> None:
    async with server.socket("orders", server.a, server.a.tokens["staff"]) as s:
        print(s.welcome)
        print(await s.perform("orders.place", {"channel": "online", "items": [{"sku": "toast", "quantity": 1}]}))
        print(await s.silence())
    print(await server.refused("orders", server.a, None))
