-- The log of every cafe, what actors need to live in it, and the rows derived from it.
-- Everything from "derived" on can be dropped and built again (tabletap/store/rebuild.py).

-- The log ---------------------------------------------------------------------------------------------------------

CREATE TABLE events (
    cafe_id     uuid        NOT NULL,
    "offset"    bigint      NOT NULL CHECK ("offset" > 0),
    version     bigint      NOT NULL CHECK (version > 0),
    at          timestamptz NOT NULL,
    id          uuid        NOT NULL,
    entity_id   uuid        NOT NULL,
    author_id   uuid        NOT NULL,
    order_id    uuid,
    kind        text        NOT NULL,
    author_kind text        NOT NULL,
    type        text        NOT NULL,
    data        jsonb       NOT NULL,
    by          jsonb       NOT NULL,
    -- The fence: of two nodes that both believe to own a cafe, the second to write an offset loses.
    CONSTRAINT events_fence PRIMARY KEY (cafe_id, "offset"),
    -- Of two incarnations of an entity the second to write a version loses. Also the index of an entity's stream.
    CONSTRAINT events_version UNIQUE (entity_id, version)
);
-- The rest of a stream: what an entity decided about another one (an order's placing, a payment's beginning).
CREATE INDEX events_births ON events (author_id, "offset") WHERE author_id <> entity_id;
-- The replay of an order's room: what is about that order, and what is about none (IS NULL is a key like any other).
CREATE INDEX events_room ON events (cafe_id, order_id, "offset");
-- What a cafe's snapshot leaves out: the newest of each of these. tabletap/store/stream.py names the same types.
CREATE INDEX events_pinned ON events (entity_id, type, "offset")
    WHERE type IN ('cafe.opened', 'cafe.configured', 'cafe.menu_published');

CREATE TABLE snapshots (
    entity_id uuid        PRIMARY KEY,
    kind      text        NOT NULL,
    version   bigint      NOT NULL,
    "offset"  bigint      NOT NULL,
    state     bytea       NOT NULL,
    at        timestamptz NOT NULL
);

