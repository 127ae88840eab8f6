"""The part of the holdings that an account asks when it has forgotten something, without a database."""

from uuid import UUID

from tabletap.domain.account import EntryView
from tabletap.domain.events import AccountCredited, AccountDebited

from .corner import Corner


class Written:
    """Reads the log."""

    def __init__(self, corner: Corner) -> None:
        self._corner = corner

    async def entry(self, account_id: UUID, entry_id: UUID) -> EntryView | None:
        for one in await self._corner.log():
            event = one.event
            if isinstance(event, AccountCredited | AccountDebited) and event.entry_id == entry_id:
                amount = event.amount if isinstance(event, AccountCredited) else -event.amount
                return EntryView(entry_id=entry_id, amount=amount, balance=event.balance, at=one.at, cursor=one.offset)
        return None
