"""Letters in the file: written in the transaction of what they tell of, kept until they have arrived."""

import secrets
import sqlite3
from collections.abc import Collection, Iterable
from datetime import datetime

from .account import Account, Happened
from .letters import GIVEN_UP_AFTER, YIELDS_FOR, Letter, forge, pause, tell
from .misbehaviour import ORIGINAL, Misbehaviour
from .moments import moment, stored
from .wire import EventType

TABLES = """
CREATE TABLE IF NOT EXISTS letters (
  number INTEGER PRIMARY KEY, payment TEXT NOT NULL, sequence INTEGER NOT NULL, url TEXT NOT NULL, body BLOB NOT NULL,
  born INTEGER NOT NULL, at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  original INTEGER NOT NULL, yields INTEGER NOT NULL,
  done INTEGER NOT NULL DEFAULT 0, answer INTEGER
);
CREATE INDEX IF NOT EXISTS letters_waiting ON letters (at) WHERE done = 0;
CREATE INDEX IF NOT EXISTS letters_payment ON letters (payment, sequence);
"""

# A webhook goes out after the first attempt at those before it; one that yields, after the first at the next.
_READY = """
SELECT number, payment, sequence, url, body, at, attempts, original, yields FROM letters AS letter
WHERE done = 0 AND born > :given_up AND (
  at <= :now OR (yields AND attempts = 0 AND EXISTS (
    SELECT 1 FROM letters AS next
    WHERE next.payment = letter.payment AND next.sequence = letter.sequence + 1 AND next.attempts > 0
  ))
) AND NOT EXISTS (
  SELECT 1 FROM letters AS earlier
  WHERE earlier.payment = letter.payment AND earlier.sequence BETWEEN 1 AND letter.sequence - 1
    AND earlier.original AND NOT earlier.yields AND earlier.attempts = 0
) ORDER BY at, number LIMIT :most
"""


class Postbox:
    """``base_url``: where the sandbox is reached, known once it listens."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.base_url = ""

    def post(self, told: Iterable[Happened], misbehaviour: Misbehaviour, now: datetime) -> None:
        """Write to the merchant of what happened, within the caller's transaction."""
        for happened in told:
            account = happened.account
            yielded_to = self._is_yielded_to(account, misbehaviour, now)
            letters = tell(happened, _event_id(), misbehaviour, base_url=self.base_url, yielded_to=yielded_to, now=now)
            self._put(letters, now)
            if happened.type in {EventType.PAYMENT_FAILED, EventType.PAYMENT_CANCELLED}:
                self.forge(account, misbehaviour, now)

    def forge(self, account: Account, misbehaviour: Misbehaviour, now: datetime) -> None:
        """Have somebody claim, by chance, that the payment has succeeded; within the caller's transaction."""
        if misbehaviour.forges(account):
            self._put([forge(account, _event_id(), misbehaviour, base_url=self.base_url, now=now)], now)

    def ready(self, now: datetime, most: int, *, without: Collection[int] = ()) -> list[Letter]:
        """The letters that may go out, the longest due first; not those that are on their way."""
        asked = {"now": stored(now), "given_up": stored(now - GIVEN_UP_AFTER), "most": most + len(without)}
        found = [
            Letter(
                number=number,
                payment=payment,
                sequence=sequence,
                url=url,
                body=body,
                at=moment(at),
                attempts=attempts,
                original=bool(original),
                yields=bool(yields),
            )
            for number, payment, sequence, url, body, at, attempts, original, yields in self._db.execute(_READY, asked)
        ]
        return [letter for letter in found if letter.number not in without][:most]

    def attempted(self, letter: Letter, status: int | None, now: datetime) -> None:
        """How a delivery went (None: no answer). A forger does not insist."""
        done = status is not None and (letter.forged or 200 <= status < 300)
        at = now if done else now + pause(letter.attempts + 1)
        self._db.execute(
            "UPDATE letters SET attempts = attempts + 1, done = ?, answer = ?, at = ? WHERE number = ?",
            (done, status, stored(at), letter.number),
        )

    def next_at(self, now: datetime) -> datetime | None:
        """When a letter falls due that is not yet."""
        (at,) = self._db.execute("SELECT min(at) FROM letters WHERE done = 0 AND at > ?", (stored(now),)).fetchone()
        return None if at is None else moment(at)

    def waiting(self, now: datetime) -> int:
        """How many letters have not arrived."""
        given_up = (stored(now - GIVEN_UP_AFTER),)
        (count,) = self._db.execute("SELECT count(*) FROM letters WHERE done = 0 AND born > ?", given_up).fetchone()
        return int(count)

    def forged(self) -> tuple[int, int]:
        """How many forgeries have been answered, and how many of them were believed (2xx)."""
        answered, believed = self._db.execute(
            "SELECT count(*), coalesce(sum(answer BETWEEN 200 AND 299), 0) FROM letters WHERE sequence = 0 AND done"
        ).fetchone()
        return int(answered), int(believed)

    def _is_yielded_to(self, account: Account, misbehaviour: Misbehaviour, now: datetime) -> bool:
        """Whether the webhook before the payment's latest lets that go first; then it waits for it, however late."""
        until = now + YIELDS_FOR + misbehaviour.arrives_after(account, ORIGINAL)
        waits = self._db.execute(
            "UPDATE letters SET at = ? WHERE payment = ? AND sequence = ? AND yields AND attempts = 0 AND done = 0",
            (stored(until), account.id, account.sequence - 1),
        )
        return waits.rowcount > 0

    def _put(self, letters: Iterable[Letter], now: datetime) -> None:
        self._db.executemany(
            "INSERT INTO letters (payment, sequence, url, body, born, at, original, yields)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    letter.payment,
                    letter.sequence,
                    letter.url,
                    letter.body,
                    stored(now),
                    stored(letter.at),
                    letter.original,
                    letter.yields,
                )
                for letter in letters
            ],
        )


def _event_id() -> str:
    return f"evt_{secrets.token_hex(12)}"
