"""What every gateway promises, whatever it speaks behind the counter: one suite of rules over all of them.

To add a gateway: write its ``Till`` (``till.py``: the gateway, what a customer does, what the provider's own books say,
what it lacks), in a file ``till_NAME.py``, and add a line to ``GATEWAYS``. ``Alone(make)`` suffices for a till that
shares nothing; one whose provider is a process brings an ``Opener``. A rule that a till's ``lacks`` excludes is skipped
and says why. Providers are real ones as far as there are any: our sandbox and ``localstripe``, as processes.
"""

import itertools
from collections.abc import Mapping

import msgspec
import pytest
import trio

from tabletap.actors.ports import ForgedWebhook, GatewayDown, GatewaySilent, MalformedWebhook, Presentation
from tabletap.domain import payment as payments
from tabletap.domain.settings import BankDetails
from tabletap.domain.vocabulary import AccountKind, ChargeState, Method, RefundState
from tabletap.gateways.bank_qr import BankQrGateway
from tabletap.gateways.cash import CashGateway
from tests.domain.world import FLAT_WHITE, SETTINGS, TOAST, World, comparable

from .till import Alone, Lacks, Opener, known, paid, until, until_refunded
from .till_account import Accounts
from .till_manual import ManualTill
from .till_payconic import Payconic
from .till_stripe import Stripe

PUBLIC_URL = "http://127.0.0.1:9010"

GATEWAYS: Mapping[Method, Opener] = {
    Method.CASH: Alone(lambda: ManualTill(Method.CASH, CashGateway())),
    Method.QR_CODE_BANK_TRANSFER: Alone(
        lambda: ManualTill(Method.QR_CODE_BANK_TRANSFER, BankQrGateway(lambda: PUBLIC_URL))
    ),
    Method.PAYCONIC_CARD: Payconic(Method.PAYCONIC_CARD),
    Method.PAYCONIC_BANK_TRANSFER: Payconic(Method.PAYCONIC_BANK_TRANSFER),
    Method.PAYCONIC_DIGITAL_WALLET: Payconic(Method.PAYCONIC_DIGITAL_WALLET),
    Method.STRIPE_CARD: Stripe(),
    Method.CUSTOMER_CREDIT: Accounts(AccountKind.CREDIT),
    Method.GIFT_CARD: Accounts(AccountKind.GIFT_CARD),
}

GIVEN_UP = {ChargeState.ABSENT, ChargeState.CANCELLED}
ACCEPTED = {RefundState.PENDING, RefundState.SUCCEEDED}


@pytest.fixture(scope="module", params=GATEWAYS, ids=str)
def opened(request):
    opener = GATEWAYS[request.param]
    with opener.running() as running:
        yield opener, running


@pytest.fixture
async def till(opened):
    opener, running = opened
    async with opener.till(running) as till:
        yield till


def needs(*needed):
    """This rule is only for tills that do not lack these."""

    def note(rule):
        rule.needs = needed
        return rule

    return note


@pytest.fixture(autouse=True)
def _applies(request):
    """Skip a rule that does not apply, and say why."""
    if "opened" in request.fixturenames:
        opener, _ = request.getfixturevalue("opened")
        for lack in getattr(request.function, "needs", ()):
            if lack in opener.lacks:
                pytest.skip(lack.value)


def test_every_method_has_its_gateway():
    assert set(GATEWAYS) == set(Method)


class TestCharging:
    @needs(Lacks.CUSTOMER)
    async def test_what_has_begun_is_open_and_says_where_the_customer_approves_it(self, till):
        begun = await till.gateway.initiate(till.charge())
        assert (begun.state, begun.amount) == (ChargeState.OPEN, 0)
        assert begun.redirect_url.startswith(("http://", "https://"))
        assert begun.external_id

    @needs(Lacks.PROVIDER)
    async def test_begun_twice_it_is_one_charge_and_its_money_is_taken_once(self, till):
        charge = till.charge()
        first, second = [await till.gateway.initiate(charge) for _ in range(2)]
        assert first.external_id == second.external_id
        if Lacks.CUSTOMER not in till.lacks:
            await till.approve(charge)
        await until(till, known(charge, first), ChargeState.SUCCEEDED)
        assert await till.taken(charge) == [charge.amount]

    @needs(Lacks.PROVIDER)
    async def test_begun_many_times_at_once_it_is_one_charge(self, till):
        charge, begun = till.charge(), []

        async def begin():
            begun.append(await till.gateway.initiate(charge))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(begin)
        if Lacks.CUSTOMER not in till.lacks:
            await till.approve(charge)
        await until(till, charge, ChargeState.SUCCEEDED)
        assert len({standing.external_id for standing in begun}) == 1
        assert await till.taken(charge) == [charge.amount]

    @needs(Lacks.PROVIDER)
    async def test_begun_again_when_its_money_is_here_it_takes_no_more(self, till):
        charge = await paid(till)
        await till.gateway.initiate(charge)
        await till.gateway.initiate(msgspec.structs.replace(charge, external_id=None))
        assert await till.taken(charge) == [charge.amount]

    @needs(Lacks.PROVIDER)
    async def test_two_charges_are_two_however_alike(self, till):
        first, second = await paid(till), await paid(till)
        assert (await till.taken(first), await till.taken(second)) == ([first.amount], [second.amount])

    @needs(Lacks.PROVIDER)
    async def test_a_charge_nobody_has_heard_of_is_absent(self, till):
        assert (await till.gateway.verify(till.charge())).state is ChargeState.ABSENT
        other = await paid(till)
        assert (await till.gateway.verify(till.charge())).state is ChargeState.ABSENT
        assert (await till.gateway.verify(other)).state is ChargeState.SUCCEEDED

    @needs(Lacks.PROVIDER)
    async def test_what_was_taken_is_found_by_its_own_name_and_by_ours(self, till):
        charge = await paid(till, 4_321)
        nameless = msgspec.structs.replace(charge, external_id=None)
        by_name, by_ours = await till.gateway.verify(charge), await till.gateway.verify(nameless)
        assert by_name == by_ours
        assert (by_name.state, by_name.amount) == (ChargeState.SUCCEEDED, 4_321)
        assert 0 <= by_name.fee < by_name.amount
        assert by_name.redirect_url is None

    @needs(Lacks.CUSTOMER)
    async def test_a_decline_is_told_and_takes_nothing(self, till):
        charge = till.charge()
        charge = known(charge, await till.gateway.initiate(charge))
        await till.decline(charge)
        standing = await till.gateway.verify(charge)
        assert standing.state is (ChargeState.OPEN if Lacks.FINAL_DECLINE in till.lacks else ChargeState.FAILED)
        assert standing.reason
        assert (standing.amount, await till.taken(charge)) == (0, [])


class TestGivingUp:
    @needs(Lacks.CUSTOMER)
    async def test_given_up_before_it_is_approved_it_can_no_longer_be_taken(self, till):
        charge = till.charge()
        charge = known(charge, await till.gateway.initiate(charge))
        assert (await till.gateway.cancel(charge)).state is ChargeState.CANCELLED
        await till.approve(charge)
        assert (await till.gateway.verify(charge)).state is ChargeState.CANCELLED
        assert await till.taken(charge) == []

    @needs(Lacks.CUSTOMER)
    async def test_given_up_twice_is_given_up_once_also_without_its_name(self, till):
        charge = till.charge()
        await till.gateway.initiate(charge)
        first, second = [await till.gateway.cancel(charge) for _ in range(2)]
        assert (first.state, second) == (ChargeState.CANCELLED, first)

    @needs(Lacks.PROVIDER)
    async def test_given_up_too_late_it_says_that_the_money_is_here(self, till):
        charge = await paid(till)
        standing = await till.gateway.cancel(charge)
        assert (standing.state, standing.amount) == (ChargeState.SUCCEEDED, charge.amount)
        assert await till.taken(charge) == [charge.amount]

    @needs(Lacks.CUSTOMER)
    async def test_given_up_and_approved_at_once_it_is_told_as_it_is(self, till):
        charge = till.charge()
        charge = known(charge, await till.gateway.initiate(charge))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(till.approve, charge)
            nursery.start_soon(till.gateway.cancel, charge)
        standing = await till.gateway.verify(charge)
        if standing.state is ChargeState.PROCESSING:
            standing = await until(till, charge, ChargeState.SUCCEEDED)
        assert standing.state in {ChargeState.CANCELLED, ChargeState.SUCCEEDED}
        assert await till.taken(charge) == ([charge.amount] if standing.state is ChargeState.SUCCEEDED else [])

    async def test_what_was_never_begun_is_given_up_without_more_ado(self, till):
        assert (await till.gateway.cancel(till.charge())).state in GIVEN_UP


class TestGivingBack:
    @needs(Lacks.PROVIDER)
    async def test_it_is_given_back_in_parts_up_to_the_whole_and_no_cent_more(self, till):
        charge = await paid(till, 1_000)
        for amount in (300, 700):
            refund = till.refund(amount)
            assert (await till.gateway.refund(charge, refund)).state in ACCEPTED
            await until_refunded(till, charge, refund)
        for too_much in (1, 1_000):
            refused = await till.gateway.refund(charge, till.refund(too_much))
            assert refused.state is RefundState.FAILED
            assert refused.reason
        assert sorted(await till.given_back(charge)) == [300, 700]

    @needs(Lacks.PROVIDER)
    async def test_more_than_was_paid_is_not_given_back(self, till):
        charge = await paid(till, 1_000)
        assert (await till.gateway.refund(charge, till.refund(1_001))).state is RefundState.FAILED
        assert await till.given_back(charge) == []

    @needs(Lacks.PROVIDER)
    async def test_asked_for_twice_a_refund_is_made_once(self, till):
        charge, refund = await paid(till, 1_000), till.refund(400)
        first = await till.gateway.refund(charge, refund)
        nameless = msgspec.structs.replace(charge, external_id=None)
        second = await till.gateway.refund(nameless, refund)
        await until_refunded(till, charge, refund)
        assert first.external_id == second.external_id
        assert await till.given_back(charge) == [400]

    @needs(Lacks.PROVIDER)
    async def test_asked_for_again_when_all_is_given_back_a_refund_is_found_again(self, till):
        charge, refund = await paid(till, 1_000), till.refund(1_000)
        await till.gateway.refund(charge, refund)
        done = await until_refunded(till, charge, refund)
        assert await till.gateway.refund(charge, refund) == done
        assert await till.given_back(charge) == [1_000]

    @needs(Lacks.PROVIDER)
    async def test_the_same_refund_asked_for_many_times_at_once_is_made_once(self, till):
        charge, refund = await paid(till, 1_000), till.refund(400)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(till.gateway.refund, charge, refund)
        await until_refunded(till, charge, refund)
        assert await till.given_back(charge) == [400]

    @needs(Lacks.PROVIDER, Lacks.GUARD)
    async def test_many_refunds_at_once_never_exceed_what_was_paid(self, till):
        charge, answers = await paid(till, 1_000), []

        async def give_back():
            answers.append(await till.gateway.refund(charge, till.refund(400)))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(give_back)
        assert sorted(answer.state in ACCEPTED for answer in answers) == [False] * 3 + [True] * 2
        assert await till.given_back(charge) == [400, 400]

    @needs(Lacks.PROVIDER)
    async def test_what_was_never_paid_is_not_given_back(self, till):
        charge = till.charge()
        assert (await till.gateway.refund(charge, till.refund(1))).state is RefundState.FAILED
        if Lacks.CUSTOMER not in till.lacks:
            charge = known(charge, await till.gateway.initiate(charge))
            assert (await till.gateway.refund(charge, till.refund(1))).state is RefundState.FAILED
            assert await till.given_back(charge) == []

    @needs(Lacks.PROVIDER)
    async def test_a_refund_nobody_has_heard_of_is_absent(self, till):
        charge = await paid(till)
        assert (await till.gateway.verify_refund(till.charge(), till.refund(1))).state is RefundState.ABSENT
        assert (await till.gateway.verify_refund(charge, till.refund(1))).state is RefundState.ABSENT
        await till.gateway.refund(charge, till.refund(1))
        assert (await till.gateway.verify_refund(charge, till.refund(1))).state is RefundState.ABSENT

    async def test_a_reason_of_any_length_and_in_any_script_is_no_hindrance(self, till):
        charge = till.charge() if Lacks.PROVIDER in till.lacks else await paid(till)
        refund = msgspec.structs.replace(till.refund(1), reason="zu kalt & « trop salé » 太咸 \r\n" * 100)
        assert (await till.gateway.refund(charge, refund)).state in ACCEPTED


class TestBadLines:
    @needs(Lacks.NETWORK)
    async def test_a_charge_whose_answer_never_came_is_unknown_and_then_found_and_taken_once(self, till):
        charge = till.charge()
        async with till.silence():
            with pytest.raises(GatewaySilent):
                await till.gateway.initiate(charge)
        found = await till.gateway.verify(charge)
        assert (found.state, found.amount) == (ChargeState.OPEN, 0)
        again = await till.gateway.initiate(charge)
        assert (again.external_id, again.redirect_url) == (found.external_id, found.redirect_url)
        await till.approve(charge)
        await until(till, charge, ChargeState.SUCCEEDED)
        assert await till.taken(charge) == [charge.amount]

    @needs(Lacks.NETWORK)
    async def test_a_refund_whose_answer_never_came_is_unknown_and_then_found_and_made_once(self, till):
        charge, refund = await paid(till), till.refund(100)
        async with till.silence():
            with pytest.raises(GatewaySilent):
                await till.gateway.refund(charge, refund)
        await until_refunded(till, charge, refund)
        assert (await till.gateway.refund(charge, refund)).state is RefundState.SUCCEEDED
        assert await till.given_back(charge) == [100]

    @needs(Lacks.NETWORK)
    async def test_a_provider_that_is_not_there_is_down_whatever_is_asked_of_it(self, till):
        charge, refund = till.charge(), till.refund(1)
        for ask in ("initiate", "verify", "cancel"):
            async with till.unreachable() as gateway:
                with pytest.raises(GatewayDown):
                    await getattr(gateway, ask)(charge)
        for ask in ("refund", "verify_refund"):
            async with till.unreachable() as gateway:
                with pytest.raises(GatewayDown):
                    await getattr(gateway, ask)(charge, refund)


class TestWebhooks:
    @needs(Lacks.WEBHOOKS)
    async def test_what_the_provider_tells_of_a_payment_is_understood_and_the_same_each_time(self, till):
        charge = await paid(till, 999)
        ((headers, body),) = await till.webhooks(1)
        heard = till.gateway.handle_webhook(headers, body)
        assert heard == till.gateway.handle_webhook(headers, body)
        assert (heard.payment_id, heard.sequence is None) == (charge.payment_id, Lacks.SEQUENCE in till.lacks)
        assert (heard.standing.state, heard.standing.amount) == (ChargeState.SUCCEEDED, 999)
        assert heard.event_id
        assert heard.type

    @needs(Lacks.WEBHOOKS)
    async def test_what_it_did_not_sign_is_forged(self, till):
        await paid(till)
        ((headers, body),) = await till.webhooks(1)
        (name,) = till.signed(body)
        right = headers[name]
        forgeries = [
            (headers, body.replace(b"1250", b"9999")),
            (headers, body + b" "),
            (headers, b""),
            ({}, body),
            *(
                ({name: wrong}, body)
                for wrong in ("", "0", right[:-1], right[::-1], right + "0", "\u00fc\u2028", "=,=")
            ),
        ]
        for forged in forgeries:
            with pytest.raises(ForgedWebhook):
                till.gateway.handle_webhook(*forged)
        till.gateway.handle_webhook({name: right}, body)

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"{", b"\xff", b'{"id":"\xff"}', b"[" * 100_000])
    @needs(Lacks.WEBHOOKS)
    async def test_what_it_signed_and_nobody_understands_is_malformed(self, till, body):
        with pytest.raises(MalformedWebhook):
            till.gateway.handle_webhook(till.signed(body), body)

    async def test_a_gateway_without_webhooks_says_so_and_understands_none(self, till):
        has_none = Lacks.WEBHOOKS in till.lacks
        assert (till.gateway.provider == "") is has_none
        if has_none:
            with pytest.raises(MalformedWebhook):
                till.gateway.handle_webhook({}, b"{}")


class TestByHand:
    async def test_it_is_by_hand_where_there_is_nobody_to_ask(self, till):
        assert till.gateway.manual is (Lacks.PROVIDER in till.lacks)

    @needs(Lacks.STAFF)
    async def test_what_staff_take_is_open_until_they_say_so_and_given_back_by_them(self, till):
        charge, refund = till.charge(), till.refund(1)
        assert (await till.gateway.initiate(charge)).state is ChargeState.OPEN
        assert (await till.gateway.verify(charge)).state is ChargeState.OPEN
        assert (await till.gateway.cancel(charge)).state is ChargeState.CANCELLED
        assert (await till.gateway.refund(charge, refund)).state is RefundState.SUCCEEDED
        assert (await till.gateway.verify_refund(charge, refund)).state is RefundState.SUCCEEDED


BANKS = (
    None,
    SETTINGS.bank,
    BankDetails(account_name="Ü" * 70, bsb="999-999", account_number="9" * 9),
)


def open_payments(method):
    """Open payments of one method, small and large, with and without a tip, and the cafes they belong to."""
    for bank, amount, tip in itertools.product(BANKS, (1, 901, None), (0, 500)):
        world = World(msgspec.structs.replace(SETTINGS, bank=bank))
        order = world.place(TOAST, FLAT_WHITE)
        yield payments.view(world.payment(world.pay(order, method, amount=amount, tip=tip))), world.cafe


class TestPresenting:
    async def test_every_open_payment_can_be_presented(self, till):
        for payment, cafe in open_payments(till.method):
            shown = till.gateway.present(payment, cafe)
            assert isinstance(shown, Presentation)
            assert shown.qr_code_data is None or shown.qr_code_data.startswith("data:image/png;base64,")
            for url in (shown.redirect_url, shown.payment_url):
                assert url is None or url.startswith(("http://", "https://"))

    async def test_presenting_is_pure(self, till):
        for payment, cafe in open_payments(till.method):
            before = msgspec.json.encode(payment), comparable(cafe)
            first, second = (till.gateway.present(payment, cafe) for _ in range(2))
            assert first == second
            assert (msgspec.json.encode(payment), comparable(cafe)) == before
