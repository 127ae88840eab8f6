-- Providers, refunds and chargebacks.

ALTER TABLE payments ADD COLUMN external_id text;
CREATE INDEX payments_reference ON payments (reference);
-- What still has to come to an end: reconciliation looks at these, and nobody at the millions that have.
CREATE INDEX payments_open ON payments (cafe_id, expires_at) WHERE status IN ('pending', 'processing');
CREATE INDEX payments_order ON payments (order_id);

-- domain/ledger.py: GUARDED_FROM_ABOVE, HELD_FOR_SOMEBODY. A test compares the two.
ALTER TABLE ledger_balances DROP CONSTRAINT ledger_balances_from_above;
ALTER TABLE ledger_balances ADD CONSTRAINT ledger_balances_from_above
    CHECK (balance <= 0 OR (account NOT IN ('unapplied', 'refunds_due')
                            AND account NOT LIKE 'credit:%' AND account NOT LIKE 'gift:%'
                            AND account NOT LIKE 'tips:%'));

CREATE TABLE refunds (
    id           uuid        PRIMARY KEY,
    payment_id   uuid        NOT NULL,
    cafe_id      uuid        NOT NULL,
    order_id     uuid        NOT NULL,
    status       text        NOT NULL,
    "to"         text        NOT NULL,
    amount       bigint      NOT NULL,
    currency     text        NOT NULL,
    requested_at timestamptz NOT NULL,
    external_id  text
) WITH (fillfactor = 80);
CREATE INDEX refunds_payment ON refunds (payment_id);
