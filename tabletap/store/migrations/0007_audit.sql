-- What reconciliation has found, run by run.

CREATE TABLE reconciliation_runs (
    id          uuid        PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,            -- none: under way, or its node has died
    report      jsonb
);
CREATE INDEX reconciliation_runs_started ON reconciliation_runs (started_at);
