-- Gift cards and points: what people know an account by, until when it is good, and why something moved on it.

ALTER TABLE accounts ADD COLUMN label text;              -- the last four of a card's code; the phone number of points
ALTER TABLE accounts ADD COLUMN expires_at timestamptz;
ALTER TABLE account_entries ADD COLUMN cause text;       -- of what was neither staff nor a payment of ours
ALTER TABLE account_entries ADD COLUMN reference text;   -- the order it is about, ours or a till's

-- domain/ledger.py: GUARDED_FROM_ABOVE, HELD_FOR_SOMEBODY. A test compares the two.
ALTER TABLE ledger_balances DROP CONSTRAINT ledger_balances_from_above;
ALTER TABLE ledger_balances ADD CONSTRAINT ledger_balances_from_above
    CHECK (balance <= 0 OR (account NOT IN ('unapplied', 'refunds_due')
                            AND account NOT LIKE 'credit:%' AND account NOT LIKE 'gift:%'
                            AND account NOT LIKE 'tips:%' AND account NOT LIKE 'loyalty:%'));

-- The logs of gift cards and points (spec S4): one line for each movement, and no movement is ever changed.
CREATE VIEW pos_gift_card_transactions AS
    SELECT entry.entry_id AS transaction_id, entry.cafe_id, entry.account_id, account.label AS card_last_four,
           CASE WHEN entry.cause IS NOT NULL THEN entry.cause
                WHEN entry.payment_id IS NOT NULL THEN CASE WHEN entry.amount < 0 THEN 'spent' ELSE 'refunded' END
                WHEN entry.amount < 0 THEN 'withdrawn' ELSE 'issued' END AS type,
           entry.amount, entry.balance, account.currency, entry.payment_id, entry.reference AS order_id, entry.reason,
           event.by->>'role' AS by_role, event.by->>'user' AS by_user, entry.at, entry."offset"
    FROM account_entries AS entry
    JOIN accounts AS account ON account.id = entry.account_id AND account.kind = 'gift_card'
    JOIN events AS event ON event.cafe_id = entry.cafe_id AND event."offset" = entry."offset";

CREATE VIEW pos_loyalty_transactions AS
    SELECT entry.entry_id AS transaction_id, entry.cafe_id, entry.account_id, account.label AS phone,
           CASE WHEN entry.cause IS NOT NULL THEN entry.cause
                WHEN entry.amount < 0 THEN 'withdrawn' ELSE 'added' END AS type,
           entry.amount AS points, entry.balance, entry.reference AS order_id, entry.reason,
           event.by->>'role' AS by_role, event.by->>'user' AS by_user, entry.at, entry."offset"
    FROM account_entries AS entry
    JOIN accounts AS account ON account.id = entry.account_id AND account.kind = 'loyalty'
    JOIN events AS event ON event.cafe_id = entry.cafe_id AND event."offset" = entry."offset";
