-- Accounts of customers, gift cards, tips. All of it is derived from the log.

CREATE TABLE accounts (
    id        uuid        PRIMARY KEY,
    cafe_id   uuid        NOT NULL,              -- who owes the balance: a cafe, or the installation
    kind      text        NOT NULL,
    owner     text,
    currency  text        NOT NULL,
    balance   bigint      NOT NULL CHECK (balance >= 0),
    opened_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Every movement, for paging: newest first is the primary key read backwards.
CREATE TABLE account_entries (
    account_id uuid        NOT NULL,
    "offset"   bigint      NOT NULL,             -- in the log of the account's cafe
    cafe_id    uuid        NOT NULL,
    entry_id   uuid        NOT NULL,
    amount     bigint      NOT NULL CHECK (amount <> 0),   -- in positive, out negative
    balance    bigint      NOT NULL,             -- after it
    granted    boolean     NOT NULL,
    payment_id uuid,
    reason     text,
    at         timestamptz NOT NULL,
    PRIMARY KEY (account_id, "offset"),
    -- A movement is made once, also where the account no longer remembers it.
    CONSTRAINT account_entries_once UNIQUE (account_id, entry_id)
);

CREATE TABLE tip_distributions (
    id          uuid        PRIMARY KEY,
    cafe_id     uuid        NOT NULL,
    "offset"    bigint      NOT NULL,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    read_offset bigint      NOT NULL,            -- tips of that time up to here in the log are distributed
    charged     bigint      NOT NULL,            -- of tips that were refunded, kept back from this one
    doc         jsonb       NOT NULL             -- the DistributionView
);
CREATE INDEX tip_distributions_cafe ON tip_distributions (cafe_id, "offset");

-- Of a time: what came in as tips. Of all times: what was refunded of them.
CREATE INDEX ledger_entries_tips ON ledger_entries (cafe_id, (amount > 0), at) WHERE account = 'tips';
