"""The sandbox's books, in a SQLite file: payments, the order of their changes, letters, and how it was told to behave.

Every change is committed before its method returns, so nothing that was answered is lost with the process (WAL without
a sync per commit: a power cut may take the last moments, which is good enough for play money). One process owns a file:
a second one waits a little for the first to end, and then fails.
"""

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

import msgspec

from . import account as accounts
from .account import Account, Changed, Move, Refund
from .misbehaviour import Auto, Misbehaviour
from .moments import moment, stored
from .postbox import TABLES as POSTBOX
from .postbox import Postbox
from .wire import PaymentRequest, RefundRequest, Refused

WAIT_FOR_THE_FILE_S = 5.0

_TABLES = """
CREATE TABLE IF NOT EXISTS payments (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL UNIQUE, reference TEXT NOT NULL UNIQUE,
  document BLOB NOT NULL,
  due INTEGER,           -- when something happens to it by itself, microseconds since 1970
  busy INTEGER NOT NULL  -- whether that is more than expiring
);
CREATE INDEX IF NOT EXISTS payments_due ON payments (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS payments_busy ON payments (busy) WHERE busy;
CREATE TABLE IF NOT EXISTS changes (number INTEGER PRIMARY KEY, payment TEXT NOT NULL, at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS changes_at ON changes (at);
CREATE INDEX IF NOT EXISTS changes_payment ON changes (payment);
CREATE TABLE IF NOT EXISTS behaviour (name TEXT PRIMARY KEY, told BLOB NOT NULL);
"""
_PAGE = """
SELECT document FROM payments JOIN (
  SELECT payment, min(number) AS place FROM changes WHERE at >= :since GROUP BY payment
) ON payment = id
WHERE place > coalesce((SELECT min(number) FROM changes WHERE at >= :since AND payment = :after), 0)
ORDER BY place LIMIT :most
"""
_SAVE = """
INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET document = excluded.document, due = excluded.due, busy = excluded.busy
"""

_Kept = TypeVar("_Kept", Misbehaviour, Auto, int)


