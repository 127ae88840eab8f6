-- Tills: the keys they are known by, how far each has got in its cafe's log, and what passed between them and us.

CREATE TABLE pos_keys (
    id           uuid        PRIMARY KEY,
    cafe_id      uuid        NOT NULL,
    name         text        NOT NULL,
    scopes       text[]      NOT NULL,
    digest       bytea       NOT NULL UNIQUE,     -- SHA-256; the key itself was shown once and is kept nowhere
    hint         text        NOT NULL,            -- its first characters
    since        timestamptz NOT NULL,            -- it has been this one
    previous     bytea       UNIQUE,              -- the digest before, which is good
    until        timestamptz,                     -- until then
    created_at   timestamptz NOT NULL,
    created_by   text,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    -- Every node keeps the keys in memory and reads what is new by this: all below the oldest transaction that is still
    -- under way have been seen.
    written_by   bigint      NOT NULL DEFAULT (pg_current_xact_id()::text::bigint)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX pos_keys_name ON pos_keys (cafe_id, name) WHERE revoked_at IS NULL;
CREATE INDEX pos_keys_cafe ON pos_keys (cafe_id, created_at);
CREATE INDEX pos_keys_written_by ON pos_keys (written_by);

CREATE TABLE pos_tills (
    key_id        uuid        NOT NULL REFERENCES pos_keys ON DELETE CASCADE,
    till          text        NOT NULL,
    cafe_id       uuid        NOT NULL,
    cursor        bigint      NOT NULL,           -- everything up to this offset of the cafe's log has been acknowledged
    created_at    timestamptz NOT NULL,
    seen_at       timestamptz NOT NULL,
    last_error    text,
    last_error_at timestamptz,
    PRIMARY KEY (key_id, till)
) WITH (fillfactor = 50);
CREATE INDEX pos_tills_cafe ON pos_tills (cafe_id);

-- A push is a line for all that went to a till within a moment: events from offset first to last. What the events were
-- stands in `events`, under these offsets.
CREATE TABLE pos_sync_logs (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cafe_id      uuid        NOT NULL,
    at           timestamptz NOT NULL,
    key_id       uuid,                            -- none: a wrong key
    till         text,
    kind         text        NOT NULL CHECK (kind IN ('push', 'ack', 'call', 'connect', 'disconnect', 'refused', 'test')),
    what         text        NOT NULL,            -- the operation, or the door
    first_offset bigint,
    last_offset  bigint,
    events       integer,
    status       integer,                         -- HTTP's
    error        text,
    duration_ms  integer
);
CREATE INDEX pos_sync_logs_cafe ON pos_sync_logs (cafe_id, id);
CREATE INDEX pos_sync_logs_at ON pos_sync_logs (at);
