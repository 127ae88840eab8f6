"""The two pages in a real browser against a real server: from the menu to a paid order on everybody's screen."""

import io
import re

import msgspec
import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import expect

from .conftest import SCREEN, WAIT_MS

expect.set_options(timeout=WAIT_MS)


def kitchen(demo, open_page):
    """The kitchen's screen, live."""
    page = open_page(f"/demo/kitchen#token={demo.told['tokens']['kitchen']}", size=SCREEN)
    expect(page.locator("#link")).to_have_text("Live")
    return page


def order_by_rest(demo, *items, **more):
    return demo.call("staff", "/api/demo/orders", {"channel": "table", "table": "9", "items": items, **more})


def ticket_of(page, number):
    return page.locator("article.ticket", has=page.get_by_role("heading", name=f"#{number}", exact=True))


def choose_and_order(page, name="Ada"):
    """Two large flat whites with oat milk; the number of the order."""
    page.locator("[data-sku=flat-white]").click()
    page.get_by_text("Large", exact=True).click()
    page.get_by_text("Oat", exact=True).click()
    page.get_by_text("House barista oat", exact=True).click()
    page.locator("#more").click()
    expect(page.locator("#add")).to_have_text("Add · $12.80")
    page.locator("#add").click()
    page.locator("#open-basket").click()
    page.locator("#name").fill(name)
    page.locator("#place").click()
    heading = page.locator(".order h2").first
    expect(heading).to_have_text(re.compile(r"Order \d+"))
    return int(heading.inner_text().split()[1])


def test_from_the_menu_to_a_paid_order_on_everybodys_screen(demo, open_page):
    cooks = kitchen(demo, open_page)
    customer = open_page("/demo?table=4")
    expect(customer.locator("#where")).to_have_text("Table 4")
    number = choose_and_order(customer)

    # the kitchen has it at once, with everything a cook must know
    ticket = ticket_of(cooks, number)
    expect(ticket).to_be_visible(timeout=2_000)
    for word in (f"#{number}", "Table 4 · Ada", "Flat white", "Large, Oat, House barista oat"):
        expect(ticket).to_contain_text(word)
    expect(ticket.locator(".times")).to_have_text("2")

    # the customer sees what to pay, and a code that a banking app can read off the screen
    order = customer.locator("article.order").first
    expect(order).to_contain_text("We have your order")
    expect(order).to_contain_text("To pay: $12.80")
    order.get_by_role("button", name="Pay now by bank transfer").click()
    code = order.get_by_role("img", name="QR code of the bank transfer")
    expect(code).to_be_visible()
    reference = order.locator(".reference code").inner_text()
    (read,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(customer.screenshot(full_page=True))))
    said = msgspec.json.decode(read.text)
    assert (said["amount"], said["reference"]) == (1_280, reference)

    # the kitchen works on it, although nothing is paid yet
    expect(ticket).to_be_visible()
    ticket.get_by_role("button", name="Start", exact=True).click()
    expect(ticket.locator(".row")).to_have_class(re.compile("is-started"))
    expect(order.locator(".steps [aria-current]")).to_have_text("Preparing")
    expect(order).to_contain_text("Being made")
    expect(code).to_be_visible()

    # staff find the transfer on their statement
    stored = customer.evaluate("JSON.parse(localStorage.getItem('tabletap:demo:orders'))[0]")
    payment = stored["payment"]["paymentId"]
    verified = demo.call("staff", f"/api/payments/{payment}/verify", {"received": 1_280})
    assert verified["status"] == "completed"
    expect(order.locator(".paid")).to_have_text("Paid ✓")
    expect(code).to_be_hidden()
    expect(order.locator(".steps [aria-current]")).to_have_text("Preparing")

    # done, and served
    ticket.locator("button.item").click()
    expect(order).to_contain_text("It's ready!")
    ticket.get_by_role("button", name="Served").click()
    expect(ticket).to_have_count(0)
    expect(order).to_contain_text("Enjoy!")

    # a reload keeps all of it
    customer.reload()
    order = customer.locator("article.order").first
    expect(order.locator("h2")).to_have_text(f"Order {number}")
    expect(order).to_contain_text("Enjoy!")
    expect(order.locator(".paid")).to_have_text("Paid ✓")
    order.get_by_role("button", name="Hide").click()
    expect(customer.locator("#orders")).to_be_hidden()


