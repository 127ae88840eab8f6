"""Money in a real browser: the pages of the customer, the provider, the kitchen and the counter, at one demo cafe."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import expect

from .conftest import SCREEN, WAIT_MS
from .test_pages import choose_and_order, kitchen, order_by_rest, ticket_of

expect.set_options(timeout=WAIT_MS)

PRICE = "$12.80"  # of what `choose_and_order` orders, and of these
COFFEES = {
    "sku": "flat-white",
    "quantity": 2,
    "modifiers": [
        {"group": "size", "option": "large"},
        {"group": "milk", "option": "oat"},
        {"group": "oat-brand", "option": "house"},
    ],
}


def signed_in(demo, open_page, table="4"):
    """The customer's page of somebody with an account."""
    return open_page(f"/demo?table={table}#token={demo.told['tokens']['customer']}")


def counter(demo, open_page):
    """The counter's screen, live."""
    page = open_page(f"/demo/counter#token={demo.told['tokens']['counter']}", size=SCREEN)
    expect(page.locator("#link")).to_have_text("Live")
    return page


def order_of(customer):
    return customer.locator("article.order").first


def at_the_provider(demo, customer, button):
    """Pay the newest order by card, and tap ``button`` on the provider's page; back on the cafe's."""
    order_of(customer).get_by_role("button", name="Pay by card").click()
    customer.wait_for_url(f"{demo.told['sandboxUrl']}/checkout/**")
    expect(customer.locator(".amount")).to_have_text("12.80 AUD")
    customer.get_by_role("button", name=button, exact=True).click()
    customer.wait_for_url(f"{demo.url}/demo**")


def bill_of(till, number):
    """The bill of an order, opened at the counter."""
    till.get_by_role("button", name=f"#{number} ").click()
    bill = till.locator("#bill")
    expect(bill.get_by_role("heading", name=f"Order {number}", exact=True)).to_be_visible()
    return bill


def give_back(till, payment, amount, to):
    payment.get_by_role("button", name="Refund", exact=True).click()
    asked = till.get_by_role("dialog", name="Refund")
    asked.get_by_label("Amount", exact=True).fill(amount)
    asked.get_by_label("To", exact=True).select_option(to)
    asked.get_by_label("Reason").fill("cold coffee")
    asked.get_by_role("button", name="Give back").click()


def paid_in_cash(demo):
    """An order that is paid, by REST."""
    placed = order_by_rest(demo, COFFEES)
    begun = demo.call("staff", "/api/payments/initiate", {"orderId": placed["id"], "paymentMethod": "cash"})
    demo.call("staff", f"/api/payments/{begun['paymentId']}/verify", {"tendered": 1_280})
    return placed


def cents(text):
    return int(re.sub(r"\D", "", text) or 0)


@contextmanager
def settings(demo, **changed) -> Iterator[None]:
    """The demo cafe with other settings, and as it was at the end."""
    before = demo.call("owner", "/api/demo/settings")
    demo.call("owner", "/api/demo/settings", before | changed, method="PUT")
    try:
        yield
    finally:
        demo.call("owner", "/api/demo/settings", before, method="PUT")


def test_paid_by_card_given_back_by_halves_and_the_next_order_paid_by_credit(demo, open_page):
    cooks, till, customer = kitchen(demo, open_page), counter(demo, open_page), signed_in(demo, open_page)
    had = cents(customer.locator("#credit").inner_text())

    # approved on the provider's page: where one pays first, the kitchen gets the order then
    with settings(demo, prepay=["table"]):
        number = choose_and_order(customer)
        order = order_of(customer)
        expect(order).to_contain_text(f"To pay: {PRICE}")
        expect(till.get_by_role("button", name=f"#{number} ")).to_contain_text(f"To pay {PRICE}")
        expect(ticket_of(cooks, number)).to_have_count(0)
        at_the_provider(demo, customer, "Approve")
    expect(order.locator(".paid")).to_have_text("Paid ✓")
    expect(ticket_of(cooks, number)).to_contain_text("Paid")

    # half of it goes back to the card, half becomes credit
    bill = bill_of(till, number)
    card = bill.get_by_role("article", name=f"Card, {PRICE}")
    expect(card).to_contain_text("Paid")
    give_back(till, card, "6.40", "original")
    expect(card.get_by_role("list", name="Refunds")).to_contain_text("$6.40 to card: done")
    give_back(till, card, "6.40", "credit")
    expect(card.get_by_role("list", name="Refunds")).to_contain_text("$6.40 to credit: done")
    expect(card).to_contain_text("Given back")
    expect(card.get_by_role("button", name="Refund")).to_have_count(0)
    expect(order.locator(".paid")).to_have_text(f"Paid ✓ · {PRICE} given back")
    expect(till.get_by_role("button", name=f"#{number} ")).to_contain_text(f"Paid, {PRICE} given back")
    credit = had + 640
    expect(customer.locator("#credit")).to_have_text(f"Your credit: ${credit / 100:.2f}")

    # the next order is paid by it
    customer.locator("[data-sku=latte]").click()
    customer.locator("#add").click()
    customer.locator("#open-basket").click()
    customer.locator("#place").click()
    expect(customer.locator("article.order")).to_have_count(2)
    latte = cents(order.locator(".sum strong").inner_text())
    order.get_by_role("button", name=f"Pay ${latte / 100:.2f} with your credit").click()
    expect(order.locator(".paid")).to_have_text("Paid ✓")
    expect(customer.locator("#credit")).to_have_text(f"Your credit: ${(credit - latte) / 100:.2f}")
    next_number = int(order.locator("h2").inner_text().split()[1])
    expect(ticket_of(cooks, next_number)).to_contain_text("Paid")
    expect(bill_of(till, next_number).get_by_role("article", name="Credit")).to_contain_text("Paid")


