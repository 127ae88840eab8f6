-- Jobs are rows of the outbox too: destination is the queue, message the task. They are for no entity.

ALTER TABLE outbox
    ALTER COLUMN kind DROP NOT NULL,
    ALTER COLUMN entity_id DROP NOT NULL,
    ADD COLUMN priority smallint NOT NULL DEFAULT 0,    -- of a job: 0-10, higher first
    ADD COLUMN parent   uuid,                           -- of a job: the one that comes after it
    ADD COLUMN flow     uuid,
    -- The node whose it is until next_at; none: it rests until then. A node holds an advisory lock of its number for as
    -- long as it lives, so what a killed one had is taken over at once (tabletap/store/node.py).
    ADD COLUMN owner    integer;

-- Messages between entities, which are most of the rows, are in none of these.
CREATE INDEX outbox_priority ON outbox (destination, priority DESC, seq) WHERE destination <> 'actor';
CREATE INDEX outbox_line ON outbox (destination, key, seq) WHERE destination <> 'actor';
CREATE INDEX outbox_due ON outbox (next_at) WHERE destination <> 'actor';
CREATE INDEX outbox_children ON outbox (parent) WHERE parent IS NOT NULL;
CREATE INDEX outbox_flow ON outbox (flow) WHERE flow IS NOT NULL;

ALTER TABLE outbox_dead
    ALTER COLUMN kind DROP NOT NULL,
    ALTER COLUMN entity_id DROP NOT NULL,
    ADD COLUMN priority smallint NOT NULL DEFAULT 0,
    ADD COLUMN parent   uuid,
    ADD COLUMN flow     uuid;
CREATE INDEX outbox_dead_listed ON outbox_dead (died_at, id);
CREATE INDEX outbox_dead_children ON outbox_dead (parent) WHERE parent IS NOT NULL;
CREATE INDEX outbox_dead_flow ON outbox_dead (flow) WHERE flow IS NOT NULL;

CREATE TABLE jobs_done (
    id          uuid        PRIMARY KEY,
    cafe_id     uuid        NOT NULL,
    queue       text        NOT NULL,
    key         text        NOT NULL,
    task        text        NOT NULL,                   -- its type
    parent      uuid,
    flow        uuid,
    attempts    integer     NOT NULL,                   -- that failed
    created_at  timestamptz NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    keep_until  timestamptz NOT NULL
);
CREATE INDEX jobs_done_keep ON jobs_done (keep_until);
CREATE INDEX jobs_done_flow ON jobs_done (flow) WHERE flow IS NOT NULL;
