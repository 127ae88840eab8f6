-- Lines of bank statements that have been carried out: their payment has counted the money. That it is counted once is
-- the payment's own doing, which remembers the line; this is what a repeated import finds, and what can be looked up.

CREATE TABLE statement_lines (
    cafe_id     uuid        NOT NULL,
    line_id     text        NOT NULL,
    payment_id  uuid        NOT NULL,
    booked_on   date        NOT NULL,
    amount      bigint      NOT NULL CHECK (amount > 0),
    outcome     text        NOT NULL,
    imported_at timestamptz NOT NULL,
    PRIMARY KEY (cafe_id, line_id)
);
CREATE INDEX statement_lines_payment ON statement_lines (payment_id);