def test_a_declined_and_an_expired_payment_are_said_and_another_may_follow(demo, open_page):
    customer = open_page("/demo?table=5")
    choose_and_order(customer)
    order = order_of(customer)
    at_the_provider(demo, customer, "Decline")
    expect(order.get_by_role("alert")).to_contain_text("declined")
    at_the_provider(demo, customer, "Let it expire")
    expect(order.get_by_role("alert")).to_contain_text("expired")
    at_the_provider(demo, customer, "Approve")
    expect(order.locator(".paid")).to_have_text("Paid ✓")
    expect(order.get_by_role("alert")).to_be_hidden()


def test_a_tip_and_the_service_charge_are_shown_before_and_after_paying(demo, open_page):
    charge = {"rate": 1000, "taxClass": "gst", "channels": ["table"]}
    with settings(demo, serviceCharge=charge):
        till, customer = counter(demo, open_page), open_page("/demo?table=7")
        customer.locator("[data-sku=latte]").click()
        customer.locator("#add").click()
        customer.locator("#open-basket").click()
        expect(customer.locator("#service")).to_have_text("A service charge of 10% is added.")
        customer.locator("#basket-dialog [data-close]").click()
        number = choose_and_order(customer)
        order = order_of(customer)
        charged = order.locator(".extra", has_text="Service charge").locator("span").last.inner_text()
        owed = cents(order.locator(".sum strong").inner_text())
        order.get_by_role("group", name="Tip").get_by_role("button", name="Tip 10%").click()
        order.get_by_role("button", name="Pay by card").click()
        customer.wait_for_url(f"{demo.told['sandboxUrl']}/checkout/**")
        tip = round(owed / 10)
        expect(customer.locator(".amount")).to_have_text(f"{(owed + tip) / 100:.2f} AUD")
        customer.get_by_role("button", name="Approve").click()
        expect(order.locator(".paid")).to_be_visible()
        bill = bill_of(till, number)
        expect(bill).to_contain_text(f"Service charge{charged}")
        expect(bill.get_by_role("article", name="Card")).to_contain_text(f"of it tip${tip / 100:.2f}")


def test_the_counter_takes_cash_finds_a_transfer_and_cancels(demo, open_page):
    till = counter(demo, open_page)
    placed = order_by_rest(demo, COFFEES)
    bill = bill_of(till, placed["number"])
    bill.get_by_role("button", name="Take cash").click()
    asked = till.get_by_role("dialog", name=f"{PRICE} in cash")
    asked.get_by_label("Tendered").fill("ten")
    asked.get_by_role("button", name="Cash received").click()
    expect(asked.get_by_role("alert")).to_contain_text("please enter an amount")
    asked.get_by_role("button", name="20.00", exact=True).click()
    asked.get_by_role("button", name="Cash received").click()
    expect(till.locator("#told")).to_have_text("Change: $7.20")
    expect(bill.get_by_role("article", name="Cash")).to_contain_text("Change$7.20")
    expect(till.get_by_role("button", name=f"#{placed['number']} ")).to_contain_text("Paid")

    placed = order_by_rest(demo, COFFEES)
    bill = bill_of(till, placed["number"])
    begun = {"orderId": placed["id"], "paymentMethod": "qr_code_bank_transfer"}
    reference = demo.call("staff", "/api/payments/initiate", begun)["reference"]
    transfer = bill.get_by_role("article", name="Bank transfer")
    expect(transfer).to_contain_text(reference)  # the counter hears of it
    transfer.get_by_role("button", name="Money has arrived").click()
    till.get_by_role("dialog", name="Money has arrived").get_by_role("button", name="It is here").click()
    expect(transfer.locator(".payment-status")).to_have_text("Paid")

    placed = order_by_rest(demo, COFFEES)
    bill = bill_of(till, placed["number"])
    bill.get_by_role("button", name="Cancel order").click()
    bill.get_by_role("button", name="Tap again to cancel the order").click()
    expect(bill).to_contain_text("Cancelled")
    expect(bill.get_by_role("button", name="Take cash")).to_have_count(0)


