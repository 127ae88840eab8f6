"""Accounts of customers, gift cards and points, and every movement on them."""

from datetime import datetime

from tabletap.domain.account import Account
from tabletap.domain.base import CafeId
from tabletap.domain.events import AccountCredited, AccountDebited
from tabletap.store.batch import insert, upsert

ACCOUNTS = upsert(
    "accounts",
    {
        "id": "uuid",
        "cafe_id": "uuid",
        "kind": "text",
        "owner": "text",
        "currency": "text",
        "balance": "int8",
        "opened_at": "timestamptz",
        "label": "text",
        "expires_at": "timestamptz",
    },
    "cafe_id",
    "kind",
    "owner",
    "currency",
    "opened_at",
    "label",
)

ENTRIES = insert(
    "account_entries",
    {
        "account_id": "uuid",
        '"offset"': "int8",
        "cafe_id": "uuid",
        "entry_id": "uuid",
        "amount": "int8",
        "balance": "int8",
        "granted": "bool",
        "payment_id": "uuid",
        "reason": "text",
        "at": "timestamptz",
        "cause": "text",
        "reference": "text",
    },
)


def row(state: Account) -> tuple[object, ...]:
    opened = state.opened
    return (
        opened.account_id,
        opened.cafe_id,
        opened.kind.value,
        opened.owner,
        opened.currency,
        state.balance,
        opened.opened_at,
        opened.label,
        state.expires_at,
    )


def entry_row(
    event: AccountCredited | AccountDebited, cafe_id: CafeId, offset: int, at: datetime
) -> tuple[object, ...]:
    return (
        event.account_id,
        offset,
        cafe_id,
        event.entry_id,
        event.amount if isinstance(event, AccountCredited) else -event.amount,
        event.balance,
        event.granted,
        event.payment_id,
        event.reason,
        at,
        event.cause,
        event.reference,
    )