class Book:
    """``path``: of the file, or ``:memory:``. Raises sqlite3.OperationalError if another process keeps it."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, timeout=WAIT_FOR_THE_FILE_S, isolation_level=None)
        try:
            self._db.executescript("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;")
            self._db.executescript(f"PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE; {_TABLES} {POSTBOX} COMMIT;")
        except sqlite3.Error:
            self._db.close()
            raise
        self.postbox = Postbox(self._db)
        self.misbehaviour = self._recall("misbehave", Misbehaviour) or Misbehaviour()
        self.auto = self._recall("auto", Auto) or Auto()
        self.port = self._recall("port", int) or 0

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    # -- how it was told to behave, and where it is reached

    def misbehave(self, told: Misbehaviour) -> None:
        """From now on."""
        self._remember("misbehave", told)
        self.misbehaviour = told

    def automate(self, told: Auto) -> None:
        """For payments that are made from now on."""
        self._remember("auto", told)
        self.auto = told

    @property
    def base_url(self) -> str:
        """Where the sandbox is reached."""
        return self.postbox.base_url

    def settle_at(self, port: int, base_url: str) -> None:
        """Where that is. The port is remembered: at the same one, links that were given out are still good."""
        self._remember("port", port)
        self.port, self.postbox.base_url = port, base_url

    # -- payments

    def create(self, request: PaymentRequest, key: str, now: datetime) -> tuple[Account, bool]:
        """The payment of this key, and whether it was made just now. Raises Refused."""
        found = self._find("key", key)
        if found is not None:
            _same(found.request, request)
            return found, False
        if self.by_reference(request.merchant_reference) is not None:
            raise Refused(409, "DUPLICATE_REFERENCE", "there is a payment with this reference under another key")
        (number,) = self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM payments").fetchone()
        opened = Account(
            number=number,
            id=f"pay_{secrets.token_hex(12)}",
            key=key,
            request=request,
            created_at=now,
            unasked=self.auto.unasked(number, self.misbehaviour.seed, now),
        )
        with self._transaction():
            self.postbox.forge(opened, self.misbehaviour, now)
            return self._save(accounts.elapse(opened, now), now), True

    def payment(self, ident: str) -> Account:
        """The payment. Raises Refused."""
        found = self._find("id", ident)
        if found is None:
            raise Refused(404, "PAYMENT_NOT_FOUND", "there is no such payment")
        return found

    def by_reference(self, reference: str) -> Account | None:
        """The payment that the merchant calls so."""
        return self._find("reference", reference)

    def page(self, since: datetime, after: str | None, most: int) -> list[Account]:
        """Payments that changed ``since``, each at the place of its first such change, where it stays as others (and
        itself) change on; those behind the payment ``after``."""
        asked = {"since": stored(since), "after": after, "most": most}
        return [_decode(document) for (document,) in self._db.execute(_PAGE, asked)]

    def newest(self, most: int) -> list[Account]:
        """The latest payments, newest first."""
        rows = self._db.execute("SELECT document FROM payments ORDER BY number DESC LIMIT ?", (most,))
        return [_decode(document) for (document,) in rows]

    def change(self, ident: str, work: Callable[[Account], Changed], now: datetime) -> Account:
        """Have something become of a payment; what was due comes first. Raises Refused."""
        with self._transaction():
            account, told = accounts.elapse(self.payment(ident), now)
            if told:
                self._save((account, told), now)
        with self._transaction():
            return self._save(work(account), now)

    def move(self, ident: str, wanted: Move, now: datetime) -> Account:
        """Carry out a move. Raises Refused."""
        return self.change(ident, lambda account: accounts.move(account, wanted, now), now)

    def refund(self, ident: str, request: RefundRequest, key: str, now: datetime) -> tuple[Account, Refund, bool]:
        """The refund of this key, and whether it was made just now. Raises Refused."""
        account = self.payment(ident)
        for refund in account.refunds:
            if refund.key == key:
                _same(refund.request, request)
                return account, refund, False
            if refund.request.merchant_reference == request.merchant_reference:
                raise Refused(409, "DUPLICATE_REFERENCE", "there is a refund with this reference under another key")
        made = f"ref_{secrets.token_hex(12)}"
        fails = self.misbehaviour.refund_fails(account)
        account = self.change(
            ident, lambda found: accounts.refund(found, request, key=key, ident=made, fails=fails, now=now), now
        )
        return account, account.refunds[-1], True

    # -- what happens by itself

    def elapse(self, now: datetime) -> None:
        """Let happen what is due."""
        due = self._db.execute("SELECT document FROM payments WHERE due <= ?", (stored(now),)).fetchall()
        for (document,) in due:
            with self._transaction():
                self._save(accounts.elapse(_decode(document), now), now)

    def next_at(self, now: datetime) -> datetime | None:
        """When something is due that is not yet, letters included."""
        (due,) = self._db.execute("SELECT min(due) FROM payments WHERE due IS NOT NULL").fetchone()
        letters = self.postbox.next_at(now)
        return min([*([] if due is None else [moment(due)]), *([] if letters is None else [letters])], default=None)

    def outstanding(self, now: datetime) -> int:
        """Letters that have not arrived, and payments to which something happens by itself, apart from expiring."""
        (busy,) = self._db.execute("SELECT count(*) FROM payments WHERE busy").fetchone()
        return int(busy) + self.postbox.waiting(now)

    # -- within

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _save(self, changed: Changed, now: datetime) -> Account:
        """Write a payment as it now is, and the letters about what happened to it, within a transaction."""
        account, told = changed
        due = accounts.due(account)
        row = (
            account.number,
            account.id,
            account.key,
            account.request.merchant_reference,
            msgspec.json.encode(account),
            None if due is None else stored(due),
            accounts.busy(account),
        )
        self._db.execute(_SAVE, row)
        self._db.execute("INSERT INTO changes (payment, at) VALUES (?, ?)", (account.id, stored(now)))
        self.postbox.post(told, self.misbehaviour, now)
        return account

    def _find(self, column: str, value: str) -> Account | None:
        found = self._db.execute(f"SELECT document FROM payments WHERE {column} = ?", (value,)).fetchone()  # noqa: S608  a word of ours
        return None if found is None else _decode(found[0])

    def _remember(self, name: str, told: Misbehaviour | Auto | int) -> None:
        self._db.execute("INSERT OR REPLACE INTO behaviour VALUES (?, ?)", (name, msgspec.json.encode(told)))

    def _recall(self, name: str, kind: type[_Kept]) -> _Kept | None:
        found = self._db.execute("SELECT told FROM behaviour WHERE name = ?", (name,)).fetchone()
        return None if found is None else msgspec.json.decode(found[0], type=kind)


def _decode(document: bytes) -> Account:
    return msgspec.json.decode(document, type=Account)


def _same(first: PaymentRequest | RefundRequest, again: PaymentRequest | RefundRequest) -> None:
    if first != again:
        raise Refused(422, "IDEMPOTENCY_MISMATCH", "the key belongs to another request")