def test_cash_goes_through_the_drawer_that_is_open(demo, open_page):
    drawer = demo.call("counter", "/api/demo/drawers", {"name": "Till", "floatAmount": 10_000})
    path = f"/api/demo/drawers/{drawer['drawerId']}"
    till, placed = counter(demo, open_page), order_by_rest(demo, COFFEES)
    bill = bill_of(till, placed["number"])
    bill.get_by_role("button", name="Take cash").click()
    asked = till.get_by_role("dialog", name=f"{PRICE} in cash")
    expect(asked.get_by_label("Drawer")).to_have_value(drawer["drawerId"])
    asked.get_by_role("button", name="Cash received").click()
    expect(till.locator("#told")).to_have_text("Change: $0.00")
    looks = (demo.call("counter", path) for _ in range(1_000))  # the drawer hears of it from the payment
    assert any(look["expected"] == 10_000 + 1_280 for look in looks)
    demo.call("counter", f"{path}/count", {"counted": 10_000 + 1_280})


def amount_asked(till, title, verb, **fields):
    """Fill in the question of that title and say so."""
    asked = till.get_by_role("dialog", name=title)
    for label, text in fields.items():
        asked.get_by_label(label, exact=True).fill(text)
    asked.get_by_role("button", name=verb).click()
    return asked


def test_a_drawer_is_opened_paid_into_and_out_of_and_counted_at_the_counter(demo, open_page, troubles):
    till = counter(demo, open_page)
    till.get_by_role("button", name="Drawers").click()
    panel = till.locator("#bill")
    expect(panel).to_contain_text("No drawer is open")
    panel.get_by_role("button", name="Open a drawer").click()
    amount_asked(till, "Open a drawer", "Open", Name="Front", Float="100.00")
    drawer = panel.get_by_role("article", name="Front")
    expect(drawer).to_contain_text("Should hold$100.00")

    drawer.get_by_role("button", name="Pay in").click()
    amount_asked(till, "Pay in: Front", "Pay in", Amount="20.00", Reason="coins")
    expect(drawer).to_contain_text("Should hold$120.00")
    drawer.get_by_role("button", name="Pay out").click()
    amount_asked(till, "Pay out: Front", "Pay out", Amount="7.50", Reason="milk")
    expect(drawer).to_contain_text("Paid in and out$12.50")
    expect(drawer).to_contain_text("Should hold$112.50")
    expect(till.locator("#told")).to_have_text("Front should hold $112.50")

    drawer.get_by_role("button", name="Pay out").click()
    asked = amount_asked(till, "Pay out: Front", "Pay out", Amount="500.00", Reason="too much")
    expect(asked.get_by_role("alert")).to_contain_text("the drawer holds 11250 cents")
    asked.get_by_role("button", name="Close").click()
    assert all("Failed to load resource" in trouble for trouble in troubles), troubles
    troubles.clear()

    # what is paid in cash goes in there, and whoever counts is not told first what to find
    placed = order_by_rest(demo, COFFEES)
    bill_of(till, placed["number"]).get_by_role("button", name="Take cash").click()
    amount_asked(till, f"{PRICE} in cash", "Cash received")
    expect(till.locator("#told")).to_have_text("Change: $0.00")
    till.get_by_role("button", name="Drawers").click()
    expect(drawer).to_contain_text("Cash payments$12.80")
    drawer.get_by_role("button", name="Count and close").click()
    expect(till.get_by_role("dialog", name="Count Front").get_by_label("Counted")).to_have_value("")
    amount_asked(till, "Count Front", "Close it", Counted="125.00")
    expect(till.locator("#told")).to_have_text("Front: $125.00, $0.30 short of $125.30")
    expect(drawer).to_have_count(0)
    assert demo.call("counter", "/api/demo/drawers")["drawers"] == []