def test_a_reload_in_the_middle_of_paying_keeps_the_code_and_stays_live(demo, open_page):
    customer = open_page("/demo?table=2")
    choose_and_order(customer)
    customer.get_by_role("button", name="Pay now by bank transfer").click()
    reference = customer.locator(".reference code").inner_text()
    customer.reload()
    expect(customer.locator(".reference code")).to_have_text(reference)
    expect(customer.locator(".order .link")).to_have_text("Live")
    stored = customer.evaluate("JSON.parse(localStorage.getItem('tabletap:demo:orders'))[0]")
    demo.call("staff", f"/api/payments/{stored['payment']['paymentId']}/verify", {"received": 1_280})
    expect(customer.locator(".paid")).to_be_visible()
    expect(customer.locator(".order")).to_contain_text("Paid, thank you")


def test_a_payment_that_is_refunded_is_not_asked_for_again(demo, open_page):
    customer = open_page("/demo?table=3")
    choose_and_order(customer)
    customer.get_by_role("button", name="Pay now by bank transfer").click()
    expect(customer.locator(".reference code")).to_be_visible()
    stored = customer.evaluate("JSON.parse(localStorage.getItem('tabletap:demo:orders'))[0]")
    demo.call("staff", f"/api/payments/{stored['payment']['paymentId']}/verify", {"received": 1_280})
    expect(customer.locator(".paid")).to_have_text("Paid ✓")
    demo.call("manager", f"/api/payments/{stored['payment']['paymentId']}/refund", {"amount": 280})
    expect(customer.locator(".paid")).to_have_text("Paid ✓ · $2.80 given back")
    expect(customer.get_by_role("button", name="Pay now by bank transfer")).to_have_count(0)


def test_the_kitchen_sees_additions_and_strikes_voids_through_until_they_are_seen(demo, open_page):
    cooks = kitchen(demo, open_page)
    placed = order_by_rest(demo, {"sku": "flat-white", "quantity": 1}, note="no hurry")
    ticket = ticket_of(cooks, placed["number"])
    expect(ticket.locator(".note")).to_have_text("no hurry")
    demo.call("staff", f"/api/orders/{placed['id']}", {"add": [{"sku": "latte", "quantity": 3}]}, method="PATCH")
    expect(ticket.locator(".row")).to_have_count(2)
    expect(ticket.locator("mark")).to_have_text("Added")
    demo.call("staff", f"/api/orders/{placed['id']}/items/1/void", {})
    expect(ticket.locator(".row").first).to_have_class(re.compile("is-voided"))
    ticket.locator("button.item").first.click()
    expect(ticket.locator(".row").first).to_have_class(re.compile("is-gone"))
    demo.call("staff", f"/api/orders/{placed['id']}/cancel", {})
    expect(ticket.locator(".stamp")).to_have_text("Cancelled")
    ticket.get_by_role("button", name="Got it").click()
    expect(ticket).to_have_count(0)


