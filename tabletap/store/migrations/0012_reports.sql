-- Reports of a day: what a till says of it, and the closings of the cafe's own (X and Z).

-- One per cafe and business day; a repeat replaces it. The names are those that tills' integrators know.
CREATE TABLE pos_daily_reports (
    id              uuid        PRIMARY KEY,
    cafe_id         uuid        NOT NULL,
    report_date     date        NOT NULL,
    total_sales     bigint      NOT NULL,        -- cents, as all of them
    total_orders    integer     NOT NULL,
    cash_sales      bigint      NOT NULL,
    card_sales      bigint      NOT NULL,
    gift_card_sales bigint      NOT NULL,
    online_sales    bigint      NOT NULL,
    discounts       bigint      NOT NULL,
    refunds         bigint      NOT NULL,
    net_sales       bigint      NOT NULL,
    top_items       jsonb       NOT NULL,
    busy_hours      jsonb       NOT NULL,
    staff_shifts    jsonb       NOT NULL,
    notes           text,
    uploads         integer     NOT NULL DEFAULT 1,   -- beyond the first each has replaced the one before
    created_at      timestamptz NOT NULL,
    uploaded_at     timestamptz NOT NULL,
    uploaded_by     jsonb       NOT NULL,
    CONSTRAINT pos_daily_reports_day UNIQUE (cafe_id, report_date)
);

-- The closings of a cafe's days are events of its log; this finds them, and no number can be there twice.
CREATE UNIQUE INDEX events_day_number ON events (cafe_id, ((data ->> 'number')::integer))
    WHERE type = 'cafe.day_closed';

-- What was counted between two closings, whole, as it was first printed.
CREATE TABLE z_reports (
    cafe_id   uuid        NOT NULL,
    number    integer     NOT NULL CHECK (number > 0),
    doc       jsonb       NOT NULL,
    stored_at timestamptz NOT NULL,
    PRIMARY KEY (cafe_id, number)
);

CREATE FUNCTION z_reports_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a Z report is never changed' USING ERRCODE = 'check_violation', CONSTRAINT = 'z_reports_stay';
END $$;

CREATE TRIGGER z_reports_stay BEFORE UPDATE OR DELETE ON z_reports FOR EACH ROW EXECUTE FUNCTION z_reports_stay();

-- Where in a cafe's log a moment falls: the offset of the last event before it (0: none). Times grow with offsets but
-- for the few commits that are under way at once, so a search by halves comes near, and the neighbourhood decides: the
-- first event that is not before the moment ends what is. The same answer always, however long the log has become.
CREATE FUNCTION log_before(cafe uuid, moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    neighbours CONSTANT bigint := 1000;
    lower bigint := 0;
    upper bigint := (SELECT coalesce(max("offset"), 0) + 1 FROM events WHERE cafe_id = cafe);
    middle bigint;
BEGIN
    WHILE upper - lower > 1 LOOP
        middle := (lower + upper) / 2;
        IF (SELECT at < moment FROM events WHERE cafe_id = cafe AND "offset" = middle) THEN
            lower := middle;
        ELSE
            upper := middle;
        END IF;
    END LOOP;
    RETURN (SELECT coalesce(min("offset"), upper) - 1 FROM events
            WHERE cafe_id = cafe AND "offset" BETWEEN upper - neighbours AND upper AND at >= moment);
END $$;