def test_a_bill_is_split_by_items_by_parts_and_by_amount_and_each_is_paid_in_cash(demo, open_page):
    till = counter(demo, open_page)
    placed = order_by_rest(demo, COFFEES, {"sku": "latte", "quantity": 1})
    latte = placed["items"][1]["total"]
    bill = bill_of(till, placed["number"])
    told = till.locator("#told")

    def paid(text, tendered):
        expect(till.get_by_role("dialog", name=f"{text} in cash")).to_be_visible()
        amount_asked(till, f"{text} in cash", "Cash received", Tendered=tendered)
        expect(told).to_contain_text("Change: ")

    bill.get_by_role("button", name="Some items").click()
    asked = till.get_by_role("dialog", name="Pay for some items")
    asked.get_by_label("Flat white").check()
    asked.get_by_role("button", name="Take cash for them").click()
    paid(PRICE, "20.00")
    expect(told).to_have_text("Change: $7.20")
    expect(bill.get_by_role("article", name=f"Cash, {PRICE}")).to_contain_text("ForFlat white")
    expect(bill.locator(".bill-lines li").first).to_contain_text("paid")
    bill.get_by_role("button", name="Some items").click()
    expect(asked.get_by_role("checkbox")).to_have_count(1)  # nobody pays for a line twice
    asked.get_by_role("button", name="Close").click()

    bill.get_by_role("button", name="Some of it").click()
    amount_asked(till, "Pay some of it", "Take cash for it", Amount="2.00")
    paid("$2.00", "2.00")
    rest = f"${(latte - 200) / 100:.2f}"
    expect(bill.locator(".due")).to_contain_text(rest)
    bill.get_by_role("button", name="Take cash").click()
    paid(rest, "10.00")
    expect(till.get_by_role("button", name=f"#{placed['number']} ")).to_contain_text("Paid")
    expect(bill.get_by_role("group", name="Split the bill")).to_have_count(0)

    placed = order_by_rest(demo, COFFEES)
    bill = bill_of(till, placed["number"])
    for part, text in enumerate(("$6.40", "$6.40"), start=1):
        bill.get_by_role("button", name="Even parts").click()
        till.get_by_role("dialog", name="Split evenly").get_by_label("Into how many parts").select_option("2")
        till.get_by_role("button", name="Take cash for the next part").click()
        paid(text, "6.40")
        expect(bill.get_by_role("article", name=f"Cash, {text}").nth(part - 1)).to_contain_text(f"Part{part} of 2")
    expect(till.get_by_role("button", name=f"#{placed['number']} ")).to_contain_text("Paid")


def test_what_the_server_refuses_is_said_where_it_was_asked(demo, open_page, troubles):
    till = counter(demo, open_page)
    payment = bill_of(till, paid_in_cash(demo)["number"]).get_by_role("article", name="Cash")
    give_back(till, payment, "6.40", "credit")  # who ordered has no account
    asked = till.get_by_role("dialog", name="Refund")
    expect(asked.get_by_role("alert")).to_contain_text("no customer account")
    asked.get_by_label("Amount", exact=True).fill("13.00")
    asked.get_by_label("To", exact=True).select_option("original")
    asked.get_by_role("button", name="Give back").click()
    expect(asked.get_by_role("alert")).to_contain_text("more than")
    assert all("Failed to load resource" in trouble for trouble in troubles), troubles
    troubles.clear()


def test_a_refund_whose_answer_was_lost_is_made_once_when_it_is_asked_for_again(demo, open_page, troubles):
    till = counter(demo, open_page)
    payment = bill_of(till, paid_in_cash(demo)["number"]).get_by_role("article", name="Cash")

    def lose(route):
        route.fetch()
        route.abort()

    till.route("**/refund", lose, times=1)
    give_back(till, payment, "3.00", "original")
    asked = till.get_by_role("dialog", name="Refund")
    expect(asked.get_by_role("alert")).to_be_visible()
    asked.get_by_role("button", name="Give back").click()
    expect(asked).to_be_hidden()
    refunds = payment.get_by_role("list", name="Refunds").get_by_role("listitem")
    expect(refunds).to_have_text(["$3.00 to cash: done · cold coffee"])
    assert all("Failed to load resource" in trouble for trouble in troubles), troubles
    troubles.clear()


def test_the_kitchens_token_opens_no_counter(demo, open_page, troubles):
    page = open_page(f"/demo/counter#token={demo.told['tokens']['kitchen']}", size=SCREEN)
    expect(page.locator("#gate-error")).to_be_visible()
    troubles.clear()
