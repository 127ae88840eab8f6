-- What providers tell us (the inbox), and what we tell integrators (endpoints).

-- The inbox -------------------------------------------------------------------------------------------------------

CREATE TABLE webhook_inbox (
    id           uuid        PRIMARY KEY,
    provider     text        NOT NULL,
    event_id     text        NOT NULL,
    type         text        NOT NULL,
    payment_id   uuid,
    cafe_id      uuid,                           -- of the payment; none: no payment of ours
    sequence     bigint      CHECK (sequence > 0),
    heard        jsonb       NOT NULL,           -- as its gateway understood it
    status       text        NOT NULL CHECK (status IN ('pending', 'waiting', 'processed', 'dead', 'ignored')),
    out_of_turn  boolean     NOT NULL DEFAULT false,   -- to be told whatever came before it
    gap_at       timestamptz,                    -- while it waits: when its predecessor is given up
    attempts     integer     NOT NULL DEFAULT 0, -- that failed
    last_error   text,
    received_at  timestamptz NOT NULL,
    processed_at timestamptz,
    CONSTRAINT webhook_inbox_event UNIQUE (provider, event_id)
) WITH (fillfactor = 80);
CREATE INDEX webhook_inbox_payment ON webhook_inbox (payment_id, sequence) WHERE payment_id IS NOT NULL;
CREATE INDEX webhook_inbox_received ON webhook_inbox (received_at, id);
CREATE INDEX webhook_inbox_dead ON webhook_inbox (received_at, id) WHERE status = 'dead';

-- What was turned away: never its body.
CREATE TABLE webhook_rejections (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider    text        NOT NULL,
    at          timestamptz NOT NULL,
    reason      text        NOT NULL,
    body_bytes  integer     NOT NULL,
    body_sha256 bytea       NOT NULL
);
CREATE INDEX webhook_rejections_at ON webhook_rejections (at);

-- Outgoing --------------------------------------------------------------------------------------------------------

CREATE TABLE webhook_endpoints (
    id              uuid        PRIMARY KEY,
    cafe_id         uuid        NOT NULL,
    url             text        NOT NULL,
    description     text        NOT NULL,
    types           text[]      NOT NULL,        -- that are sent there; empty: all
    enabled         boolean     NOT NULL,
    disabled_reason text,
    -- The secret is made of this and the installation's secret, so no copy of the database holds it.
    salt            bytea       NOT NULL,
    previous_salt   bytea,                       -- of the secret before: both sign until then
    previous_until  timestamptz,
    created_at      timestamptz NOT NULL
);
CREATE INDEX webhook_endpoints_cafe ON webhook_endpoints (cafe_id, created_at);

-- How far a cafe's log has been turned into messages. Only cafes that have endpoints are in here.
CREATE TABLE webhook_cursors (
    cafe_id  uuid   PRIMARY KEY,
    "offset" bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE webhook_messages (
    id          uuid        PRIMARY KEY,         -- the same on every delivery: `webhook-id`
    endpoint_id uuid        NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    "offset"    bigint,                          -- in the log; none: a test
    type        text        NOT NULL,
    about       text        NOT NULL,            -- the order: messages about one come one after the other
    body        bytea       NOT NULL,            -- as it is sent: signatures are over bytes
    status      text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts    integer     NOT NULL DEFAULT 0,  -- since it was last put on its way
    created_at  timestamptz NOT NULL,
    CONSTRAINT webhook_messages_once UNIQUE (endpoint_id, "offset")
) WITH (fillfactor = 80);
CREATE INDEX webhook_messages_created ON webhook_messages (created_at);

CREATE TABLE webhook_attempts (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id uuid        NOT NULL,
    message_id  uuid        NOT NULL REFERENCES webhook_messages ON DELETE CASCADE,
    attempt     integer     NOT NULL,
    at          timestamptz NOT NULL,
    duration_ms integer     NOT NULL,
    status      integer,                         -- HTTP's; none: there was no answer
    error       text,
    excerpt     text        NOT NULL             -- of the answer
);
CREATE INDEX webhook_attempts_listed ON webhook_attempts (endpoint_id, id);
CREATE INDEX webhook_attempts_message ON webhook_attempts (message_id);
