"""The management page of the tills in a real browser, with a till that connects by the key it was shown."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import trio
from playwright.sync_api import Page, expect
from trio_websocket import ConnectionClosed, open_websocket_url

from tabletap.http.operations import OPERATIONS

from .conftest import SCREEN, WAIT_MS, Open
from .demo import Demo

expect.set_options(timeout=WAIT_MS)

NAME = "Front till"


class Till:
    """A till in a thread of its own: what it was told, and with which code it was closed."""

    def __init__(self) -> None:
        self.told: Queue[Any] = Queue()
        self.closed: Queue[int] = Queue()

    async def listen(self, url: str, key: str) -> None:
        async with open_websocket_url(url, extra_headers=[(b"X-API-Key", key.encode())]) as socket:
            try:
                while True:
                    self.told.put(json.loads(await socket.get_message()))
            except ConnectionClosed as closed:
                self.closed.put(closed.reason.code if closed.reason is not None else 0)
            finally:
                with trio.CancelScope(shield=True):
                    await socket._stream.aclose()  # which it leaves to its reader, where the server closed first

    def next(self, type_: str) -> Any:
        """The next thing of that type that it is told."""
        while (message := self.told.get(timeout=WAIT_MS / 1000))["type"] != type_:
            pass
        return message


@contextmanager
def connected(demo: Demo, key: str) -> Iterator[Till]:
    till = Till()
    url = f"{demo.url.replace('http', 'ws')}/ws/pos/demo"
    scope = trio.CancelScope()
    started: Queue[trio.lowlevel.TrioToken] = Queue()

    async def run() -> None:
        started.put(trio.lowlevel.current_trio_token())
        with scope:
            await till.listen(url, key)

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    token = started.get(timeout=WAIT_MS / 1000)
    try:
        yield till
    finally:
        if thread.is_alive():
            token.run_sync_soon(scope.cancel)
        thread.join(WAIT_MS / 1000)


def manage(demo: Demo, open_page: Open) -> Page:
    page = open_page(f"/demo/manage#token={demo.told['tokens']['manager']}", size=SCREEN)
    expect(page.locator("#link")).to_have_text("Live")
    return page


def test_a_key_is_made_used_seen_and_revoked(demo: Demo, open_page: Open) -> None:
    page = manage(demo, open_page)
    page.get_by_role("button", name="New key").click()
    page.get_by_role("dialog", name="A new key").get_by_label("Name").fill(NAME)
    page.get_by_role("button", name="Make the key").click()
    shown = page.locator("#shown-key")
    expect(shown).to_be_visible()
    key = shown.inner_text()
    page.get_by_role("button", name="It is in the till").click()
    expect(shown).to_be_hidden()
    assert key not in page.content()

    row = page.locator("#tills tbody tr", has_text=NAME)
    with connected(demo, key) as till:
        assert till.next("welcome")["till"] == NAME
        expect(row).to_contain_text("Connected")
        page.get_by_role("button", name="Push a test").click()
        expect(page.locator("#tested")).to_have_text("1 till heard it")
        assert till.next("till_tested")["data"]["text"]
        expect(page.locator("#log")).to_contain_text("test till_tested")

        page.get_by_role("button", name=f"Revoke {NAME}").click()
        page.get_by_role("button", name="Revoke the key").click()
        assert till.closed.get(timeout=WAIT_MS / 1000) == 4001
    expect(row).to_have_count(0)
    expect(page.locator("#keys tbody tr", has_text=NAME)).to_contain_text("Revoked")
    expect(page.locator("#log")).to_contain_text("disconnect socket")


def test_the_page_tells_where_to_connect_and_what_to_ask(demo: Demo, open_page: Open) -> None:
    page = manage(demo, open_page)
    expect(page.locator("#urls")).to_contain_text(f"{demo.url.replace('http', 'ws')}/ws/pos/demo")
    endpoints = page.locator("#endpoints tbody tr")
    expect(endpoints).to_have_count(page.locator("#endpoints button").count())
    for operation in OPERATIONS.values():
        if operation.access.till is None:
            continue
        method, shown = operation.method, operation.path.removeprefix("/api/{cafe}")
        for part in ("card", "phone", "day", "number"):
            shown = shown.replace(f"{{{part}}}", part.upper())
        expect(endpoints.filter(has_text=f"{method} /api/demo{shown}").first).to_be_visible()


def test_the_day_is_looked_at_closed_over_a_drawer_and_had_as_a_table(
    demo: Demo, open_page: Open, troubles: list[str]
) -> None:
    key = {"X-API-Key": demo.told["posApiKey"], "X-Tenant-ID": "demo"}
    drawer = demo.call("counter", "/api/demo/drawers", {"name": "Front drawer", "floatAmount": 5_000})
    page = manage(demo, open_page)
    page.get_by_role("button", name="X now").click()
    expect(page.locator("#x-lines tr", has_text="Open, carried forward")).to_be_visible()
    expect(page.locator("#x-lines tr", has_text="Front drawer")).to_contain_text("$50.00 expected")

    page.get_by_role("button", name="Close the day (Z)").click()
    page.get_by_role("button", name="Close it").click()
    expect(page.get_by_role("dialog")).to_contain_text("Front drawer")
    page.get_by_role("button", name="Close all the same").click()
    expect(page.locator("#closed")).to_have_text("Z 1 is closed")
    expect(page.locator("#z-reports tbody tr")).to_contain_text("Front drawer")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Z 1 as CSV").click()
    assert saved.value.suggested_filename == "z-1.csv"
    assert "counted.identity.orders," in saved.value.path().read_text()
    demo.call("counter", f"/api/demo/drawers/{drawer['drawerId']}/count", {"counted": 5_000})

    day = page.locator("#daily-day").input_value()
    sums = {"totalSales": 123, "cashSales": 123, "cardSales": 0, "netSales": 123}
    report = {"reportDate": day, "totalOrders": 1, **sums, "topItems": [{"sku": "moon-cake", "quantity": 7}]}
    answer = page.request.post(f"{demo.url}/api/demo/reports/daily", headers=key, data=report)
    assert answer.ok, answer.text()
    page.reload()
    expect(page.locator("#daily tr", has_text="Total sales")).to_contain_text("$1.23")
    expect(page.locator("#daily-about")).to_contain_text("Uploaded")
    expect(page.locator("#daily-more")).to_contain_text("topItems.moon-cake.quantity: 7, not 0")
    troubles.clear()  # the browser remarks on the 409


def test_staff_who_do_not_manage_are_asked_for_another_token(demo: Demo, open_page: Open, troubles: list[str]) -> None:
    page = open_page(f"/demo/manage#token={demo.told['tokens']['counter']}", size=SCREEN)
    expect(page.get_by_role("heading", name="Manager sign-in")).to_be_visible()
    expect(page.locator("#gate-error")).to_be_visible()
    page.wait_for_load_state("networkidle")
    troubles.clear()  # the browser remarks on each 403