def test_a_station_sees_its_own_lines_and_what_else_the_order_waits_for(demo, open_page):
    cooks = kitchen(demo, open_page)
    menu = demo.call("staff", "/api/demo/menu")["menu"]
    food = next(item for item in menu["items"] if item["station"] == "bakery" and not item.get("groups"))
    placed = order_by_rest(demo, {"sku": "flat-white", "quantity": 1}, {"sku": food["sku"], "quantity": 1})
    ticket = ticket_of(cooks, placed["number"])
    expect(ticket.locator(".row")).to_have_count(2)
    cooks.get_by_role("button", name=re.compile("^Bar")).click()
    expect(ticket.locator(".row")).to_have_count(1)
    expect(ticket.locator(".also")).to_contain_text("Bakery (1)")
    ticket.get_by_role("button", name="All done").click()
    expect(ticket).to_have_count(0)
    cooks.reload()
    expect(cooks.locator("#link")).to_have_text("Live")
    expect(cooks.get_by_role("button", name=re.compile("^Bar"))).to_have_attribute("aria-pressed", "true")
    cooks.get_by_role("button", name=re.compile("^Bakery")).click()
    expect(ticket.locator(".also")).to_contain_text("Bar ✓")


def test_an_order_that_is_being_paid_stays_on_the_kitchens_screen_over_a_reload(demo, open_page):
    cooks = kitchen(demo, open_page)
    placed = order_by_rest(demo, {"sku": "latte", "quantity": 1})
    demo.call("staff", "/api/payments/initiate", {"orderId": placed["id"], "paymentMethod": "cash"})
    cooks.reload()
    ticket = ticket_of(cooks, placed["number"])
    expect(ticket).to_be_visible()
    ticket.get_by_role("button", name="Start", exact=True).click()
    expect(ticket.locator(".row")).to_have_class(re.compile("is-started"))


def test_what_was_sold_out_meanwhile_is_refused_and_shown_in_the_basket(demo, open_page, troubles):
    customer = open_page("/demo?table=5")
    customer.locator("[data-sku=magic]").click()
    customer.locator("#add").click()
    demo.call("staff", "/api/demo/menu/items/magic/availability", {"available": False})
    customer.locator("#open-basket").click()
    customer.locator("#place").click()
    expect(customer.locator("#basket-error")).to_be_visible()
    expect(customer.locator("#basket-lines .warn")).to_contain_text("Sold out")
    expect(customer.locator("#place")).to_be_disabled()
    expect(customer.locator("[data-sku=magic]")).to_be_disabled()
    customer.get_by_role("button", name="Remove Magic").click()
    expect(customer.locator("#basket-bar")).to_be_hidden()
    demo.call("staff", "/api/demo/menu/items/magic/availability", {"available": True})
    customer.reload()
    expect(customer.locator("[data-sku=magic]")).to_be_enabled()
    assert all("Failed to load resource" in trouble for trouble in troubles), (
        troubles
    )  # the refusal, as browsers log it
    troubles.clear()


@pytest.mark.parametrize("token", ["nonsense", "customer"])
def test_a_wrong_token_opens_no_kitchen(demo, open_page, troubles, token):
    page = open_page("/demo/kitchen", size=SCREEN)
    expect(page.locator("#gate")).to_be_visible()
    page.locator("#token").fill(demo.told["tokens"].get(token, token))
    page.get_by_role("button", name="Open the kitchen").click()
    expect(page.locator("#gate-error")).to_be_visible()
    expect(page.locator("#gate")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('tabletap:demo:kitchen')") is None
    assert all("Failed to load resource" in trouble for trouble in troubles), troubles
    troubles.clear()


def test_the_token_in_the_address_is_taken_out_of_it_at_once(demo, open_page):
    cooks = kitchen(demo, open_page)
    assert "token" not in cooks.url
    assert demo.told["tokens"]["kitchen"] not in cooks.content()


def test_nothing_a_customer_writes_becomes_markup(demo, open_page):
    cooks = kitchen(demo, open_page)
    evil = "<img src=x onerror=alert(1)><b>x</b>"
    placed = order_by_rest(demo, {"sku": "latte", "quantity": 1, "note": evil}, note=evil, customer={"name": evil})
    ticket = ticket_of(cooks, placed["number"])
    expect(ticket.locator(".note")).to_have_text(evil)
    expect(ticket.locator(".item-note")).to_have_text(evil)
    assert ticket.locator("img, b").count() == 0
