-- Tokens that are good no longer, for as long as they could have been. Every node keeps them in memory and reads what is
-- new by written_by, the transaction that wrote a row: all below the oldest that is still under way have been seen.

CREATE TABLE revocations (
    cafe_id    uuid        NOT NULL,             -- the nil UUID: everywhere
    kind       text        NOT NULL CHECK (kind IN ('token', 'user')),
    subject    text        NOT NULL,             -- the token's id, or the person
    rank       smallint    NOT NULL,             -- of who has said so
    by         jsonb       NOT NULL,
    at         timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    written_by bigint      NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    PRIMARY KEY (cafe_id, kind, subject, rank)
);
CREATE INDEX revocations_written_by ON revocations (written_by);
