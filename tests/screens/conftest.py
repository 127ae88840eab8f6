"""A demo server and a browser for all tests of the pages, and pages that tolerate no error."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.screens.demo import Demo, running_demo
from tests.store.conftest import temporary_folder

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 10_000
PHONE = {"width": 390, "height": 844}
SCREEN = {"width": 1280, "height": 800}

Open = Callable[..., Page]


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    with temporary_folder() as folder, running_demo(folder / "state") as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (apt install chromium)")
    # trio-asyncio puts its own loops in place of asyncio's, which do not run inside a greenlet as Playwright needs it
    with patch.object(asyncio, "new_event_loop", asyncio.SelectorEventLoop), sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def troubles() -> list[str]:
    """What went wrong on the pages of this test; a test that expects trouble takes it out."""
    return []


@pytest.fixture
def open_page(demo: Demo, browser: Browser, troubles: list[str]) -> Iterator[Open]:
    """Open a page of its own profile. At the end nothing may have been complained about by any of them."""
    contexts = []

    def heard(message: ConsoleMessage) -> None:
        # The browser's own remark on a page that was left while its socket was still being opened.
        left = "WebSocket is closed before the connection is established" in message.text
        if message.type in ("error", "warning") and not left:
            troubles.append(f"{message.type}: {message.text}")

    def opened(path: str, *, size: dict[str, int] = PHONE) -> Page:
        context = browser.new_context(viewport=size)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: troubles.append(f"uncaught: {error}"))
        page.add_init_script("addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.blockedURI))")
        page.goto(demo.url + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []
