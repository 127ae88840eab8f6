"""Payconic's own list of what has changed, as reconciliation reads it: against the sandbox."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tabletap.actors.audit_ports import Stated, Statement
from tabletap.actors.ports import GatewayDown, GatewaySilent
from tabletap.domain.vocabulary import ChargeState
from tabletap.gateways.payconic import PayconicGateway

from .sandbox_process import running_sandbox
from .till_payconic import nobody_listens, return_to, settings

NOWHERE = "http://127.0.0.1:9"


def gateway_at(url: str) -> PayconicGateway:
    return PayconicGateway(settings(url), lambda: NOWHERE, return_to)


async def listed(gateway: PayconicGateway, since: datetime, limit: int) -> list[Stated]:
    assert isinstance(gateway, Statement)
    found: list[Stated] = []
    after = None
    while True:
        page = await gateway.changed_since(since, after, limit)
        assert len(page.charges) <= limit
        found += page.charges
        after = page.next
        if after is None:
            return found


async def test_all_that_has_changed_is_listed_page_by_page_whoever_made_it() -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    with running_sandbox() as sandbox:
        made = [sandbox.pay(NOWHERE) for _ in range(3)]
        stranger = sandbox.pay(NOWHERE, merchantReference="till-7")
        sandbox.act(made[0]["id"], "approve")
        sandbox.act(made[1]["id"], "decline")
        gateway = gateway_at(sandbox.url)
        found = {stated.reference: stated for stated in await listed(gateway, before, 2)}
        assert found.keys() == {*(one["merchantReference"] for one in made), "till-7"}
        states = [found[one["merchantReference"]].standing for one in made]
        assert [one.state for one in states] == [ChargeState.SUCCEEDED, ChargeState.FAILED, ChargeState.OPEN]
        assert states[0].amount == made[0]["amount"]
        assert found[made[0]["merchantReference"]].payment_id == UUID(made[0]["merchantReference"])
        assert found["till-7"].payment_id is None
        assert found["till-7"].standing.external_id == stranger["id"]
        assert await listed(gateway, datetime.now(UTC) + timedelta(minutes=1), 2) == []
        await gateway.aclose()


async def test_a_list_that_cannot_be_had_is_silence_or_nobody_there() -> None:
    now = datetime.now(UTC)
    with running_sandbox() as sandbox:
        gateway = gateway_at(sandbox.url)
        with pytest.raises(GatewaySilent, match="did not tell"):
            await gateway.changed_since(now, None, 0)
        await gateway.aclose()
    with nobody_listens() as url:
        gateway = gateway_at(url)
        with pytest.raises(GatewayDown):
            await gateway.changed_since(now, None, 10)
        await gateway.aclose()