CREATE TABLE wakes (
    entity_id uuid        PRIMARY KEY,
    kind      text        NOT NULL,
    cafe_id   uuid        NOT NULL,
    wake_at   timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX wakes_next ON wakes (wake_at);

-- Messages between entities ---------------------------------------------------------------------------------------

CREATE TABLE outbox (
    id          uuid        PRIMARY KEY,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    cafe_id     uuid        NOT NULL,
    destination text        NOT NULL,
    key         text        NOT NULL,
    kind        text        NOT NULL,
    entity_id   uuid        NOT NULL,
    message     jsonb       NOT NULL,
    by          jsonb       NOT NULL,
    attempts    integer     NOT NULL DEFAULT 0,
    next_at     timestamptz NOT NULL,           -- until then whoever set it delivers it, and nobody else
    last_error  text,
    created_at  timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX outbox_next ON outbox (next_at);

CREATE TABLE outbox_dead (
    id          uuid        PRIMARY KEY,
    cafe_id     uuid        NOT NULL,
    destination text        NOT NULL,
    key         text        NOT NULL,
    kind        text        NOT NULL,
    entity_id   uuid        NOT NULL,
    message     jsonb       NOT NULL,
    by          jsonb       NOT NULL,
    attempts    integer     NOT NULL,
    last_error  text,
    created_at  timestamptz NOT NULL,
    died_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE idempotency (
    scope      text        NOT NULL,
    key        uuid        NOT NULL,
    request    bytea       NOT NULL,
    ok         boolean     NOT NULL,
    body       bytea       NOT NULL,            -- as it was sent: a repeat gets the same bytes
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    -- 1 from birth. The upsert raises it where the record has not expired, so a second answer fails by name.
    answers    smallint    NOT NULL DEFAULT 1,
    CONSTRAINT idempotency_key PRIMARY KEY (scope, key),
    CONSTRAINT idempotency_answered_once CHECK (answers = 1)
);
CREATE INDEX idempotency_expiry ON idempotency USING brin (expires_at);

-- Derived: the ledger ---------------------------------------------------------------------------------------------

CREATE TABLE ledger_entries (
    cafe_id    uuid        NOT NULL,
    "offset"   bigint      NOT NULL,
    line       smallint    NOT NULL,
    account    text        NOT NULL,
    currency   text        NOT NULL,
    amount     bigint      NOT NULL CHECK (amount <> 0),   -- cents; debit positive, credit negative
    order_id   uuid,
    payment_id uuid,
    at         timestamptz NOT NULL,
    PRIMARY KEY (cafe_id, "offset", line)
);

CREATE FUNCTION ledger_entries_must_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM fresh GROUP BY cafe_id, "offset", currency HAVING sum(amount) <> 0) THEN
        RAISE EXCEPTION 'the entries of an event do not sum to zero'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balance';
    END IF;
    RETURN NULL;
END $$;

-- All entries of an event are written by one statement, so it can be judged when that ends.
CREATE TRIGGER ledger_entries_balance AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_must_balance();

CREATE TABLE ledger_balances (
    cafe_id  uuid   NOT NULL,
    account  text   NOT NULL,
    currency text   NOT NULL,
    balance  bigint NOT NULL,
    PRIMARY KEY (cafe_id, account, currency),
    -- domain/ledger.py: GUARDED_FROM_BELOW, GUARDED_FROM_ABOVE. A test compares the two.
    CONSTRAINT ledger_balances_from_below CHECK (balance >= 0 OR account NOT IN ('receivable')),
    CONSTRAINT ledger_balances_from_above CHECK (balance <= 0 OR account NOT IN ('unapplied'))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Derived: what doors show ----------------------------------------------------------------------------------------

CREATE TABLE cafes (
    id   uuid PRIMARY KEY,
    slug text NOT NULL CONSTRAINT cafes_slug UNIQUE,
    name text NOT NULL
);

CREATE TABLE orders (
    id             uuid        PRIMARY KEY,
    cafe_id        uuid        NOT NULL,
    number         integer     NOT NULL,
    business_day   date        NOT NULL,
    channel        text        NOT NULL,
    "table"        text,
    status         text        NOT NULL,
    payment_status text        NOT NULL,
    active         boolean     NOT NULL,        -- neither completed nor cancelled
    total          bigint      NOT NULL,
    paid           bigint      NOT NULL,
    currency       text        NOT NULL,
    placed_at      timestamptz NOT NULL,
    customer_id    text,
    doc            jsonb       NOT NULL,        -- the OrderView, without its place in the queue
    -- A number is given once a day. Read backwards it is also the list of orders, newest first.
    CONSTRAINT orders_number UNIQUE (cafe_id, business_day, number)
) WITH (fillfactor = 80);
CREATE INDEX orders_active ON orders (cafe_id, business_day, number) WHERE active;

-- Places are apart from their orders, since they change far more often and are so much smaller.
CREATE TABLE order_places (
    order_id       uuid        PRIMARY KEY,
    queue_position integer     NOT NULL,
    ready_at       timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE payments (
    id           uuid        PRIMARY KEY,
    cafe_id      uuid        NOT NULL,
    order_id     uuid        NOT NULL,
    method       text        NOT NULL,
    status       text        NOT NULL,
    total        bigint      NOT NULL,
    refunded     bigint      NOT NULL,
    currency     text        NOT NULL,
    reference    text        NOT NULL,
    customer_id  text,
    initiated_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    doc          jsonb       NOT NULL           -- the PaymentView
) WITH (fillfactor = 80);

CREATE TABLE drawers (
    id        uuid        PRIMARY KEY,
    cafe_id   uuid        NOT NULL,
    name      text        NOT NULL,
    open      boolean     NOT NULL,
    opened_at timestamptz NOT NULL,
    doc       jsonb       NOT NULL              -- the DrawerView
) WITH (fillfactor = 80);
